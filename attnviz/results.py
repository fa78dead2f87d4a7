"""Trace and HeadTrace: what one forward pass computed, frozen, for every view to read.

A `Trace` holds each attention call of a pass as the model made it. A `HeadTrace` is one head
of one call, replayed step by step from its query, key and value, and compared with what the
model itself computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from attnviz import attention
from attnviz.errors import InputError
from attnviz.masks import ROW_OF_PADDING, Hiding, hiding
from attnviz.steps import Step, steps_of
from attnviz.tokens import Tokens
from attnviz.wording import ranges

# Exact means: no replayed weight differs from the model's own by more than this, and no
# updated value by more than this times the largest of them. The model's dtype decides.
TOLERANCE = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-2}

# What a replay can be compared with: what a model itself computed, its weights alone, or nothing,
# where somebody's own query, key and value are all there is.
Known = Literal["model", "weights", "nothing"]


@dataclass(frozen=True)
class Origin:
    """A query, key or value that is x · W, and perhaps a bias, and perhaps a norm of it."""

    has_bias: bool
    is_normed: bool


@dataclass(frozen=True, eq=False)
class HeadTrace:
    """One attention head on one text: every intermediate matrix, as float32 NumPy arrays.

    Shapes: `q` (query_pos, d_head), `k` (key_pos, d_head), `v` (key_pos, d_value), `x_query`
    (query_pos, d_model), `x_key` (key_pos, d_model); `scores`, `scaled`, `masked`, `weights`
    (query_pos, key_pos); `sink` (query_pos,); `updated` (query_pos, d_value).

    `q_before_rotary` and `k_before_rotary` are `q` and `k` before the model turned them by their
    positions, with their dimensions in the same order; None where no such step was observed.

    `own_weights` and `own_updated` are what the model itself computed; everything after `q`,
    `k` and `v` is replayed from them, and `max_error` says how well the two agree.
    """

    kind: str
    layer: int
    head: int
    key_value_head: int  # the key and value head that this query head reads
    query_tokens: tuple[str, ...]
    key_tokens: tuple[str, ...]
    x_query: Float[np.ndarray, "query_pos d_model"] | None
    x_key: Float[np.ndarray, "key_pos d_model"] | None
    q: Float[np.ndarray, "query_pos d_head"]
    k: Float[np.ndarray, "key_pos d_head"]
    v: Float[np.ndarray, "key_pos d_value"]
    scaling: float
    softcap: float | None
    bias: Float[np.ndarray, "query_pos key_pos"] | None
    mask: Float[np.ndarray, "query_pos key_pos"] | None
    sink_logits: Float[np.ndarray, " query_pos"] | None
    own_weights: Float[np.ndarray, "query_pos key_pos"]
    own_updated: Float[np.ndarray, "query_pos d_value"]
    dtype: str  # of the model; the arrays here are float32
    readers: tuple[int, ...] = ()  # the query heads that read this key and value head, itself too
    query_is_padding: Bool[np.ndarray, " query_pos"] | None = None  # None: none is
    key_is_padding: Bool[np.ndarray, " key_pos"] | None = None
    q_before_rotary: Float[np.ndarray, "query_pos d_head"] | None = None  # None: not observed
    k_before_rotary: Float[np.ndarray, "key_pos d_head"] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)  # of "q", "k" and "v", where known
    output_gate: Float[np.ndarray, "query_pos d_value"] | None = None
    output_weight: Float[np.ndarray, "d_value d_model"] | None = None  # this head's part of W_O
    no_output_because: str | None = None  # where there is no such part
    temperature: float = 1.0  # of the softmax; no model has another, a what-if may
    is_changed: bool = False  # by a what-if: the weights are not those of the model
    notes: tuple[str, ...] = ()  # what filters did, each a phrase
    is_filtered: bool = False  # the weights are what filters left, not a softmax of all keys
    is_of_words: bool = False  # pieces are merged, and q, k and v are their means
    left_out: Float[np.ndarray, " query_pos"] | None = None  # weight on keys that were hidden
    has_line: Bool[np.ndarray, "query_pos key_pos"] | None = None  # None: all have one
    compared_with: Known = "model"  # "nothing": `own_weights` and `own_updated` are the replay's

    @cached_property
    def scores(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """q · kᵀ."""
        return _frozen(attention.score(self.q, self.k))

    @cached_property
    def scaled(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """scores × scaling."""
        return _frozen(attention.scale(self.scores, self.scaling))

    @cached_property
    def capped(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """softcap · tanh(scaled / softcap); `scaled` itself where the model has no soft-cap."""
        if self.softcap is None:
            return self.scaled
        return _frozen(attention.cap(self.scaled, self.softcap))

    @cached_property
    def biased(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """capped + bias; `capped` itself where the model has no bias."""
        if self.bias is None:
            return self.capped
        return _frozen(attention.add_bias(self.capped, self.bias))

    @cached_property
    def masked(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """biased + mask: what the softmax is given."""
        return _frozen(attention.mask(self.biased, self.mask))

    @cached_property
    def is_masked(self) -> Bool[np.ndarray, "query_pos key_pos"]:
        """Which keys each query may not see."""
        return _frozen(attention.hidden(self.mask, self.scores.shape))

    @cached_property
    def hiding(self) -> Hiding:
        """Why each of these keys is hidden.

        Of filtered tokens and words no window is named: they are not one place apart.
        """
        is_of_one_text = self.kind not in ("cross",) and not self.is_filtered
        padding = self.query_is_padding, self.key_is_padding
        return hiding(self.is_masked, *padding, is_of_one_text=is_of_one_text)

    @cached_property
    def is_meaningless(self) -> Bool[np.ndarray, " query_pos"]:
        """Which queries are padding, or see no key: nothing reads their rows."""
        return self.hiding.codes[:, 0] >= ROW_OF_PADDING

    @cached_property
    def replayed(self) -> tuple[np.ndarray, np.ndarray]:
        """The softmax of `masked` and the sink's share, whether these are shown or not."""
        weights, sink = attention.softmax(self.masked, self.sink_logits, self.temperature)
        return _frozen(weights), _frozen(sink)

    @property
    def weights(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """softmax(masked / temperature); a row and its sink sum to 1.

        The model's own weights where the replay does not equal them (`is_exact`), and what
        filters left of them where those were applied; a row, its sink and `left_out` sum to 1.
        """
        return self.replayed[0] if self._is_replay_shown else self.own_weights

    @cached_property
    def sink(self) -> Float[np.ndarray, " query_pos"]:
        """The share of each query's attention that went to no token (0 without a sink)."""
        if self._is_replay_shown:
            return self.replayed[1]
        given = self.own_weights.sum(axis=1)
        if self.sink_logits is None:
            return np.zeros_like(given)
        return np.maximum(0, 1 - given - (0 if self.left_out is None else self.left_out))

    @cached_property
    def updated(self) -> Float[np.ndarray, "query_pos d_value"]:
        """weights · v, before the output projection."""
        return self.replayed_update if self._is_replay_shown else self.own_updated

    @cached_property
    def replayed_update(self) -> Float[np.ndarray, "query_pos d_value"]:
        """The replayed weights · v, whether it is shown or not."""
        return _frozen(attention.update(self.replayed[0], self.v))

    @property
    def _is_replay_shown(self) -> bool:
        return self.is_changed or (self.is_exact and not self.is_filtered)

    @cached_property
    def output(self) -> Float[np.ndarray, "query_pos d_model"] | None:
        """This head's share of what the attention module returns: (updated · gate) · W_O.

        Without the projection's bias, which belongs to no head. None, with the reason in
        `no_output_because`, where a norm or a mix of heads stands before W_O.
        """
        if self.output_weight is None:
            return None
        return _frozen(attention.project(self.updated, self.output_weight, self.output_gate))

    @cached_property
    def weights_error(self) -> float:
        """The largest |replayed − own| of all weights."""
        if self.is_filtered or not self.is_compared:
            return 0.0
        return float(np.abs(self.replayed[0] - self.own_weights).max())

    @cached_property
    def updated_error(self) -> float:
        """The largest |replayed − own| of all updated values, relative to the largest of them."""
        if self.is_filtered or self.compared_with != "model":
            return 0.0
        largest = np.abs(self.own_updated).max()
        error = np.abs(self.replayed_update - self.own_updated).max()
        return float(error / largest) if largest else float(error)

    @property
    def max_error(self) -> float:
        """The larger of `weights_error` and `updated_error`."""
        return max(self.weights_error, self.updated_error)

    @property
    def tolerance(self) -> float:
        """The largest `max_error` that still counts as exact for the model's dtype."""
        return TOLERANCE[self.dtype]

    @property
    def is_compared(self) -> bool:
        """Whether there is anything to compare the replay with."""
        return self.compared_with != "nothing"

    @property
    def is_exact(self) -> bool:
        """Whether the replay agrees with the model (a NaN anywhere does not).

        Where there is no model (`is_compared`) nothing disagrees.
        """
        return self.max_error <= self.tolerance

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps that this head has, in order."""
        return steps_of(self)

    def to_npz(self, file: Any, about: Mapping[str, Any] | None = None) -> None:
        """Write the head to an NPZ file: what it was given and every step, for NumPy alone.

        `file` is a path, or a file that is open for writing bytes. The string `metadata` in it is
        JSON: everything that is no array, and what is said `about` the head (model, text …).
        Raises InputError for a file that cannot be written.
        """
        from attnviz import saved

        saved.write(self, file, about)

    @classmethod
    def from_npz(cls, file: Any, max_bytes: int | None = None) -> "HeadTrace":
        """The head that `to_npz` wrote, equal to it in every number.

        `file` is a path, or a file that is open for reading bytes. Raises InputError for one that
        is not there, broken, or larger than `max_bytes` in all (1 GB), and for numbers that do
        not follow from each other.
        """
        from attnviz import saved

        return saved.read(file, max_bytes)


@dataclass(frozen=True, eq=False)
class Projection:
    """How an attention module joins its heads: an optional gate, then W_O and a bias.

    W_O is not copied: `weight_of` reads a head's part of it from the model's own parameters, and
    gives None once they were changed in place (by training on; `.data` goes unnoticed). What
    a model stores elsewhere while it does not run is read from there.
    """

    weight_of: Callable[[int], Float[np.ndarray, "d_value d_model"] | None]
    bias: Float[np.ndarray, " d_model"] | None
    gate: Float[np.ndarray, "query_pos head d_value"] | None
    own_output: Float[np.ndarray, "query_pos d_model"]  # what the model itself computed


_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Again:
    """The weights of a call, which the model's own function computes again when they are asked for.

    They grow with the square of a text, and what they are made of does not. `compute` gives those
    of some queries in the heads that read some key and value heads.
    """

    compute: Callable[[slice, slice], Float[np.ndarray, "head query key_pos"]]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One attention call as the model made it, all heads; NumPy arrays, float32.

    Grouped-query attention has fewer key and value heads than query heads. Where filters left
    something out `notes` say what.
    """

    query_tokens: Tokens
    key_tokens: Tokens
    x_query: Float[np.ndarray, "query_pos d_model"] | None
    x_key: Float[np.ndarray, "key_pos d_model"] | None
    q: Float[np.ndarray, "head query_pos d_head"]
    k: Float[np.ndarray, "key_value_head key_pos d_head"]
    v: Float[np.ndarray, "key_value_head key_pos d_value"]
    scaling: float
    softcap: float | None
    bias: Float[np.ndarray, "bias_head query_pos key_pos"] | None
    mask: Float[np.ndarray, "mask_head query_pos key_pos"] | None
    sink_logits: Float[np.ndarray, "head query_pos"] | None
    weights_from: Float[np.ndarray, "head query_pos key_pos"] | Again
    own_updated: Float[np.ndarray, "query_pos head d_value"]
    projection: Projection | str  # or why the heads have no shares of the module's output
    # "observed": a call of the model's own eager attention function; "traced": read from the
    # operations of a module that writes attention by hand; "given": somebody's own arrays
    captured: Literal["observed", "traced", "given"] = "observed"
    q_before_rotary: Float[np.ndarray, "head query_pos d_head"] | None = None
    k_before_rotary: Float[np.ndarray, "key_value_head key_pos d_head"] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)  # of "q", "k" and "v", where known
    notes: tuple[str, ...] = ()  # what filters did, each a phrase
    is_filtered: bool = False  # the weights are what filters left, not a softmax of all keys
    is_of_words: bool = False  # pieces are merged, and q, k and v are their means
    left_out: Float[np.ndarray, "head query_pos"] | None = None  # weight on keys that were hidden
    has_line: Bool[np.ndarray, "head query_pos key_pos"] | None = None  # None: all have one
    compared_with: Known = "model"  # "nothing": `own_weights` and `own_updated` are a replay's

    @property
    def own_weights(self) -> Float[np.ndarray, "head query_pos key_pos"]:
        """The model's own weights, or what filters left of them.

        Mostly they are computed anew: whoever needs them twice keeps them meanwhile.
        """
        source = self.weights_from
        return source.compute(_ALL, _ALL) if isinstance(source, Again) else source

    def own_weights_of(self, queries: slice) -> Float[np.ndarray, "head query key_pos"]:
        """Those of some queries in every head; of a few they take a fraction of the time."""
        source = self.weights_from
        return source.compute(queries, _ALL) if isinstance(source, Again) else source[:, queries]

    def own_weights_between(self, query: int, key: int) -> Float[np.ndarray, " head"]:
        """What each head gives from one query to one key."""
        return self.own_weights_of(slice(query, query + 1))[:, 0, key]

    def own_weights_of_head(self, head: int) -> Float[np.ndarray, "query_pos key_pos"]:
        """Those of one head, which take a fraction of the time."""
        source = self.weights_from
        if not isinstance(source, Again):
            return source[head]
        n_readers = self.n_heads // self.n_key_value_heads
        place = head // n_readers
        return source.compute(_ALL, slice(place, place + 1))[head % n_readers]

    @property
    def n_heads(self) -> int:
        return self.q.shape[0]

    @property
    def n_key_value_heads(self) -> int:
        return self.k.shape[0]

    @property
    def is_compared(self) -> bool:
        """Whether there is anything to compare a replay with."""
        return self.compared_with != "nothing"

    @cached_property
    def sinks(self) -> Float[np.ndarray, "head query_pos"] | None:
        """The share of each query's attention that went to no token; None without sinks."""
        if self.sink_logits is None:
            return None
        given = self.own_weights.sum(axis=-1)
        return np.maximum(0, 1 - given - (0 if self.left_out is None else self.left_out))

    @property
    def is_meaningless(self) -> Bool[np.ndarray, " query_pos"]:
        """Which queries are padding, or see no key in any head: nothing reads their rows."""
        is_padding = np.array(self.query_tokens.is_padding)
        if self.mask is None:
            return is_padding
        is_hidden = attention.hidden(self.mask, self.mask.shape)
        return is_padding | is_hidden.all(axis=(0, 2))

    @cached_property
    def output_error(self) -> float | None:
        """How far all heads' shares and the bias are from the module's own output.

        The largest difference, relative to the largest value of that output, which is taken
        before the residual is added. None where the heads have no shares.
        """
        if isinstance(self.projection, str):
            return None
        own, bias = self.projection.own_output, self.projection.bias
        total = np.zeros_like(own) if bias is None else bias
        for head in range(self.n_heads):
            share = self.output_of(head)
            if share is None:
                return None
            total = total + share
        return float(np.abs(total - own).max() / (np.abs(own).max() or 1))

    def output_of(
        self, head: int, queries: slice = slice(None)
    ) -> Float[np.ndarray, "query_pos d_model"] | None:
        """A head's share of the module's output, from the model's own update; None without one."""
        if isinstance(self.projection, str):
            return None
        weight, gate = self.projection.weight_of(head), self.projection.gate
        if weight is None:
            return None
        updated = self.own_updated[queries, head]
        return attention.project(updated, weight, None if gate is None else gate[queries, head])


if TYPE_CHECKING:
    Calls = Mapping[tuple[str, int], LayerTrace]  # by kind and layer
else:
    Calls = Mapping  # a check of what it holds would compute what a filter has yet to


@dataclass(frozen=True, eq=False)
class Trace:
    """Every attention call of one forward pass.

    `kinds` is ("self",) or ("encoder", "decoder", "cross"), or ("self", "cross") for a decoder
    that is given another text's states. Layers and heads count from 0, by
    the model's own numbers.
    """

    model_name: str
    revision: str | None
    dtype: str
    source: Tokens
    target: Tokens | None
    target_is_decoded: bool  # the target was not given: the model wrote it
    calls: Calls
    not_shown: tuple[str, ...] = ()  # attention modules without whole matrices of weights

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
        head = int(head)
        n_readers = call.n_heads // call.n_key_value_heads
        key_value_head = head // n_readers
        return HeadTrace(
            kind=kind,
            layer=int(layer),
            head=head,
            key_value_head=key_value_head,
            query_tokens=call.query_tokens.labels,
            key_tokens=call.key_tokens.labels,
            x_query=call.x_query,
            x_key=call.x_key,
            q=call.q[head],
            k=call.k[key_value_head],
            v=call.v[key_value_head],
            q_before_rotary=_of(call.q_before_rotary, head),
            k_before_rotary=_of(call.k_before_rotary, key_value_head),
            origins=call.origins,
            scaling=call.scaling,
            softcap=call.softcap,
            bias=_of_head(call.bias, head),
            mask=_of_head(call.mask, head),
            sink_logits=None if call.sink_logits is None else call.sink_logits[head],
            own_weights=call.own_weights_of_head(head),
            own_updated=call.own_updated[:, head],
            dtype=self.dtype,
            readers=tuple(range(n_readers * key_value_head, n_readers * (key_value_head + 1))),
            query_is_padding=_is_padding(call.query_tokens),
            key_is_padding=_is_padding(call.key_tokens),
            notes=call.notes,
            is_filtered=call.is_filtered,
            is_of_words=call.is_of_words,
            left_out=_of(call.left_out, head),
            has_line=_of(call.has_line, head),
            compared_with=call.compared_with,
            **_share_of(call.projection, head),
        )

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


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _of(array: np.ndarray | None, head: int) -> np.ndarray | None:
    return None if array is None else array[head]


def _of_head(array: np.ndarray | None, head: int) -> np.ndarray | None:
    """This head's slice of an array that has one for each head, or one for all of them."""
    if array is None:
        return None
    return array[head if array.shape[0] > 1 else 0]


def _is_padding(tokens: Tokens) -> Bool[np.ndarray, " position"] | None:
    return np.array(tokens.is_padding) if any(tokens.is_padding) else None


def _arrays_of(call: LayerTrace) -> list[np.ndarray]:
    projection = call.projection
    own = () if isinstance(projection, str) else (projection.gate, projection.own_output)
    return [array for array in (*vars(call).values(), *own) if isinstance(array, np.ndarray)]


def _share_of(projection: Projection | str, head: int) -> dict[str, Any]:
    if isinstance(projection, str):
        return {"no_output_because": projection}
    weight = projection.weight_of(head)
    if weight is None:
        return {"no_output_because": "the model was changed after the trace"}
    gate = None if projection.gate is None else projection.gate[:, head]
    return {"output_gate": gate, "output_weight": weight}
