"""One run of the page, however it ends: at its last line, where it stops, or to run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import streamlit as st

from attnviz.page import figures
from attnviz.page.controls import chart_clicks, export_menu, links


class _Stopped(BaseException):
    """There is nothing more to show. No error, which the page would show."""


@contextmanager
def one_run() -> Iterator[None]:
    """Around all that is shown: notes on the link come above it, and clicks on charts are kept.

    What fails, or is to run again, has not come to its end.
    """
    figures.begin_run(are_kept=export_menu.is_open())
    links.remember()
    chart_clicks.begin_run()
    notes = st.container()
    try:
        yield
        links.drop_unwritten()
    except _Stopped:  # before any view, whose parameters wait in the address
        pass
    links.show_notes(notes)
    chart_clicks.end_run()


def stop() -> NoReturn:
    """End this run of the page here. After `st.stop()` no note could be shown."""
    raise _Stopped
