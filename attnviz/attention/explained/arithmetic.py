"""One query and one key token followed through the steps: the arithmetic, with its numbers.

Each line can be worked out again from the one before it as printed, to within one unit of its
last digit (where a factor is at most 1, as in nearly every model), and terms that add up add up
as printed.
"""

import numpy as np
import pandas as pd

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, scaling_factor
from attnviz.text.phrases import added, fixed, number, percent, rounded_together, token_at

DECIMALS = 4  # of every score, so that a factor below 1 does not make a rounding larger
N_PRODUCTS = 5  # written out; the others are added up
LARGEST_EXP = 10.0  # exp of a larger score is no number to read: the row's largest is taken off


def arithmetic(head: HeadTrace, step: Step, query: int, key: int) -> str | None:
    """The pair's own numbers in this step, as Markdown; None where a step has no pair."""
    if step.number == "1b":
        return _turned(head, query, key) if step.name == "k" else None
    say = {
        "scores": _scores,
        "scaled": _scaled,
        "capped": _capped,
        "biased": _biased,
        "masked": _masked,
        "weights": _weights,
        "updated": _updated,
    }.get(step.name)
    return None if say is None else say(head, query, key)


def products(head: HeadTrace, query: int, key: int) -> pd.DataFrame:
    """The d_head products whose sum is the pair's score, largest in magnitude first.

    One row a dimension: `dimension`, `q`, `k`, `product`, and `sum`, of the products so far.
    """
    q, k = head.q[query], head.k[key]
    product = q * k
    table = pd.DataFrame({"dimension": np.arange(len(q)), "q": q, "k": k, "product": product})
    table = table.iloc[np.argsort(-np.abs(product), kind="stable")].reset_index(drop=True)
    return table.assign(sum=table["product"].cumsum())


def _score(value: float | np.floating) -> str:
    return fixed(value, DECIMALS)


def _given(value: float) -> str:
    """A number of the model's own, with every digit that it was given."""
    return f"{np.float32(value)!s}"


def _turned(head: HeadTrace, query: int, key: int) -> str:
    """What the rotary embedding does to the score of the pair."""
    assert head.q_before_rotary is not None
    assert head.k_before_rotary is not None
    before = head.q_before_rotary[query] @ head.k_before_rotary[key]
    pair = f"q of {token_at(head.query_tokens, query)} · k of {token_at(head.key_tokens, key)}"
    return (
        f"{pair} would be {_score(before)} without the rotary embedding; with it, the score is "
        f"**{_score(head.scores[query, key])}**."
    )


def _scores(head: HeadTrace, query: int, key: int) -> str:
    table = products(head, query, key)
    n_written = N_PRODUCTS if len(table) > N_PRODUCTS + 1 else len(table)
    written = [float(value) for value in table["product"][:n_written]]
    n_others = len(table) - n_written
    rest = [float(head.scores[query, key]) - sum(written)] if n_others else []
    terms = rounded_together([*written, *rest], DECIMALS)
    if n_others:
        terms[-1] += f" (sum of the other {n_others})"
    return (
        f"q of {token_at(head.query_tokens, query)} · k of {token_at(head.key_tokens, key)} = "
        f"{added(terms)} = **{_score(head.scores[query, key])}**"
    )


def _scaled(head: HeadTrace, query: int, key: int) -> str | None:
    if head.scaling == 1:
        return None
    factor = scaling_factor(head)
    by = factor if "√" in factor else _given(head.scaling)
    return f"{_score(head.scores[query, key])} × {by} = **{_score(head.scaled[query, key])}**"


def _capped(head: HeadTrace, query: int, key: int) -> str:
    cap = _given(head.softcap or 0)
    return (
        f"{cap} · tanh({_score(head.scaled[query, key])} ÷ {cap}) = "
        f"**{_score(head.capped[query, key])}**"
    )


def _biased(head: HeadTrace, query: int, key: int) -> str | None:
    assert head.bias is not None
    if head.is_masked[query, key]:
        return None
    return _sum(head.capped[query, key], head.bias[query, key])


def _masked(head: HeadTrace, query: int, key: int) -> str | None:
    if head.mask is None:
        return None
    if head.is_masked[query, key]:
        return f"{_score(head.biased[query, key])} − ∞ = **−∞** (hidden)"
    return _sum(head.biased[query, key], head.mask[query, key])


def _sum(before: float, change: float) -> str:
    terms = rounded_together([float(before), float(change)], DECIMALS)
    total = _score(float(before) + float(change))
    return f"{added(terms)} = **{total}**"


def _weights(head: HeadTrace, query: int, key: int) -> str | None:
    seen = ~head.is_masked[query]
    if not seen.any():
        return None
    if head.is_masked[query, key]:
        return "exp(−∞) = 0, so the weight is **0.0\u00a0%**"
    scores = head.masked[query].astype(np.float64)
    logits = scores[seen]
    if head.sink_logits is not None:
        logits = np.append(logits, head.sink_logits[query])
    logits = logits / head.temperature
    score = scores[key] / head.temperature
    largest = logits.max()
    is_shifted = max(abs(largest), abs(score)) > LARGEST_EXP
    shift = largest if is_shifted else 0.0
    exp, total = np.exp(score - shift), np.exp(logits - shift).sum()
    argument = _score(scores[key])
    if head.temperature != 1:
        argument += f" ÷ {head.temperature:g}"
    note = ""
    if is_shifted:
        argument = added([argument, _score(-shift)])
        note = " (The largest score is subtracted from each first; no weight changes.)"
    n_seen = int(seen.sum())
    keys = f"all {n_seen} keys" if seen.all() else f"the {n_seen} keys it sees"
    keys = "its only key" if n_seen == 1 else keys
    sink = " and the sink" if head.sink_logits is not None else ""
    share = percent(head.weights[query, key])
    exp, total = number(exp, 4), number(total, 4)
    return (
        f"exp({argument}) = {exp}; over {keys}{sink} the sum is {total}.{note}"
        f"\n\n{exp} ÷ {total} = **{share}**"
    )


def _updated(head: HeadTrace, query: int, key: int) -> str | None:
    if head.is_masked[query].all():
        return None
    weight = head.weights[query, key]
    norm = np.linalg.norm(head.v[key])
    n_seen = int((~head.is_masked[query]).sum())
    rows = f"The {n_seen} rows w·v add up" if n_seen > 1 else "It is the only row w·v, equal"
    return (
        f"‖w·v‖ of {token_at(head.key_tokens, key)} = {number(weight, 4)} × {number(norm, 4)} = "
        f"**{number(weight * norm)}**. {rows} to x′, with norm "
        f"{number(np.linalg.norm(head.updated[query]))}."
    )
