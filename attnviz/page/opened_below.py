"""Parts of the page that open below what is seen: once they are opened, they are scrolled to."""

import streamlit as st

from attnviz.page import stylesheet
from attnviz.page.compat import DeltaGenerator
from attnviz.page.controls import links

_JUST_OPENED = "_opened_below"


def expander(label: str, key: str, icon: str) -> DeltaGenerator | None:
    """A closed expander with this key, in links too; None where it is closed."""
    made = st.expander(
        label, key=key, icon=icon, bind="query-params", on_change=_remember, args=(key,)
    )
    links.check_switch(key, label, bool(made.open))
    return made if made.open else None


def open_it(key: str) -> None:
    """Open the one with this key; for a button above it."""
    links.set_all({key: True})
    st.session_state[_JUST_OPENED] = key


def scroll() -> None:
    """To what was just opened, if anything was: below it, when all of it is there."""
    key = st.session_state.pop(_JUST_OPENED, None)
    if key is not None and st.session_state.get(key):
        stylesheet.scroll_to(key)


def _remember(key: str) -> None:
    st.session_state[_JUST_OPENED] = key
