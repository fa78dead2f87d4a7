"""The Model view: every head at a glance; a click opens one."""

import pandas as pd
import streamlit as st

from attnviz.attention.filters import Filters
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.model import model_figure, thumbnails
from attnviz.charts.model_layers import OPENED
from attnviz.heads.measuring import measures
from attnviz.page.controls import export_menu, filter_menu, links, tables
from attnviz.page.controls.chart_clicks import pinned
from attnviz.page.controls.measure_help import TITLES, defined
from attnviz.page.controls.sidebar import open_clicked
from attnviz.page.figures import show_figure
from attnviz.page.service.kept import read_once

VIEW = "model"


def show(trace: Trace, head: HeadTrace) -> None:
    offered = _offered(trace, head.kind)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        links.respell("measure", TITLES)
        measure = st.selectbox(
            "Bar under each head",
            offered,
            format_func=TITLES.__getitem__,
            key="measure",
            bind="query-params",
            on_change=links.forget_note,
            args=("measure",),
        )
        links.check("measure", "measure", [TITLES[name] for name in offered], TITLES[measure])
        is_sorted = st.toggle("Sort by it", key="by_measure", bind="query-params")
        links.check_switch("by_measure", "Sort by it", is_sorted)
        less, filters = filter_menu.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    table = _measures(trace, less, filters, head.kind)
    pictures = read_once(
        trace, ("pictures", head.kind, filters), lambda: thumbnails(less, head.kind)
    )
    with buttons:
        tables.show(VIEW, lambda: table.rename(columns=TITLES))
        screen = export_menu.screen_of(
            trace,
            head,
            view=VIEW,
            filters=filters,
            measure=measure,
            is_by_measure=is_sorted,
        )
        export_menu.menu(screen, trace)
    st.caption(
        "Rows are queries, columns are keys. Click a thumbnail to open its head in every view. "
        f"{defined(measure)}"
    )
    selection = pinned(VIEW, (measure, is_sorted, head.kind), (head.layer, head.head))
    figure = model_figure(
        less,
        head.kind,
        measure,
        *selection.drawn,
        is_sorted=is_sorted,
        table=table,
        pictures=pictures,
    )
    chart_key = f"{VIEW}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        "Model view: the weights of every layer and head, and a number for each",
        words=figure.description,
        width="content",
        selection_mode=[OPENED],
        on_select=lambda: open_clicked(VIEW, chart_key),
    )


def _offered(trace: Trace, kind: str) -> list[str]:
    """The measures that this kind of attention has, whatever the filters leave of them."""
    table = _measures(trace, trace, Filters(), kind)
    return [name for name in TITLES if table[name].notna().any()]


def _measures(trace: Trace, less: Trace, filters: Filters, kind: str) -> pd.DataFrame:
    """The measures of what the filters leave of a trace."""
    return read_once(trace, ("own measures", kind, filters), lambda: measures(less, kind))
