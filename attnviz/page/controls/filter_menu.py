"""One popover of filters, the same in every view that has it: what is left out of the trace."""

from dataclasses import replace
from typing import Any

import streamlit as st

from attnviz.attention.filters import Filters
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.export.options import EVERY
from attnviz.page.controls import links
from attnviz.text.phrases import escaped, token
from attnviz.text.tokens import Tokens

SEGMENTS = {
    "A → A": (0, 0),
    "A → B": (0, 1),
    "B → A": (1, 0),
    "B → B": (1, 1),
}
ALL = "all"
TOPS = ("1", "2", "3", "5", "8", "13", "21", ALL)
SHARES = ("50", "60", "70", "80", "90", "95", "99", ALL)  # percent

# What the popover's controls are set to when the page opens.
AS_OPENED = {
    option.link: links.AS_OPENED[option.link]
    for option in EVERY
    if option.name.startswith("filters.")
}


def choose(trace: Trace, head: HeadTrace, *, has_lines: bool = True) -> tuple[Trace, Filters]:
    """The trace as the popover's filters leave it, and the filters.

    Those of lines are offered where lines are drawn, and count nowhere else.
    Raises InputError where they leave nothing to show.
    """
    n_on = st.session_state.get("_n_filters", 0)
    label = f"Filters ({n_on})" if n_on else "Filters"
    for name, as_opened in AS_OPENED.items():
        links.keep(name, _spelled(name, as_opened))
    with st.popover(label, icon=":material/filter_list:", key="filters"):
        filters = replace(_tokens(trace, head), **(_lines() if has_lines else {}))
        less = filters(trace)
        st.button(
            "Clear filters",
            on_click=clear,
            icon=":material/filter_list_off:",
            key="clear_filters",
        )
    n_on_now = len(less.layer(head.layer, head.kind).notes)
    if n_on_now != n_on:  # known only once the controls are there
        st.session_state["_n_filters"] = n_on_now
        st.rerun()
    return less, filters


def place_of(tokens: Tokens, position: int, what: str) -> int:
    """Where the token chosen above the view is among those left; the first, said so, without it."""
    place = tokens.place_of(position)
    if place is None:
        st.caption(
            f":material/filter_list: The {what} token chosen is hidden by a filter; "
            f"{token(tokens.labels[0])} is shown instead."
        )
    return place or 0


def show_notes(less: Trace, head: HeadTrace) -> None:
    """What the filters did, where no picture says it."""
    if notes := less.layer(head.layer, head.kind).notes:
        st.caption(f":material/filter_list: {escaped('; '.join(notes))}.")


def _spelled(name: str, as_opened: Any) -> list[str]:
    """How the address says what a control of the popover is set to; not at all, as it opens."""
    value = st.session_state.get(name, as_opened)
    if value == as_opened:
        return []
    return value if isinstance(value, list) else ["true" if value is True else value]


def clear() -> None:
    """Show everything; for a button."""
    st.session_state.update(AS_OPENED)


def _tokens(trace: Trace, head: HeadTrace) -> Filters:
    queries, keys = trace.tokens_of(head.layer, head.kind)
    names = [f"{place} {label}" for place, label in enumerate(keys.labels)]
    hides_special = st.toggle(
        "Hide special tokens",
        key="hide_special",
        bind="query-params",
        disabled=not any(token.is_special for token in keys + queries),
        help="Such as [CLS] and [SEP], which the tokenizer adds.",
    )
    hidden = st.multiselect(
        "Hide tokens",
        names,
        key="hidden",
        bind="query-params",
        help="Hidden as keys, and also as queries where both are tokens of one text.",
    )
    links.check("hidden", "hidden token", names, ", ".join(hidden) or "none")
    segment = ALL
    if len({token.segment for token in keys if token.segment is not None}) > 1:
        segment = st.selectbox(
            "Sentence pair",
            (ALL, *SEGMENTS),
            key="segments",
            bind="query-params",
            help="The text of the query → the text of the key.",
        )
        links.check("segments", "sentence pair filter", (ALL, *SEGMENTS), segment)
    else:
        links.check_absent("segments", "sentence pair filter", "there is no second text", ALL)
    is_renormalised = st.toggle(
        "Renormalise",
        key="renormalise",
        bind="query-params",
        disabled=not (hides_special or hidden or segment != ALL),
        help="Divide each row by its remaining sum, so that it sums to 1 again. Off: the "
        "model's own weights, which then sum to less than 1.",
    )
    in_words = st.toggle(
        "Words instead of pieces",
        key="words",
        bind="query-params",
        disabled=all(token.starts_word for token in keys + queries),
        help="Weights to a word are summed over its pieces, weights from a word averaged.",
    )
    links.check_switch("hide_special", "Hide special tokens", hides_special)
    links.check_switch("renormalise", "Renormalise", is_renormalised)
    links.check_switch("words", "Words instead of pieces", in_words)
    places = tuple(names.index(name) for name in hidden)
    return Filters(
        hidden_keys=places,
        hidden_queries=places if keys is queries else (),
        segments=SEGMENTS.get(segment),
        special=hides_special,
        renormalise=is_renormalised,
        words=in_words,
    )


def _lines() -> dict[str, Any]:
    top = st.select_slider(
        "Most lines per query",
        TOPS,
        ALL,
        key="top",
        bind="query-params",
        help="The strongest lines of each query. The numbers do not change.",
    )
    share = st.select_slider(
        "Weight that the lines cover, in %",
        SHARES,
        ALL,
        key="share",
        bind="query-params",
    )
    links.check("top", "number of lines", TOPS, top)
    links.check("share", "share of lines", SHARES, share)
    return {
        "top": None if top == ALL else int(top),
        "share": None if share == ALL else int(share) / 100,
    }
