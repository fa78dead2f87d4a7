"""The Steps view: the timeline of all steps, with one pair of tokens followed through."""

from itertools import groupby

import altair as alt
import streamlit as st

from attnviz.charts.steps import steps_view
from attnviz.page import glossary, header, pair, saving, step_view, talk, what_if_view, why_scale
from attnviz.page.pair import Followed
from attnviz.results import HeadTrace, Trace
from attnviz.sentences import headline
from attnviz.steps import steps_of


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        followed = pair.choose(trace, head)
        talk.enter_button()
        saving.save_button("steps", head, lambda: _figure(followed))
    header.show_strongest(trace, head, followed.query, followed.key)
    steps_in_order = steps_of(head, followed.convention)
    for number, steps in groupby(steps_in_order, key=lambda step: step.number):
        with st.expander(f"**{headline(number)}**", expanded=True, type="step"):
            step_view.show_steps(followed, list(steps))
        if number == "3a":
            why_scale.show(head, followed.query)
    if head.output is None:
        with st.expander(f"**{headline('beyond')}**", expanded=True, type="step"):
            st.markdown(step_view.no_output(head))
    what_if_view.show(followed)
    glossary.show()


def _figure(followed: Followed) -> alt.VConcatChart:
    return steps_view(followed.head, followed.query, followed.key, convention=followed.convention)
