"""The Find view: which head links two tokens, and which head does what."""

import math
from dataclasses import replace

import pandas as pd
import streamlit as st

from attnviz.charts.find import find_figure, strongest
from attnviz.charts.model import model_figure, thumbnails
from attnviz.charts.model_layers import OPENED
from attnviz.charts.scatter import BRUSHED, brushed, scatter_figure
from attnviz.filters import Filters
from attnviz.heads import MEASURES
from attnviz.page import exporting, filtering, links, loading, pair, tables
from attnviz.page.controls import open_head, select
from attnviz.page.figures import show_figure
from attnviz.page.pinned import clicked, pinned
from attnviz.page.reading import read_once
from attnviz.results import HeadTrace, Trace
from attnviz.screens import Finding, linked, measured
from attnviz.wording import counted, escaped, fixed, token_at

VIEW = "find"
BY = {"pair": "a token pair", "measures": "what heads do"}
TITLES = {measure.name: measure.title for measure in MEASURES}
MOST_TEXTS = 20  # beside the page's own
MOST_THUMBNAILS = 48
NO_SIZE = "the same for all"


def show(trace: Trace, head: HeadTrace) -> None:
    links.respell("find_by", BY)
    by = st.segmented_control(
        "Find a head by",
        list(BY),
        default="pair",
        format_func=BY.__getitem__,
        key="find_by",
        bind="query-params",
        required=True,
    )
    links.check("find_by", "way to find a head", list(BY.values()), BY[by])
    {"pair": _by_pair, "measures": _by_measures}[by](trace, head)


# By a pair


def _by_pair(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query, key = pair.choose_tokens(trace, head)
        texts = _choose_texts(trace)
        less, filters = filtering.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    queries, keys = less.tokens_of(head.layer, head.kind)
    query_place = filtering.place_of(queries, query, "query")
    key_place = filtering.place_of(keys, key, "key")
    screen = exporting.screen_of(
        trace,
        head,
        view=VIEW,
        query=queries.positions[query_place][0],
        key=keys.positions[key_place][0],
        filters=filters,
        find=Finding(texts=texts),
    )
    asked = head.kind, screen.query, screen.key, filters, texts
    table = read_once(trace, asked, lambda: linked(screen, trace, loading.more(screen, trace)))
    with buttons:
        tables.show(VIEW, lambda: table)
        exporting.menu(screen, trace)
    names = token_at(queries.labels, query_place), token_at(keys.labels, key_place)
    filtering.show_notes(less, head)
    st.markdown(found(table, head, *names))
    if texts:
        st.caption(in_how_many(table, len(texts) + 1, *names))
    selection = pinned(VIEW, asked, (head.layer, head.head))
    figure = find_figure(table, *selection.drawn)
    chart_key = f"{VIEW}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        "Find view: every layer and head, coloured by the weight of a pair of tokens",
        words=figure.description,
        width="content",
        selection_mode=[OPENED],
        on_select=lambda: _follow_click(chart_key),
    )
    st.markdown(
        "**The strongest heads.** Click one, here or in the picture, to open it in all views."
    )
    _show_strongest(table, (query, key, texts, filters))


def found(table: pd.DataFrame, head: HeadTrace, query: str, key: str) -> str:
    """Which head links the pair most, and how the head that is open does, as Markdown."""
    number = "mean" if "mean" in table else "weight"
    first = table.iloc[0]
    own = table[(table["layer"] == head.layer) & (table["head"] == head.head)].iloc[0]
    of = "on average " if number == "mean" else ""
    sentence = (
        f"{query} gives most to {key} in **layer {first['layer']}, head {first['head']}**: "
        f"{of}{fixed(first[number], 3)} of its weight."
    )
    if own["rank"] == 1:
        return f"{sentence} It is the head that is open."
    return (
        f"{sentence} The head that is open, layer {own['layer']}, head {own['head']}, gives "
        f"{of}{fixed(own[number], 3)} and is number {own['rank']} of {len(table)}."
    )


def in_how_many(table: pd.DataFrame, n_texts: int, query: str, key: str) -> str:
    """Of how many texts the numbers are, as Markdown."""
    n_used = int(table["n_texts"].max()) if "n_texts" in table else 1
    if n_used == n_texts:
        return f"Of {n_texts} texts, which all have {query} and {key}."
    return (
        f"Of {counted(n_used, 'text')} out of {n_texts}: in the others there is no {query} or no "
        f"{key}."
    )


def _choose_texts(trace: Trace) -> tuple[str, ...]:
    links.found("texts")
    n_before = st.session_state.get("_n_texts", 0)
    label = f"More texts ({n_before})" if n_before else "More texts"
    links.keep("texts", [written] if (written := st.session_state.get("texts")) else [])
    with st.popover(label, icon=":material/library_add:", key="more_texts"):
        written = st.text_area(
            "More texts, one a line",
            key="texts",
            bind="query-params",
            height=160,
            placeholder="time flies like a river\nfruit flies like an arrow",
            help="The same two tokens are looked for in each of them, as they are written.",
            disabled=loading.model_of(trace) is None,
        )
    lines = [line for line in (written or "").splitlines() if line.strip()]
    if len(lines) > MOST_TEXTS:
        st.caption(f"Of {len(lines)} texts the first {MOST_TEXTS} are read.")
    if len(lines) != n_before:  # known only once the control is there
        st.session_state["_n_texts"] = len(lines)
        st.rerun()
    return tuple(lines[:MOST_TEXTS])


def _show_strongest(table: pd.DataFrame, of: object) -> None:
    """A list of which a row opens its head."""
    rows = strongest(table).drop(columns="kind")
    rows = rows[["rank", *(name for name in rows if name != "rank")]]
    if "n_first" in rows:
        among = rows["n_first"].astype(str) + " of " + rows["n_texts"].astype(str)
        rows = rows.drop(columns=["n_first", "n_texts"]).assign(among=among)
    digits = st.column_config.NumberColumn(format="%.3f")
    key = f"strongest_{abs(hash(of))}"
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            **dict.fromkeys(("weight", "mean", "spread"), digits),
            "among": st.column_config.TextColumn("among first 10"),
        },
        key=key,
        on_select=lambda: _follow_row(key, rows),
        selection_mode="single-row",
    )


def _follow_row(key: str, rows: pd.DataFrame) -> None:
    for place in st.session_state[key].selection.rows:
        row = rows.iloc[place]
        open_head(int(row["layer"]), int(row["head"]))


def _follow_click(chart_key: str) -> None:
    for point in st.session_state[chart_key].selection.get(OPENED) or []:
        open_head(point["layer"], point["head"])
        clicked(VIEW, (point["layer"], point["head"]))


# By measures


def _by_measures(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        axes = st.container(horizontal=True, vertical_alignment="bottom")
        less, filters = filtering.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    screen = exporting.screen_of(trace, head, view=VIEW, filters=filters, find=Finding("measures"))
    asked = "measures", head.kind, filters
    table = read_once(trace, asked, lambda: measured(screen, trace, loading.more(screen, trace)))
    offered = [name for name in TITLES if table[name].notna().any()]
    with axes:
        x = _choose_measure("Across", "x", offered, "entropy")
        y = _choose_measure("Up", "y", offered, "distance")
        colour = _choose_measure("Colour", "colour", ["layer", "head", *offered], "layer")
        size = _choose_measure("Size", "size", [NO_SIZE, *offered], NO_SIZE)
    chosen = Finding("measures", x=x, y=y, colour=colour, size=None if size == NO_SIZE else size)
    with buttons:
        tables.show(VIEW, lambda: table.rename(columns=TITLES))
        exporting.menu(replace(screen, find=chosen), trace)
    filtering.show_notes(less, head)
    area = _area(x, y)
    selection = pinned(VIEW, (asked, chosen), (head.layer, head.head, area))
    left, right = st.columns([3, 2])
    chart_key = f"{VIEW}_{selection.number}"
    layer, number, drawn_area = selection.drawn
    figure = scatter_figure(
        table, layer, number, x=x, y=y, colour=colour, size=chosen.size, area=_ends(drawn_area)
    )
    with left:
        show_figure(
            figure,
            chart_key,
            "Find view: a point a head, placed by two measures",
            words=figure.description,
            selection_mode=[OPENED, BRUSHED],
            on_select=lambda: _follow_brush(chart_key, head),
        )
    few = brushed(table, x, y, _ends(area) or {}) if area else table
    with right:
        _show_brushed(trace, less, head, few, filters, is_brushed=bool(area))
    names = dict.fromkeys(name for name in (x, y, colour, size) if name in TITLES)
    st.dataframe(few[["layer", "head", *names]].rename(columns=TITLES), hide_index=True)
    st.caption(" ".join(_meaning(name) for name in names))


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
    links.write("area", ",".join(f"{end:.6g}" for end in area))
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
    *,
    is_brushed: bool,
) -> None:
    if not is_brushed:
        st.markdown(
            "Each point is a head. **Click** one to open it; **drag** over an area to see the "
            "weights of the heads in it here."
        )
        return
    if few.empty:
        st.markdown("No head is in that area.")
        return
    shown = few.head(MOST_THUMBNAILS)
    more = "" if len(shown) == len(few) else f"; the first {len(shown)} are shown"
    st.markdown(f"{counted(len(few), 'head')} in that area{more}.")
    asked = "pictures", head.kind, filters
    pictures = read_once(trace, asked, lambda: thumbnails(less, head.kind))
    figure = model_figure(
        less,
        head.kind,
        "entropy",
        head.layer,
        head.head,
        table=few,
        pictures=pictures,
        only=[(int(layer), int(number)) for layer, number in shown[["layer", "head"]].to_numpy()],
    )
    show_figure(figure, f"{VIEW}_brushed", figure.description, width="content")


def _meaning(name: str) -> str:
    measure = next(one for one in MEASURES if one.name == name)
    unit = f", in {measure.unit}" if measure.unit else ""
    return (
        f"**{measure.title.capitalize()}**{unit}: {measure.meaning}; {measure.formula} "
        f"({measure.source})."
    )
