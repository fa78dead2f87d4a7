"""Find by a pair: which heads link two tokens, in the page's text and in more."""

import pandas as pd
import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.find import find_figure, strongest
from attnviz.charts.model_layers import OPENED
from attnviz.export.screen import Finding, More, linked
from attnviz.heads.finding import pairs_called
from attnviz.page.controls import export_menu, filter_menu, links, pair, tables
from attnviz.page.controls.chart_clicks import pinned
from attnviz.page.controls.head_list import show_heads
from attnviz.page.controls.sidebar import open_clicked
from attnviz.page.figures import show_figure
from attnviz.page.service import loading
from attnviz.page.service.kept import read_once
from attnviz.text.phrases import escaped, fixed, ordinal, token_at

VIEW = "find"
MOST_TEXTS = 20  # beside the page's own
LITTLE = 0.05  # of a query's weight: no head links the two


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query, key = pair.choose_tokens(trace, head)
        texts = _choose_texts(trace)
        less, filters = filter_menu.choose(trace, head, has_lines=False)
        buttons = st.container(horizontal=True, width="content")
    queries, keys = less.tokens_of(head.layer, head.kind)
    query_place = filter_menu.place_of(queries, query, "query")
    key_place = filter_menu.place_of(keys, key, "key")
    screen = export_menu.screen_of(
        trace,
        head,
        view=VIEW,
        query=queries[query_place].positions[0],
        key=keys[key_place].positions[0],
        filters=filters,
        find=Finding(texts=texts),
    )
    called = queries.labels[query_place], keys.labels[key_place]
    asked = head.kind, screen.query, screen.key, filters, texts

    def read() -> tuple[pd.DataFrame, tuple[str, ...]]:
        more = loading.more(screen, trace)
        return linked(screen, trace, more), without(texts, more, *called, head.kind)

    table, lacking = read_once(trace, asked, read)
    with buttons:
        tables.show(VIEW, lambda: table)
        export_menu.menu(screen, trace)
    names = token_at(queries.labels, query_place), token_at(keys.labels, key_place)
    filter_menu.show_notes(less, head)
    st.markdown(found(table, head, *names))
    if texts:
        st.caption(in_how_many(len(texts) + 1, lacking, *names))
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
        on_select=lambda: open_clicked(VIEW, chart_key),
    )
    st.markdown(
        "**The strongest heads.** Click one, here or in the picture, to open it in all views."
    )
    _show_strongest(table, (query, key, texts, filters))


def found(table: pd.DataFrame, head: HeadTrace, query: str, key: str) -> str:
    """Which head links the pair most, and how the selected head ranks, as Markdown."""
    number = "mean" if "mean" in table else "weight"
    n_texts = int(table["n_texts"].max()) if number == "mean" else 1
    of = "on average " if n_texts > 1 else ""
    first = table.iloc[0]
    own = table[(table["layer"] == head.layer) & (table["head"] == head.head)].iloc[0]
    none = f"No head gives much from {query} to {key}. " if first[number] < LITTLE else ""
    sentence = (
        f"{none}Of all {len(table)} heads **layer {first['layer']}, head {first['head']}** gives "
        f"the largest weight from {query} to {key}: {of}{fixed(first[number], 3)}."
    )
    if own["rank"] == 1:
        return f"{sentence} It is the selected head."
    return (
        f"{sentence} The selected head, layer {own['layer']}, head {own['head']}, gives "
        f"{of}{fixed(own[number], 3)} and ranks {ordinal(int(own['rank']))} of {len(table)}."
    )


def without(texts: tuple[str, ...], more: More, query: str, key: str, kind: str) -> tuple[str, ...]:
    """Those of the texts that do not have both tokens."""
    return tuple(
        text
        for text, trace in zip(texts, more.traces, strict=True)
        if not [*pairs_called([trace], query, key, kind)]
    )


def in_how_many(n_texts: int, lacking: tuple[str, ...], query: str, key: str) -> str:
    """Of how many texts the numbers are, and of which not, as Markdown."""
    n_used = n_texts - len(lacking)
    if not lacking:
        return f"Mean and spread over {n_texts} texts, which all have {query} and {key}."
    named = ", ".join(f"“{escaped(text[:40])}{'…' if len(text) > 40 else ''}”" for text in lacking)
    counts = "are counted" if n_used > 1 else "is counted, which has no spread"
    others = "the other has" if len(lacking) == 1 else "the others have"
    return f"{n_used} of {n_texts} texts {counts}; {others} no {query} or no {key}: {named}."


def _choose_texts(trace: Trace) -> tuple[str, ...]:
    links.found("texts")
    n_before = st.session_state.get("_n_texts", 0)
    label = f"More texts ({n_before})" if n_before else "More texts"
    links.keep("texts", [written] if (written := st.session_state.get("texts")) else [])
    with st.popover(label, icon=":material/library_add:", key="more_texts"):
        written = st.text_area(
            "More texts, one per line",
            key="texts",
            bind="query-params",
            height=160,
            placeholder="time flies like a river\nfruit flies like an arrow",
            help="attnviz looks for the same two tokens, spelled the same, in each of the first "
            f"{MOST_TEXTS} texts.",
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
    columns = {
        **dict.fromkeys(("weight", "mean"), digits),
        "spread": st.column_config.NumberColumn(
            format="%.3f", help="The standard deviation over the texts."
        ),
        "among": st.column_config.TextColumn(
            "among first 10",
            help="The number of texts in which this head is among the ten strongest.",
        ),
    }
    show_heads(rows, "strongest", of, columns)
