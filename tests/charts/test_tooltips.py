"""What is said of a number where the pointer is: each title names exactly what its number is."""

import re

import pytest

from tests.support.figures import FIGURES

# What a field's expression reads, by the title that it has. A matrix names its fields themselves.
READS = {
    "query token": r"(query_names|(x_query|q|scores|scaled|masked|weights|updated|output"
    r"|before|after|difference)_rows|rows_difference)\[",
    "key token": r"(key_names|[kv]_rows|columns_difference|share_tokens|strip_columns)\["
    r"|\((scores|scaled|masked|weights|before|after|difference)_columns",
    "weight": r"(weights|strips|tile_weight)\[",
    "weight w": r"(weights|share_weight)\[",
    "q": r"(Q|q)\[",
    "k": r"(K|k)\[",
    "v": r"(V|v)\[",
    "q × k": r"Q\[.*\] \* K\[|shares_product\[",
    "w · v": r"weights\[.*\] \* V\[|sum_values\[",
    "w·v": r"share_bands\[",
    "sum of": r"sum_names\[",
    "x": r"x_query_row\[",
    "x, most extreme": r"x_query\[",
    "output, most extreme": r"output\[",
    "scores": r"scores\[",
    "masked": r"masked\[",
    "weights": r"(weights|before|after)\[",
    "difference": r"difference\[",
    "updated": r"updated\[",
    "x′": r"update_strips\[",
    "‖v‖": r"share_value_norm\[",
    "‖w·v‖": r"share_share_norm\[",
    "cos(x′, v)": r"share_cosine\[",
    "‖x′ − v‖": r"share_distance\[",
    "share of q · k": r"shares_share\[",
    "running sum": r"shares_running\[",
    "weight in A": r"datum\.a\b",
    "weight in B": r"datum\.b\b",
    "B − A": r"datum\.difference\b",
    "entropy, bits": r"(tile_entropy|point_x)\[",
    "mean distance, tokens": r"(tile_distance|point_y)\[",
    "share on the first token": r"tile_first\[",
    "share on special tokens": r"tile_special\[",
    "layer": r"(tile|point)_layer\[",
    "rank": r"tile_rank\[",
    "kind": r"row_kinds\[",
    "row": r"strip_rows\[",
    "dimension of x (d_model)": r"datum\.(column|line)\b",
    "dimension of the output (d_model)": r"datum\.(column|line)\b",
    "token": r"(tokens_[ab]|x_query_rows)\[",
}
# Of several layers, which read what the layer before them has, or that count.
HEADS = r"strongest\[|datum\.place|(tile|point)_head\["
DIMENSIONS = r"dimensions\[|datum\.slot|sequence\(|shares_dimension\[|strip_columns\["
READS |= {
    "head": HEADS,
    "dimension": DIMENSIONS,
    "dimension (d_value)": DIMENSIONS,
    "dimension (d_head)": DIMENSIONS,
    "scaled": r"scaled\[|datum\.v\b",
    "q · k": r"datum\.v\b",
}
# Said in words, or read from rows of data that have the title's own name.
PLAIN = {"it is", "entropy of", "factor", "bits", "position"}


def said(specification, before=()):
    """Each title, and the expression that its number comes from; None where it is in the data."""
    transforms = (*before, *specification.get("transform", ()))
    for parts in ("layer", "hconcat", "vconcat"):
        for part in specification.get(parts, ()):
            yield from said(part, transforms)
    mark = specification.get("mark", {})
    tooltip = specification.get("encoding", {}).get("tooltip") or (
        mark.get("tooltip") if isinstance(mark, dict) else None
    )
    made = {one["as"]: one["calculate"] for one in transforms if "calculate" in one}
    if isinstance(tooltip, dict):  # all fields, by their own names
        yield from made.items()
    for one in tooltip if isinstance(tooltip, list) else ():
        yield one.get("title", one["field"]), made.get(one["field"])


@pytest.mark.parametrize("kind", FIGURES)
def test_a_title_names_the_number_that_is_read(kind, sentence_trace):
    found = set(said(FIGURES[kind](sentence_trace, sentence_trace.head(0, 8)).to_dict()))
    assert found
    for title, expression in found:
        if title in PLAIN:
            continue
        if expression is None:
            assert title == "head"
        else:
            assert re.search(READS[title], expression), (title, expression)


def test_every_title_is_said_somewhere(sentence_trace):
    """What no figure says any more leaves the table."""
    head = sentence_trace.head(0, 8)
    titles = {
        title
        for make in FIGURES.values()
        for title, _ in said(make(sentence_trace, head).to_dict())
    }
    assert {*READS, *PLAIN} - titles == set()
