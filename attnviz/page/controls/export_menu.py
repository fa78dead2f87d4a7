"""One menu of everything a visitor can leave with: what is on the screen, as it is there."""

from dataclasses import replace

import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.export.screen import Screen
from attnviz.page.service import loading

MENU = "export"  # its key


def menu(screen: Screen, trace: Trace) -> None:
    """The menu for a view of a trace that is not filtered yet; made when it is opened.

    What it keeps while it is open holds no trace: that is had again.
    """
    popover = st.popover(
        "Export", icon=":material/ios_share:", key=MENU, on_change="rerun", width="content"
    )
    if popover.open:
        from attnviz.page.controls import export_parts  # the first picture does not wait for it

        with popover:
            export_parts.show(screen, trace)


def is_open() -> bool:
    return bool(st.session_state.get(MENU))


def screen_of(trace: Trace, head: HeadTrace, **shown: object) -> Screen:
    """The screen that shows a head of a trace, in the colours of the page."""
    screen = loading.screen(trace, head)
    theme = "dark" if st.context.theme.type == "dark" else "light"
    return replace(screen, display_mode=theme, **shown)  # type: ignore[arg-type]
