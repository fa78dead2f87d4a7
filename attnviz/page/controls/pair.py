"""The query and the key token that are followed, chosen from lists or by a click on a cell."""

from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from attnviz.attention.explained.sentences import given_to
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention
from attnviz.attention.trace import Trace
from attnviz.charts.matrix import PICKED, Cells, Large
from attnviz.charts.parts.window import MAX_TOKENS, Window, strongest_outside
from attnviz.page.controls import links
from attnviz.page.controls.sidebar import choose_token, opening_of

LARGE: dict[str, str] = {
    "maximum": "blocks: maximum",
    "mean": "blocks: mean",
    "window": "exact near pair",
}


Place = Literal["page", "talk", "slide"]


@dataclass(frozen=True)
class Followed:
    """What the timeline follows: a head, a pair of its tokens, and how it is written."""

    trace: Trace
    head: HeadTrace
    query: int
    key: int
    convention: Convention
    large: Large = "maximum"  # how a matrix is drawn that is too large for a screen
    place: Place = "page"

    @property
    def is_large(self) -> bool:
        """Whether it is for a projector or a slide: nothing to click."""
        return self.place != "page"


def choose(trace: Trace, head: HeadTrace, place: Place = "page") -> Followed:
    """The pair and the convention, from controls in a row or a column."""
    query, key = choose_tokens(trace, head, are_beside=place == "page")
    with st.popover("Options", icon=":material/tune:", key="steps_options", width="content"):
        convention, large = _convention(), _large(head)
    return Followed(trace, head, query, key, convention, large, place)


def choose_tokens(trace: Trace, head: HeadTrace, *, are_beside: bool = False) -> tuple[int, int]:
    """The positions of the query and the key token; their labels may stand beside the lists."""
    start = opening_of(trace, head.kind)
    query, key = start.query, start.key
    return (
        choose_token("Query token", "query", head.query_tokens, query, is_beside=are_beside),
        choose_token("Key token", "key", head.key_tokens, key, is_beside=are_beside),
    )


def _convention() -> Convention:
    """Whether a query is a row of the weights, or a column as in the book."""
    links.keep("columns", ["true"] if st.session_state.get("columns") else [])
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


def _large(head: HeadTrace) -> Large:
    """How matrices of long texts are drawn; of short ones there is nothing to choose."""
    if max(len(head.query_tokens), len(head.key_tokens)) <= MAX_TOKENS:
        return "maximum"
    links.respell("large", LARGE)
    large = st.session_state.get("large", "maximum")
    links.keep("large", [] if large == "maximum" else [LARGE[large]])
    chosen: Any = st.selectbox(
        "Large matrices",
        list(LARGE),
        format_func=LARGE.__getitem__,
        key="large",
        bind="query-params",
        on_change=links.forget_note,
        args=("large",),
        help=f"More than {MAX_TOKENS} tokens do not fit on a screen. With blocks, each cell stands "
        "for several values, and a click follows the strongest of them; for x, q, k, v and the "
        "update, which have signs, the maximum is the value largest in magnitude. Exact: "
        f"{MAX_TOKENS} queries and keys around the pair.",
    )
    links.check("large", "large matrices", list(LARGE.values()), LARGE[chosen])
    return chosen


def show_outside(head: HeadTrace, query: int, shown: Window) -> None:
    """What a query gives to keys that a window does not show, if there are any."""
    if outside := strongest_outside(head.weights[query], shown):
        st.caption(f"{given_to(head, query, outside)}: choose one as key token to show it.")


def picked(selection: dict, axes: tuple[str, str], cells: Cells) -> dict[str, int]:
    """What a click on a drawn cell says about the pair: {"query": 2, "key": 5}, or a part of it."""
    names = {"query_pos": "query", "key_pos": "key"}
    chosen: dict[str, int] = {}
    for point in selection.get(PICKED) or []:
        place = point.get("row"), point.get("column")
        cell = cells.at(*place) if all(isinstance(number, int) for number in place) else None
        if cell is not None:
            at = zip(axes, cell, strict=True)
            chosen = {names[axis]: position for axis, position in at if axis in names}
    return chosen


def follow_click(chart_key: str, axes: tuple[str, str], cells: Cells) -> None:
    """Take a click on a cell over into the pair; a chart's callback."""
    for name, position in picked(st.session_state[chart_key].selection, axes, cells).items():
        st.session_state[name] = position
