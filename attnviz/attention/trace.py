"""Trace: what one forward pass computed, frozen, for every view to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from attnviz.attention.call import LayerTrace
from attnviz.attention.head import HeadTrace
from attnviz.attention.lasting import Lasting
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError
from attnviz.text.phrases import ranges
from attnviz.text.tokens import Tokens

if TYPE_CHECKING:
    Calls = Mapping[tuple[str, int], LayerTrace]  # by kind and layer
else:
    Calls = Mapping  # a check of what it holds would compute what a filter has yet to


@dataclass(frozen=True, eq=False)
class Trace(Lasting):
    """Every attention call of one forward pass.

    `kinds` is ("self",) or ("encoder", "decoder", "cross"), or ("self", "cross") for a decoder
    that is given another text's states; stacks that read something else than a text, as a vision
    tower, are kinds beside these. Layers and heads count from 0, by the model's own numbers.

    Whatever becomes of the model or of what it was given, a trace stays. What it reads of the
    model later, each head's part of W_Q, W_K, W_V and W_O, is refused once that is another. A
    pickle carries it, and all weights of attention: 4 · (queries · keys · heads + 4 · d_model²)
    bytes a layer beside `nbytes`, less where heads share keys and values.
    """

    model_name: str
    revision: str | None
    dtype: str
    source: Tokens
    target: Tokens | None
    target_is_decoded: bool  # the target was not given: the model wrote it
    calls: Calls
    not_shown: tuple[str, ...] = ()  # attention modules without whole matrices of weights

    def __repr__(self) -> str:
        """What was traced, in one line."""
        kinds = ", ".join(self._layers_and_heads(kind) for kind in self.kinds)
        tokens = f"{len(self.source)} tokens"
        if self.target is not None:
            tokens += f", {len(self.target)} target tokens"
        return f"<Trace of {quoted(self.model_name)}, {self.dtype}: {kinds}; {tokens}>"

    def _layers_and_heads(self, kind: str) -> str:
        heads = {self.n_heads(layer, kind) for layer in self.layers(kind)}
        of_each = f"{min(heads)} to {max(heads)}" if len(heads) > 1 else f"{max(heads)}"
        return f"{kind} attention, {len(self.layers(kind))} layers × {of_each} heads"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The text's tokens, as people read them."""
        return self.source.labels

    @property
    def target_tokens(self) -> tuple[str, ...] | None:
        """The tokens the decoder was given, or None where there is no decoder of its own."""
        return None if self.target is None else self.target.labels

    @property
    def nbytes(self) -> int:
        """The memory that the arrays hold, in bytes; what is shared, as a mask is, counts once."""
        arrays = (array for call in self.calls.values() for array in _arrays_of(call))
        return sum({array.ctypes.data: array.nbytes for array in arrays}.values())

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of attention in this model, in the order in which it computes them."""
        return tuple(dict.fromkeys(kind for kind, _ in self.calls))

    def layers(self, kind: str | None = None) -> tuple[int, ...]:
        """The layers with softmax attention of this kind (default: the first kind)."""
        kind = self._known_kind(kind)
        return tuple(layer for of_kind, layer in self.calls if of_kind == kind)

    def layer(self, layer: int, kind: str | None = None) -> LayerTrace:
        """All heads of one layer. Raises InputError for a layer the model does not have."""
        kind = self._known_kind(kind)
        if layer not in self.layers(kind):
            raise InputError(
                f"{self.model_name} has no {kind} attention in layer {layer!r}."
                f"\n\nHint: its layers with {kind} attention are {ranges(self.layers(kind))}."
            )
        return self.calls[kind, layer]

    def n_heads(self, layer: int = 0, kind: str | None = None) -> int:
        """The number of query heads of one layer."""
        return self.layer(layer, kind).n_heads

    def head(self, layer: int, head: int, kind: str | None = None) -> HeadTrace:
        """One head. Raises InputError for a kind, layer or head the model does not have."""
        kind = self._known_kind(kind)
        call = self.layer(layer, kind)
        if head not in range(call.n_heads):
            raise InputError(
                f"Layer {layer} of {self.model_name} has no head {head!r}."
                f"\n\nHint: its heads are {ranges(range(call.n_heads))}."
            )
        return HeadTrace(call, int(head), kind, int(layer), int(head), self.dtype)

    def _known_kind(self, kind: str | None) -> str:
        if kind is None:
            return self.kinds[0]
        if kind not in self.kinds:
            raise InputError(
                f"{self.model_name} has no attention of kind {kind!r}."
                f"\n\nHint: its kinds are {', '.join(self.kinds)}."
            )
        return kind

    def tokens_of(self, layer: int, kind: str | None = None) -> tuple[Tokens, Tokens]:
        """The tokens that a layer's queries belong to, and those of its keys."""
        call = self.layer(layer, kind)
        return call.query_tokens, call.key_tokens


def _arrays_of(call: LayerTrace) -> list[np.ndarray]:
    projection = call.projection
    own = () if isinstance(projection, str) else (projection.gate, projection.own_output)
    arrays = (*vars(call).values(), *call.before_norm.values(), *own)
    return [array for array in arrays if isinstance(array, np.ndarray)]
