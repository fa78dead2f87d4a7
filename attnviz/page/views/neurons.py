"""The Neurons view: one query token against all keys, dimension by dimension."""

from functools import partial

import streamlit as st

from attnviz.attention.explained.dimensions import dimension_shares, dimensions_sentence
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.dimensions import dimensions_chart
from attnviz.charts.neuron_layers import ASKED, CLICKED_KEY, CLICKED_QUERY
from attnviz.charts.neurons import neurons_figure
from attnviz.charts.parts.tables import query_table
from attnviz.charts.parts.window import Window, window_around
from attnviz.page import header
from attnviz.page.controls import export_menu, filter_menu, links, pair, tables
from attnviz.page.controls.chart_clicks import Pinned, clicked, pinned
from attnviz.page.figures import show_figure
from attnviz.text.phrases import ranges
from attnviz.text.tokens import Tokens

VIEW = "neurons"


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query, key = pair.choose_tokens(trace, head)
        less, filters = filter_menu.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    shown = less.head(head.layer, head.head, head.kind)
    queries, keys = less.tokens_of(head.layer, head.kind)
    query_place = filter_menu.place_of(queries, query, "query")
    key_place = filter_menu.place_of(keys, key, "key")
    header.show_strongest(less, shown, query_place, key_place)
    with st.container(horizontal=True):
        is_expanded = st.toggle(
            "Dimensions", True, key="dimensions", bind="query-params", help="Off: lines alone."
        )
        wants_sorted = st.toggle(
            "Sort by share of q · k",
            key="sorted",
            bind="query-params",
            disabled=not is_expanded,
            help="First the dimensions that give most of the score of the two selected tokens.",
        )
        is_asked = st.toggle(
            "Who attends to the key token",
            key="asked",
            bind="query-params",
            help="The lines from every query to the key token, instead of the query token's lines.",
        )
    links.check_switch("dimensions", "Dimensions", is_expanded)
    links.check_switch("sorted", "Sort by share of q · k", wants_sorted)
    links.check_switch("asked", "Who attends to the key token", is_asked)
    is_sorted = wants_sorted and is_expanded and not shown.is_of_words
    selection = pinned(
        VIEW, (queries.places, keys.places, is_sorted), (query_place, key_place, is_asked)
    )
    drawn_query, drawn_key, drawn_asked = selection.drawn
    part = window_around(drawn_query, drawn_key, len(queries), len(keys))
    with buttons:
        tables.show(VIEW, lambda: query_table(shown, query_place))
        menu = st.container(width="content")
    st.caption(_how_to(part, is_expanded) + _shared(head))
    pair.show_outside(shown, query_place, part)
    figure = neurons_figure(
        shown,
        part,
        drawn_query,
        drawn_key,
        is_expanded=is_expanded,
        is_sorted=is_sorted,
        is_asked=drawn_asked,
    )
    chart_key = f"{VIEW}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        "Neuron view: a query token against every key token, dimension by dimension",
        words=figure.description,
        selection_mode=[CLICKED_QUERY, CLICKED_KEY, ASKED],
        on_select=partial(_follow_click, chart_key, selection, part, (queries, keys), is_sorted),
    )
    if is_expanded:
        _show_dimensions(shown, query_place, key_place, is_sorted)
    with menu:
        screen = export_menu.screen_of(
            trace,
            head,
            view=VIEW,
            query=queries[query_place].positions[0],
            key=keys[key_place].positions[0],
            filters=filters,
            is_expanded=is_expanded,
            is_sorted=is_sorted,
            is_asked=is_asked,
            first_query=part.queries.start,
            first_key=part.keys.start,
        )
        export_menu.menu(screen, trace)


def _show_dimensions(head: HeadTrace, query: int, key: int, is_sorted: bool) -> None:
    """How many dimensions decide the pair's score, and which."""
    if head.is_of_words:
        st.caption(
            "A word of several pieces has no query, key or value of its own: only lines are shown."
        )
        return
    st.markdown(dimensions_sentence(head, query, key))
    if is_sorted:
        shares = dimensions_chart(head, query, key)
        show_figure(
            shares, "dimension_shares", "The share that each dimension has in the pair's score"
        )
        tables.show("dimension_shares", lambda: dimension_shares(head, query, key))


def _how_to(part: Window, is_expanded: bool) -> str:
    window = "" if part.is_whole else " Shown: the part of the text around the two selected tokens."
    if not is_expanded:
        return (
            "All lines, those of the query token in colour; a stronger line is a larger weight. "
            f"Click a token on either side to see its lines alone.{window}"
        )
    return (
        "Click a query token to see its product with every key, a key token to see which queries "
        f"attend to it. Blue is positive, orange negative.{window}"
    )


def _shared(head: HeadTrace) -> str:
    if len(head.readers) < 2:
        return ""
    return f" Heads {ranges(head.readers)} share these keys and values."


def _follow_click(
    chart_key: str,
    selection: Pinned,
    part: Window,
    tokens: tuple[Tokens, Tokens],
    is_sorted: bool,
) -> None:
    """Take the clicked tokens over into the pair; the dimensions of another pair sort anew."""
    chosen = st.session_state[chart_key].selection
    now = list(selection.now)
    for side, (parameter, field, window) in enumerate(
        ((CLICKED_QUERY, "query", part.queries), (CLICKED_KEY, "key", part.keys))
    ):
        for point in chosen.get(parameter) or []:
            now[side] = window.start + point[field]
            st.session_state[field] = tokens[side][now[side]].positions[0]
    now[2] = bool(chosen.get(ASKED))
    st.session_state["asked"] = now[2]
    # Sorted dimensions are those of the pair, and a pinned key cannot be let go in the browser.
    if not is_sorted and not selection.drawn[2]:
        clicked(VIEW, tuple(now))
