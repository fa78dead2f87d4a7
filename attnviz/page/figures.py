"""Putting a figure on the page."""

from collections.abc import Callable, Sequence
from typing import Literal

import altair
import streamlit as st

from attnviz.charts.figure import Figure


def show_figure(
    figure: Figure | altair.LayerChart,
    key: str,
    alt: str,
    *,
    width: Literal["stretch", "content"] = "stretch",
    on_select: Callable[[], None] | None = None,
    selection_mode: Sequence[str] = (),
) -> None:
    """A figure goes to the browser as it is: its structure was checked when it was built.

    `selection_mode` names the selections that are reported; without it all are, where there is an
    `on_select` to report them to.
    """
    spec = figure.to_dict()
    spec.pop("description", None)  # on the page `alt` takes its place
    if on_select is not None:
        st.vega_lite_chart(
            spec=spec,
            key=key,
            alt=alt,
            width=width,
            on_select=on_select,
            selection_mode=selection_mode or None,
        )
        return
    with st.container(key=key):  # a chart that reports nothing has no name of its own
        if isinstance(figure, Figure):
            st.vega_lite_chart(spec=spec, key=f"{key}_chart", alt=alt, width=width)
        else:
            st.altair_chart(figure, key=f"{key}_chart", alt=alt, width=width)


def let_wide_figures_scroll() -> None:
    """On a narrow screen a figure with many columns scrolls, not the page."""
    wide = ':is([class*="st-key-neurons_"], [class*="st-key-heads_"])'
    st.html(
        f'<style>.st-key-shares, [class*="st-key-model_"], {wide} {{overflow-x: auto}}'
        f"{wide} svg {{user-select: none}}"
        f"{wide} [data-testid=stVegaLiteChart] {{min-width: 760px}}</style>"
    )
