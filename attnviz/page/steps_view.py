"""The Steps view: every matrix of the head, in order, with one pair of tokens followed through."""

from itertools import groupby

import streamlit as st

from attnviz.charts.matrix import VALUES_FIT, is_in_blocks, matrix_chart
from attnviz.charts.pair import Pair
from attnviz.charts.row import row_chart
from attnviz.charts.steps import steps_view
from attnviz.page import header, pair, saving
from attnviz.page.walkthrough import GROUPS, pair_sentence
from attnviz.page.wording import token
from attnviz.results import HeadTrace, Trace
from attnviz.steps import Step

# The page's names for the colours that q, k, v and the update have in the charts' headings.
IDENTITY = {"q": "violet", "k": "green", "v": "red", "updated": "yellow"}


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = pair.choose_query(trace, head)
        key = pair.choose_key(trace, head)
        saving.save_button("steps", head, lambda: steps_view(head, query, key))
    header.show_strongest(trace, head, query, key)
    for number, steps in groupby(head.steps, key=lambda step: step.number):
        title, explanation = GROUPS[number]
        with st.expander(f"**{title}**", expanded=True, type="step"):
            st.markdown(explanation)
            _show_group(head, list(steps), query, key)


def _show_group(head: HeadTrace, steps: list[Step], query: int, key: int) -> None:
    are_scores = steps[0].axes == ("query_pos", "key_pos")
    if not are_scores:
        columns = st.columns(len(steps))
        for column, step in zip(columns, steps, strict=True):
            with column:
                _show_step(head, step, query, key)
        return
    for step in steps:
        are_small = max(step.array.shape) <= VALUES_FIT
        words, picture = st.columns([2, 3]) if are_small else (st.container(), st.container())
        with words:
            st.markdown(f"${step.formula}$")
            st.markdown(pair_sentence(head, step, query, key))
        with picture:
            _show_chart(head, step, query, key)


def _show_step(head: HeadTrace, step: Step, query: int, key: int) -> None:
    colour = IDENTITY.get(step.name)
    title = f":{colour}[**{step.title}**]" if colour else f"**{step.title}**"
    st.markdown(f"{title} ${step.formula}$")
    _show_chart(head, step, query, key)
    st.markdown(pair_sentence(head, step, query, key))


def _show_chart(head: HeadTrace, step: Step, query: int, key: int) -> None:
    followed = Pair(query, key)
    chart_key = f"matrix_{step.name}"
    alternative = f"{step.title}: {step.array.shape[0]} × {step.array.shape[1]} values"
    if not is_in_blocks(step):
        st.altair_chart(
            matrix_chart(head, step, followed, reports_clicks=True, is_narrow=step.number == "1"),
            key=chart_key,
            on_select=lambda: pair.follow_click(chart_key, step.axes),
            alt=alternative,
        )
        return
    st.altair_chart(matrix_chart(head, step, followed), key=chart_key, alt=alternative)
    is_of_key = step.axes[0] == "key_pos"
    row = key if is_of_key else query
    label = (head.key_tokens if is_of_key else head.query_tokens)[row]
    st.caption(
        f"A cell above stands for several values; the frame is around the block that holds "
        f"{token(label)}. Its row, every value:"
    )
    st.altair_chart(
        row_chart(head, step, row), key=f"row_{step.name}", alt=f"{step.title} of {label}"
    )
