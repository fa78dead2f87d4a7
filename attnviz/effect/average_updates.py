"""What each head computes on average over texts: what ablation may put in place of its update."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnviz.attention.lasting import Lasting
from attnviz.attention.trace import Trace
from attnviz.capture.forward_pass import trace
from attnviz.text.errors import InputError


@dataclass(frozen=True, eq=False)
class Means(Lasting):
    """The mean update of every head, over all tokens of some texts.

    `of` has, by kind and layer, (head, d_value).
    """

    model_name: str
    n_texts: int
    n_tokens: int  # queries, of the first kind of attention
    of: Mapping[tuple[str, int], np.ndarray]


def means(model: Any, tokenizer: Any, texts: Iterable[str]) -> Means:
    """What a head gives on average: the mean of its update over all tokens of all texts.

    For `how=` of `without` and `sweep`. Raises InputError without texts, and as `trace` does.
    """
    if isinstance(texts, str):
        raise InputError(
            f"Means are taken over several texts; received one, {texts[:80]!r}."
            "\n\nHint: pass a list of texts."
        )
    sums: dict[tuple[str, int], np.ndarray] = {}
    counts: dict[tuple[str, int], int] = {}
    last: Trace | None = None
    n_texts = 0
    for text in texts:
        last = trace(model, tokenizer, text)
        n_texts += 1
        for at, call in last.calls.items():
            sums[at] = sums.get(at, 0) + call.own_updated.sum(axis=0, dtype=np.float64)
            counts[at] = counts.get(at, 0) + len(call.own_updated)
    if last is None:
        raise InputError("There is no text to take means over.\n\nHint: pass at least one.")
    of = {at: (total / counts[at]).astype(np.float32) for at, total in sums.items()}
    return Means(last.model_name, n_texts, next(iter(counts.values())), of)
