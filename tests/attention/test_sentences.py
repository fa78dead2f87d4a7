"""Every number in a sentence is recomputed from the trace."""

import re

import numpy as np
import pytest

from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import (
    changes,
    explanation,
    headline,
    look_for,
    sentence,
)
from attnviz.attention.steps import step_called, steps_of
from attnviz.attention.what_if import Change
from attnviz.charts.neurons import _softmax_input
from attnviz.charts.overview_layout import panels_of
from attnviz.page.views.why_scale import derivatives
from attnviz.text.phrases import number, ordinal, percent, token
from tests.support import hand_made


def said(head, name, query, key):
    step = next(step for step in head.steps if step.name == name)
    return sentence(head, step, query, key)


def step_of(head, number):
    return next(step for step in head.steps if step.number == number)


def hint(head):
    return look_for(head, step_of(head, "3b"))


def with_output(**changes):
    rng = np.random.default_rng(7)
    weight = rng.normal(size=(4, 3)).astype(np.float32)
    return hand_made.random_head(output_weight=weight, **changes)


@pytest.fixture(params=range(6))
def case(request, sentence_trace):
    """A head, a query and a key token: of the model, and made by hand with a causal mask."""
    if request.param < 3:
        return sentence_trace.head(request.param, 8), 2, request.param + 2
    seed = request.param
    return hand_made.random_head(seed=seed, causal=True), 3, seed - 3


def names(head, query, key):
    return token(head.query_tokens[query]), token(head.key_tokens[key])


def test_rows_are_described_by_length_norm_and_largest_number(case):
    head, query, key = case
    for name, called, position, tokens in (
        ("x_query", "embedding", query, head.query_tokens),
        ("q", "query", query, head.query_tokens),
        ("k", "key", key, head.key_tokens),
        ("v", "value", key, head.key_tokens),
    ):
        row = getattr(head, name)[position]
        largest = max(range(len(row)), key=lambda d: abs(row[d]))
        assert said(head, name, query, key) == (
            f"The {called} of {token(tokens[position])}: {len(row)} numbers, norm "
            f"{number(sum(float(x) ** 2 for x in row) ** 0.5)}; the largest in magnitude is "
            f"{number(row[largest])}, in dimension {largest}."
        )


def test_a_score_has_a_place_between_the_highest_and_the_lowest(case):
    head, query, key = case
    row = head.q[query] @ head.k.T
    query_name, key_name = names(head, query, key)
    highest, lowest = row.argmax(), row.argmin()
    expected = (
        f"{query_name} scores highest with {token(head.key_tokens[highest])}, "
        f"{number(row[highest])}, and lowest with {token(head.key_tokens[lowest])}, "
        f"{number(row[lowest])}."
    )
    if head.is_masked[query, highest]:
        expected = f"{expected[:-1]}; the mask will hide the highest."
    if key not in (highest, lowest):
        place = sorted(row, reverse=True).index(row[key]) + 1
        expected += f" {key_name} comes {ordinal(place)} of {len(row)}, with {number(row[key])}."
    assert said(head, "scores", query, key) == expected


def test_scaling_is_said_by_what_it_does_to_the_spread(case):
    head, query, key = case
    scores, d_head = head.q @ head.k.T, head.q.shape[1]
    assert said(head, "scaled", query, key) == (
        f"Multiplying by 1/√{d_head} = {number(head.scaling)} brings the standard deviation of all "
        f"scores from {number(scores.std())} to {number(scores.std() * head.scaling)}. The order "
        "of the keys stays the same."
    )


def test_no_scaling_is_said_not_shown_as_a_change():
    head = hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], scaling=1.0)
    assert said(head, "scaled", 0, 0).startswith("Nothing changes: this head multiplies")


def test_hidden_keys_are_counted():
    head = hand_made.random_head(causal=True, queries=tuple("abcde"), keys=tuple("abcde"))
    in_all = " In all, 10 of 25 cells are hidden, all after their query."
    assert said(head, "masked", 1, 3) == (
        f"3 of 5 keys are hidden from *b*, all after it; *d* is one of them.{in_all}"
    )
    assert said(head, "masked", 3, 1) == (
        f"1 of 5 keys is hidden from *d*, after it; *b* is not.{in_all}"
    )
    assert said(head, "masked", 4, 0) == f"*e* sees all 5 keys; other queries do not.{in_all}"
    bare = hand_made.random_head()
    assert said(bare, "masked", 0, 0) == "Nothing is hidden here: every query sees every key."


def test_a_window_is_said_by_how_far_it_reaches():
    behind = np.arange(5)[:, None] - np.arange(5)
    hidden = np.finfo(np.float32).min

    def head(is_masked, **changes):
        mask = np.where(is_masked, hidden, 0).astype(np.float32)
        rng = np.random.default_rng(0)
        q, k, v = (rng.normal(size=(5, 4)) for _ in "qkv")
        return hand_made.head(q, k, v, mask=mask, **changes)

    causal = head((behind < 0) | (behind > 1))
    for query, key in np.ndindex(5, 5):
        assert (
            "Each query sees itself and at most the 1 token before it. In all, 16 of 25 cells are "
            "hidden: 10 after their query, 6 outside a window."
        ) in said(causal, "masked", query, key)
    assert said(causal, "masked", 2, 0).startswith(
        "3 of 5 keys are hidden from *q2*: 2 after it, 1 outside its window; *k0* is one of them, "
        "outside its window."
    )
    assert "*k1* is not." in said(causal, "masked", 2, 1)
    both = head(abs(behind) > 2)
    assert "at most 2 tokens on either side." in said(both, "masked", 0, 0)
    uneven = head((behind > 1) | (behind < -2))
    assert "itself, at most 1 token before it and at most 2 tokens after it." in said(
        uneven, "masked", 0, 0
    )
    chosen = head(np.eye(5, dtype=bool)[::-1])
    assert "all by the model's mask" in said(chosen, "masked", 0, 0)


def test_padding_is_said_to_mean_nothing():
    is_padding = np.array([True, False, False, False, False])
    head = hand_made.random_head(query_is_padding=is_padding, key_is_padding=is_padding)
    for name in ("weights", "updated"):
        assert said(head, name, 0, 1) == (
            "*q0* is padding: nothing reads its row, and the numbers in it mean nothing."
        )
        assert "padding" not in said(head, name, 1, 2)


def test_a_sink_takes_part_in_the_softmax_and_is_no_token():
    head = hand_made.random_head(sink_logit=1.5)
    assert said(head, "masked", 1, 2).endswith(
        " The sink, 1.50 for every query, is not a token: it enters the softmax like one more key."
    )
    assert "or the sink" in look_for(head, step_of(head, "3c"))
    assert "sink" not in look_for(hand_made.random_head(), step_of(head, "3b"))


def test_heads_that_share_a_key_and_value_head_are_named():
    head = hand_made.random_head(readers=(4, 5, 6, 7), key_value_head=1)
    assert said(head, "k", 0, 1).endswith("Heads 4 to 7 share this key: key/value head 1.")
    assert said(head, "v", 0, 1).endswith("Heads 4 to 7 share this value: key/value head 1.")
    assert "share" not in said(head, "q", 0, 1)
    assert "share" not in said(hand_made.random_head(readers=(3,)), "k", 0, 1)


def test_the_largest_weight_is_explained_by_its_lead_over_the_next(case):
    head, query, key = case
    query_name, key_name = names(head, query, key)
    scores = np.where(head.is_masked[query], -np.inf, head.masked[query])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    first, second = np.argsort(-scores)[:2]
    what = "masked score" if head.mask is not None else "scaled score"
    expected = (
        f"{query_name} gives {percent(weights[first])} of its attention to "
        f"{token(head.key_tokens[first])}: its {what}, {number(scores[first])}, is "
        f"{number(scores[first] - scores[second])} above the next, "
        f"{token(head.key_tokens[second])}."
    )
    if key != first:
        expected += f" {key_name} gets {percent(weights[key])}."
    assert said(head, "weights", query, key) == expected


def test_a_query_that_sees_one_key_or_none_is_said_to():
    mask = np.zeros((3, 3), np.float32)
    mask[0, 1:] = mask[1, :] = np.finfo(np.float32).min
    head = hand_made.head(np.eye(3), np.eye(3), np.eye(3), mask=mask, keys=("a", "b", "c"))
    assert said(head, "weights", 0, 0) == (
        "*q0* gives 100.0\u00a0% of its attention to *a*, the only key it sees."
    )
    assert said(head, "weights", 0, 2).endswith("*c* gets none: it is hidden.")
    assert "Every key is hidden from *q1*" in said(head, "weights", 1, 0)


def test_soft_cap_bias_and_sink_are_said_where_they_are():
    bias = np.arange(25, dtype=np.float32).reshape(5, 5) / 10
    head = hand_made.random_head(softcap=0.5, bias=bias, sink_logit=0.5)
    capped = 0.5 * np.tanh(head.scaled / 0.5)
    assert said(head, "capped", 1, 2) == (
        f"The soft-cap keeps every score within ±0.500: the largest score, "
        f"{number(head.scaled.max())}, becomes {number(capped.max())}. No score changes by more "
        f"than {number(np.abs(capped - head.scaled).max())}."
    )
    assert said(head, "bias", 1, 2).endswith(
        "For *q1* the bias is largest with *k4*, 0.900; with *k2* it is 0.700."
    )
    without, best = (scores[1].argmax() for scores in (capped, capped + bias))
    assert said(head, "biased", 1, 2) == (
        f"With the bias *q1* scores highest with *k{best}*, {number((capped + bias)[1, best])}"
        + (", as without it." if best == without else f"; without it, with *k{without}*.")
    )
    exps = np.exp((capped + bias)[1])
    share = np.exp(0.5) / (exps.sum() + np.exp(0.5))
    assert f"{percent(share)} go to no token" in said(head, "weights", 1, 2)
    assert "its biased score, " in said(head, "weights", 1, 2)


def test_the_largest_part_of_the_update_is_named(case):
    head, query, key = case
    query_name, key_name = names(head, query, key)
    norms = [np.linalg.norm(head.weights[query, j] * head.v[j]) for j in range(len(head.v))]
    largest = int(np.argmax(norms))
    expected = (
        f"The largest part of the update x′ of {query_name} comes from "
        f"{token(head.key_tokens[largest])}: its w·v has norm {number(norms[largest])}, "
        f"{percent(norms[largest] / sum(norms))} of the sum over all keys."
    )
    if key != largest:
        expected += f" {key_name} adds {percent(norms[key] / sum(norms))}."
    assert said(head, "updated", query, key) == expected


def test_a_heads_share_of_the_output_is_said_by_norm_and_largest_number():
    head = with_output()
    row = head.updated[2] @ head.output_weight
    largest = int(np.abs(row).argmax())
    assert said(head, "output", 2, 0) == (
        f"For *q2* this head adds a row with norm {number(np.linalg.norm(row))} to the "
        f"attention module's output; the largest in magnitude is {number(row[largest])}, in "
        f"dimension {largest} of 3."
    )


def test_every_step_of_every_head_has_words():
    bias = np.zeros((5, 3), np.float32)
    head = with_output(n_keys=3, softcap=2.0, bias=bias, causal=True)
    assert {step.number for step in head.steps} == {
        *("in", "1", "2", "3a", "cap", "bias", "3b", "3c", "4", "beyond")
    }
    for step in head.steps:
        assert headline(step.number)
        assert sentence(head, step, 4, 2)
        for convention in ("rows", "columns"):
            for words in (
                explanation(head, step.number, convention),
                explanation(head, step.number, convention, is_short=True),
                look_for(head, step, convention),
            ):
                assert words
                assert "{" not in words


def test_words_follow_the_convention():
    head = hand_made.random_head(sink_logit=0.0)
    assert "Every row sums to 1, together with the head's sink" in explanation(head, "3c", "rows")
    assert "Every column sums to 1" in explanation(head, "3c", "columns")
    assert "Rows are queries, columns are keys" in explanation(head, "2", "rows")
    assert "Columns are queries, rows are keys" in explanation(head, "2", "columns")
    assert look_for(head, step_of(head, "2"), "rows").startswith("a column of one colour: a key")
    assert look_for(head, step_of(head, "2"), "columns").startswith("a row of one colour: a key")


def test_what_to_look_for_is_true_of_the_picture_beside():
    unchanged, adds = "no change from the picture before.", np.full((5, 5), 0.5, np.float32)
    assert "hatched" in hint(hand_made.random_head(causal=True))
    assert hint(hand_made.random_head()) == unchanged
    assert "the mask adds a number" in hint(hand_made.random_head().replaced(mask=adds))
    assert look_for(hand_made.random_head(), step_of(hand_made.random_head(), "3a")) != unchanged
    bare = hand_made.head(np.eye(2), np.eye(2), np.eye(2), scaling=1.0)
    assert look_for(bare, step_of(bare, "3a")) == unchanged


@pytest.mark.parametrize(
    ("made_of", "name"),
    [
        ({}, "scaled"),
        ({"mask": np.zeros((5, 5), np.float32)}, "scaled"),
        ({"softcap": 1.0}, "capped"),
        ({"softcap": 1.0, "bias": np.zeros((5, 5), np.float32)}, "biased"),
        ({"bias": np.zeros((5, 5), np.float32), "causal": True}, "masked"),
    ],
)
def test_formula_and_words_of_the_softmax_name_the_step_that_feeds_it(made_of, name):
    given = {what: one for what, one in made_of.items() if what != "causal"}
    head = hand_made.random_head(causal="causal" in made_of).replaced(**given)
    for convention in ("rows", "columns"):
        softmax = step_called("softmax", steps_of(head, convention))
        assert set(re.findall(r"\\text{(\w+)}", softmax.formula)) == {name}
        assert softmax.formula_text == f"weights = softmax of {name} over the keys"
    assert f": its {name} score, " in sentence(head, softmax, 1, 2)
    last = {"biased": "+ bias", "masked": "+ mask"}
    assert _softmax_input(head)[-1] == last.get(name, name)


@pytest.mark.parametrize(
    ("scaling", "d_head", "factor"), [(32**-0.5, 32, "1/√32"), (0.2, 32, "0.2"), (1.0, 1, "1")]
)
def test_the_factor_of_the_scores_is_written_one_way_everywhere(scaling, d_head, factor):
    head = hand_made.head(*np.random.default_rng(0).normal(size=(3, 4, d_head)), scaling=scaling)
    [strip] = (panel for panel in panels_of(head) if panel.step.name == "scaled")
    assert strip.operator == f"× {factor}"
    assert step_called("scale", head.steps).formula_text == f"scaled = scores × {factor}"
    assert f"instead of {factor}." in changes(head, Change(scaling=3.0))
    if scaling != 1:
        assert said(head, "scaled", 1, 2).startswith(f"Multiplying by {factor} ")
        assert f" × {factor} = **" in arithmetic(head, strip.step, 1, 2)
        assert f"× {factor}" in derivatives(head, 1, 2).index


def test_ties_and_zeros_are_not_called_highest_or_favourite():
    head = hand_made.head(np.zeros((2, 3)), np.ones((2, 3)), np.zeros((2, 3)))
    assert said(head, "scores", 0, 1) == "*q0* scores the same with every key: 0."
    assert "is no higher than the next" in said(head, "weights", 0, 0)
    assert said(head, "updated", 0, 0) == "The update x′ of *q0* is zero: every value is zero."
    head = hand_made.random_head(bias=np.zeros((5, 5), np.float32))
    assert said(head, "bias", 1, 2).endswith("the bias is 0 with every key that it sees.")


def test_a_bias_is_told_of_keys_that_are_seen():
    bias = -np.abs(np.subtract.outer(np.arange(5), np.arange(5))).astype(np.float32) - 1
    head = hand_made.random_head(bias=bias * np.tri(5, dtype=np.float32), causal=True)
    assert "For *q2* the bias is largest with *k2*, −1.00; with *k0* it is −3.00." in said(
        head, "bias", 2, 0
    )
    assert said(head, "bias", 2, 4).endswith("the bias is largest with *k2*, −1.00.")


def test_a_query_that_sees_nothing_has_no_update_to_speak_of():
    mask = np.full((2, 2), np.finfo(np.float32).min)
    head = hand_made.head(np.eye(2), np.eye(2), np.eye(2), mask=mask)
    for name in ("weights", "updated"):
        assert said(head, name, 0, 1).startswith("Every key is hidden from *q0*")


def test_a_mask_that_adds_without_hiding_is_said_to():
    head = hand_made.head(np.eye(2), np.eye(2), np.eye(2), mask=[[0, -0.5], [0.5, 0]])
    assert said(head, "masked", 0, 1).endswith("Still, the mask adds a number to some scores.")
    assert "no change" not in look_for(head, step_of(head, "3b"))
