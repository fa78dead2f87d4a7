"""Numbers about heads: which of them does what."""

import numpy as np
import pandas as pd

from attnviz.errors import InputError
from attnviz.results import Trace


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
        if _has(trace.layer(layer, of_kind).own_weights, query, key)
        for head, weight in enumerate(trace.layer(layer, of_kind).own_weights[:, query, key])
    ]
    if not rows:
        raise InputError(
            f"No attention of {trace.model_name} links a query token {query!r} to a key token "
            f"{key!r}.\n\nHint: positions count from 0, up to the number of tokens less one."
        )
    table = pd.DataFrame(rows, columns=["kind", "layer", "head", "weight"])
    table = table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


def _has(weights: np.ndarray, query: int, key: int) -> bool:
    _, n_queries, n_keys = weights.shape
    return query in range(n_queries) and key in range(n_keys)
