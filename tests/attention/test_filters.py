"""Filters: what is left of a trace, and that it is still true."""

import dataclasses

import numpy as np
import pytest
import torch

import attnviz
from attnviz import heads
from attnviz.attention import filters
from attnviz.attention.trace import Trace
from tests.support import tiny_models

TEXT = "the unbelievable dragonflies like arrows"


@pytest.fixture(scope="module")
def trace(minilm):
    return attnviz.trace(*minilm, TEXT)


@pytest.fixture(scope="module")
def pair(minilm):
    return attnviz.trace(*minilm, "the cat sat", pair="a kitten rested here")


@pytest.fixture(scope="module")
def tiny_causal():
    """A decoder with two key and value heads for its four query heads."""
    model = tiny_models.build("llama")
    names = ["the", "dragon", "##fly", "like", "##s", "it"]
    inputs = {"input_ids": torch.tensor([[5, 17, 33, 8, 60, 41]])}
    return attnviz.trace_inputs(model, inputs, names)


def weights(trace: Trace, layer=2, head=7):
    return trace.head(layer, head).weights


def own(trace: Trace, layer=2, head=7):
    return trace.layer(layer).own_weights[head]


def test_hidden_special_tokens_take_their_weight_with_them(trace):
    less = filters.hide_special(trace)
    assert less.head(2, 7).key_tokens == trace.tokens[1:-1]
    np.testing.assert_array_equal(weights(less), own(trace)[1:-1, 1:-1])
    left_out = own(trace)[1:-1, [0, -1]].sum(axis=1)
    np.testing.assert_allclose(less.head(2, 7).left_out, left_out, atol=1e-6)
    assert (less.head(2, 7).sink == 0).all()
    assert left_out.min() > 0.1
    assert less.head(2, 7).notes == ("special tokens hidden",)


def test_renormalised_rows_are_the_softmax_of_the_keys_that_are_left(trace):
    less = filters.hide_special(trace, renormalise=True)
    masked = trace.head(2, 7).masked[1:-1, 1:-1]
    exp = np.exp(masked - masked.max(axis=1, keepdims=True))
    np.testing.assert_allclose(weights(less), exp / exp.sum(axis=1, keepdims=True), atol=1e-5)
    assert less.head(2, 7).notes == ("special tokens hidden, rows renormalised",)


@pytest.mark.parametrize("renormalise", [False, True])
def test_the_update_is_what_the_keys_that_are_left_add(trace, renormalise):
    head = filters.hide_special(trace, renormalise=renormalise).head(2, 7)
    np.testing.assert_allclose(head.updated, head.weights @ head.v, atol=1e-5)
    np.testing.assert_array_equal(head.v, trace.head(2, 7).v[1:-1])
    assert head.output is None
    assert "filtered" in head.no_output_because


def test_the_trace_that_was_given_stays_as_it_is(trace):
    before = own(trace).copy(), trace.head(2, 7).key_tokens
    filters.in_words(filters.hide_special(trace, renormalise=True)).head(2, 7)
    np.testing.assert_array_equal(own(trace), before[0])
    assert trace.head(2, 7).key_tokens == before[1]
    assert trace.head(2, 7).notes == ()


def test_chosen_tokens_are_hidden_on_their_own_side(trace):
    less = filters.hide_tokens(trace, keys=[1, 3], queries=[0])
    np.testing.assert_array_equal(weights(less), np.delete(own(trace), [1, 3], axis=1)[1:])
    assert less.head(0, 0).notes == ("the, dragon, [CLS] hidden",)


def test_a_filter_after_another_goes_by_the_texts_own_positions(trace):
    less = filters.hide_tokens(filters.hide_special(trace), keys=[1])
    assert less.head(0, 0).key_tokens == trace.tokens[2:-1]
    queries, keys = less.tokens_of(0)
    assert keys.place_of(2) == 0
    assert keys.place_of(1) is None
    assert queries.place_of(1) == 0


def test_a_position_that_is_not_there_is_refused(trace):
    with pytest.raises(attnviz.InputError, match="There is no key token 99"):
        filters.hide_tokens(trace, keys=[99]).head(0, 0)
    with pytest.raises(attnviz.InputError, match="There is no query token 0"):
        filters.hide_tokens(filters.hide_special(trace), queries=[0]).head(0, 0)


def test_all_tokens_cannot_be_hidden(trace):
    with pytest.raises(attnviz.InputError, match="No key token is left"):
        filters.hide_tokens(trace, keys=range(len(trace.tokens))).head(0, 0)


def test_of_a_pair_one_text_asks_and_the_other_answers(pair):
    tokens, _ = pair.tokens_of(0)
    a, b = (np.array([token.segment == of for token in tokens]) for of in (0, 1))
    less = filters.only_segments(pair, 0, 1)
    np.testing.assert_array_equal(weights(less, 5, 4), own(pair, 5, 4)[a][:, b])
    assert less.head(5, 4).query_tokens == ("the", "cat", "sat")
    assert less.head(5, 4).key_tokens == ("a", "kitten", "rested", "here")
    assert less.head(5, 4).notes == ("only text A → text B",)
    assert less.head(5, 4).weights.sum(axis=1).max() < 1
    renormalised = filters.only_segments(pair, 0, 1, renormalise=True)
    np.testing.assert_allclose(weights(renormalised, 5, 4).sum(axis=1), 1, atol=1e-6)


def test_a_row_that_keeps_nothing_stays_0(tiny_causal):
    less = filters.hide_tokens(tiny_causal, keys=[0], renormalise=True)
    head = less.head(0, 0)
    assert head.weights[0].sum() == 0
    np.testing.assert_allclose(head.weights[1:].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(head.updated[0], 0)


def test_words_take_the_weight_of_their_pieces_and_give_their_mean(trace):
    merged = filters.in_words(trace).head(2, 7)
    assert merged.key_tokens == (
        *("[CLS]", "the", "unbelievable", "dragonflies"),
        *("like", "arrows", "[SEP]"),
    )
    pieces = [(0,), (1,), (2,), (3, 4), (5,), (6,), (7,)]
    for i, word in enumerate(pieces):
        for j, other in enumerate(pieces):
            expected = own(trace)[np.ix_(word, other)].sum(axis=1).mean()
            assert merged.weights[i, j] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(merged.weights.sum(axis=1), 1, atol=1e-5)
    assert "summed" in merged.notes[0]
    assert "averaged" in merged.notes[0]


def test_scores_and_update_of_a_word_are_the_means_of_its_pieces(trace):
    head, merged = trace.head(2, 7), filters.in_words(trace).head(2, 7)
    assert merged.scores[3, 3] == pytest.approx(head.scores[3:5, 3:5].mean(), rel=1e-4)
    np.testing.assert_allclose(merged.updated[3], head.updated[3:5].mean(axis=0), atol=1e-5)


def test_a_word_is_hidden_where_all_its_pieces_are(tiny_causal):
    head = filters.in_words(tiny_causal).head(0, 0)
    assert head.key_tokens == ("the", "dragonfly", "likes", "it")
    np.testing.assert_array_equal(head.is_masked, ~np.tri(4, dtype=bool))
    np.testing.assert_array_equal(head.weights[head.is_masked], 0)
    np.testing.assert_allclose(head.weights.sum(axis=1), 1, atol=1e-5)


def test_pieces_on_both_sides_of_a_hidden_word_stay_apart(minilm):
    trace = attnviz.trace(*minilm, "the unbelievable dragonflies like arrows")
    less = filters.in_words(filters.hide_tokens(trace, keys=[3], queries=[3]))
    assert less.head(0, 0).key_tokens[2:4] == ("unbelievable", "##flies")


def test_a_sink_stays_the_models_own_and_is_no_hidden_token():
    model = tiny_models.build("gpt_oss")
    inputs = {"input_ids": torch.tensor([[5, 17, 33, 8, 60]])}
    trace = attnviz.trace_inputs(model, inputs, ["a", "##b", "c", "d", "##e"])
    before = trace.head(0, 0)
    less = filters.hide_tokens(trace, keys=[0]).head(0, 0)
    np.testing.assert_allclose(less.sink, before.sink, atol=1e-5)
    np.testing.assert_allclose(less.left_out, before.own_weights[:, 0], atol=1e-6)
    words = filters.in_words(trace).head(0, 0)
    expected = [before.sink[:2].mean(), before.sink[2], before.sink[3:].mean()]
    np.testing.assert_allclose(words.sink, expected, atol=1e-5)
    assert words.left_out is None
    renormalised = filters.hide_tokens(trace, keys=[0], renormalise=True).head(0, 0)
    np.testing.assert_allclose(renormalised.weights[1:].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(renormalised.sink[1:], 0, atol=1e-5)


def test_a_text_without_pieces_stays_as_it_is(sentence_trace):
    assert filters.in_words(sentence_trace).layer(0) is sentence_trace.layer(0)


@pytest.mark.parametrize("top", [1, 3, 100])
def test_the_strongest_keys_have_a_line(trace, top):
    head = filters.with_lines(trace, top=top).head(2, 7)
    assert (head.has_line.sum(axis=1) == min(top, 8)).all()
    weakest = np.where(head.has_line, head.own_weights, 2).min(axis=1)
    assert (np.where(head.has_line, 0, head.own_weights).max(axis=1) <= weakest).all()
    np.testing.assert_array_equal(head.weights, trace.head(2, 7).weights)
    assert filters.in_words(filters.with_lines(trace, top=top)).head(2, 7).has_line is None


def test_of_equal_keys_the_first_have_a_line(trace):
    call = trace.layer(0)
    even = dataclasses.replace(call, weights_from=np.full_like(call.own_weights, 1 / 8))
    less = filters.with_lines(dataclasses.replace(trace, calls={("self", 0): even}), top=2)
    assert (less.layer(0).has_line.sum(axis=-1) == 2).all()
    assert less.layer(0).has_line[..., :2].all()


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_lines_make_up_the_share_that_is_asked_for_and_no_more(trace, share):
    head = filters.with_lines(trace, share=share).head(4, 1)
    for row, has_line in zip(head.own_weights, head.has_line, strict=True):
        drawn = np.sort(row[has_line])[::-1]
        assert drawn.sum() >= share - 1e-5
        assert drawn[:-1].sum() < share


def test_no_lines_filter_is_no_filter(trace):
    assert filters.with_lines(trace) is trace


@pytest.mark.parametrize("wrong", [{"top": 0}, {"share": 0.0}, {"share": 1.5}])
def test_lines_that_are_not_possible_are_refused(trace, wrong):
    with pytest.raises(attnviz.InputError, match="Hint"):
        filters.with_lines(trace, **wrong)


def test_only_the_layers_that_are_asked_for_are_filtered(trace, monkeypatch):
    calls = []
    before = filters._only
    monkeypatch.setattr(filters, "_only", lambda *a: calls.append(a[0]) or before(*a))
    less = filters.hide_special(trace)
    assert calls == []
    less.head(3, 0), less.head(3, 5)
    assert calls == [trace.layer(3)]


def test_grouped_query_heads_keep_their_values(tiny_causal):
    head = filters.hide_tokens(tiny_causal, keys=[1]).head(0, 3)
    assert head.key_value_head == 1
    np.testing.assert_allclose(head.updated, head.weights @ head.v, atol=1e-5)


# Measures


def test_measures_are_those_of_the_models_own_weights(trace):
    table = heads.measures(trace)
    assert len(table) == 72
    row = table[(table["layer"] == 2) & (table["head"] == 7)].iloc[0]
    w = own(trace).astype(np.float64)
    n = len(w)
    assert row["entropy"] == pytest.approx(-(w * np.log2(w)).sum() / n, rel=1e-6)
    far = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    assert row["distance"] == pytest.approx((w * far).sum() / n, rel=1e-5)
    assert row["first"] == pytest.approx(w[:, 0].mean(), rel=1e-6)
    assert row["special"] == pytest.approx(w[:, [0, -1]].sum(axis=1).mean(), rel=1e-6)


def test_entropy_is_that_of_what_is_left(trace):
    less = heads.measures(filters.hide_special(trace))
    renormalised = heads.measures(filters.hide_special(trace, renormalise=True))
    np.testing.assert_allclose(less["entropy"], renormalised["entropy"], rtol=1e-4)
    assert less["first"].isna().all()
    assert less["special"].isna().all()


def test_distances_in_a_filtered_trace_are_still_those_of_the_text(trace):
    less = filters.hide_tokens(trace, keys=[1, 2, 3], queries=[1, 2, 3])
    table = heads.measures(less)
    row = table[(table["layer"] == 2) & (table["head"] == 7)].iloc[0]
    places = np.array([0, 4, 5, 6, 7])
    w = own(trace)[np.ix_(places, places)]
    far = np.abs(np.subtract.outer(places, places))
    assert row["distance"] == pytest.approx((w * far).sum() / w.sum(), rel=1e-5)


def test_every_measure_has_a_column_and_a_meaning(trace):
    table = heads.measures(trace)
    not_here = {"punctuation", "wv_punctuation", "induction"}  # in this text, and without a pass
    for measure in heads.MEASURES:
        assert table[measure.name].isna().all() == (measure.name in not_here)
        assert measure.meaning
        assert measure.formula
        assert measure.source
