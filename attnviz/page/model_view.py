"""The Model view: every head at a glance; a click opens one."""

import threading
from weakref import WeakKeyDictionary

import pandas as pd
import streamlit as st
from cachetools import LRUCache

from attnviz.charts.model import Pictures, model_figure, thumbnails
from attnviz.charts.model_layers import OPENED
from attnviz.filters import Filters
from attnviz.heads import MEASURES, measures
from attnviz.page import exporting, filtering, links, tables
from attnviz.page.controls import open_head
from attnviz.page.figures import show_figure
from attnviz.page.pinned import clicked, pinned
from attnviz.results import HeadTrace, Trace

VIEW = "model"
TITLES = {measure.name: measure.title for measure in MEASURES}
# By kind and filters, for as long as somebody has the trace: every weight of the model is read.
_N_KEPT = 8
_kept: WeakKeyDictionary[Trace, LRUCache] = WeakKeyDictionary()
_keeping = threading.Lock()  # visitors share a trace, and such a cache moves what is read


def show(trace: Trace, head: HeadTrace) -> None:
    offered = [name for name in TITLES if not (name == "distance" and head.kind == "cross")]
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
        less, filters = filtering.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    table, pictures = _read(trace, less, filters, head.kind)
    with buttons:
        tables.show(VIEW, lambda: table.rename(columns=TITLES))
        screen = exporting.screen_of(
            trace,
            head,
            view=VIEW,
            filters=filters,
            measure=measure,
            is_by_measure=is_sorted,
        )
        exporting.menu(screen, trace)
    meaning = next(one.meaning for one in MEASURES if one.name == measure)
    st.caption(
        "A row a query, a column a key in each thumbnail. Click one to open that head in every "
        f"view. {TITLES[measure].capitalize()}: {meaning}."
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
        figure.description,
        width="content",
        selection_mode=[OPENED],
        on_select=lambda: _follow_click(chart_key),
    )


def _read(trace: Trace, less: Trace, filters: Filters, kind: str) -> tuple[pd.DataFrame, Pictures]:
    """The measures and thumbnails of what the filters leave of a trace."""
    key = kind, filters
    with _keeping:
        known = _kept.setdefault(trace, LRUCache(_N_KEPT))
        read = known.get(key)
    if read is None:
        read = measures(less, kind), thumbnails(less, kind)
        with _keeping:
            known[key] = read
    return read


def _follow_click(chart_key: str) -> None:
    for point in st.session_state[chart_key].selection.get(OPENED) or []:
        open_head(point["layer"], point["head"])
        clicked(VIEW, (point["layer"], point["head"]))
