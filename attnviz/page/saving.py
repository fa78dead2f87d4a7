"""Saving the open view as a file."""

from collections.abc import Callable

import altair as alt
import streamlit as st

from attnviz import export
from attnviz.charts.palette import DisplayMode
from attnviz.page import loading
from attnviz.results import HeadTrace, Trace


def save_button(
    view: str, trace: Trace, head: HeadTrace, draw: Callable[[Trace], alt.TopLevelMixin]
) -> None:
    """A button that draws the view as SVG when it is clicked, in the colours of the page.

    `draw` is kept for as long as the visitor does nothing, so it must not hold the trace: that
    is had again.
    """
    display_mode: DisplayMode = "dark" if st.context.theme.type == "dark" else "light"
    again = loading.again(trace)
    st.download_button(
        "Save as SVG",
        data=lambda: export.to_svg(draw(again()), display_mode).encode(),
        file_name=f"attnviz-{view}{_of(view, head)}.svg",
        mime="image/svg+xml",
        icon=":material/download:",
        key=f"save_{view}",
        on_click="ignore",
    )


def _of(view: str, head: HeadTrace) -> str:
    """What a view is of: one head, one layer, or the model."""
    layer = "" if view == "model" else f"-layer{head.layer}"
    return layer if view in ("heads", "model") else f"{layer}-head{head.head}"
