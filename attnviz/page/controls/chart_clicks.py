"""What a clickable chart was drawn with, so that a click of its own does not draw it again.

The chart marks a click at once, in the browser. If the page then sent it anew, with the clicked
token pinned, it would flicker; so it is sent as before until something else changes.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import streamlit as st


@dataclass
class Pinned:
    """The selection that a chart was sent with, and the one it shows since."""

    of: Hashable  # what its places mean: another text or window begins anew
    drawn: Any
    now: Any
    number: int  # a chart with a new number forgets what was clicked in the one before
    reported: Any = None  # what the chart said last


def begin_run() -> None:
    """At the top of the page: a chart that the last run did not show has forgotten its clicks.

    A run that was cut short, by a click or to run again, has taken nothing off the page.
    """
    shown = st.session_state.get("_charts_now", set())
    if not st.session_state.get("_run_ended", True):
        shown |= st.session_state["_charts_before"]
    st.session_state["_charts_before"] = shown
    st.session_state["_charts_now"] = set()
    st.session_state["_run_ended"] = False


def end_run() -> None:
    """At the bottom of the page, and wherever it stops."""
    st.session_state["_run_ended"] = True


def pinned(view: str, of: Hashable, now: Any) -> Pinned:
    """What to draw a view's chart with, where `now` is what should be seen to be selected."""
    before = st.session_state.get(f"_pinned_{view}")
    is_still_there = view in st.session_state["_charts_before"]
    st.session_state["_charts_now"].add(view)
    if before is not None and is_still_there and (before.of, before.now) == (of, now):
        return before
    number = 0 if before is None else before.number + 1
    after = Pinned(of, now, now, number)
    st.session_state[f"_pinned_{view}"] = after
    return after


def clicked(view: str, now: Any) -> None:
    """The chart itself has been clicked and shows this selection already."""
    st.session_state[f"_pinned_{view}"].now = now
