"""Every number in a sentence is recomputed from the trace; nothing typed becomes markup."""

import re

import hand_made
import numpy as np
import pytest
from attnviz.page.walkthrough import GROUPS, pair_sentence
from attnviz.page.wording import bound, escaped, number, percent


def sentence(head, name, query, key):
    step = next(step for step in head.steps if step.name == name)
    return pair_sentence(head, step, query, key)


def numbers(text):
    """The numbers printed in a sentence, as floats."""
    plain = text.replace("\u2212 ", "−").replace("−", "-").replace("+ ", "")
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", plain)]


@pytest.fixture(params=range(6))
def case(request, sentence_trace):
    """A head and a pair, of the model and made by hand."""
    if request.param < 3:
        return sentence_trace.head(request.param, 8), 2, request.param + 2
    seed = request.param
    return hand_made.random_head(d_head=6, seed=seed, causal=True), 3, seed - 3


def close(a, b):
    return a == pytest.approx(b, rel=1e-4, abs=1e-9)


def test_the_products_add_up_to_the_score(case):
    head, query, key = case
    said = sentence(head, "scores", query, key)
    arithmetic = said.split(" = ", 1)[1].split("\n\n")[0]
    terms, _, result = arithmetic.partition(" = **")
    products = np.float64(head.q[query]) * head.k[key]
    order = np.argsort(-np.abs(products))[:3]
    *shown, rest, n_others = numbers(terms)
    assert all(close(a, b) for a, b in zip(shown, products[order], strict=True))
    assert close(rest, products.sum() - products[order].sum()) or abs(rest) < 1e-5
    assert n_others == len(products) - 3
    assert close(numbers(result)[0], head.scores[query, key])
    assert numbers(said.split("\n\n")[1])[1:] == [float(d) for d in order]


def test_the_scaled_score_is_the_score_times_the_scaling(case):
    head, query, key = case
    said = sentence(head, "scaled", query, key)
    first, *_, last = numbers(said.split("\n\n")[0])
    assert close(first, head.scores[query, key])
    assert close(last, head.scaled[query, key])
    assert close(last, first * head.scaling)
    spread = numbers(said.split("\n\n")[1])
    assert close(spread[0], head.scores.std())
    assert close(spread[1], head.scaled.std())


def test_hidden_keys_are_counted(case):
    head, query, key = case
    said = sentence(head, "masked", query, key)
    if not head.is_masked.any():
        assert "Nothing is hidden" in said
        assert close(numbers(said)[0], head.masked[query, key])
    elif head.is_masked[query, key]:
        assert "is **hidden** from" in said
    else:
        assert f"{head.is_masked[query].sum()} of {len(head.key_tokens)} keys are hidden" in said


def test_the_weight_is_a_share_of_the_row(case):
    head, query, key = case
    said = sentence(head, "weights", query, key)
    assert f"**{percent(head.weights[query, key])}**" in said
    most = head.weights[query].argmax()
    if most == key:
        assert "the most of all keys" in said
    else:
        assert f"most, {percent(head.weights[query, most])}, goes to" in said
        assert escaped(head.key_tokens[most]) in said


def test_the_share_in_the_update_is_the_weighted_value(case):
    head, query, key = case
    said = re.sub(r"\*[^*]*\*", "", sentence(head, "updated", query, key))
    weight, share, whole = numbers(said)
    assert close(weight, head.weights[query, key])
    assert close(share, np.linalg.norm(head.weights[query, key] * head.v[key]))
    assert close(whole, np.linalg.norm(head.updated[query]))


def test_rows_are_described_by_their_length_and_largest_number(case):
    head, query, key = case
    for name, position in (("x_query", query), ("q", query), ("k", key), ("v", key)):
        row = getattr(head, name)[position]
        said = sentence(head, name, query, key).split(": ", 1)[1]
        n, length, largest, dimension = numbers(said)
        assert n == len(row)
        assert close(length, np.linalg.norm(row))
        assert dimension == np.abs(row).argmax()
        assert close(largest, row[int(dimension)])


def test_soft_cap_bias_and_sink_are_said_where_they_are():
    head = hand_made.random_head(
        softcap=2.0, bias=np.full((5, 5), -0.25, np.float32), sink_logit=0.5
    )
    two, score, again, capped = numbers(sentence(head, "capped", 1, 2))
    assert two == again == 2
    assert close(score, head.scaled[1, 2])
    assert close(capped, head.capped[1, 2])
    before, bias, after = numbers(sentence(head, "biased", 1, 2))
    assert (close(before, head.capped[1, 2]), bias, close(after, head.biased[1, 2])) == (
        True,
        -0.25,
        True,
    )
    assert f"{percent(head.sink[1])} go to no token" in sentence(head, "weights", 1, 2)


def test_no_scaling_is_said_not_shown_as_a_change():
    head = hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], scaling=1.0)
    assert sentence(head, "scaled", 0, 0) == "This model does not scale: 11 stays **11**."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0, "exactly"),
        (2.1e-7, "within 3e-7"),
        (3e-07, "within 3e-7"),
        (9.5e-7, "within 1e-6"),
        (0.25, "within 3e-1"),
    ],
)
def test_an_error_is_rounded_up_so_that_the_bound_is_true(error, said):
    assert bound(error) == said


def test_every_step_has_a_headline_and_a_sentence():
    head = hand_made.random_head(
        n_keys=3, softcap=2.0, bias=np.zeros((5, 3), np.float32), causal=True
    )
    for step in head.steps:
        assert GROUPS[step.number]
        assert pair_sentence(head, step, 4, 2)


@pytest.mark.parametrize("text", ["*a*", "$x$", ":red[x]", "<b>", "![i](u)", "a_b", "`c`", "\\"])
def test_nothing_typed_becomes_markup(text):
    assert re.sub(r"\\(.)", r"\1", escaped(text)) == text
    assert all(
        c.isalnum() or escaped(text)[i - 1] == "\\" or c == "\\"
        for i, c in enumerate(escaped(text))
    )


def test_numbers_use_the_minus_sign_and_five_digits():
    assert number(-1.234567) == "−1.2346"
    assert number(0) == "0"
    assert percent(0.57295) == "57.3\u00a0%"
