"""Which heads link one token to another, in one text and over several."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from attnviz.attention.call import LayerTrace
from attnviz.attention.trace import Trace
from attnviz.text.errors import InputError

FIRST = 10  # ranks that `linking_over` counts


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


def linking_over(pairs: Iterable[tuple[Trace, int, int]], kind: str | None = None) -> pd.DataFrame:
    """The same over several texts of one model, each with a query and a key token of its own.

    One row a head, the largest mean first: `kind`, `layer`, `head`, `mean` and `spread` of its
    weights (0 to 1; the spread is their standard deviation, dividing by their number), `n_first`
    (in how many texts it is among the first FIRST heads), `n_texts` and `rank`. Of each trace
    nothing is kept, so that they can be computed one after the other. Raises InputError as
    `linking` does, and without any text.
    """
    tables = [linking(*pair, kind) for pair in pairs]
    if not tables:
        raise InputError("There is no text to find heads in.\n\nHint: pass at least one trace.")
    by_head = pd.concat(tables).groupby(["kind", "layer", "head"], sort=False)
    table = by_head.agg(
        mean=("weight", "mean"),
        spread=("weight", lambda weights: weights.std(ddof=0)),
        n_first=("rank", lambda ranks: int((ranks <= FIRST).sum())),
        n_texts=("weight", "size"),
    ).reset_index()
    table = table.sort_values("mean", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


def pairs_called(
    traces: Iterable[Trace], query: str, key: str, kind: str | None = None
) -> Iterator[tuple[Trace, int, int]]:
    """Of each text that has both tokens, the trace and where they are; the first of several.

    A token is found as it is written, or in other letters' case; `kind` says of which attention
    the tokens are queries and keys.
    """
    for trace in traces:
        queries, keys = trace.tokens_of(trace.layers(kind)[0], kind)
        places = queries.called(query), keys.called(key)
        if all(places):
            yield trace, places[0][0], places[1][0]


def _has(call: LayerTrace, query: int, key: int) -> bool:
    texts = (query, call.query_tokens), (key, call.key_tokens)
    return all(isinstance(at, int | np.integer) and 0 <= at < len(text) for at, text in texts)
