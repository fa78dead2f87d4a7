"""The Steps view: the timeline of all steps, with one pair of tokens followed through."""

from collections.abc import Collection
from functools import partial
from itertools import groupby

import streamlit as st

from attnviz.attention.explained.sentences import headline, no_output
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.parts.tables import step_table
from attnviz.page import header
from attnviz.page.compat import DeltaGenerator, keyed
from attnviz.page.controls import export_menu, links, pair, tables
from attnviz.page.views import glossary, one_step, present, what_if, why_scale


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        followed = pair.choose(trace, head)
        tables.show_choice(
            "steps",
            {step.title: partial(step_table, head, step) for step in steps_of(head)},
        )
        present.enter_button()
        menu = st.container(width="content")
    header.show_strongest(trace, head, followed.query, followed.key)
    steps_in_order = steps_of(head, followed.convention)
    for number, steps in groupby(steps_in_order, key=lambda step: step.number):
        with _expander(number):
            one_step.show_steps(followed, list(steps))
        if number == "3a":
            why_scale.show(head, followed.query)
    if head.output is None:
        with _expander("beyond"):
            st.markdown(no_output(head))
    change = what_if.show(followed)
    glossary.show()
    _scroll({present.BEATS[step.number] for step in steps_in_order} | {present.BEATS["beyond"]})
    with menu:
        screen = export_menu.screen_of(
            trace,
            head,
            view="steps",
            query=followed.query,
            key=followed.key,
            convention=followed.convention,
            large=followed.large,
            change=change,
        )
        export_menu.menu(screen, trace)


def _expander(number: str) -> DeltaGenerator:
    key = f"step_{present.BEATS[number]}"
    return st.expander(f"**{headline(number)}**", expanded=True, type="step", key=key)


def _scroll(beats: Collection[str]) -> None:
    """To the step that the link asked for, once; the browser holds it there as pictures come."""
    in_order = [beat for beat in present.BEATS.values() if beat in beats]
    for beat in links.check("step", "step", in_order, "all of them, from the first"):
        if beat in in_order:
            script = f"document.querySelector('{keyed(f'step_{beat}')}').scrollIntoView()"
            st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)
