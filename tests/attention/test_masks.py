"""Why a mask hides a cell: a pattern is named only where every cell fits it."""

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention.masks import (
    EVERYWHERE,
    LATER,
    NOTHING_SEEN,
    OTHER,
    OUTSIDE,
    PADDING,
    ROW_OF_PADDING,
    SEEN,
    hiding,
)
from tests.support import tiny_models

N = 7
behind = np.arange(N)[:, None] - np.arange(N)
CAUSAL = behind < 0


def kinds(found):
    return set(np.unique(found.codes).tolist())


def test_a_mask_that_hides_nothing_has_no_reasons():
    found = hiding(np.zeros((N, N), bool))
    assert kinds(found) == {SEEN}
    assert (found.before, found.after, found.counts) == (None, None, {})


def test_later_keys_and_those_further_back_than_the_window_are_told_apart():
    found = hiding(CAUSAL | (behind > 3))
    assert (found.codes[behind < 0] == LATER).all()
    assert (found.codes[behind > 3] == OUTSIDE).all()
    assert (found.before, found.after) == (3, None)
    assert found.counts == {LATER: 21, OUTSIDE: 6}


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3)])
def test_a_window_on_both_sides_is_no_causal_mask(before, after):
    found = hiding((behind > before) | (-after > behind))
    assert kinds(found) == {SEEN, OUTSIDE}
    assert (found.before, found.after) == (before, after)


def test_chunks_blocks_global_tokens_and_sparse_keys_are_no_window():
    chunk = np.arange(N) // 3
    chunked = CAUSAL | (chunk[:, None] != chunk)
    with_global = (behind > 1) | (behind < -1)
    with_global[0] = with_global[:, 0] = False
    sparse = CAUSAL.copy()
    sparse[5, 1] = sparse[6, 2] = sparse[6, 4] = True
    one_row = CAUSAL.copy()
    one_row[6, 0] = True  # a window, or the one key that was not chosen
    for mask in (chunked, with_global, sparse, one_row):
        found = hiding(mask)
        assert OTHER in kinds(found)
        assert OUTSIDE not in kinds(found)
        assert (found.before, found.after) == (None, None)
    assert (hiding(chunked).codes[CAUSAL] == LATER).all()
    # A prefix that is seen both ways: what comes later is not hidden for coming later.
    prefix = CAUSAL.copy()
    prefix[:3, :3] = False
    assert kinds(hiding(prefix)) == {SEEN, OTHER}


@pytest.mark.parametrize("padded", [slice(0, 2), slice(5, 7)])
@pytest.mark.parametrize("window", [99, 1])
def test_padding_is_no_part_of_a_pattern(padded, window):
    is_padding = np.zeros(N, bool)
    is_padding[padded] = True
    mask = CAUSAL | (behind > window) | is_padding
    found = hiding(mask, is_padding, is_padding)
    real = ~is_padding
    assert (found.codes[padded] == ROW_OF_PADDING).all()
    assert (found.codes[real][:, padded] == PADDING).all()
    expected = np.where(CAUSAL, LATER, np.where(behind > window, OUTSIDE, SEEN))
    np.testing.assert_array_equal(found.codes[np.ix_(real, real)], expected[np.ix_(real, real)])
    assert found.before == (1 if window == 1 else None)


def test_what_no_query_sees_and_a_query_that_sees_nothing_are_named_as_that():
    mask = CAUSAL.copy()
    mask[:, 3] = True
    mask[2] = True
    found = hiding(mask)
    assert (found.codes[2] == NOTHING_SEEN).all()
    assert (np.delete(found.codes, 2, axis=0)[:, 3] == EVERYWHERE).all()
    assert found.codes[0, 1] == LATER


def test_of_two_texts_nothing_is_later():
    assert kinds(hiding(CAUSAL, is_of_one_text=False)) == {SEEN, OTHER}
    assert kinds(hiding(CAUSAL[:, :4])) == {SEEN, OTHER}


# Of models


def head_of(model_type, layer=0, padded=None, **changes):
    model = tiny_models.build(model_type, **changes)
    ids = tiny_models.random_ids()
    attention_mask = torch.ones_like(ids)
    if padded is not None:
        attention_mask[0, padded] = 0
    inputs = {"input_ids": ids, "attention_mask": attention_mask}
    return attnviz.trace_inputs(model, inputs).head(layer, 0)


@pytest.mark.parametrize(
    ("model_type", "layer", "before", "after", "kinds_there"),
    [
        ("gpt2", 0, None, None, {SEEN, LATER}),
        ("mistral", 0, 3, None, {SEEN, LATER, OUTSIDE}),
        ("gemma2", 0, 3, None, {SEEN, LATER, OUTSIDE}),
        ("modernbert", 1, 2, 2, {SEEN, OUTSIDE}),
        ("bert", 0, None, None, {SEEN}),
    ],
)
def test_the_masks_of_models(model_type, layer, before, after, kinds_there):
    found = head_of(model_type, layer).hiding
    assert (found.before, found.after) == (before, after)
    assert kinds(found) == kinds_there


@pytest.mark.parametrize("model_type", ["bert", "mistral"])
@pytest.mark.parametrize("padded", [slice(0, 3), slice(6, 9)])
def test_padding_is_known_from_the_attention_mask(model_type, padded):
    head = head_of(model_type, padded=padded)
    is_padding = np.zeros(9, bool)
    is_padding[padded] = True
    np.testing.assert_array_equal(head.key_is_padding, is_padding)
    np.testing.assert_array_equal(head.is_meaningless, is_padding)
    codes = head.hiding.codes
    assert (codes[is_padding] == ROW_OF_PADDING).all()
    assert (codes[np.ix_(~is_padding, is_padding)] == PADDING).all()
    steps = {step.name: step for step in head.steps}
    for name in ("masked", "weights", "updated", "output"):
        assert steps[name].is_hidden[is_padding].all()
    assert steps["q"].is_hidden is None
