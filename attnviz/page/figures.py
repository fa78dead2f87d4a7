"""Putting a figure on the page."""

from collections.abc import Callable
from typing import Literal

import streamlit as st

from attnviz.charts.figure import Figure


def show_figure(
    figure: Figure,
    key: str,
    alt: str,
    *,
    width: Literal["stretch", "content"] = "stretch",
    on_select: Callable[[], None] | None = None,
) -> None:
    """Its specification goes to the browser as it is: it was checked when it was built."""
    st.vega_lite_chart(
        spec=figure.to_dict(),
        key=key,
        alt=alt,
        width=width,
        on_select=on_select if on_select is not None else "ignore",
    )


def let_wide_figures_scroll() -> None:
    """On a narrow screen a figure with a width of its own scrolls, not the page."""
    st.html('<style>.st-key-shares, [class*="st-key-neurons_"] {overflow-x: auto}</style>')
