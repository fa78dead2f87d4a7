"""What is said beside each step: what happens, and what it means for the pair that is followed."""

import re

import numpy as np

from attnviz.page.wording import number, percent, token
from attnviz.results import HeadTrace
from attnviz.steps import Step

# By the step's number: its headline, and what happens in words.
GROUPS = {
    "in": (
        "Token embeddings",
        "What the attention module is given: one row of numbers for each token.",
    ),
    "1": (
        "1 · Project each embedding into query, key and value",
        "Three learned matrices turn each row of x into a query (what a token looks for), a key "
        "(what it can be found by) and a value (what it passes on). Shown is what the model "
        "itself made of x, with its bias, and with rotary embedding or norms where it has them.",
    ),
    "2": (
        "2 · Score every query against every key",
        "A score is a dot product: multiply query and key dimension by dimension, and add up. "
        "Rows are queries, columns are keys.",
    ),
    "3a": (
        "3a · Scale the scores",
        "Sums of more products spread wider. Scaling brings the scores back to a range in which "
        "the softmax can still tell more than one key apart.",
    ),
    "3b": (
        "3b · Mask what must not be seen",
        "What a query may not look at, later tokens or padding, is hidden from it.",
    ),
    "3c": (
        "3c · Softmax: turn each row into weights",
        "exp of each score, divided by the sum of its row: every row sums to 1.",
    ),
    "4": (
        "4 · Update: mix the values by their weights",
        "The update x′ of each query is the mean of all values, weighted by its row of weights: "
        "this head's share, before the heads are joined and projected back to the size of x.",
    ),
}


def pair_sentence(head: HeadTrace, step: Step, query: int, key: int) -> str:
    """What a step means for one query and one key token, with its numbers, as Markdown."""
    say = {
        "x_query": _row,
        "x_key": _row,
        "q": _row,
        "k": _row,
        "v": _row,
        "scores": _score,
        "scaled": _scale,
        "capped": _cap,
        "biased": _bias,
        "masked": _mask,
        "weights": _softmax,
        "updated": _update,
    }[step.name]
    return say(head, step, query, key)


def _names(head: HeadTrace, query: int, key: int) -> tuple[str, str]:
    return token(head.query_tokens[query]), token(head.key_tokens[key])


def _row(head: HeadTrace, step: Step, query: int, key: int) -> str:
    is_of_key = step.axes[0] == "key_pos"
    name = _names(head, query, key)[is_of_key]
    row = step.array[key if is_of_key else query]
    strongest = int(np.abs(row).argmax())
    return (
        f"{name}: {len(row)} numbers with norm {number(np.linalg.norm(row))}; the largest in "
        f"size, {number(row[strongest])}, in dimension {strongest}."
    )


def _score(head: HeadTrace, step: Step, query: int, key: int) -> str:
    query_name, key_name = _names(head, query, key)
    products = head.q[query] * head.k[key]
    order = np.argsort(-np.abs(products))[:3]
    shown = " ".join(f"{'−' if products[d] < 0 else '+'} {number(abs(products[d]))}" for d in order)
    shown = re.sub(r"^\+ ", "", re.sub("^− ", "−", shown))
    rest = products.sum() - products[order].sum()
    rest_text = ""
    if len(products) > len(order):
        sign = "−" if rest < 0 else "+"
        rest_text = f" {sign} {number(abs(rest))} (the other {len(products) - len(order)})"
    return (
        f"q of {query_name} · k of {key_name} = {shown}{rest_text}"
        f" = **{number(head.scores[query, key])}**"
        f"\n\nThe three largest in size of {len(products)} products stand in dimensions "
        f"{', '.join(map(str, order))}."
    )


def _scale(head: HeadTrace, step: Step, query: int, key: int) -> str:
    score, scaled = head.scores[query, key], head.scaled[query, key]
    if head.scaling == 1:
        return f"This model does not scale: {number(score)} stays **{number(scaled)}**."
    by = f"× {number(head.scaling)}"
    if np.isclose(head.scaling, head.q.shape[1] ** -0.5):
        by = f"÷ √{head.q.shape[1]}"
    return (
        f"{number(score)} {by} = **{number(scaled)}**\n\nAll scores: standard deviation "
        f"{number(head.scores.std())} before, {number(head.scaled.std())} after."
    )


def _cap(head: HeadTrace, step: Step, query: int, key: int) -> str:
    return (
        f"{number(head.softcap or 0)} · tanh({number(head.scaled[query, key])} ÷ "
        f"{number(head.softcap or 0)}) = **{number(head.capped[query, key])}**"
    )


def _bias(head: HeadTrace, step: Step, query: int, key: int) -> str:
    bias = 0.0 if head.bias is None else float(head.bias[query, key])
    return (
        f"{number(head.capped[query, key])} {'−' if bias < 0 else '+'} {number(abs(bias))} = "
        f"**{number(head.biased[query, key])}**"
    )


def _mask(head: HeadTrace, step: Step, query: int, key: int) -> str:
    query_name, key_name = _names(head, query, key)
    n_hidden = int(head.is_masked[query].sum())
    if head.mask is None or not head.is_masked.any():
        return (
            f"Nothing is hidden here: every token sees every token, and "
            f"**{number(head.masked[query, key])}** stays as it is."
        )
    of_row = f"{n_hidden} of {len(head.key_tokens)} keys are hidden from {query_name}"
    if head.is_masked[query, key]:
        return f"{key_name} is **hidden** from {query_name}; {of_row}."
    return f"{query_name} sees {key_name}: **{number(head.masked[query, key])}**; {of_row}."


def _softmax(head: HeadTrace, step: Step, query: int, key: int) -> str:
    query_name, key_name = _names(head, query, key)
    weights = head.weights[query]
    most = int(weights.argmax())
    sentence = f"{query_name} gives {key_name} **{percent(weights[key])}** of its attention"
    if most == key:
        sentence += ", the most of all keys."
    else:
        most_name = token(head.key_tokens[most])
        sentence += f"; most, {percent(weights[most])}, goes to {most_name}."
    if head.sink_logit is not None:
        sentence += f" {percent(head.sink[query])} go to no token: the head's sink takes them."
    return sentence


def _update(head: HeadTrace, step: Step, query: int, key: int) -> str:
    query_name, key_name = _names(head, query, key)
    share = head.weights[query, key] * head.v[key]
    return (
        f"{key_name} adds its value × {number(head.weights[query, key])} to the update of "
        f"{query_name}: a row with norm {number(np.linalg.norm(share))}, in an update with norm "
        f"{number(np.linalg.norm(head.updated[query]))}."
    )
