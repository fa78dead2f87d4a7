"""One head of one attention call, replayed step by step from its query, key and value.

What it takes from its call is looked up when it is asked for; what somebody gave it instead (a
what-if, a file) comes first. What is replayed is compared with what the model itself computed.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention import maths
from attnviz.attention.call import Known, LayerTrace, Origin
from attnviz.attention.input_projection import CHANGED, NOT_KNOWN, Part
from attnviz.attention.lasting import Lasting
from attnviz.attention.masks import ROW_OF_PADDING, Hiding, hiding
from attnviz.attention.tolerance import TOLERANCE
from attnviz.text.tokens import Tokens

PartT = TypeVar("PartT")
ReplayT = TypeVar("ReplayT", bound="Replay")


class part(cached_property[PartT]):  # it is used as `property` is
    """An attribute that a head takes from its call, unless it was given another."""

    def __init__(self, take: Callable[[Any], PartT]) -> None:
        @functools.wraps(take)
        def given_or_taken(head: "Replay") -> PartT:
            name = take.__name__
            return head.given[name] if name in head.given else take(head)

        super().__init__(given_or_taken)


@dataclass(frozen=True, eq=False)
class Replay(Lasting):
    """One attention head on one text: every intermediate matrix, as float32 NumPy arrays.

    Shapes: `q` (query_pos, d_head), `k` (key_pos, d_head), `v` (key_pos, d_value), `x_query`
    (query_pos, d_model), `x_key` (key_pos, d_model); `scores`, `scaled`, `masked`, `weights`
    (query_pos, key_pos); `sink` (query_pos,); `updated` (query_pos, d_value).

    `own_weights` and `own_updated` are what the model itself computed; everything after `q`,
    `k` and `v` is replayed from them, and `max_error` says how well the two agree.
    """

    call: LayerTrace
    place: int  # of this head in the call
    kind: str
    layer: int
    head: int
    dtype: str  # of the model; the arrays here are float32
    given: Mapping[str, Any] = field(default_factory=dict)  # instead of what the call has

    def replaced(self: "ReplayT", **given: Any) -> "ReplayT":
        """The same head with other parts, by their names; what was looked up stays."""
        known = {name: part for name, part in vars(self).items() if name in PARTS}
        return replace(self, given={**known, **self.given, **given})

    # What it takes from its call

    @part
    def key_value_head(self) -> int:
        """The key and value head that this query head reads."""
        return self.place // self._n_readers

    @part
    def readers(self) -> tuple[int, ...]:
        """The query heads that read this key and value head, itself too."""
        first = self.key_value_head * self._n_readers
        return tuple(range(first, first + self._n_readers))

    @property
    def _n_readers(self) -> int:
        return self.call.n_heads // self.call.n_key_value_heads

    @part
    def query_tokens(self) -> tuple[str, ...]:
        return self.call.query_tokens.labels

    @part
    def key_tokens(self) -> tuple[str, ...]:
        return self.call.key_tokens.labels

    @part
    def query_is_padding(self) -> Bool[np.ndarray, " query_pos"] | None:
        """Which queries nothing reads; None where none is padding."""
        return _is_padding(self.call.query_tokens)

    @part
    def key_is_padding(self) -> Bool[np.ndarray, " key_pos"] | None:
        return _is_padding(self.call.key_tokens)

    @part
    def x_query(self) -> Float[np.ndarray, "query_pos d_model"] | None:
        """What the attention module was given, after any norm before it."""
        return self.call.x_query

    @part
    def x_key(self) -> Float[np.ndarray, "key_pos d_model"] | None:
        """The same array but in cross attention."""
        return self.call.x_key

    @part
    def q(self) -> Float[np.ndarray, "query_pos d_head"]:
        return _in(self.call.q, self.place)

    @part
    def k(self) -> Float[np.ndarray, "key_pos d_head"]:
        return _in(self.call.k, self._key_value_place)

    @part
    def v(self) -> Float[np.ndarray, "key_pos d_value"]:
        return _in(self.call.v, self._key_value_place)

    @property
    def _key_value_place(self) -> int:
        return self.place // self._n_readers

    @part
    def q_before_rotary(self) -> Float[np.ndarray, "query_pos d_head"] | None:
        """`q` before the model turned it by its position, with its dimensions in the same order.

        None where no such step was observed.
        """
        return _at(self.call.q_before_rotary, self.place)

    @part
    def k_before_rotary(self) -> Float[np.ndarray, "key_pos d_head"] | None:
        return _at(self.call.k_before_rotary, self._key_value_place)

    @part
    def origins(self) -> Mapping[str, Origin]:
        """What "q", "k" and "v" are of x, where that is known."""
        return self.call.origins

    # x · W + b, as the model has it; a file of arrays holds none of it

    @property
    def w_q(self) -> Float[np.ndarray, "d_model d_head"] | None:
        """This head's part of W_Q: x_query · w_q + b_q is `q_projected`.

        None where the query is no projection of x, with the reason in `no_w_because["q"]`, and
        once the model was changed. The same of `w_k` and `w_v`, with x_key; in grouped-query
        attention they are those of the key/value head that this head reads.
        """
        return self._weight("q")

    @property
    def w_k(self) -> Float[np.ndarray, "d_model d_head"] | None:
        return self._weight("k")

    @property
    def w_v(self) -> Float[np.ndarray, "d_model d_value"] | None:
        return self._weight("v")

    @property
    def b_q(self) -> Float[np.ndarray, " d_head"] | None:
        """This head's part of the bias; None without one, and without `w_q`."""
        return self._bias("q")

    @property
    def b_k(self) -> Float[np.ndarray, " d_head"] | None:
        return self._bias("k")

    @property
    def b_v(self) -> Float[np.ndarray, " d_value"] | None:
        return self._bias("v")

    @property
    def q_projected(self) -> Float[np.ndarray, "query_pos d_head"] | None:
        """x · W + b, as the model computed it, before any norm and rotary embedding of the query.

        Where there is neither, `q` itself. None where the query is no projection of x.
        """
        return self._projected("q")

    @property
    def k_projected(self) -> Float[np.ndarray, "key_pos d_head"] | None:
        return self._projected("k")

    @property
    def v_projected(self) -> Float[np.ndarray, "key_pos d_value"] | None:
        return self._projected("v")

    @property
    def no_w_because(self) -> Mapping[str, str]:
        """Of "q", "k" and "v", those that have no W, and why."""
        parts = self._input_parts
        return {letter: one for letter, one in parts.items() if isinstance(one, str)}

    @cached_property
    def _input_parts(self) -> Mapping[str, Part | str]:
        """W and b of "q", "k" and "v", or why there is none."""
        parts: dict[str, Part | str] = {}
        for letter in "qkv":
            made = self.call.input_projections.get(letter, NOT_KNOWN)
            place = self.place if letter == "q" else self._key_value_place
            parts[letter] = made if isinstance(made, str) else made.part(place) or CHANGED
        return parts

    def _weight(self, letter: str) -> np.ndarray | None:
        part = self._input_parts[letter]
        return None if isinstance(part, str) else part[0]

    def _bias(self, letter: str) -> np.ndarray | None:
        part = self._input_parts[letter]
        return None if isinstance(part, str) else part[1]

    def _projected(self, letter: str) -> np.ndarray | None:
        call = self.call
        if isinstance(call.input_projections.get(letter, NOT_KNOWN), str):
            return None
        place = self.place if letter == "q" else self._key_value_place
        before = call.before_norm.get(letter)
        if before is None and letter != "v":
            before = call.q_before_rotary if letter == "q" else call.k_before_rotary
        return _in(getattr(call, letter) if before is None else before, place)

    @part
    def scaling(self) -> float:
        return self.call.scaling

    @part
    def softcap(self) -> float | None:
        return self.call.softcap

    @part
    def bias(self) -> Float[np.ndarray, "query_pos key_pos"] | None:
        return _at(self.call.bias, self.place)

    @part
    def mask(self) -> Float[np.ndarray, "query_pos key_pos"] | None:
        return _at(self.call.mask, self.place)

    @part
    def sink_logits(self) -> Float[np.ndarray, " query_pos"] | None:
        return _at(self.call.sink_logits, self.place)

    @part
    def temperature(self) -> float:
        """Of the softmax; no model has another than 1, a what-if may."""
        return 1.0

    @part
    def own_weights(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """What the model itself computed, or what filters left of it."""
        return self.call.own_weights_of_head(self.place)

    @part
    def own_updated(self) -> Float[np.ndarray, "query_pos d_value"]:
        return _in(self.call.own_updated.swapaxes(0, 1), self.place)

    @part
    def output_gate(self) -> Float[np.ndarray, "query_pos d_value"] | None:
        projection = self.call.projection
        if isinstance(projection, str) or projection.gate is None:
            return None
        return _in(projection.gate.swapaxes(0, 1), self.place)

    @part
    def output_weight(self) -> Float[np.ndarray, "d_value d_model"] | None:
        """This head's part of W_O; None where it has none, and once the model was changed."""
        projection = self.call.projection
        weights = None if isinstance(projection, str) else projection.weights
        return None if weights is None else _frozen(weights[self.place].copy())

    @part
    def no_output_because(self) -> str | None:
        """Why this head has no share of the module's output."""
        if isinstance(self.call.projection, str):
            return self.call.projection
        return CHANGED if self.output_weight is None else None

    @part
    def is_changed(self) -> bool:
        """By a what-if: the weights are not those of the model."""
        return False

    @part
    def notes(self) -> tuple[str, ...]:
        """What filters did, each a phrase."""
        return self.call.notes

    @part
    def is_filtered(self) -> bool:
        """Whether the weights are what filters left, not a softmax of all keys."""
        return self.call.is_filtered

    @part
    def is_of_words(self) -> bool:
        """Whether pieces are merged, and q, k and v are their means."""
        return self.call.is_of_words

    @part
    def left_out(self) -> Float[np.ndarray, " query_pos"] | None:
        """The weight on keys that were hidden."""
        return _at(self.call.left_out, self.place)

    @part
    def has_line(self) -> Bool[np.ndarray, "query_pos key_pos"] | None:
        """Which weights are drawn as lines; None: all are."""
        return _at(self.call.has_line, self.place)

    @part
    def compared_with(self) -> Known:
        """What there is to compare with; with nothing, what is the model's own is the replay's."""
        return self.call.compared_with

    # What is replayed

    @cached_property
    def scores(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """q · kᵀ."""
        return _frozen(maths.score(self.q, self.k))

    @cached_property
    def scaled(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """scores × scaling."""
        return _frozen(maths.scale(self.scores, self.scaling))

    @cached_property
    def capped(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """softcap · tanh(scaled / softcap); `scaled` itself where the model has no soft-cap."""
        if self.softcap is None:
            return self.scaled
        return _frozen(maths.cap(self.scaled, self.softcap))

    @cached_property
    def biased(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """capped + bias; `capped` itself where the model has no bias."""
        if self.bias is None:
            return self.capped
        return _frozen(maths.add_bias(self.capped, self.bias))

    @cached_property
    def masked(self) -> Float[np.ndarray, "query_pos key_pos"]:
        """biased + mask: what the softmax is given."""
        return _frozen(maths.mask(self.biased, self.mask))

    @cached_property
    def is_masked(self) -> Bool[np.ndarray, "query_pos key_pos"]:
        """Which keys each query may not see."""
        return _frozen(maths.hidden(self.mask, self.scores.shape))

    @cached_property
    def has_mask(self) -> bool:
        """Whether the mask hides a key or changes a score."""
        return self.mask is not None and bool(self.mask.any())

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
        weights, sink = maths.softmax(self.masked, self.sink_logits, self.temperature)
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
        if self.sink_logits is None:
            return np.zeros(len(self.own_weights), self.own_weights.dtype)
        return maths.sink_of(self.own_weights, self.left_out)

    @cached_property
    def updated(self) -> Float[np.ndarray, "query_pos d_value"]:
        """weights · v, before the output projection."""
        return self.replayed_update if self._is_replay_shown else self.own_updated

    @cached_property
    def replayed_update(self) -> Float[np.ndarray, "query_pos d_value"]:
        """The replayed weights · v, whether it is shown or not."""
        return _frozen(maths.update(self.replayed[0], self.v))

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
        return _frozen(maths.project(self.updated, self.output_weight, self.output_gate))

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


# What a head is made of, by name, as annotated: (query_pos, d_head) float32, a text, a number …
PARTS: dict[str, Any] = {
    name: get_type_hints(one.func)["return"]
    for name, one in vars(Replay).items()
    if isinstance(one, part)
}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _in(array: np.ndarray, place: int) -> np.ndarray:
    """One head's part of an array that has one for each head, or one for all of them."""
    part: np.ndarray = array[place if len(array) > 1 else 0]
    return part


def _at(array: np.ndarray | None, place: int) -> np.ndarray | None:
    """The same of an array that may not be there."""
    return None if array is None else _in(array, place)


def _is_padding(tokens: Tokens) -> np.ndarray | None:
    padding = np.array(tokens.is_padding)
    return padding if padding.any() else None
