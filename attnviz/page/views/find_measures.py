"""Find by measures: every head as a point, and the weights of those in a marked area."""

import math
from dataclasses import replace

import pandas as pd
import streamlit as st

from attnviz.attention.filters import Filters
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.model import model_figure, thumbnails
from attnviz.charts.model_layers import OPENED
from attnviz.charts.scatter import BRUSHED, brushed, scatter_figure
from attnviz.export.screen import Finding, measured
from attnviz.page.controls import export_menu, filter_menu, links, tables
from attnviz.page.controls.chart_clicks import clicked, pinned
from attnviz.page.controls.head_list import show_heads
from attnviz.page.controls.measure_help import TITLES, defined
from attnviz.page.controls.sidebar import open_clicked, open_head, select
from attnviz.page.figures import show_figure
from attnviz.page.service import loading
from attnviz.page.service.kept import read_once
from attnviz.text.phrases import counted, escaped

VIEW, BRUSH = "find", "find_brushed"
MOST_THUMBNAILS = 48
NO_SIZE = "the same for all"
CLEARED = "Click an empty place, or choose another axis, to remove the area."


def show(trace: Trace, head: HeadTrace) -> None:
    axes = st.container(horizontal=True, vertical_alignment="bottom")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        less, filters = filter_menu.choose(trace, head, has_lines=False)
        buttons = st.container(horizontal=True, width="content")
    screen = export_menu.screen_of(
        trace, head, view=VIEW, filters=filters, find=Finding("measures")
    )
    asked = "measures", head.kind, filters
    table = read_once(trace, asked, lambda: measured(screen, trace, loading.more(screen, trace)))
    offered = [name for name in TITLES if table[name].notna().any()]
    with axes:
        x = _choose_measure("x axis", "x", offered, "entropy")
        y = _choose_measure("y axis", "y", offered, "distance")
        colour = _choose_measure("Colour", "colour", ["layer", "head", *offered], "layer")
        size = _choose_measure("Size", "size", [NO_SIZE, *offered], NO_SIZE)
    chosen = Finding("measures", x=x, y=y, colour=colour, size=None if size == NO_SIZE else size)
    with buttons:
        tables.show(VIEW, lambda: table.rename(columns=TITLES))
        export_menu.menu(replace(screen, find=chosen), trace)
    filter_menu.show_notes(less, head)
    area = _area(x, y)
    selection = pinned(VIEW, (asked, chosen), (head.layer, head.head, area))
    left, right = st.columns(2)
    chart_key = f"{VIEW}_{selection.number}"
    layer, number, drawn_area = selection.drawn
    figure = scatter_figure(
        table, layer, number, x=x, y=y, colour=colour, size=chosen.size, area=_ends(drawn_area)
    )
    with left:
        show_figure(
            figure,
            chart_key,
            "Find view: one point per head, placed by two measures",
            words=figure.description,
            selection_mode=[OPENED, BRUSHED],
            on_select=lambda: _follow_brush(chart_key, head),
        )
    few = brushed(table, x, y, _ends(area) or {}) if area else table
    with right:
        _show_brushed(trace, less, head, few, filters, x if area else None)
    names = dict.fromkeys(name for name in (x, y, colour, size) if name in TITLES)
    st.markdown(f"**{'The heads in the area' if area else 'All heads'}.** Click one to open it.")
    show_heads(
        few[["layer", "head", *names]].rename(columns=TITLES),
        "measured",
        (asked, chosen, area),
        {TITLES[name]: st.column_config.NumberColumn(format="%.4f") for name in names},
    )
    st.caption("  \n".join(map(defined, names)))
    if without := [title for name, title in TITLES.items() if name not in offered]:
        st.caption(f"Not offered, because no head has it here: {', '.join(without)}.")


def _area(x: str, y: str) -> tuple[float, ...]:
    """The ends of the area that is marked, of x and then of y; none where none is."""
    asked = links.asked_once("area")
    if st.session_state.setdefault("_area_of", (x, y)) != (x, y):
        st.session_state["area"] = ()
    st.session_state["_area_of"] = x, y
    if asked:
        st.session_state["area"] = read_area(asked)
        if not st.session_state["area"]:
            links.note("area", f"The link's area “{escaped(asked[:80])}” is not four numbers.")
    area = st.session_state.get("area") or ()
    links.write("area", ",".join(f"{end:.9g}" for end in area))
    return area


def read_area(written: str) -> tuple[float, ...]:
    """The four ends that a link names; none where it does not."""
    try:
        ends = tuple(map(float, written.split(",")))
    except ValueError:
        return ()
    return ends if len(ends) == 4 and all(map(math.isfinite, ends)) else ()


def _ends(area: tuple[float, ...]) -> dict[str, list[float]] | None:
    return {"x": [*area[:2]], "y": [*area[2:]]} if area else None


def _follow_brush(chart_key: str, head: HeadTrace) -> None:
    """Take a clicked head and a marked area over."""
    chosen = st.session_state[chart_key].selection
    layer, number = head.layer, head.head
    for point in chosen.get(OPENED) or []:
        layer, number = point["layer"], point["head"]
        open_head(layer, number)
    marked = chosen.get(BRUSHED) or {}
    area = tuple(float(end) for ends in marked.values() for end in ends)
    st.session_state["area"] = area = area if len(area) == 4 else ()
    clicked(VIEW, (layer, number, area))


def _choose_measure(label: str, key: str, offered: list[str], default: str) -> str:
    return select(
        label,
        key,
        offered,
        offered.index(default) if default in offered else 0,
        format_func=lambda name: TITLES.get(name, name),
    )


def _show_brushed(
    trace: Trace,
    less: Trace,
    head: HeadTrace,
    few: pd.DataFrame,
    filters: Filters,
    measure: str | None,
) -> None:
    """The weights of the heads in an area, and under each the measure; None without an area."""
    if measure is None:
        st.markdown(
            "Each point is a head. **Click** one to open it. **Drag** over an area, from an empty "
            "place, to see the weights of its heads here."
        )
        return
    if few.empty:
        st.markdown(f"No head is in that area. {CLEARED}")
        return
    shown = few.head(MOST_THUMBNAILS)
    first = f"; only the first {len(shown)} are shown: mark a smaller area to see others"
    more = first if len(shown) < len(few) else ""
    st.markdown(f"{counted(len(few), 'head')} in that area, layer by layer{more}. {CLEARED}")
    only = tuple(map(tuple, shown[["layer", "head"]].to_numpy().tolist()))
    asked = "pictures", head.kind, filters
    pictures = read_once(trace, asked, lambda: thumbnails(less, head.kind))
    selection = pinned(BRUSH, (asked, only, measure), (head.layer, head.head))
    figure = model_figure(
        less,
        head.kind,
        measure,
        *selection.drawn,
        table=few,
        pictures=pictures,
        only=only,
    )
    chart_key = f"{BRUSH}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        "The weights of the heads in the marked area",
        words=figure.description,
        width="content",
        selection_mode=[OPENED],
        on_select=lambda: open_clicked(BRUSH, chart_key),
    )
