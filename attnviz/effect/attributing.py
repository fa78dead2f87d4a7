"""What every part of a model adds to one logit: exact, because the logit is their sum."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.call import LayerTrace, Projection
from attnviz.attention.tolerance import TOLERANCE
from attnviz.attention.trace import Trace
from attnviz.capture.traceable import checked
from attnviz.effect.answers import asked
from attnviz.effect.following import EMBEDS, UNTOLD, Following, Made, holds_attention
from attnviz.effect.linear_way import LinearWay, refused
from attnviz.effect.tokens import id_of, labels
from attnviz.text.errors import InputError

Place = tuple[str, int]  # kind and layer
Row = tuple[str, str | None, int | None, int | None, float]
COLUMNS = ("component", "kind", "layer", "head", "share")


def attribution(
    model: Any,
    tokenizer: Any,
    text: str,
    token: str | int | None = None,
    against: str | int | None = None,
    position: int | None = None,
    *,
    pair: str | None = None,
    target: str | None = None,
) -> pd.DataFrame:
    """Every part's share of a token's logit: component, kind, layer, head, share.

    A share is what the part adds to the stream at this position, along d_t, the direction in which
    the logit grows: W_U[t] times the gain of the final norm, divided by what that norm divided by
    in this pass (and centred, for a LayerNorm), times all scales on the way. Norms behind an
    attention or an MLP are frozen in the same way. So the shares add up to the model's own logit,
    before a soft-cap. `against` another token they are shares of the difference of the two logits.

    Components: "head", and "attention bias", that of W_O; "attention", of a layer whose heads have
    no shares of their own; "mlp"; "mixer", a convolution or state space that mixes tokens;
    "embedding", of tokens and of learned positions; "constant", what biases and norms' β add.

    `attrs`: `logit`, the model's own; `error`, how far the shares' sum is from it, `tolerance`, how
    far it may be, and `is_exact`; `token`, `id`, `against` and `position`.

    Raises InputError, with the reason, where the logit is no such sum, and for a token or position
    that there is not.
    """
    asked_for = (token, against, position, pair, target)
    return attributed(model, tokenizer, text, *asked_for).table()


def key_shares(
    model: Any,
    tokenizer: Any,
    text: str,
    layer: int,
    head: int,
    token: str | int | None = None,
    against: str | int | None = None,
    position: int | None = None,
    *,
    kind: str | None = None,
    pair: str | None = None,
    target: str | None = None,
) -> pd.DataFrame:
    """Each key's part of a head's share, in the order of the text: token, key, weight, share.

    weight · (v ⊙ gate) · W_O · d_t, as in `attribution`, whose share of the head they add up to.
    """
    asked_for = (token, against, position, pair, target)
    return attributed(model, tokenizer, text, *asked_for).keys(layer, head, kind)


@dataclass(frozen=True, eq=False)
class Attributed:
    """One logit, or the difference of two, as a sum."""

    trace: Trace
    about: dict[str, Any]
    rows: tuple[Row, ...]
    directions: dict[Place, tuple[int, np.ndarray]]  # of an attention's output: query and d_t

    def table(self) -> pd.DataFrame:
        """As `attribution` gives it."""
        table = pd.DataFrame(self.rows, columns=list(COLUMNS))
        table = table.astype({"layer": "Int64", "head": "Int64"})
        table.attrs.update(self.about)
        return table

    def keys(self, layer: int, head: int, kind: str | None = None) -> pd.DataFrame:
        """As `key_shares` gives it."""
        one = self.trace.head(layer, head, kind)
        call = self.trace.layer(layer, one.kind)
        found = self.directions.get((one.kind, layer))
        if found is None:
            raise InputError(
                f"The heads of layer {layer} ({one.kind} attention) add nothing to this logit "
                "that has parts.\n\nHint: attribution lists the heads that do."
            )
        query, direction = found
        along = _along(_projection(call), query, direction)[head]
        row = call.own_weights_of_head(head)[query].astype(np.float64)
        table = pd.DataFrame(
            {
                "token": call.key_tokens.labels,
                "key": np.arange(len(row)),
                "weight": row,
                "share": row * (one.v.astype(np.float64) @ along),
            }
        )
        table.attrs.update(self.about, layer=layer, head=head, kind=one.kind, query=query)
        return table


@torch.inference_mode(False)  # whose tensors have no gradients
def attributed(
    model: Any,
    tokenizer: Any,
    text: str,
    token: str | int | None = None,
    against: str | int | None = None,
    position: int | None = None,
    pair: str | None = None,
    target: str | None = None,
) -> Attributed:
    """The shares of one logit, and what it takes to divide a head's among its keys."""
    inner, _ = checked(model)
    once = functools.partial(
        _added_up, inner, tokenizer, text, token, against, position, pair, target
    )
    found = once(of_all=False)
    if isinstance(found, str) or not found.about["is_exact"]:
        found = once(of_all=True)
    if isinstance(found, str):
        raise refused(found)
    return found


def _added_up(
    model: Any,
    tokenizer: Any,
    text: str,
    token: str | int | None,
    against: str | int | None,
    position: int | None,
    pair: str | None,
    target: str | None,
    of_all: bool,
) -> Attributed | str:
    """The shares of one logit as they are seen in one pass, or why there are none."""
    with Following(model, of_all) as following:
        seen, question = asked(model, tokenizer, text, position, pair, target)
    own = question.logits(seen, seen.outputs)[0].float().cpu().numpy()
    named = (token,) if against is None else (token, against)
    ids = [id_of(one, question, model, tokenizer, own) for one in named]
    way = LinearWay(following, seen.outputs["logits"], ids, question.position)
    if way.no_sum_because is not None:
        return way.no_sum_because
    directions, constant = way.directions([1.0, -1.0][: len(ids)])
    parts = _Parts(following, seen.trace, directions)
    if not parts.are_known:
        return f"{UNTOLD} adds to the stream"
    rows = (*parts.rows(), ("constant", None, None, None, constant))
    logits = way.own().tolist()
    following.forget()
    logit = logits[0] if against is None else logits[0] - logits[1]
    shares = [one[-1] for one in rows]
    error = abs(sum(shares) - logit)
    tolerance = TOLERANCE[seen.trace.dtype] * max(map(abs, [*shares, *logits]))
    names = labels(question, model, tokenizer, ids)
    about = {
        "token": names[0],
        "id": ids[0],
        "against": None if against is None else names[1],
        "what": question.what,
        "position": question.position,
        "logit": logit,
        "error": error,
        "tolerance": tolerance,
        "is_exact": error <= tolerance,
    }
    return Attributed(seen.trace, about, rows, parts.of_attention)


class _Parts:
    """The sources of a logit, each called by what it is in its layer."""

    def __init__(self, following: Following, trace: Trace, directions: dict[Made, Tensor]) -> None:
        self.following, self.trace = following, trace
        self.sources = {one: grad.cpu().numpy() for one, grad in directions.items()}
        self.attends: dict[Made, Place] = {
            one: place for one in self.sources if (place := self._attention(one)) is not None
        }
        self.of_attention: dict[Place, tuple[int, np.ndarray]] = {}

    @property
    def are_known(self) -> bool:
        """Whether all that was not followed is what an attention's projection gave."""
        untold = (one for one in self.sources if one.name == UNTOLD)
        return self.following.of_all or all(one in self.attends for one in untold)

    def rows(self) -> Iterator[Row]:
        """Those of the embedding, and of every layer in turn."""
        sums: dict[tuple[str, str | None, int | None], float] = {}
        embedding = sum(self._share(one) for one in self.sources if one.name == EMBEDS)
        yield "embedding", None, None, None, float(embedding)
        heads: dict[Place, list[Row]] = {}
        for one in self.sources:
            if one in self.attends:
                heads[self.attends[one]] = list(self._heads(one, *self.attends[one]))
            elif one.name != EMBEDS or self.following.layer_in(one.modules) is not None:
                component, layer = self._called(one)
                at = (component, None, layer)
                sums[at] = sums.get(at, 0) + self._share(one)
        rows = [row for some in heads.values() for row in some]
        rows += [
            (component, kind, layer, None, share)
            for (component, kind, layer), share in sums.items()
        ]
        yield from sorted(rows, key=lambda row: row[2] if row[2] is not None else -1)

    def _share(self, one: Made) -> float:
        grad, value = self.sources[one], _numbers(one)
        grad, value = (array.reshape(-1, grad.shape[-1]) for array in (grad, value))
        rows = np.flatnonzero(grad.any(axis=1))
        grad, value = grad[rows], value[rows]
        return float((grad.astype(np.float64) * value).sum())

    def _attention(self, one: Made) -> Place | None:
        """Of which layer it is the attention's own output."""
        if self.following.layer_in(one.modules) is None:
            return None
        value = _numbers(one)
        for place, call in self.trace.calls.items():
            if isinstance(call.projection, str):
                continue
            own = call.projection.own_output
            if own.size != value.size or own.flat[0] != value.flat[0]:  # the rest takes longer
                continue
            if np.array_equal(value.reshape(own.shape), own):
                return place
        return None

    def _heads(self, one: Made, kind: str, layer: int) -> Iterator[Row]:
        call = self.trace.layer(layer, kind)
        projection = _projection(call)
        grad = self.sources[one].reshape(projection.own_output.shape)
        queries = np.flatnonzero(grad.any(axis=1))
        if len(queries) > 1:
            raise refused(f"something mixes tokens behind layer {layer}")
        if not len(queries):
            return
        query = int(queries[0])
        self.of_attention[kind, layer] = query, grad[query]
        shares = call.own_updated[query] * _along(projection, query, grad[query])
        for head, share in enumerate(shares.sum(axis=1)):
            yield "head", kind, layer, head, float(share)
        if projection.bias is not None:
            bias = float(projection.bias.astype(np.float64) @ grad[query])
            yield "attention bias", kind, layer, None, bias

    def _called(self, one: Made) -> tuple[str, int | None]:
        """What a source that is no attention with heads is, and its layer."""
        layer = self.following.layer_in(one.modules)
        assert layer is not None
        here = {
            made: place
            for made, place in self.attends.items()
            if self.following.layer_in(made.modules) is layer
        }
        before = [made for made in here if made.number < one.number]
        nearest = max(before, key=lambda made: made.number) if before else next(iter(here), None)
        number = self.following.layers[layer] if nearest is None else here[nearest][1]
        inside = one.modules[one.modules.index(layer) + 1 :][:1]
        if any(part in self.following.mixing for part in inside):
            return "mixer", number
        is_attention = nearest is None and any(map(holds_attention, inside))
        return "attention" if is_attention else "mlp", number


def _numbers(one: Made) -> np.ndarray:
    assert one.value is not None
    numbers: np.ndarray = one.value.detach().float().cpu().numpy()
    return numbers


def _along(
    projection: Projection, query: int, direction: np.ndarray
) -> Float[np.ndarray, "head d_value"]:
    """What each number of a head's update adds to the logit, for every one that it is: W_O · d_t.

    W_O is the one of the pass, which has just been: that the heads add up is part of the check.
    """
    weights = projection.read()
    assert weights is not None
    along: np.ndarray = (weights @ direction).astype(np.float64)
    return along if projection.gate is None else along * projection.gate[query]


def _projection(call: LayerTrace) -> Projection:
    assert not isinstance(call.projection, str)
    return call.projection
