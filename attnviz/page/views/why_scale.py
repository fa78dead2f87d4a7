"""Why scale? The reason; then spread, derivative and entropy with scaling and without."""

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.attention.explained.scaling import (
    derivative_by_score,
    entropy,
    softmax_derivative,
    spread,
)
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import scaling_factor
from attnviz.attention.what_if import what_if
from attnviz.charts.scaling import entropy_chart
from attnviz.charts.strips import strips_chart
from attnviz.page import opened_below
from attnviz.page.figures import show_figure
from attnviz.text.phrases import fixed, number, percent, token_at


def show(head: HeadTrace, query: int, key: int) -> None:
    """A closed expander; nothing is computed until it is opened."""
    opened = opened_below.expander("Why scale?", "why_scale", ":material/help:")
    if opened is not None:
        with opened:
            _show(head, query, key)


def _show(head: HeadTrace, query: int, key: int) -> None:
    st.markdown(REASON)
    st.markdown(theory(head))
    if head.scaling == 1:
        st.markdown(
            "**This head multiplies its scores by 1**, so there is no before and after to compare. "
            "Any scaling is learned, or applied to q before the scores."
        )
        st.markdown(steepness(head, query, key))
    else:
        st.dataframe(_spreads(head), width="content")
        st.markdown(without_scaling(head, query))
        st.markdown(steepness(head, query, key))
        st.dataframe(derivatives(head, query, key), width="content")
        unscaled = what_if(head, scaling=1)
        rows = {
            f"× {scaling_factor(head)}": head.weights[query],
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
        "equally. With larger factors the softmax saturates; with smaller ones its weights become "
        "equal. The model was trained with its own factor; the other factors only show the effect."
    )


def theory(head: HeadTrace) -> str:
    """What is expected of unit-variance q and k, beside what this head has, as Markdown."""
    d_head = head.q.shape[1]
    var_q, var_k = float(head.q.var()), float(head.k.var())
    return (
        f"**Spread.** A score is a sum of {d_head} products. If the entries of q and k were "
        "independent with mean 0 and variance 1, the score would have variance d_head = "
        f"{d_head} and standard deviation √{d_head} = {number(np.sqrt(d_head))}. Here the "
        f"entries of q have variance {number(var_q)} and those of k {number(var_k)}, which alone "
        f"would give a standard deviation of {number(np.sqrt(d_head * var_q * var_k))}. The "
        "measured value differs because the entries are neither independent nor zero-mean."
    )


REASON = (
    "**Without scaling, large scores push the softmax into saturation:** nearly all weight is on "
    "one key, gradients are near zero, and training stalls. Scores are large because a dot product "
    "grows with the dimension. Scaling brings them back."
)


def steepness(head: HeadTrace, query: int, key: int) -> str:
    """The softmax's derivative for the pair and over the row, with scaling and without."""
    heads = (head,) if head.scaling == 1 else (head, what_if(head, scaling=1))
    slopes = [softmax_derivative(one, query) for one in heads]
    names = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    pair = " with scaling and ".join(f"**{number(one[key])}**" for one in slopes)
    row = " with scaling and ".join(f"**{number(one.sum())}**" for one in slopes)
    without = " without" if len(slopes) > 1 else ""
    return (
        "**Gradient.** The derivative of a weight by its input of the softmax is w(1 − w): near 0 "
        f"where w is near 0 or 1, at most 0.25. From {names[0]} to {names[1]} it is "
        f"{pair}{without}; the sum over the row, Σ w(1 − w), is {row}{without}."
    )


def derivatives(head: HeadTrace, query: int, key: int) -> pd.DataFrame:
    """The derivatives by the softmax's input and by q·kᵀ, of the pair and summed over the row."""
    rows = {}
    for one in (head, what_if(head, scaling=1)):
        by_input, by_score = softmax_derivative(one, query), derivative_by_score(one, query)
        rows["not scaled" if one.scaling == 1 else f"× {scaling_factor(one)}"] = {
            "pair, by softmax input": number(by_input[key]),
            "row sum, by softmax input": number(by_input.sum()),
            "pair, by q·kᵀ": number(by_score[key]),
            "row sum, by q·kᵀ": number(by_score.sum()),
        }
    return pd.DataFrame(rows).T


def without_scaling(head: HeadTrace, query: int) -> str:
    """Entropy and largest weight of one query's softmax, as it is and without scaling."""
    unscaled = what_if(head, scaling=1)
    own, other = (
        f"**{percent(h.weights[query].max())}** and its entropy "
        f"**{number(entropy(h.weights)[query])}** bits"
        for h in (head, unscaled)
    )
    name = token_at(head.query_tokens, query)
    return (
        f"**Saturation.** With scaling, the largest weight of {name} is {own}; without, it is "
        f"{other}."
    )


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
