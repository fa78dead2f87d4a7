"""The Steps view: the timeline of all steps, with one pair of tokens followed through."""

from functools import partial
from itertools import groupby

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.charts.axes import AXIS_TITLES, labels_of
from attnviz.charts.sink import LABEL
from attnviz.page import (
    exporting,
    glossary,
    header,
    pair,
    step_view,
    tables,
    talk,
    what_if_view,
    why_scale,
)
from attnviz.results import HeadTrace, Trace
from attnviz.sentences import headline, no_output
from attnviz.steps import Step, steps_of


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        followed = pair.choose(trace, head)
        tables.show_choice(
            "steps",
            {step.title: partial(_table, head, step) for step in steps_of(head)},
        )
        talk.enter_button()
        menu = st.container(width="content")
    header.show_strongest(trace, head, followed.query, followed.key)
    steps_in_order = steps_of(head, followed.convention)
    for number, steps in groupby(steps_in_order, key=lambda step: step.number):
        with st.expander(f"**{headline(number)}**", expanded=True, type="step"):
            step_view.show_steps(followed, list(steps))
        if number == "3a":
            why_scale.show(head, followed.query)
    if head.output is None:
        with st.expander(f"**{headline('beyond')}**", expanded=True, type="step"):
            st.markdown(no_output(head))
    change = what_if_view.show(followed)
    glossary.show()
    with menu:
        screen = exporting.screen_of(
            trace,
            head,
            view="steps",
            query=followed.query,
            key=followed.key,
            convention=followed.convention,
            large=followed.large,
            change=change,
        )
        exporting.menu(screen, trace)


def _table(head: HeadTrace, step: Step) -> pd.DataFrame:
    """A step's matrix, every value of it; a hidden one is empty."""
    values = step.array
    if step.is_hidden is not None:
        values = np.where(step.is_hidden, np.nan, values)
    rows, columns = (
        labels_of(head, axis, n) for axis, n in zip(step.axes, step.array.shape, strict=True)
    )
    is_named = step.axes[1] in ("query_pos", "key_pos")
    names = [f"{place} {name}" if is_named else name for place, name in enumerate(columns)]
    table = pd.DataFrame(values, columns=names)
    row_names = [f"{place} {name}" for place, name in enumerate(rows)]
    if step.sink is not None and step.axes[1] == "key_pos":
        table[LABEL] = step.sink
    elif step.sink is not None:
        table.loc[len(table)] = step.sink
        row_names.append(LABEL)
    table.insert(0, AXIS_TITLES[step.axes[0]], row_names)
    return table
