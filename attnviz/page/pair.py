"""The query and the key token that are followed, chosen from lists or by a click on a cell."""

from dataclasses import dataclass

import streamlit as st

from attnviz.charts.matrix import PICKED
from attnviz.charts.window import MAX_TOKENS
from attnviz.page import links
from attnviz.page.controls import choose_token
from attnviz.results import HeadTrace, Trace
from attnviz.steps import Convention
from attnviz.tokens import Tokens


@dataclass(frozen=True)
class Followed:
    """What the timeline follows: a head, a pair of its tokens, and how it is written."""

    trace: Trace
    head: HeadTrace
    query: int
    key: int
    convention: Convention
    is_large: bool = False  # on a projector: nothing to click


def choose(trace: Trace, head: HeadTrace, *, is_large: bool = False) -> Followed:
    """The pair and the convention, from controls in a row or a column."""
    return Followed(
        trace, head, choose_query(trace, head), choose_key(trace, head), _convention(), is_large
    )


def choose_query(trace: Trace, head: HeadTrace) -> int:
    queries, _ = trace.tokens_of(head.layer, head.kind)
    return choose_token("Query token", "query", head.query_tokens, _words(queries)[1])


def choose_key(trace: Trace, head: HeadTrace) -> int:
    """The key; to begin with the last word that every view shows beside the text's beginning.

    Its first where later words are hidden.
    """
    words = _words(trace.tokens_of(head.layer, head.kind)[1])
    first, second, *_, last = 2 * ([word for word in words if word < MAX_TOKENS] or words)
    is_causal = head.kind in ("self", "decoder") and bool(head.is_masked[first, second])
    return choose_token("Key token", "key", head.key_tokens, first if is_causal else last)


def _convention() -> Convention:
    """Whether a query is a row of the weights, or a column as in the book."""
    is_columns = st.toggle(
        "Columns sum to 1 (wⱼᵢ)",
        key="columns",
        bind="query-params",
        help="Off: weights[i, j], each query a row that sums to 1, as in code. On: wⱼᵢ, the key's "
        "index first and each query a column that sums to 1, as in “Natural Language Processing "
        "with Transformers”.",
    )
    links.check_switch("columns", "Columns sum to 1", is_columns)
    return "columns" if is_columns else "rows"


def _words(tokens: Tokens) -> list[int]:
    """The positions of the text's own tokens; at least two, so that a second can be taken."""
    words = [place for place, special in enumerate(tokens.is_special) if not special]
    return words * 2 if len(words) == 1 else words or [0, 0]


def picked(selection: dict, axes: tuple[str, str]) -> dict[str, int]:
    """What a click on a cell says about the pair: {"query": 2, "key": 5}, or a part of it."""
    names = {"query_pos": "query", "key_pos": "key"}
    chosen: dict[str, int] = {}
    for point in selection.get(PICKED) or []:
        for axis, field in zip(axes, ("row", "column"), strict=True):
            if axis in names and isinstance(point.get(field), int):
                chosen[names[axis]] = point[field]
    return chosen


def follow_click(chart_key: str, axes: tuple[str, str]) -> None:
    """Take a click on a cell over into the pair; a chart's callback."""
    for name, position in picked(st.session_state[chart_key].selection, axes).items():
        st.session_state[name] = position
