"""The Heads view: all heads of one layer on one picture."""

from functools import partial
from typing import Any

import streamlit as st

from attnviz.attention.call import LayerTrace
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.head_layers import CLICKED_KEY, CLICKED_QUERY, ISOLATED, TOGGLED
from attnviz.charts.heads import heads_figure, most_tokens
from attnviz.charts.parts.tables import heads_table
from attnviz.charts.parts.window import Window, window_around
from attnviz.page.controls import export_menu, filter_menu, links, pair, tables
from attnviz.page.controls.chart_clicks import Pinned, clicked, pinned
from attnviz.page.figures import show_figure
from attnviz.text.phrases import percent, token_at
from attnviz.text.tokens import Tokens

VIEW = "heads"
NONE = "none"  # of the heads: an address cannot hold an empty choice
FOCUS = {"all": "of all tokens", "query": "from the query token", "key": "to the key token"}


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query, key = pair.choose_tokens(trace, head)
        on = _choose_heads(trace.n_heads(head.layer, head.kind))
        less, filters = filter_menu.choose(trace, head)
        buttons = st.container(horizontal=True, width="content")
    links.respell("lines", FOCUS)
    focus = st.segmented_control(
        "Lines",
        list(FOCUS),
        default="query",
        format_func=FOCUS.__getitem__,
        key="lines",
        bind="query-params",
        required=True,
    )
    links.check("lines", "lines", list(FOCUS.values()), FOCUS[focus])
    call = less.layer(head.layer, head.kind)
    query_place = filter_menu.place_of(call.query_tokens, query, "query")
    key_place = filter_menu.place_of(call.key_tokens, key, "key")
    st.markdown(who_links(call, head.layer, query_place, key_place, on))
    selection = pinned(
        VIEW,
        (call.query_tokens.places, call.key_tokens.places, call.n_heads),
        (query_place, key_place, focus, tuple(on)),
    )
    drawn_query, drawn_key, drawn_focus, drawn_on = selection.drawn
    part = window_around(
        drawn_query,
        drawn_key,
        len(call.query_tokens),
        len(call.key_tokens),
        size=most_tokens(call.n_heads),
    )
    with buttons:
        tables.show(VIEW, lambda: heads_table(call, query_place))
        screen = export_menu.screen_of(
            trace,
            head,
            view=VIEW,
            query=call.query_tokens[query_place].positions[0],
            key=call.key_tokens[key_place].positions[0],
            filters=filters,
            first_query=part.queries.start,
            first_key=part.keys.start,
            heads=None if len(on) == call.n_heads else tuple(on),
            focus=focus,
        )
        export_menu.menu(screen, trace)
    window = "" if part.is_whole else " Shown: the part of the text around the two selected tokens."
    st.caption(
        "Click a head to switch it off or on, double-click it to see it alone. Click a token on "
        "either side to see its lines and, beside the others, how much each head gives, one stripe "
        f"per head.{window}"
    )
    figure = heads_figure(
        call, head.layer, part, drawn_on, drawn_focus, drawn_query, drawn_key, head.head
    )
    chart_key = f"{VIEW}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        "Head view: all heads of a layer, a line for each query token, key token and head",
        words=figure.description,
        selection_mode=[CLICKED_QUERY, CLICKED_KEY, TOGGLED, ISOLATED],
        on_select=partial(
            _follow_click, chart_key, selection, part, call.query_tokens, call.key_tokens
        ),
    )


def who_links(call: LayerTrace, layer: int, query: int, key: int, on: list[int]) -> str:
    """Which of the heads that are on give most from one token to another, as Markdown."""
    if not on:
        return "No head is on: click one, or choose some under **Heads**."
    weights = call.own_weights_between(query, key)
    strongest = sorted(on, key=lambda head: -weights[head])[:3]
    named = ", ".join(f"head {head} **{percent(weights[head])}**" for head in strongest)
    return (
        f"From {token_at(call.query_tokens.labels, query)} to "
        f"{token_at(call.key_tokens.labels, key)} in layer {layer}: {named}; mean of "
        f"{'all' if len(on) == call.n_heads else 'the'} {len(on)} heads that are on: "
        f"{percent(weights[on].mean())}."
    )


def heads_on(drawn: tuple[int, ...], toggled: list[int], isolated: list[int]) -> list[int]:
    """Which heads the chart shows after clicks: as `is_on` in its structure."""
    return sorted(set(isolated or drawn) ^ set(toggled))


def _choose_heads(n_heads: int) -> list[int]:
    """The heads that are on, from a popover that needs no pointer; all of them to begin with."""
    heads = list(range(n_heads))
    if "heads" in st.session_state:  # another layer or model may have fewer; None: as it opens
        before = st.session_state["heads"]
        if before is not None and is_none(before, st.session_state.get("_n_heads_on", n_heads)):
            st.session_state["heads"] = [NONE]
        else:
            were_on = [head for head in before or [] if head != NONE]
            kept = [head for head in were_on if head in heads]
            were_all = len(were_on) == st.session_state.get("_n_heads_offered")
            st.session_state["heads"] = heads if were_all or not kept else kept
    st.session_state["_n_heads_offered"] = n_heads
    n_on = st.session_state.get("_n_heads_on", n_heads)
    label = "Heads" if n_on == n_heads else f"Heads ({n_on} of {n_heads})"
    with st.popover(label, icon=":material/stacked_line_chart:", key="choose_heads"):
        chosen: list[Any] = st.pills(
            "Heads that are on",
            [*heads, NONE],
            selection_mode="multi",
            default=heads,
            key="heads",
            bind="query-params",
        )
        st.button("All", on_click=_set_heads, args=(heads,), key="all_heads")
    on = sorted(head for head in chosen if head != NONE)
    if on:
        on_now = ", ".join(map(str, on)) if len(on) < n_heads else "all heads"
        links.check("heads", "head", [str(head) for head in heads], on_now)
    else:
        links.found("heads")
    if len(on) != n_on:  # known only once the control is there
        st.session_state["_n_heads_on"] = len(on)
        st.rerun()
    return on


def is_none(chosen: list[int | str], n_before: int) -> bool:
    """Whether no head is to be on: none is left, or all were sent away at once."""
    return not chosen or chosen == [NONE] or (NONE in chosen and n_before > 0)


def _set_heads(heads: list[int]) -> None:
    st.session_state["heads"] = heads


def _follow_click(
    chart_key: str, selection: Pinned, part: Window, queries: Tokens, keys: Tokens
) -> None:
    """Take clicked tokens and heads over; a second click on a token shows all lines again."""
    chosen = st.session_state[chart_key].selection
    drawn_query, drawn_key, drawn_focus, drawn_on = selection.drawn
    query, key, focus = drawn_query, drawn_key, drawn_focus
    for point in chosen.get(CLICKED_QUERY) or []:
        query, focus = part.queries.start + point["query"], "query"
    for point in chosen.get(CLICKED_KEY) or []:
        key, focus = part.keys.start + point["key"], "key"
    # The chart cannot show fewer than it was sent with: what it is sent with is changed instead.
    # Each click on a token takes one into what is reported, or out of it; one on a head does not.
    tokens = tuple(str(chosen.get(name) or []) for name in (CLICKED_QUERY, CLICKED_KEY))
    is_token = tokens != (selection.reported or ("[]", "[]"))
    selection.reported = tokens
    was_shown = selection.now[:3] == selection.drawn[:3] == (query, key, focus)
    is_undone = is_token and was_shown and focus != "all"
    on = heads_on(
        drawn_on,
        [point["head"] for point in chosen.get(TOGGLED) or []],
        [point["head"] for point in chosen.get(ISOLATED) or []],
    )
    st.session_state["query"] = queries[query].positions[0]
    st.session_state["key"] = keys[key].positions[0]
    st.session_state["lines"] = "all" if is_undone else focus
    st.session_state["heads"] = on
    if not is_undone:
        clicked(VIEW, (query, key, focus, tuple(on)))
