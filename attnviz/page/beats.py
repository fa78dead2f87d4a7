"""The steps of a head in groups of one number: what they are called in links, lists and talks."""

from itertools import groupby

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention, Step, steps_of

BEATS = {
    "in": "embeddings",
    "1": "project",
    "1b": "rotate",
    "2": "score",
    "3a": "scale",
    "cap": "soft-cap",
    "bias": "bias",
    "3b": "mask",
    "3c": "softmax",
    "4": "update",
    "beyond": "output",
}


def beats_of(head: HeadTrace, convention: Convention = "rows") -> dict[str, list[Step]]:
    """The steps by the beat that shows them, in order; a mask that changes nothing has none.

    Where a head has no share of the output there is a beat without steps, to say why.
    """
    by_number = groupby(steps_of(head, convention), key=lambda step: step.number)
    beats = {BEATS[number]: list(steps) for number, steps in by_number}
    if not head.has_mask:
        beats.pop(BEATS["3b"], None)
    return beats | {BEATS["beyond"]: beats.get(BEATS["beyond"], [])}


def number_of(beat: str) -> str:
    return next(number for number, name in BEATS.items() if name == beat)
