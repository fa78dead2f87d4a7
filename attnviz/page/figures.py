"""Putting a figure on the page."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Literal

import altair
import numpy as np
import pyarrow as pa
import streamlit as st

from attnviz.charts.parts.figure import FIT_WIDTH, NUMBERS, Figure

Width = Literal["stretch", "content"] | int  # px


def show_figure(
    figure: Figure | altair.LayerChart,
    key: str,
    alt: str,
    *,
    words: str = "",
    width: Width = "stretch",
    on_select: Callable[[], None] | None = None,
    selection_mode: Sequence[str] = (),
) -> None:
    """A figure goes to the browser as it is: its structure was checked when it was built.

    Its numbers go beside it. As long as the specification and `alt` stay the same, the browser
    keeps the drawing and takes new numbers into it: `alt` says what is to be seen, not how large
    it is. That is said in `words`, for those who do not see it, unless the page says it anyway.
    `selection_mode` names the selections that are reported; without it all are, where there
    is an `on_select` to report them to.
    """
    shown = st.session_state.get(_SHOWN)
    if shown is not None and not selection_mode:  # a whole view is drawn again with its clicks
        shown[alt] = key, figure
    if not isinstance(figure, Figure):
        with st.container(key=key):
            st.altair_chart(figure, key=f"{key}_chart", alt=alt, width=width)
        return
    spec, numbers = figure.with_data()
    width_of_number = np.float32 if figure.is_rounded else np.float64
    if isinstance(width, int):  # so wide whatever its place is, which may be enlarged as a whole
        spec |= {"width": width, "autosize": FIT_WIDTH["autosize"]}
        width = "content"
    spec["datasets"] = {NUMBERS: pa.table({"v": np.array(numbers, width_of_number)})}
    if on_select is None:
        with st.container(key=key):  # a chart that reports nothing has no name of its own
            st.vega_lite_chart(spec=spec, key=f"{key}_chart", alt=alt, width=width)
        return
    with st.container(gap=None):
        if words:
            st.html(f'<p style="position: absolute; clip-path: inset(50%)">{escape(words)}</p>')
        st.vega_lite_chart(
            spec=spec,
            key=key,
            alt=alt,
            width=width,
            on_select=on_select,
            selection_mode=selection_mode or None,
        )


_SHOWN = "_figures_shown"


def begin_run(*, are_kept: bool) -> None:
    """At the top of the page: no figure is shown yet; those to come are kept, or not."""
    st.session_state[_SHOWN] = {} if are_kept else None


def shown() -> dict[str, tuple[str, Figure | altair.LayerChart]]:
    """The keys and figures that this run has shown so far, by what they are, but no whole views."""
    return dict(st.session_state.get(_SHOWN) or {})
