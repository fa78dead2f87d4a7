"""What if: the same head with something changed, before, after and difference."""

import dataclasses

import numpy as np
import streamlit as st

from attnviz.charts.matrix import matrix_chart
from attnviz.charts.pair import Pair
from attnviz.charts.strips import strips_chart
from attnviz.charts.values import largest
from attnviz.page import links
from attnviz.page.figures import show_figure
from attnviz.page.pair import Followed
from attnviz.results import HeadTrace
from attnviz.steps import Step, steps_of
from attnviz.whatif import can_be_causal, is_causal, what_if
from attnviz.wording import fixed, number, percent, token, token_at


def show(followed: Followed) -> None:
    """A closed expander; nothing is computed until it is opened."""
    expander = st.expander(
        "What if?", key="what_if", icon=":material/experiment:", bind="query-params"
    )
    links.check_switch("what_if", "What if?", bool(expander.open))
    if expander.open:
        with expander:
            _show(followed)


FACTORS = 0.0001, 1000.0
TEMPERATURES = 0.01, 100.0


def _show(followed: Followed) -> None:
    head = followed.head
    st.markdown(
        "Change something inside this head and see what becomes of its weights and its update. "
        "What stands above stays the model's own."
    )
    changed = _changed(head)
    if changed is None:
        st.markdown("Nothing is changed yet: choose something above.")
        return
    st.markdown(effect(head, changed, followed.query))
    before, after = (_weights(one, followed) for one in (head, changed))
    change = dataclasses.replace(after, name="difference", array=after.array - before.array)
    if before.hidden_because is not None and after.hidden_because is not None:
        codes = np.minimum(before.hidden_because, after.hidden_because)  # 0: one of them sees it
        change = dataclasses.replace(change, hidden_because=codes)
    if before.sink is not None and after.sink is not None:
        change = dataclasses.replace(change, sink=after.sink - before.sink)
    pair = Pair(followed.query, followed.key)
    for column, title, step in zip(
        st.columns(3), ("before", "after", "after − before"), (before, after, change), strict=True
    ):
        with column:
            st.markdown(f"**Weights {title}**")
            show_figure(
                matrix_chart(head, step, pair, is_narrow=True, limit=1.0),
                f"what_if_{step.name}_{title}",
                f"weights {title}",
            )
    query = followed.query
    name = head.query_tokens[query]
    st.markdown(f"**The weights of {token(name)}**")
    weights = [np.where(one.is_masked[query], 0, one.weights[query]) for one in (head, changed)]
    sinks: list[float] = []
    printed = [np.round(row, 3) for row in weights]
    if head.sink_logits is not None:
        both = [float(one.sink[query]) for one in (head, changed)]
        sinks = [*both, both[1] - both[0]]
        printed = [np.append(row, round(sink, 3)) for row, sink in zip(printed, both, strict=True)]
    show_figure(
        strips_chart(
            _compared(*weights),
            head.key_tokens,
            column_title="key token",
            value_title="weight",
            limit=1.0,
            # Of rounded weights, so that the printed rows agree.
            printed=[[fixed(value, 3) for value in row] for row in _compared(*printed).values()],
            sinks=sinks,
        ),
        "what_if_weights",
        f"Weights of {name} before and after",
    )
    st.markdown("**Its update x′**")
    updates = _compared(head.updated[query], changed.updated[query])
    show_figure(
        strips_chart(
            updates,
            head.v.shape[1],
            column_title="dimension (d_value)",
            value_title="x′",
            limit=largest(np.stack(list(updates.values()))),
        ),
        "what_if_update",
        f"Update of {name} before and after",
    )


def _compared(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    return {"before": before, "after": after, "after − before": after - before}


def _weights(head: HeadTrace, followed: Followed) -> Step:
    steps = steps_of(head, followed.convention)
    return next(step for step in steps if step.name == "weights")


# What is changed


def _changed(head: HeadTrace) -> HeadTrace | None:
    """The head as the controls say, or None where they say nothing."""
    keys = [f"{place} {label}" for place, label in enumerate(head.key_tokens)]
    columns = st.columns(3)
    with columns[0]:
        is_unscaled = st.toggle("Scaling off", key="if_unscaled", bind="query-params")
        factor = st.number_input(
            "Scaling factor",
            value=None,
            min_value=FACTORS[0],
            max_value=FACTORS[1],
            placeholder=f"{head.scaling:.4g}, the model's own",
            format="%.4g",
            key="if_factor",
            bind="query-params",
            disabled=is_unscaled,
        )
    with columns[1]:
        temperature = st.number_input(
            "Temperature",
            value=1.0,
            min_value=TEMPERATURES[0],
            max_value=TEMPERATURES[1],
            step=0.5,
            key="if_temperature",
            bind="query-params",
            help="Divides what the softmax is given. Above 1: weights more alike; below: sharper.",
        )
        causal = None
        if can_be_causal(head):
            own = "on" if is_causal(head) else "off"
            masks = {None: f"as in the model: {own}", True: "on", False: "off"}
            causal = st.selectbox(
                "Causal mask",
                tuple(masks),
                format_func=masks.__getitem__,
                key="if_causal",
                bind="query-params",
                help="On: no query sees a key that comes after it, as in a model that writes text.",
            )
            links.check("if_causal", "causal mask", list(masks.values()), masks[causal])
    with columns[2]:
        hidden = st.multiselect(
            "Mask keys",
            keys,
            key="if_hidden",
            bind="query-params",
            help="Hidden from every query.",
        )
        zeroed = st.multiselect(
            "Zero dimensions of q and k",
            range(head.q.shape[1]),
            key="if_zeroed",
            bind="query-params",
            help="Left out of every score.",
        )
    dimensions = [str(dimension) for dimension in range(head.q.shape[1])]
    links.check_switch("if_unscaled", "Scaling off", is_unscaled)
    links.check_number("if_factor", "scaling factor", *FACTORS, f"{factor or head.scaling:.4g}")
    links.check_number("if_temperature", "temperature", *TEMPERATURES, f"{temperature:g}")
    links.check("if_hidden", "masked key", keys, ", ".join(hidden) or "none")
    links.check("if_zeroed", "zeroed dimension", dimensions, ", ".join(map(str, zeroed)) or "none")
    scaling = 1.0 if is_unscaled else factor or None
    is_nothing = not (hidden or zeroed) and (
        scaling in (None, head.scaling) and temperature == 1 and causal in (None, is_causal(head))
    )
    if is_nothing:
        return None
    return what_if(
        head,
        scaling=scaling,
        temperature=temperature,
        hidden_keys=[keys.index(key) for key in hidden],
        is_causal=causal,
        zeroed_dimensions=zeroed,
    )


def effect(head: HeadTrace, changed: HeadTrace, query: int) -> str:
    """What a change does to one query's weights and update, in a sentence, as Markdown."""
    name = token_at(head.query_tokens, query)
    if changed.is_masked[query].all():
        return (
            f"Now every key is hidden from {name}: nothing is left for it to attend to, and the "
            "numbers in its place mean nothing."
        )
    before = np.where(head.is_masked[query], 0, head.weights[query])
    after = np.where(changed.is_masked[query], 0, changed.weights[query])
    most = int(np.abs(after - before).argmax())
    text = (
        f"{name} now gives {token_at(head.key_tokens, most)} **{percent(after[most])}** instead of "
        f"{percent(before[most])}, the largest change of its weights."
    )
    own, other = head.updated[query], changed.updated[query]
    norm = float(np.linalg.norm(own))
    moved = float(np.linalg.norm(other - own))
    lengths = norm * float(np.linalg.norm(other))
    cosine = f"; the cosine of before and after is {number(own @ other / lengths)}"
    text += (
        f" Its update moves by {number(moved)}, {percent(moved / norm if norm else 0.0)} of its "
        f"norm{cosine if lengths else ''}."
    )
    n_empty = int(changed.is_masked.all(axis=1).sum())
    if n_empty:
        queries = "query sees" if n_empty == 1 else "queries see"
        text += f" {n_empty} {queries} no key any more."
    return text
