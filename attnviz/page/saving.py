"""Saving the open view as a file."""

from collections.abc import Callable

import altair as alt
import streamlit as st

from attnviz import export
from attnviz.charts.palette import DisplayMode
from attnviz.results import HeadTrace


def save_button(view: str, head: HeadTrace, chart: Callable[[], alt.TopLevelMixin]) -> None:
    """A button that draws the view as SVG when it is clicked, in the colours of the page."""
    display_mode: DisplayMode = "dark" if st.context.theme.type == "dark" else "light"
    st.download_button(
        "Save as SVG",
        data=lambda: export.to_svg(chart(), display_mode).encode(),
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
