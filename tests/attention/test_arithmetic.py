"""The arithmetic of a pair: true to the trace, and each printed line true to the one before."""

import re

import numpy as np
import pytest

from attnviz.attention.explained.arithmetic import arithmetic, products
from attnviz.text.phrases import escaped, number, percent
from tests.support import hand_made


def worked_out(head, name, query, key):
    step = next(step for step in head.steps if step.name == name)
    return arithmetic(head, step, query, key)


def numbers(text):
    """The numbers printed in a line, with their signs, and the unit of the last digit of each."""
    text = re.sub(r"([−+]) (?=\d)", r"\1", text).replace("−", "-").replace("**", "")
    found = re.findall(r"[-+]?\d+(?:\.\d+)?(?:e-?\d+)?", text)
    return [float(n) for n in found], [_unit(n) for n in found]


def _unit(printed):
    mantissa, _, exponent = printed.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


@pytest.fixture(params=range(12))
def seed(request):
    return request.param


@pytest.fixture(params=[0.02, 1.0, 6.0, 40.0])
def case(request, seed):
    """Heads whose scores are tiny to huge, every third with a causal mask."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(6, 8)) * scale for scale in (request.param, 1, 1))
    causal = np.where(np.tri(6, dtype=bool), 0, np.finfo(np.float32).min)
    head = hand_made.head(q, k, v, mask=causal if seed % 3 == 0 else None, scaling=8**-0.5)
    return head, 4, seed % 6


@pytest.fixture(params=[(0, 8, 2, 5), (5, 11, 2, 5), (2, 7, 4, 0), (3, 3, 1, 1)], ids=str)
def of_the_model(request, sentence_trace):
    layer, head, query, key = request.param
    return sentence_trace.head(layer, head), query, key


def test_the_table_of_products_is_sorted_and_adds_up_to_the_score(case):
    head, query, key = case
    table = products(head, query, key)
    assert sorted(table["dimension"]) == list(range(8))
    assert (np.diff(np.abs(table["product"])) <= 0).all()
    for row in table.itertuples():
        assert (row.q, row.k) == (head.q[query, row.dimension], head.k[key, row.dimension])
        assert row.product == pytest.approx(row.q * row.k, rel=1e-6)
    np.testing.assert_allclose(table["sum"], np.cumsum(table["product"]), rtol=1e-6)
    assert table["sum"].iloc[-1] == pytest.approx(head.scores[query, key], rel=1e-4, abs=1e-5)


def check_products(head, query, key):
    line = worked_out(head, "scores", query, key)
    names = escaped(head.query_tokens[query]), escaped(head.key_tokens[key])
    assert line.startswith(f"q of *{names[0]}* · k of *{names[1]}* = ")
    (*terms, total), units = numbers(
        re.sub(r" \(sum of the other (\d+)\)", "", line.split(" = ", 1)[1])
    )
    expected = np.float64(head.q[query]) * head.k[key]
    order = np.argsort(-np.abs(expected))[:5]
    assert np.abs(np.array(terms[:5]) - expected[order]).max() < units[0] * 1.01
    assert abs(terms[5] - (expected.sum() - expected[order].sum())) < units[0] * 1.01
    assert f"(sum of the other {len(expected) - 5})" in line
    assert sum(terms) == pytest.approx(total, abs=1e-9)  # as printed, to the last digit
    assert total == pytest.approx(float(head.scores[query, key]), abs=units[-1] / 2 * 1.01)


def check_chain(head, query, key):
    """From the printed score to the printed weight, each from the printed line before it."""
    score = numbers(worked_out(head, "scores", query, key).rsplit(" = ", 1)[1])[0][0]
    (first, one, d_head, scaled), units = numbers(worked_out(head, "scaled", query, key))
    assert (first, one, d_head) == (score, 1, head.q.shape[1])
    assert abs(first / np.sqrt(d_head) - scaled) < 1.01 * units[-1]
    assert scaled == pytest.approx(float(head.scaled[query, key]), abs=units[-1] / 2 * 1.01)
    if head.is_masked[query, key]:
        assert worked_out(head, "masked", query, key).endswith("− ∞ = **−∞** (hidden)")
        assert worked_out(head, "weights", query, key) == (
            "exp(−∞) = 0, so the weight is **0.0\u00a0%**"
        )
        return
    first_line, second_line = worked_out(head, "weights", query, key).split("\n\n")
    argument = first_line[4 : first_line.index(")")]
    in_exp = numbers(argument)[0]
    assert in_exp[0] == scaled
    exp, total = (
        numbers(t)[0][0] for t in re.findall(r"(?:= |sum is )([^;. ]+\.?[^;. ]*)", first_line)
    )
    assert abs(np.exp(sum(in_exp)) / exp - 1) < 1e-3
    n_seen = int((~head.is_masked[query]).sum())
    keys = f"all {n_seen} keys" if n_seen == len(head.key_tokens) else f"the {n_seen} keys it sees"
    assert keys in first_line
    (again, whole, share), units = numbers(second_line)
    assert (again, whole) == (exp, total)
    assert abs(100 * exp / total - share) <= 1.01 * units[-1]
    assert second_line.endswith(f"**{percent(head.weights[query, key])}**")


def test_the_written_products_add_up_to_the_score_as_printed(case):
    check_products(*case)


def test_each_line_follows_from_the_one_before_as_printed(case):
    check_chain(*case)


def test_both_hold_for_the_models_own_heads(of_the_model):
    check_products(*of_the_model)
    check_chain(*of_the_model)


def test_every_product_is_written_where_there_are_few():
    head = hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], scaling=0.25)
    assert (
        worked_out(head, "scores", 0, 0) == "q of *q0* · k of *k0* = 8.0000 + 3.0000 = **11.0000**"
    )
    assert worked_out(head, "scaled", 0, 0) == "11.0000 × 0.25 = **2.7500**"


def test_nothing_is_worked_out_where_nothing_is_done():
    head = hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], scaling=1.0)
    for name in ("x_query", "q", "k", "v", "scaled", "masked"):
        assert worked_out(head, name, 0, 0) is None


def test_soft_cap_bias_sink_and_temperature_are_part_of_it():
    bias = np.full((5, 5), -0.25, np.float32)
    head = hand_made.random_head(softcap=2.0, bias=bias, sink_logit=0.5, temperature=2.0)
    (cap, before, again, after), units = numbers(worked_out(head, "capped", 1, 2))
    assert (cap, again) == (2, 2)
    assert abs(2 * np.tanh(before / 2) - after) < units[-1]
    (capped, added, total), _ = numbers(worked_out(head, "biased", 1, 2))
    assert (capped, added) == (pytest.approx(after, abs=1e-4), -0.25)
    assert capped + added == pytest.approx(total, abs=1e-9)
    line = worked_out(head, "weights", 1, 2)
    assert f"exp({line[4:].partition(' ')[0]} ÷ 2)" in line
    assert "and the sink the sum is" in line
    exps = np.exp(head.masked[1] / 2)
    assert line.endswith(f"**{percent(exps[2] / (exps.sum() + np.exp(0.25)))}**")


def test_large_scores_are_taken_down_before_exp():
    head = hand_made.head([[100.0]], [[1.0], [0.99]], [[1.0], [2.0]], scaling=1.0)
    line = worked_out(head, "weights", 0, 1)
    assert line.startswith("exp(99.0000 − 100.0000) = 0.3679; over all 2 keys the sum is 1.368.")
    assert "no weight changes" in line


def test_the_share_in_the_update_is_the_weighted_value(case):
    head, query, key = case
    line = worked_out(head, "updated", query, key)
    norm, weight = np.linalg.norm(head.v[key]), head.weights[query, key]
    update = np.linalg.norm(head.weights[query] @ head.v)
    n_seen = int((~head.is_masked[query]).sum())
    assert line == (
        f"‖w·v‖ of *{escaped(head.key_tokens[key])}* = {number(weight, 4)} × {number(norm, 4)} = "
        f"**{number(weight * norm)}**. The {n_seen} rows w·v add up to x′, with norm "
        f"{number(update)}."
    )


def test_a_factor_of_the_models_own_has_all_its_digits():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scaling = float(np.float32(rng.random()))
        head = hand_made.head(*(rng.normal(size=(3, 4)) * 9 for _ in "qkv"), scaling=scaling)
        (score, factor, scaled), units = numbers(worked_out(head, "scaled", 1, 2))
        assert abs(score * factor - scaled) <= 1.01 * units[-1] + 1e-6 * abs(scaled)


def test_numbers_that_are_none_are_written_and_raise_nothing():
    head = hand_made.head([[np.nan, 1]], [[1, 2], [3, 4]], [[1, 2], [3, 4]])
    assert "nan" in worked_out(head, "scores", 0, 1)
