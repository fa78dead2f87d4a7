"""One attention call of a model, all its heads: what it was given and what it computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention import maths
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
        return maths.project(updated, weight, None if gate is None else gate[queries, head])
