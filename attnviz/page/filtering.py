"""One popover of filters, the same in every view that has it: what is left out of the trace."""

from collections.abc import Callable, Hashable, Iterator
from functools import partial, reduce

import streamlit as st

from attnviz import filters
from attnviz.page import links
from attnviz.results import HeadTrace, Trace
from attnviz.tokens import Tokens
from attnviz.wording import token

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
    "hide_special": False,
    "hidden": [],
    "renormalise": False,
    "words": False,
    "segments": ALL,
    "top": ALL,
    "share": ALL,
}


Filter = Callable[[Trace], Trace]


def choose(trace: Trace, head: HeadTrace) -> tuple[Trace, Filter]:
    """The trace as the popover's filters leave it, and what does the same to another.

    Raises InputError where they leave nothing to show.
    """
    n_on = st.session_state.get("_n_filters", 0)
    label = f"Filters ({n_on})" if n_on else "Filters"
    with st.popover(label, icon=":material/filter_list:", key="filters"):
        chosen = [*_tokens(trace, head), *_lines()]
        narrowed = partial(reduce, _apply, chosen)
        less = narrowed(trace)
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
    return less, narrowed


def chosen() -> Hashable:
    """What the filters are set to: of one trace, they leave the same where this is the same."""
    values = (st.session_state.get(name) for name in AS_OPENED)
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _apply(trace: Trace, one: Filter) -> Trace:
    return one(trace)


def place_of(tokens: Tokens, position: int, what: str) -> int:
    """Where the token chosen above the view is among those left; the first, said so, without it."""
    place = tokens.place_of(position)
    if place is None:
        st.caption(
            f":material/filter_list: The {what} token chosen is hidden by a filter; "
            f"{token(tokens.labels[0])} is shown instead."
        )
    return place or 0


def clear() -> None:
    """Show everything; for a button."""
    st.session_state.update(AS_OPENED)


def _tokens(trace: Trace, head: HeadTrace) -> Iterator[Filter]:
    queries, keys = trace.tokens_of(head.layer, head.kind)
    names = [f"{place} {label}" for place, label in enumerate(keys.labels)]
    hides_special = st.toggle(
        "Hide special tokens",
        key="hide_special",
        bind="query-params",
        disabled=not any(keys.is_special + queries.is_special),
        help="Such as [CLS] and [SEP], which the tokenizer adds.",
    )
    hidden = st.multiselect(
        "Hide tokens",
        names,
        key="hidden",
        bind="query-params",
        help="As keys, and as queries too where both are tokens of one text.",
    )
    links.check("hidden", "hidden token", names, ", ".join(hidden) or "none")
    segment = ALL
    if len({segment for segment in keys.segments if segment is not None}) > 1:
        segment = st.selectbox(
            "Sentence pair",
            (ALL, *SEGMENTS),
            key="segments",
            bind="query-params",
            help="Which text the query is of → which the key is of.",
        )
        links.check("segments", "sentence pair filter", (ALL, *SEGMENTS), segment)
    is_renormalised = st.toggle(
        "Renormalise",
        key="renormalise",
        bind="query-params",
        disabled=not (hides_special or hidden or segment != ALL),
        help="Divide each row by what is left of it, so that it sums to 1 again. Off: the "
        "model's own weights, which then sum to less.",
    )
    in_words = st.toggle(
        "Words instead of pieces",
        key="words",
        bind="query-params",
        disabled=all(keys.starts_word + queries.starts_word),
        help="Weights to a word are summed over its pieces, weights from a word averaged.",
    )
    links.check_switch("hide_special", "Hide special tokens", hides_special)
    links.check_switch("renormalise", "Renormalise", is_renormalised)
    links.check_switch("words", "Words instead of pieces", in_words)
    renormalise = is_renormalised
    if hidden:  # first, for it goes by the positions of the whole text
        places = [names.index(name) for name in hidden]
        as_queries = places if keys is queries else ()
        yield lambda trace: filters.hide_tokens(trace, places, as_queries, renormalise=renormalise)
    if segment != ALL:
        of = SEGMENTS[segment]
        yield lambda trace: filters.only_segments(trace, *of, renormalise=renormalise)
    if hides_special:
        yield lambda trace: filters.hide_special(trace, renormalise=renormalise)
    if in_words:
        yield filters.in_words


def _lines() -> Iterator[Filter]:
    top = st.select_slider(
        "Lines of each query: at most",
        TOPS,
        ALL,
        key="top",
        bind="query-params",
        help="The strongest. Numbers stay as they are.",
    )
    share = st.select_slider(
        "… and no more than make up, in % of its weight",
        SHARES,
        ALL,
        key="share",
        bind="query-params",
    )
    links.check("top", "number of lines", TOPS, top)
    links.check("share", "share of lines", SHARES, share)
    at_most = None if top == ALL else int(top)
    no_more = None if share == ALL else int(share) / 100
    yield lambda trace: filters.with_lines(trace, at_most, no_more)
