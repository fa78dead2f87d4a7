"""One attention call of a model, all its heads: what it was given and what it computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention import maths
from attnviz.attention.input_projection import InputProjection
from attnviz.attention.lasting import Lasting, make_read_only
from attnviz.text.tokens import Tokens

# What a replay can be compared with: what a model itself computed, its weights alone, or nothing,
# where somebody's own query, key and value are all there is.
Known = Literal["model", "weights", "nothing"]


@dataclass(frozen=True)
class Origin:
    """A query, key or value that is x · W, and perhaps a bias, and perhaps a norm of it."""

    has_bias: bool
    is_normed: bool


@dataclass(frozen=True, eq=False)
class Projection(Lasting):
    """How an attention module joins its heads: an optional gate, then W_O and a bias.

    W_O is not copied: `read` gives it as the model has it now, and None once it was written into.
    Pickled, a projection carries the one that it was traced with.
    """

    read: Callable[[], Float[np.ndarray, "head d_value d_model"] | None]
    bias: Float[np.ndarray, " d_model"] | None
    gate: Float[np.ndarray, "query_pos head d_value"] | None
    updated: Float[np.ndarray, "query_pos head d_value"]
    own_output: Float[np.ndarray, "query_pos d_model"]  # what the model itself computed
    tolerance: float  # of the model's dtype

    @property
    def weights(self) -> Float[np.ndarray, "head d_value d_model"] | None:
        """Each head's part of W_O; None where the model has another than at the trace.

        With it all heads' shares and the bias add up to what the module computed then.
        """
        return self.checked()[0]

    def checked(self) -> tuple[Float[np.ndarray, "head d_value d_model"] | None, float]:
        """The weights, and how far the shares' sum is from the module's own output.

        The largest difference, relative to the largest value of that output, which is taken before
        the residual is added.
        """
        weights = self.read()
        if weights is None:
            return None, np.inf
        updated = self.updated if self.gate is None else self.updated * self.gate
        with np.errstate(all="ignore"):  # whatever the parameters are now
            total = updated.reshape(len(updated), -1) @ weights.reshape(-1, weights.shape[-1])
            error = total + (0 if self.bias is None else self.bias) - self.own_output
            largest = float(np.abs(error).max() / (np.abs(self.own_output).max() or 1))
        return (weights if largest <= self.tolerance else None), largest

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.bias, self.gate, self.updated, self.own_output)
        return _unpickled, (self.weights, *parts, self.tolerance)


@dataclass(frozen=True)
class _Kept:
    """The weights that a pickle carried."""

    weights: Float[np.ndarray, "head d_value d_model"] | None

    def __call__(self) -> Float[np.ndarray, "head d_value d_model"] | None:
        return self.weights


def _unpickled(weights: np.ndarray | None, *parts: Any) -> Projection:
    make_read_only((weights, *parts))
    return Projection(_Kept(weights), *parts)


_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Again:
    """The weights of a call, which the model's own function computes again when they are asked for.

    They grow with the square of a text, and what they are made of does not. `compute` gives those
    of some queries in the heads that read some key and value heads. Pickled they are computed.
    """

    compute: Callable[[slice, slice], Float[np.ndarray, "head query key_pos"]]

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.compute(_ALL, _ALL),)


@dataclass(frozen=True, eq=False)
class LayerTrace(Lasting):
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
    # Of "q", "k" and "v" what made them of x, or why they are no projection of it.
    input_projections: Mapping[str, InputProjection | str] = field(default_factory=dict)
    # Of those that were normed after they were projected: what they were between the two.
    before_norm: Mapping[str, Float[np.ndarray, "head position d_head"]] = field(
        default_factory=dict
    )
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
        weights: np.ndarray = self.own_weights_of(slice(query, query + 1))[:, 0, key]
        return weights

    def own_weights_of_head(self, head: int) -> Float[np.ndarray, "query_pos key_pos"]:
        """Those of one head, which take a fraction of the time."""
        source = self.weights_from
        if isinstance(source, Again):
            n_readers = self.n_heads // self.n_key_value_heads
            place = head // n_readers
            source, head = source.compute(_ALL, slice(place, place + 1)), head % n_readers
        weights: np.ndarray = source[head]
        return weights

    @property
    def n_heads(self) -> int:
        return len(self.q)

    @property
    def n_key_value_heads(self) -> int:
        return len(self.k)

    @property
    def is_compared(self) -> bool:
        """Whether there is anything to compare a replay with."""
        return self.compared_with != "nothing"

    @cached_property
    def sinks(self) -> Float[np.ndarray, "head query_pos"] | None:
        """The share of each query's attention that went to no token; None without sinks."""
        if self.sink_logits is None:
            return None
        return maths.sink_of(self.own_weights, self.left_out)

    @property
    def is_meaningless(self) -> Bool[np.ndarray, " query_pos"]:
        """Which queries are padding, or see no key in any head: nothing reads their rows."""
        is_padding = np.array(self.query_tokens.is_padding)
        if self.mask is None:
            return is_padding
        is_hidden = maths.hidden(self.mask, self.mask.shape)
        return is_padding | is_hidden.all(axis=(0, 2))

    @property
    def output_error(self) -> float | None:
        """How far all heads' shares and the bias are from the module's own output, as `checked`.

        None where the heads have no shares, and once the model was changed.
        """
        if isinstance(self.projection, str):
            return None
        weights, error = self.projection.checked()
        return None if weights is None else error

    def outputs_of(self, queries: slice) -> Float[np.ndarray, "head query d_model"] | None:
        """Each head's share of the module's output, from the model's own updates; None without."""
        if isinstance(self.projection, str):
            return None
        weights, gate = self.projection.weights, self.projection.gate
        if weights is None:
            return None
        updated = self.own_updated[queries]
        shares: np.ndarray = (updated if gate is None else updated * gate[queries]).swapaxes(
            0, 1
        ) @ weights
        return shares
