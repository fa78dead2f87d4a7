"""Numbers about heads."""

import re

import numpy as np
import pytest

import attnviz
from attnviz import heads


def test_heads_are_ranked_by_the_weight_that_links_a_pair(sentence_trace):
    table = heads.linking(sentence_trace, 2, 5)
    assert list(table.columns) == ["kind", "layer", "head", "weight", "rank"]
    assert len(table) == 72
    assert list(table["rank"]) == list(range(1, 73))
    assert table["weight"].is_monotonic_decreasing
    for row in table.itertuples():
        own = sentence_trace.calls[row.kind, row.layer].own_weights[row[3], 2, 5]
        assert row.weight == pytest.approx(own, abs=1e-6)
    first = table.iloc[0]
    assert (first["layer"], first["head"], round(first["weight"], 2)) == (5, 11, 0.58)


@pytest.mark.parametrize("query", [7, -1, 2.0, None, "</script>\n'\""])
def test_a_position_that_is_not_there_is_refused(sentence_trace, query):
    refused = re.escape(f"query token {query!r} to a key token 0")
    with pytest.raises(attnviz.InputError, match=refused):
        heads.linking(sentence_trace, query, 0)


def test_links_over_texts_are_means_of_what_each_text_gives(minilm, sentence_trace):
    other = attnviz.trace(*minilm, "fruit flies like a banana")
    table = heads.linking_over([(sentence_trace, 2, 5), (other, 2, 5)])
    assert list(table.columns) == [
        *("kind", "layer", "head", "mean", "spread", "n_first", "n_texts", "rank")
    ]
    assert len(table) == 72
    weights = np.array(
        [
            [trace.layer(row.layer).own_weights[row.head, 2, 5] for row in table.itertuples()]
            for trace in (sentence_trace, other)
        ]
    )
    np.testing.assert_allclose(table["mean"], weights.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(table["spread"], abs(weights[0] - weights[1]) / 2, atol=1e-6)
    is_first = weights >= np.sort(weights, axis=1)[:, [-10]]
    np.testing.assert_array_equal(table["n_first"], is_first.sum(axis=0))
    assert (table["n_texts"] == 2).all()
    assert table["mean"].is_monotonic_decreasing
    assert list(table["rank"]) == list(range(1, 73))


def test_links_over_one_text_are_those_of_the_text(sentence_trace):
    alone, over = heads.linking(sentence_trace, 2, 5), heads.linking_over([(sentence_trace, 2, 5)])
    np.testing.assert_allclose(over["mean"], alone["weight"])
    assert (over["spread"] == 0).all()
    assert list(over["n_first"]) == [1] * 10 + [0] * 62


def test_links_over_no_text_are_refused():
    with pytest.raises(attnviz.InputError, match="no text"):
        heads.linking_over([])
