"""Filters: less of a trace, for every view alike. Each takes a Trace and gives another.

Nothing is computed before a view asks for a layer. What was left out is said in the `notes` of
what is left, and its weights are the model's own: as they are, or, where `renormalise` asks for
it, each row divided by what is left of it, so that it sums to 1. A row that has nothing left
stays 0.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention import maths
from attnviz.attention.call import LayerTrace
from attnviz.attention.trace import Calls, Trace
from attnviz.text.errors import InputError
from attnviz.text.tokens import Tokens

_NO_PROJECTION = "something was filtered out"
_SEGMENTS = {None: "both texts", 0: "text A", 1: "text B"}


def hide_special(trace: Trace, *, renormalise: bool = False) -> Trace:
    """Without the tokens that the tokenizer adds, such as [CLS] and [SEP]."""

    def change(call: LayerTrace) -> LayerTrace:
        return _only(
            call,
            ~np.array(call.query_tokens.is_special),
            ~np.array(call.key_tokens.is_special),
            "special tokens hidden",
            renormalise,
        )

    return _each_call(trace, change)


def hide_tokens(
    trace: Trace,
    keys: Collection[int] = (),
    queries: Collection[int] = (),
    *,
    renormalise: bool = False,
) -> Trace:
    """Without these keys and these queries, by their positions in their text.

    Raises InputError for a position that is not there, once a layer is asked for.
    """

    def change(call: LayerTrace) -> LayerTrace:
        are_keys = _are_among(call.key_tokens, keys, "key")
        are_queries = _are_among(call.query_tokens, queries, "query")
        names = [
            *(call.key_tokens.labels[place] for place in np.flatnonzero(are_keys)),
            *(call.query_tokens.labels[place] for place in np.flatnonzero(are_queries)),
        ]
        note = f"{', '.join(dict.fromkeys(names))} hidden"
        return _only(call, ~are_queries, ~are_keys, note, renormalise)

    return _each_call(trace, change)


def only_segments(
    trace: Trace, queries: int | None, keys: int | None, *, renormalise: bool = False
) -> Trace:
    """In a sentence pair: queries of one text (0 or 1) and keys of one, None for either.

    Special tokens, which belong to neither text, are left out wherever a text is chosen.
    """

    def change(call: LayerTrace) -> LayerTrace:
        note = f"only {_SEGMENTS[queries]} → {_SEGMENTS[keys]}"
        return _only(
            call,
            _are_of(call.query_tokens, queries),
            _are_of(call.key_tokens, keys),
            note,
            renormalise,
        )

    return _each_call(trace, change)


def in_words(trace: Trace) -> Trace:
    """Words instead of word pieces: weights to a word are summed, weights from a word averaged.

    Queries, keys and values of a word are the means of its pieces', and so are its scores; its
    weights are not the softmax of these. A word hides what all its pieces hide.
    """
    return _each_call(trace, _merged)


def with_lines(trace: Trace, top: int | None = None, share: float | None = None) -> Trace:
    """With fewer lines drawn; every number stays.

    Of each query at most the `top` strongest keys have a line, and no more than it takes to make
    up a `share` (0 to 1) of what it gives to all keys; of equal keys the first have theirs.
    `has_line` says which. Raises InputError for a number that is not possible.
    """
    if top is not None and top < 1:
        raise InputError(f"top is {top}; at least one line per query is drawn.\n\nHint: top=1.")
    if share is not None and not 0 < share <= 1:
        raise InputError(f"share is {share}.\n\nHint: between 0 and 1, for example 0.9.")
    parts = [
        *([f"the {top} strongest of each query"] if top is not None else []),
        *([f"those that make up {share:.0%} of each query's weight"] if share is not None else []),
    ]

    def change(call: LayerTrace) -> LayerTrace:
        own_weights = call.own_weights
        order = np.argsort(-own_weights, axis=-1, kind="stable")
        n_drawn = np.full(order.shape[:2], order.shape[-1])
        if share is not None:
            weights = np.take_along_axis(own_weights, order, axis=-1)
            running = np.cumsum(weights, axis=-1, dtype=np.float64)
            # The strongest key is always drawn; rounding must not ask for one more than it takes.
            n_drawn = 1 + (running >= share * running[..., -1:] - 1e-7).argmax(axis=-1)
        if top is not None:
            n_drawn = np.minimum(n_drawn, top)
        has_line = np.empty(order.shape, dtype=bool)
        drawn = np.arange(order.shape[-1]) < n_drawn[..., None]
        np.put_along_axis(has_line, order, drawn, axis=-1)
        note = f"lines: {', '.join(parts)}"
        return dataclasses.replace(call, has_line=has_line, notes=(*call.notes, note))

    return _each_call(trace, change) if parts else trace


@dataclass(frozen=True)
class Filters:
    """All filters that are on, as plain values; called with a trace, they are applied in order.

    `hidden_keys` and `hidden_queries` are positions in their texts, `segments` what `only_segments`
    takes, `renormalise` is for all of these; `top` and `share` are those of `with_lines`.
    """

    hidden_keys: tuple[int, ...] = ()
    hidden_queries: tuple[int, ...] = ()
    segments: tuple[int | None, int | None] | None = None
    special: bool = False
    renormalise: bool = False
    words: bool = False
    top: int | None = None
    share: float | None = None

    def __call__(self, trace: Trace) -> Trace:
        for function, given in self.calls:
            trace = function(trace, **given)
        return trace

    @property
    def calls(self) -> Iterator[tuple[Callable[..., Trace], dict[str, Any]]]:
        """The functions above that do it, in order, and what each is given beside the trace."""
        only = {"renormalise": self.renormalise}
        if self.hidden_keys or self.hidden_queries:  # first, for they are positions of whole texts
            yield hide_tokens, {"keys": self.hidden_keys, "queries": self.hidden_queries, **only}
        if self.segments is not None:
            yield only_segments, {"queries": self.segments[0], "keys": self.segments[1], **only}
        if self.special:
            yield hide_special, only
        if self.words:
            yield in_words, {}
        if self.top is not None or self.share is not None:
            yield with_lines, {"top": self.top, "share": self.share}

    @property
    def elsewhere(self) -> "Filters":
        """Those that another text can have too: without what counts positions or texts of this."""
        return replace(self, hidden_keys=(), hidden_queries=(), segments=None)


NO_FILTERS = Filters()


# One call


class _Lazy(Mapping[tuple[str, int], LayerTrace]):
    """The calls of a trace, each changed when it is asked for."""

    def __init__(self, calls: Calls, change: Callable[[LayerTrace], LayerTrace]) -> None:
        self._calls, self._change = calls, change
        self._changed: dict[tuple[str, int], LayerTrace] = {}

    def __getitem__(self, key: tuple[str, int]) -> LayerTrace:
        if key not in self._changed:
            self._changed[key] = self._change(self._calls[key])
        return self._changed[key]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _each_call(trace: Trace, change: Callable[[LayerTrace], LayerTrace]) -> Trace:
    return dataclasses.replace(trace, calls=_Lazy(trace.calls, change))


def _only(
    call: LayerTrace,
    queries: Bool[np.ndarray, " query_pos"],
    keys: Bool[np.ndarray, " key_pos"],
    note: str,
    renormalise: bool,
) -> LayerTrace:
    """The call with these queries and keys alone."""
    if queries.all() and keys.all():
        return call
    if not queries.any() or not keys.any():
        what = "query" if not queries.any() else "key"
        raise InputError(f"No {what} token is left ({note}).\n\nHint: hide fewer tokens.")
    of_queries = call.own_weights[:, queries]
    weights, left_out = of_queries[:, :, keys], of_queries[:, :, ~keys].sum(axis=-1)
    if call.left_out is not None:
        left_out = left_out + call.left_out[:, queries]
    if renormalise:
        left_out = np.zeros_like(left_out)
        left = weights.sum(axis=-1, keepdims=True)
        weights = np.divide(weights, left, out=np.zeros_like(weights), where=left > 0)
        note += ", rows renormalised"
    v = call.v[:, keys]
    per_value_head = call.n_heads // call.n_key_value_heads
    updated = np.stack(
        [w @ v[head // per_value_head] for head, w in enumerate(weights)], axis=1
    ).astype(np.float32)
    return dataclasses.replace(
        call,
        query_tokens=call.query_tokens.only(np.flatnonzero(queries).tolist()),
        key_tokens=call.key_tokens.only(np.flatnonzero(keys).tolist()),
        x_query=None if call.x_query is None else call.x_query[queries],
        x_key=None if call.x_key is None else call.x_key[keys],
        q=call.q[:, queries],
        k=call.k[:, keys],
        v=v,
        q_before_rotary=None if call.q_before_rotary is None else call.q_before_rotary[:, queries],
        k_before_rotary=None if call.k_before_rotary is None else call.k_before_rotary[:, keys],
        before_norm={
            letter: rows[:, queries if letter == "q" else keys]
            for letter, rows in call.before_norm.items()
        },
        bias=None if call.bias is None else call.bias[:, queries][:, :, keys],
        mask=None if call.mask is None else call.mask[:, queries][:, :, keys],
        sink_logits=None if call.sink_logits is None else call.sink_logits[:, queries],
        weights_from=weights,
        own_updated=updated,
        projection=_NO_PROJECTION,
        left_out=left_out,
        has_line=None if call.has_line is None else call.has_line[:, queries][:, :, keys],
        notes=(*call.notes, note),
        is_filtered=True,
    )


def _are_among(
    tokens: Tokens, positions: Collection[int], what: str
) -> Bool[np.ndarray, " position"]:
    """Which tokens stand at these positions of their text."""
    among = np.zeros(len(tokens), dtype=bool)
    for position in positions:
        place = tokens.place_of(position)
        if place is None:
            raise InputError(
                f"There is no {what} token {position!r}."
                f"\n\nHint: a position of the text, from 0 on, that is not hidden yet."
            )
        among[place] = True
    return among


def _are_of(tokens: Tokens, segment: int | None) -> Bool[np.ndarray, " position"]:
    """Which tokens belong to one text of a pair; all of them without one."""
    return np.array([segment is None or token.segment == segment for token in tokens], dtype=bool)


def _merged(call: LayerTrace) -> LayerTrace:
    """The call with a query and a key for each word."""
    query_words, key_words = call.query_tokens.words(), call.key_tokens.words()
    if len(query_words) == len(call.query_tokens) and len(key_words) == len(call.key_tokens):
        return call
    queries, keys = _belongs(query_words), _belongs(key_words)
    q_before, k_before = call.q_before_rotary, call.k_before_rotary
    mean_query, mean_key = (m / m.sum(axis=1, keepdims=True) for m in (queries, keys))
    mask = None
    if call.mask is not None:
        is_seen = (call.mask >= maths.HIDDEN_BELOW).astype(np.float32)
        n_seen = queries @ is_seen @ keys.T
        total = queries @ np.where(is_seen, call.mask, 0) @ keys.T
        mask = np.where(n_seen, total / np.maximum(n_seen, 1), np.finfo(np.float32).min)
    return dataclasses.replace(
        call,
        query_tokens=call.query_tokens.in_words(),
        key_tokens=call.key_tokens.in_words(),
        x_query=None if call.x_query is None else mean_query @ call.x_query,
        x_key=None if call.x_key is None else mean_key @ call.x_key,
        q=mean_query @ call.q,
        k=mean_key @ call.k,
        v=mean_key @ call.v,
        q_before_rotary=None if q_before is None else mean_query @ q_before,
        k_before_rotary=None if k_before is None else mean_key @ k_before,
        before_norm={
            letter: (mean_query if letter == "q" else mean_key) @ rows
            for letter, rows in call.before_norm.items()
        },
        bias=None if call.bias is None else mean_query @ call.bias @ mean_key.T,
        mask=mask,
        sink_logits=None if call.sink_logits is None else call.sink_logits @ mean_query.T,
        weights_from=mean_query @ call.own_weights @ keys.T,
        own_updated=np.tensordot(mean_query, call.own_updated, 1),
        projection=_NO_PROJECTION,
        left_out=None if call.left_out is None else call.left_out @ mean_query.T,
        has_line=None,  # of other rows than these
        notes=(*call.notes, "pieces merged into words: weights to a word summed, from it averaged"),
        is_filtered=True,
        is_of_words=True,
    )


def _belongs(words: Sequence[Sequence[int]]) -> Float[np.ndarray, "word token"]:
    """1 where a token is a piece of a word, else 0."""
    belongs = np.zeros((len(words), sum(map(len, words))), dtype=np.float32)
    for row, word in enumerate(words):
        belongs[row, list(word)] = 1
    return belongs
