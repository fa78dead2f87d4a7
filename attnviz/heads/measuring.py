"""What heads do, in continuous numbers: one definition, for a text and for batches of texts.

The formulas take NumPy arrays and torch tensors alike, through the array API standard, so that
a text that is looked at and a corpus that is surveyed are measured by the same lines.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from array_api_compat import array_namespace

from attnviz.attention.call import LayerTrace
from attnviz.attention.trace import Trace
from attnviz.heads.definitions import MEASURED, MEASURES, Measure
from attnviz.text.tokens import Tokens

__all__ = ["MEASURES", "Measure", "Places", "measured", "measures", "places_of"]

_N_CELLS = 2**19  # weights of a layer that are measured at once: as many as a processor's cache has


def measures(
    trace: Trace, kind: str | None = None, *, induction: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Each head in numbers, from the model's own weights, one row a head.

    `kind`, `layer`, `head`, and a column for each of `MEASURES`, which say what it is, its unit
    and its range. Weights are taken as they are, where sinks or filters left rows less than 1 too.
    Queries that see no key and queries that are padding are left out, and of measures of ‖w·v‖
    those that move nothing; a head without others is NaN. So is what a text or a model does not
    have: distances and neighbours where queries and keys are of different texts, a share on
    special tokens where there are none, shares of an output that is not the sum of its heads.
    `induction` is what `attnviz.heads.induction` gives for the model, which takes a pass of its
    own; without it that column is NaN.
    """
    kinds = trace.kinds if kind is None else (kind,)
    calls = {(one, layer): trace.layer(layer, one) for one in kinds for layer in trace.layers(one)}
    # All of these first: weights are computed by threads that wait for those of matrix products.
    output_norms = [_output_norms(call) for call in calls.values()]
    tables: list[pd.DataFrame] = []
    places: dict[tuple[str, Tokens, Tokens], Places] = {}
    for ((of_kind, layer), call), norms in zip(calls.items(), output_norms, strict=True):
        texts = of_kind, call.query_tokens, call.key_tokens
        if texts not in places:
            places[texts] = places_of(*texts)
        numbers = {"head": np.arange(call.n_heads)} | _of_call(call, places[texts], norms)
        tables.append(pd.DataFrame({"kind": of_kind, "layer": layer} | numbers))
    table = pd.concat(tables, ignore_index=True)
    if induction is None:
        return table.assign(induction=np.nan)
    known = induction[["kind", "layer", "head", "induction"]]
    return table.merge(known, on=["kind", "layer", "head"], how="left")


@dataclass(frozen=True, eq=False)
class Places:
    """What the places of queries and keys in their texts say about each cell.

    Each array can be broadcast to (..., query_pos, key_pos), and is 0 where a query or a key is
    padding. What a text does not have is None, or NaN throughout in a batch where others do.
    """

    distance: Any = None  # |j − i|, in tokens
    offset: Any = None  # j − i: negative where the key stands before the query
    self: Any = None  # 1 or 0, as all that follow
    previous: Any = None
    next: Any = None
    first: Any = None
    special: Any = None
    punctuation: Any = None

    @cached_property
    def cells(self) -> Any:
        """All of them, (..., query_pos, key_pos, place)."""
        places = [getattr(self, name) for name in PLACES]
        some = next(place for place in places if place is not None)
        xp = array_namespace(some)
        nothing = xp.full_like(some, xp.nan)
        known = [nothing if place is None else place for place in places]
        return xp.stack(xp.broadcast_arrays(*known), axis=-1)


PLACES = tuple(field.name for field in fields(Places))


def places_of(kind: str, queries: Tokens, keys: Tokens) -> Places:
    """Those of one call's tokens, (query_pos, key_pos) each.

    A word stands in the middle of its pieces; its neighbours are those whose pieces are beside
    its own. The first token is the first that is not padding.
    """
    padding = {position for token in keys if token.is_padding for position in token.positions}
    first = next(position for position in count() if position not in padding)
    is_cell = ~np.array(queries.is_padding)[:, None] & ~np.array(keys.is_padding)

    def shares(is_such: Any) -> np.ndarray:
        cells = (is_cell & is_such).astype(np.float32)
        return cells if cells.any() else np.full_like(cells, np.nan)

    of_keys = {
        "first": shares([first in positions for positions in keys.places]),
        "special": shares(keys.is_special),
        "punctuation": shares(keys.is_punctuation),
    }
    if kind == "cross":
        return Places(**of_keys)
    starts, middles, ends = (row[:, None] for row in _stretches(queries))
    key_starts, key_middles, key_ends = _stretches(keys)
    offset = np.where(is_cell, key_middles - middles, np.float32(0))
    return Places(
        distance=abs(offset),
        offset=offset,
        self=shares((key_starts <= ends) & (key_ends >= starts)),
        previous=shares(key_ends == starts - 1),
        next=shares(key_starts == ends + 1),
        **of_keys,
    )


def _stretches(tokens: Tokens) -> np.ndarray:
    """Where each token begins, has its middle and ends, in its text."""
    stretches = [(place[0], sum(place) / len(place), place[-1]) for place in tokens.places]
    return np.array(stretches, dtype=np.float32).T


def measured(
    weights: Any, value_norms: Any, places: Places, output_norms: Any = None, is_read: Any = 1
) -> Any:
    """The measures of the heads of one layer, (..., head, measure), in the order of MEASURED.

    `weights` are (..., head, query_pos, key_pos), and `value_norms` (..., head, key_pos) are ‖v‖;
    `output_norms` (..., head, query_pos) those of each head's share of the output, None where
    there are none. `is_read`, which can be broadcast to (..., head, query_pos), is 0 for queries
    that do not count, 1 for the others. NumPy arrays or torch tensors.
    """
    return _quotients(*_summed(weights, value_norms, places.cells, output_norms, is_read))


# A measure is the quotient of two sums over queries, which can be added up in parts.
_Sums = tuple[Any, Any]  # (..., head, measure)


def _quotients(totals: Any, counts: Any) -> Any:
    """NaN where nothing was summed."""
    xp = array_namespace(totals)
    return xp.where(counts > 0, totals, xp.nan) / xp.where(counts > 0, counts, 1)


def _summed(
    weights: Any, value_norms: Any, cells: Any, output_norms: Any, is_read: Any = 1
) -> _Sums:
    xp = array_namespace(weights)
    least = xp.finfo(weights.dtype).smallest_normal  # for 0 · log 0 is 0
    given = is_read * xp.sum(weights, axis=-1)
    is_seeing = xp.astype(given > 0, weights.dtype)
    # Two arrays of the size of weights, used again: fresh memory takes longer than the arithmetic.
    shares = weights * value_norms[..., None, :]  # of ‖w·v‖, of all that is moved
    moved = is_read * xp.sum(shares, axis=-1)
    is_moving = xp.astype(moved > 0, weights.dtype)
    moved = xp.where(moved > 0, moved, 1)
    shares *= (is_moving / moved)[..., None]
    moved_to = _at_places(shares, cells)
    of_norms = (shares @ xp.log(value_norms + least)[..., None])[..., 0]
    logarithms = weights + least
    xp.log(logarithms, out=logarithms)
    shares *= logarithms
    of_shares = xp.sum(shares, axis=-1) + of_norms - is_moving * xp.log(moved)
    moving = _looking(is_moving, of_shares, moved_to)
    logarithms *= weights
    of_weights = is_read * xp.sum(logarithms, axis=-1)
    looking = _looking(given, of_weights, _at_places(weights, cells))
    n = xp.sum(is_seeing, axis=-1)
    largest = xp.sum(is_read * xp.max(weights, axis=-1), axis=-1)
    common = xp.minimum(weights, xp.mean(weights, axis=-3, keepdims=True), out=shares)
    agreement = xp.sum(is_read * xp.sum(common, axis=-1), axis=-1)
    output, n_with_output = n * xp.nan, n
    if output_norms is not None:
        of_all = xp.sum(output_norms, axis=-2, keepdims=True)
        has_output = is_seeing * xp.astype(of_all > 0, weights.dtype)
        output = xp.sum(has_output * output_norms / xp.where(of_all > 0, of_all, 1), axis=-1)
        n_with_output = xp.sum(has_output, axis=-1)
    totals = looking[0], moving[0], xp.stack([largest, agreement, output], axis=-1)
    counts = looking[1], moving[1], xp.stack([n, n, n_with_output], axis=-1)
    return xp.concat(totals, axis=-1), xp.concat(counts, axis=-1)


def _at_places(weights: Any, cells: Any) -> Any:
    """The sums of weights at each place, (..., head, place)."""
    xp = array_namespace(weights)
    flat = xp.reshape(weights, (*weights.shape[:-2], -1))
    return flat @ xp.reshape(cells, (*cells.shape[:-3], -1, len(PLACES)))


def _looking(given: Any, logarithms: Any, at_places: Any) -> _Sums:
    """How evenly, how far and where queries look.

    Of each row, (..., head, query_pos), `given` is Σ w and `logarithms` is Σ w·ln w.
    """
    xp = array_namespace(given)
    sums = xp.where(given > 0, given, 1)
    nats = xp.log(sums) - logarithms / sums
    bits = xp.clip(nats / np.log(2), 0, None)  # −1e-8 is 0
    n, whole = xp.sum(xp.astype(given > 0, given.dtype), axis=-1), xp.sum(given, axis=-1)
    counts = [whole if name in ("distance", "offset") else n for name in PLACES]
    entropy = xp.sum(bits, axis=-1)[..., None]
    return xp.concat([entropy, at_places], axis=-1), xp.stack([n, *counts], axis=-1)


# One call of a trace


def _of_call(
    call: LayerTrace, places: Places, output_norms: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Its measures by name.

    Of some queries at a time, for all weights of a long text are never there.
    """
    n_queries, n_keys = len(call.query_tokens), len(call.key_tokens)
    n_at_once = max(1, _N_CELLS // (call.n_heads * n_keys))
    value_norms = np.linalg.norm(call.v, axis=-1)
    value_norms = value_norms.repeat(call.n_heads // call.n_key_value_heads, axis=0)
    is_read = ~call.is_meaningless[:, None]
    parts = []
    for start in range(0, n_queries, n_at_once):
        queries = slice(start, start + n_at_once)
        weights = call.own_weights_of(queries)
        if not is_read[queries].all():  # those of a query without keys may be no numbers
            weights = np.where(is_read[queries], weights, 0)
        norms = None if output_norms is None else output_norms[:, queries]
        parts.append(_summed(weights, value_norms, places.cells[queries], norms))
    totals, counts = (np.sum(sums, axis=0) for sums in zip(*parts, strict=True))
    return dict(zip(MEASURED, _quotients(totals, counts).T, strict=True))


def _output_norms(call: LayerTrace) -> np.ndarray | None:
    """‖output‖ (head, query_pos); None where heads have no shares of an output.

    As √(u · W·Wᵀ · uᵀ) of the updates u, which takes a fraction of the time of all outputs.
    """
    projection = call.projection
    if isinstance(projection, str):
        return None
    weights = projection.weights
    if weights is None:
        return None
    updated = call.own_updated if projection.gate is None else call.own_updated * projection.gate
    updated = updated.swapaxes(0, 1)
    squares = weights @ weights.swapaxes(1, 2)
    norms: np.ndarray = np.sqrt(np.maximum(np.vecdot(updated @ squares, updated), 0))
    return norms
