"""The Steps view: the timeline of all steps, with one pair of tokens followed through."""

from collections.abc import Callable
from functools import partial
from itertools import groupby

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from attnviz.charts.axes import AXIS_TITLES, labels_of
from attnviz.charts.sink import LABEL
from attnviz.charts.steps import steps_view
from attnviz.page import (
    glossary,
    header,
    pair,
    saving,
    step_view,
    tables,
    talk,
    what_if_view,
    why_scale,
)
from attnviz.page.pair import Followed
from attnviz.results import HeadTrace, Trace
from attnviz.sentences import headline
from attnviz.steps import Step, steps_of


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        followed = pair.choose(trace, head)
        tables.show_choice(
            "steps",
            {step.title: partial(_table, head, step) for step in steps_of(head)},
        )
        talk.enter_button()
        saving.save_button("steps", trace, head, _drawn(followed))
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


def _drawn(followed: Followed) -> Callable[[Trace], alt.VConcatChart]:
    layer, number, kind = followed.head.layer, followed.head.head, followed.head.kind
    pair, convention, large = (followed.query, followed.key), followed.convention, followed.large
    return lambda trace: steps_view(
        trace.head(layer, number, kind), *pair, convention=convention, large=large
    )
