"""x · W + b and the rotary embedding with their numbers: each line true to the model."""

import re

import numpy as np
import pytest

import attnviz
from attnviz.attention.explained.projection import (
    dimension_of_pair,
    input_products,
    no_rotation,
    no_weights,
    turn_of,
    weights_step,
    worked_projection,
    worked_rotation,
)
from tests.support import architectures, hand_made


def traced(name, **changes):
    model = architectures.build(name, **changes)
    return attnviz.trace_inputs(model, architectures.inputs_of(model))


def as_number(printed):
    return float(printed.replace("−", "-").replace(" ", "").strip("*()"))


NUMBER = r"[−-]?\d+(?:\.\d+)?"


def check_projection(text, own, bias):
    """The factors give the products, and these, the rest and the bias the number."""
    factors, total = text.split("\n\n")
    left, right = total.split(" = ")
    terms = [as_number(one) for one in re.findall(r"[−+]? ?\d+\.\d+", left)]
    unit = 10.0 ** -len(right.strip("*").partition(".")[2])
    assert sum(terms) == pytest.approx(as_number(right), abs=unit / 100)
    assert as_number(right) == pytest.approx(own, abs=0.51 * unit)
    products = re.findall(rf"({NUMBER}) × ({NUMBER}) = ({NUMBER})", factors)
    for (x, w, product), term in zip(products, terms, strict=False):
        assert as_number(x) * as_number(w) == pytest.approx(as_number(product), abs=1.06 * unit)
        assert as_number(product) == term
    assert ("(bias)" in left) == (bias is not None)
    if bias is not None:
        assert terms[-1] == pytest.approx(bias, abs=1.01 * unit)


@pytest.mark.parametrize("letter", ["q", "k", "v"])
def test_the_largest_products_the_rest_and_the_bias_are_the_models_number(sentence_trace, letter):
    for layer, place in ((0, 8), (5, 11)):
        head = sentence_trace.head(layer, place)
        for row in range(7):
            own, bias = getattr(head, letter)[row], getattr(head, f"b_{letter}")
            for dimension in (0, 13, 31):
                text = worked_projection(head, letter, row, dimension)
                check_projection(text, own[dimension], bias[dimension])


def test_without_a_bias_and_before_a_norm_and_a_rotary_embedding():
    head = traced("qwen3").head(1, 1)
    text = worked_projection(head, "k", 4, 2)
    check_projection(text, head.k_projected[4, 2], None)
    assert text.startswith(
        "Dimension 2 of k of *4*, before its norm and the rotary embedding, = x of *4* · column 2 "
        "of W_K, 32 products. The largest, by dimension of x: dimension "
    )
    assert "(sum of the other 27)" in text
    assert "before" not in worked_projection(head, "v", 4, 2)


def test_by_default_it_is_the_largest_number_of_the_row(sentence_trace):
    head = sentence_trace.head(5, 11)
    largest = int(np.abs(head.q[2]).argmax())
    assert worked_projection(head, "q", 2) == worked_projection(head, "q", 2, largest)
    strongest = int(np.abs(head.q[2] * head.k[5]).argmax())
    assert dimension_of_pair(head, 2, 5) == strongest != largest


def test_in_half_precision_both_numbers_are_printed_where_they_differ():
    model = architectures.build("llama").bfloat16()
    head = attnviz.trace_inputs(model, architectures.inputs_of(model)).head(0, 0)
    said = [worked_projection(head, "q", row, 1) for row in range(9)]
    for row, text in enumerate(said):
        printed = text.rpartition(" = ")[2]
        exact = float(head.x_query[row].astype(np.float64) @ head.w_q[:, 1])
        total = re.search(NUMBER, printed)[0]
        decimals = len(total.partition(".")[2])
        assert as_number(total) == pytest.approx(exact, abs=0.51 * 10.0**-decimals)
        if "model's bfloat16" in printed:
            assert as_number(printed.rpartition(": ")[2]) == pytest.approx(
                head.q_projected[row, 1], abs=0.51 * 10.0**-decimals
            )


def test_the_table_of_products_is_sorted_and_adds_up(sentence_trace):
    head = sentence_trace.head(5, 11)
    table = input_products(head, "v", 3, 7)
    assert sorted(table["dimension"]) == list(range(384))
    assert (np.diff(np.abs(table["product"])) <= 0).all()
    np.testing.assert_allclose(table["product"].sum() + head.b_v[7], head.v[3, 7], atol=1e-5)
    with pytest.raises(attnviz.InputError, match="no dimension 32"):
        input_products(head, "v", 3, 32)
    with pytest.raises(attnviz.InputError, match="no row 7"):
        worked_projection(head, "v", 7)


def test_where_there_is_no_w_the_reason_is_said_and_nothing_worked_out():
    head = traced("deepseek_v3").head(0, 0)
    assert worked_projection(head, "q", 0) is None
    assert weights_step(head, "q") is None
    assert no_weights(head, "q") == (
        "W_Q, which makes the query, cannot be shown: the module computes it by more than one "
        "plain projection of x."
    )
    with pytest.raises(attnviz.InputError, match="no w_q"):
        input_products(head, "q", 0, 0)
    own = hand_made.random_head()
    assert worked_projection(own, "v", 0) is None
    assert no_weights(own, "v") is not None
    assert no_weights(traced("bert").head(0, 0), "v") is None


# Rotary embedding


@pytest.mark.parametrize(
    ("name", "changes", "pairs"),
    [
        ("llama", {}, {(d, d + 4) for d in range(4)}),
        ("phi", {}, {(0, 2), (1, 3)}),  # half of the dimensions
        ("gptj", {}, {(2 * d, 2 * d + 1) for d in range(4)}),
        ("cohere", {}, {(2 * d, 2 * d + 1) for d in range(4)}),
        ("glm", {}, {(0, 1), (2, 3)}),
        ("deepseek_v3", {}, {(8, 10), (9, 11)}),  # at the end
    ],
)
def test_a_pair_of_dimensions_turns_by_an_angle_that_grows_with_its_position(name, changes, pairs):
    head = traced(name, **changes).head(1, 1)
    for letter in "qk":
        before, after = getattr(head, f"{letter}_before_rotary"), getattr(head, letter)
        for row in range(9):
            turn = turn_of(head, letter, row)
            a, b = turn.dimensions
            assert (a, b) in pairs
            assert turn.before == (before[row, a], before[row, b])
            assert turn.after == (after[row, a], after[row, b])
            assert turn.cos**2 + turn.sin**2 == pytest.approx(1, abs=1e-4)
            # exp(i · angle) = exp(i · position · angle of one position)
            off = np.angle(np.exp(1j * (turn.angle - row * turn.per_position)))
            assert abs(off) < 1e-3
        assert turn_of(head, letter, 5).per_position == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["llama", "gptj", "deepseek_v3"])
def test_the_lines_of_a_turn_can_be_worked_out_again(name):
    head = traced(name).head(1, 1)
    for row in range(9):
        first, *lines = worked_rotation(head, "k", row).split("\n\n")
        dimensions = [int(n) for n in re.findall(r"\d+", first)[:2]]
        cos, sin = (as_number(re.search(rf"{of} = ({NUMBER})", first)[1]) for of in ("cos", "sin"))
        total, position, each = re.search(
            rf"by ({NUMBER})° = position (\d+) × ({NUMBER})°", first
        ).groups()
        assert int(position) == row
        assert row * as_number(each) == pytest.approx(as_number(total), abs=0.06)
        assert np.cos(np.radians(as_number(total))) == pytest.approx(cos, abs=2e-3)
        assert np.sin(np.radians(as_number(total))) == pytest.approx(sin, abs=2e-3)
        for line, dimension in zip(lines, dimensions, strict=True):
            sum_, _, right = line.partition(": ")[2].partition(" = ")
            one, first_factor, other, factor = map(as_number, re.findall(NUMBER, sum_))
            sign = -1 if ") − " in sum_ or re.search(r"\d − ", sum_) else 1
            made = one * first_factor + sign * other * factor
            assert made == pytest.approx(as_number(right), abs=1.01e-4)
            assert as_number(right) == pytest.approx(head.k[row, dimension], abs=0.51e-4)


def test_rows_that_are_not_positions_name_none():
    trace = traced("llama")
    less = attnviz.filters.hide_tokens(trace, keys=[1], queries=[1]).head(1, 1)
    text = worked_rotation(less, "q", 4)
    assert "position" not in text
    assert turn_of(less, "q", 4).angle == pytest.approx(turn_of(trace.head(1, 1), "q", 5).angle)


def test_a_factor_of_the_model_is_named():
    before = np.array([[3, 4], [6, 8]], np.float32)
    after = np.array([[6, 8], [-16, 12]], np.float32)
    keys = np.eye(2, dtype=np.float32)
    head = hand_made.head(after, keys, keys, q_before_rotary=before, k_before_rotary=keys)
    turn = turn_of(head, "q", 1)
    assert (turn.factor, turn.cos, turn.sin) == pytest.approx((2, 0, 1), abs=1e-6)
    text = worked_rotation(head, "q", 1)
    assert "multiplied by 2.00000" in text
    assert "2.00000 × (6.00000 × 0.000000 − 8.00000 × 1.000000) = **−16.0000**" in text


def test_what_is_not_turned_in_pairs_or_not_at_all_is_not_worked_out(sentence_trace):
    assert worked_rotation(sentence_trace.head(0, 0), "q", 1) is None
    rng = np.random.default_rng(0)
    before, after, keys = (rng.normal(size=(5, 4)).astype(np.float32) for _ in range(3))
    head = hand_made.head(after, keys, keys, q_before_rotary=before, k_before_rotary=keys)
    assert worked_rotation(head, "q", 1) is None
    assert no_rotation(head, "q", 1) == (
        "No rotation is worked out: for q, no pairs of dimensions, d and d + half of them or 2d "
        "and 2d + 1, keep their length for all tokens."
    )
    zero = before.copy()
    zero[1] = 0
    head = hand_made.head(zero, keys, keys, q_before_rotary=zero, k_before_rotary=keys)
    assert worked_rotation(head, "q", 1) is None
    assert no_rotation(head, "q", 1).startswith("No rotation is worked out for q of *q1*: its num")
    assert worked_rotation(head, "q", 2) is not None
    assert no_rotation(head, "q", 2) is None
    assert no_rotation(sentence_trace.head(0, 0), "q", 1) is None
