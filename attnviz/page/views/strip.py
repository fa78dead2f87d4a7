"""The head at a glance, above the step that is open: what is clicked there is followed."""

from typing import Any

import streamlit as st

from attnviz.charts.overview import numbers_of_panels, overview_chart
from attnviz.charts.overview_layers import CHOSEN, OPENED
from attnviz.charts.overview_layout import TOTAL
from attnviz.page.beats import BEATS, number_of
from attnviz.page.controls.chart_clicks import pinned
from attnviz.page.controls.pair import Followed
from attnviz.page.figures import Width, show_figure

KEY = "overview"


def show(followed: Followed, beat: str | None) -> None:
    """The sentence and all matrices; those of the open beat stand out."""
    head = followed.head
    figure = overview_chart(
        head,
        followed.query,
        followed.key,
        opened=None if beat is None else number_of(beat),
        reports_clicks=True,
    )
    panels = numbers_of_panels(head)
    # Another text or other steps are drawn anew, and nothing is chosen there yet.
    of = (tuple(head.query_tokens), tuple(head.key_tokens), tuple(panels))
    key = f"{KEY}_{pinned(KEY, of, None).number}"
    show_figure(
        figure,
        key,
        "The head at a glance: the sentence with its weights, and the matrix of each step",
        words=figure.description,
        on_select=lambda: _follow(key, panels),
        selection_mode=(CHOSEN, OPENED),
    )


def show_sentence(followed: Followed, width: Width = "stretch") -> None:
    """The sentence with its weights alone, with nothing to click, in letters of its width."""
    enlarged = width / TOTAL if isinstance(width, int) else 1.0
    figure = overview_chart(
        followed.head, followed.query, followed.key, has_matrices=False, enlarged=enlarged
    )
    show_figure(
        figure,
        f"{KEY}_sentence",
        "The sentence with its weights",
        words=figure.description,
        width=width,
    )


def _follow(key: str, panels: list[str]) -> None:
    selection = st.session_state[key].selection
    for position, side in _just_clicked(key, CHOSEN, selection, "position", "side"):
        if position is not None and position >= 0:  # else no token
            st.session_state[side] = position
    for (panel,) in _just_clicked(key, OPENED, selection, "panel"):
        if panel is not None:
            st.session_state["step"] = BEATS[panels[panel]]


def _just_clicked(key: str, name: str, selection: Any, *fields: str) -> list[tuple[Any, ...]]:
    """The place that this click added to those clicked before, or took from them.

    So every click is told, one on the same place too. A click on another mark of the chart is
    reported without these fields.
    """
    points = selection.get(name) or []
    now = {tuple(map(point.get, fields)) for point in points if fields[0] in point}
    before = st.session_state.get(f"_{key}_{name}", set())
    st.session_state[f"_{key}_{name}"] = now
    return list(now ^ before)
