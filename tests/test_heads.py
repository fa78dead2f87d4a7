"""Numbers about heads."""

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


def test_a_position_that_is_not_there_is_refused(sentence_trace):
    with pytest.raises(attnviz.InputError, match="query token 7 to a key token 0"):
        heads.linking(sentence_trace, 7, 0)
