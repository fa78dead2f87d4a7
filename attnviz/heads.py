"""Numbers about heads: which of them does what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attnviz.errors import InputError
from attnviz.results import LayerTrace, Trace
from attnviz.scaling import entropy
from attnviz.tokens import Tokens


@dataclass(frozen=True)
class Measure:
    """One number about a head: what it is called, and what it means, in a sentence."""

    name: str  # of its column in `measures`
    title: str
    unit: str
    meaning: str


MEASURES = (
    Measure(
        "entropy",
        "entropy",
        "bits",
        "how evenly a query spreads what it gives, −Σ w·log₂ w of its shares w, the mean of all "
        "queries: 0 where one key has all, log₂ n where n keys share it equally",
    ),
    Measure(
        "distance",
        "mean distance",
        "tokens",
        "how far a key is from its query, |i − j|, the mean weighted by attention",
    ),
    Measure(
        "first",
        "share on the first token",
        "",
        "the weight that a query gives to the first token, the mean of all queries",
    ),
    Measure(
        "special",
        "share on special tokens",
        "",
        "the weight that a query gives to special tokens together, the mean of all queries",
    ),
)


def measures(trace: Trace, kind: str | None = None) -> pd.DataFrame:
    """Each head in numbers, from the model's own weights, one row a head.

    `kind`, `layer`, `head`, and a column for each of `MEASURES`: `entropy` (bits, from 0),
    `distance` (tokens, from 0; NaN where queries and keys are of different texts), `first` and
    `special` (0 to 1; NaN where no such key is left). Queries that see no key and queries
    that are padding are left out; a head without others is NaN.
    """
    kinds = trace.kinds if kind is None else (kind,)
    rows = [
        pd.DataFrame({"kind": of_kind, "layer": layer, **_measured(of_kind, call)})
        for of_kind in kinds
        for layer in trace.layers(of_kind)
        if (call := trace.layer(layer, of_kind))
    ]
    return pd.concat(rows, ignore_index=True)


def _measured(kind: str, call: LayerTrace) -> dict[str, np.ndarray]:
    weights = call.own_weights.astype(np.float64)
    weights[:, call.is_meaningless] = 0
    given = weights.sum(axis=-1)

    def mean(of_query: np.ndarray) -> np.ndarray:
        n_seeing = (given > 0).sum(axis=-1)
        total = np.where(given > 0, of_query, 0).sum(axis=-1)
        return np.where(n_seeing > 0, total / np.maximum(n_seeing, 1), np.nan)

    distance = unknown = np.full(call.n_heads, np.nan)
    if kind != "cross":
        far = abs(_places(call.query_tokens)[:, None] - _places(call.key_tokens)[None, :])
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = (weights * far).sum(axis=(1, 2)) / given.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(weights / given[..., None])

    def share_of(keys: Sequence[bool]) -> np.ndarray:
        return mean(weights[..., list(keys)].sum(axis=-1)) if any(keys) else unknown

    return {
        "head": np.arange(call.n_heads),
        "entropy": mean(entropy(shares)),
        "distance": distance,
        "first": share_of([0 in positions for positions in call.key_tokens.positions]),
        "special": share_of(call.key_tokens.is_special),
    }


def _places(tokens: Tokens) -> np.ndarray:
    """Where each token stands in its text; a word in the middle of its pieces."""
    return np.array([np.mean(positions) for positions in tokens.positions])


def linking(trace: Trace, query: int, key: int, kind: str | None = None) -> pd.DataFrame:
    """How much weight each head gives from one query token to one key token, strongest first.

    One row a head: `kind`, `layer`, `head`, `weight` (the model's own, 0 to 1) and `rank`
    (1 is the strongest). `kind` limits it to one kind of attention; without it, all kinds
    whose texts have both positions are compared. Raises InputError for a position that the
    text does not have.
    """
    kinds = trace.kinds if kind is None else (kind,)
    rows = [
        (of_kind, layer, head, float(weight))
        for of_kind in kinds
        for layer in trace.layers(of_kind)
        if _has(trace.layer(layer, of_kind), query, key)
        for head, weight in enumerate(trace.layer(layer, of_kind).own_weights_between(query, key))
    ]
    if not rows:
        raise InputError(
            f"No attention of {trace.model_name} links a query token {query!r} to a key token "
            f"{key!r}.\n\nHint: positions count from 0, up to the number of tokens less one."
        )
    table = pd.DataFrame(rows, columns=["kind", "layer", "head", "weight"])
    table = table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


def _has(call: LayerTrace, query: int, key: int) -> bool:
    return query in range(len(call.query_tokens)) and key in range(len(call.key_tokens))
