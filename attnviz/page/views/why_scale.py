"""Why scale? The scores' spread before and after, and what the softmax makes of either."""

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.attention.explained.scaling import entropy, spread
from attnviz.attention.head import HeadTrace
from attnviz.attention.what_if import what_if
from attnviz.charts.scaling import entropy_chart
from attnviz.charts.strips import strips_chart
from attnviz.page.controls import links
from attnviz.page.figures import show_figure
from attnviz.text.phrases import fixed, number, percent, token_at


def show(head: HeadTrace, query: int) -> None:
    """A closed expander; nothing is computed until it is opened."""
    expander = st.expander(
        "Why scale?", key="why_scale", icon=":material/help:", bind="query-params"
    )
    links.check_switch("why_scale", "Why scale?", bool(expander.open))
    if expander.open:
        with expander:
            _show(head, query)


def _show(head: HeadTrace, query: int) -> None:
    st.markdown(theory(head))
    if head.scaling == 1:
        st.markdown(
            "**This head multiplies its scores by 1**, so there is no before and after to compare: "
            "whatever scale it needs was learned into its queries and keys, or put into q "
            "before the scores."
        )
    else:
        st.dataframe(_spreads(head), width="content")
        st.markdown(without_scaling(head, query))
        unscaled = what_if(head, scaling=1)
        rows = {
            f"× {number(head.scaling, 4)}": head.weights[query],
            "not scaled": unscaled.weights[query],
        }
        sinks: list[float] = []
        if head.sink_logits is not None:
            sinks = [float(one.sink[query]) for one in (head, unscaled)]
        show_figure(
            strips_chart(
                {
                    name: np.where(head.is_masked[query], np.nan, weights)
                    for name, weights in rows.items()
                },
                head.key_tokens,
                column_title="key token",
                value_title="weight",
                printed=[
                    [fixed(weight, 3) for weight in (*row, *sinks[place : place + 1])]
                    for place, row in enumerate(rows.values())
                ],
                sinks=sinks,
            ),
            "why_scale_weights",
            "Weights with and without scaling",
        )
    show_figure(entropy_chart(head, query), "why_scale_curve", "Entropy by factor")
    st.caption(
        "Entropy is 0 bits where all weight is on one key, and "
        f"{number(np.log2(len(head.key_tokens)))} bits where {len(head.key_tokens)} keys share it "
        "equally. To the right the softmax hardens into a choice of one; to the left it becomes a "
        "plain mean. The model was trained with its own factor; any other only shows what it does."
    )


def theory(head: HeadTrace) -> str:
    """What is expected of unit-variance q and k, beside what this head has, as Markdown."""
    d_head = head.q.shape[1]
    var_q, var_k = float(head.q.var()), float(head.k.var())
    return (
        f"A score is a sum of {d_head} products. If the entries of q and k were independent with "
        f"mean 0 and variance 1, its variance would be d_head = {d_head} and its standard "
        f"deviation √{d_head} = {number(np.sqrt(d_head))}. Here the entries of q have variance "
        f"{number(var_q)} and those of k {number(var_k)}, which alone would make the standard "
        f"deviation {number(np.sqrt(d_head * var_q * var_k))}; what is measured differs as far as "
        "entries are not independent and their means not 0."
    )


def without_scaling(head: HeadTrace, query: int) -> str:
    """Entropy and largest weight of one query's softmax, as it is and without scaling."""
    unscaled = what_if(head, scaling=1)
    own, other = (
        f"**{percent(h.weights[query].max())}** and its entropy "
        f"**{number(entropy(h.weights)[query])}** bits"
        for h in (head, unscaled)
    )
    name = token_at(head.query_tokens, query)
    return f"With scaling, the largest weight of {name} is {own}; without, {other}."


def _spreads(head: HeadTrace) -> pd.DataFrame:
    d_head = head.q.shape[1]
    rows = {}
    for label, name, factor in (
        ("before: scores", "scores", 1.0),
        ("after: scaled", "scaled", head.scaling),
    ):
        measured = spread(head, name)
        variance = d_head * factor**2
        rows[label] = {
            "variance": number(measured.variance),
            "standard deviation": number(measured.standard_deviation),
            "smallest": number(measured.smallest),
            "largest": number(measured.largest),
            "variance in theory": number(variance),
            "standard deviation in theory": number(np.sqrt(variance)),
        }
    return pd.DataFrame(rows).T
