"""One query of a head in a terminal: who it is, what it gives to whom, and how true that is."""

import json
import math
import textwrap
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnviz.attention.agreement import NOT_EXACT, check_line
from attnviz.attention.explained.sentences import changes, effect
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.parts.opening_pair import opening
from attnviz.export.captions import caption
from attnviz.export.screen import Screen
from attnviz.text.errors import InputError
from attnviz.text.phrases import fixed, plain, token_at
from attnviz.text.tokens import Tokens

LINE = 100  # characters
MOST_TOKENS, MOST_WEIGHTS = 100, 20  # in text; JSON has all
DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Summary:
    """What is said about a screen: its head, filtered or changed as there, and one query of it."""

    screen: Screen
    trace: Trace
    head: HeadTrace
    own_head: HeadTrace  # neither filtered nor changed
    queries: Tokens
    keys: Tokens
    query: int  # its place among those left

    def __str__(self) -> str:
        """As lines for people, numbers in aligned columns."""
        of_head = replace(self.screen, view="neurons" if self.head.is_filtered else "steps")
        parts = [caption(of_head, self.trace), *self._tokens(), *self._notes()]
        lines = ["\n".join(wrapped(part)) for part in parts]
        return "\n\n".join([*lines, "\n".join(self._table())]).replace(_HELD, " ")

    def to_json(self) -> str:
        """The same, with all tokens and weights, as a JSON document; null for a hidden key."""
        head, trace, keys = self.head, self.trace, _listed(self.keys)
        weights, is_hidden = head.weights[self.query], head.is_masked[self.query]
        document = {
            "model": trace.model_name,
            "revision": trace.revision,
            "dtype": trace.dtype,
            "text": self.screen.text,
            "pair": self.screen.pair,
            "target": self.screen.target,
            "kind": head.kind,
            "layer": head.layer,
            "head": head.head,
            "query_tokens": _listed(self.queries),
            "key_tokens": keys,
            "check": check_line(self.own_head),
            "is_exact": self.own_head.is_exact if self.own_head.is_compared else None,
            "max_error": _finite(self.own_head.max_error) if self.own_head.is_compared else None,
            "filters": list(head.notes),
            "change": vars(self.screen.change) if self.screen.change else None,
            "query": _listed(self.queries)[self.query],
            "weights": [
                {**keys[key], "weight": None if is_hidden[key] else _finite(weights[key])}
                for key in self._strongest()
            ],
            "left_out": _finite(_at(head.left_out, self.query)),
            "sink": _finite(head.sink[self.query]) if self._has_sink else None,
        }
        return json.dumps(document, indent=2, allow_nan=False)

    def _tokens(self) -> list[str]:
        if self.queries == self.keys:
            return [_numbered(self.queries)]
        return [f"Queries: {_numbered(self.queries)}", f"Keys: {_numbered(self.keys)}"]

    def _notes(self) -> list[str]:
        notes = [check_line(self.own_head)]
        if not self.own_head.is_exact:
            notes.append(NOT_EXACT)
        if change := self.screen.change:
            notes.append(plain(changes(self.own_head, change)))
            notes.append(plain(effect(self.own_head, self.head, self.query)))
        return notes

    def _strongest(self) -> list[int]:
        """The places of the keys, hidden ones last."""
        weights, is_hidden = self.head.weights[self.query], self.head.is_masked[self.query]
        return [int(place) for place in np.lexsort((-weights, is_hidden))]

    def _table(self) -> list[str]:
        weights, is_hidden = self.head.weights[self.query], self.head.is_masked[self.query]
        strongest, rest = np.split(self._strongest(), [MOST_WEIGHTS])
        rows = [
            (
                "hidden" if is_hidden[key] else fixed(weights[key], DECIMALS),
                f"{_position(self.keys, key)} {self.keys.labels[key]}",
            )
            for key in strongest
        ]
        others = {
            f"… {len(rest)} other keys together": weights[rest].sum() if len(rest) else None,
            "… keys that filters hide": _at(self.head.left_out, self.query),
            "… no token (sink)": _at(self.head.sink, self.query) if self._has_sink else None,
        }
        rows += [(fixed(w, DECIMALS), what) for what, w in others.items() if w is not None]
        name = plain(token_at(self.queries.labels, self.query))
        return [f"Weights from {name} to each key:", *(f"{w:>8}  {what}" for w, what in rows)]

    @property
    def _has_sink(self) -> bool:
        return self.head.sink_logits is not None


def summary(screen: Screen, trace: Trace) -> Summary:
    """A screen's head and its query; where the screen names none, that which attnviz opens with.

    Raises InputError for what the trace does not have, and for a query that a filter hides.
    """
    own_head = trace.head(screen.layer, screen.head, screen.kind)
    less = trace if screen.view == "steps" else screen.filters(trace)
    head = less.head(screen.layer, screen.head, screen.kind)
    queries, keys = less.tokens_of(screen.layer, screen.kind)
    at = opening(trace, screen.kind).query if screen.query is None else screen.query
    query = queries.place_of(at)
    if query is None and screen.query is None:
        query = 0
    if query is None:
        raise InputError(
            f"A filter hides the query token {screen.query}."
            "\n\nHint: follow another one, or leave that filter out."
        )
    if screen.change:
        head = screen.change(head)
    return Summary(screen, trace, head, own_head, queries, keys, query)


_HELD = "\N{NO-BREAK SPACE}"  # between a token and its position, which a line must not part


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE, break_long_words=False, break_on_hyphens=False)


def _position(tokens: Tokens, place: int) -> str:
    """Where a token stands in its text: "3", or "3–5" of a word of several pieces."""
    first, *_, last = 2 * tokens[place].positions
    return str(first) if first == last else f"{first}–{last}"


def _numbered(tokens: Tokens) -> str:
    named = [
        f"{_position(tokens, place)}{_HELD}{label}"
        for place, label in enumerate(tokens.labels[:MOST_TOKENS])
    ]
    more = len(tokens) - MOST_TOKENS
    return "  ".join([*named, *([f"…{_HELD}{more}{_HELD}more"] if more > 0 else [])])


def _listed(tokens: Tokens) -> list[dict[str, Any]]:
    return [{"position": token.positions[0], "token": token.label} for token in tokens]


def _at(values: np.ndarray | None, query: int) -> float | None:
    return None if values is None else float(values[query])


def _finite(value: float | np.floating | None) -> float | None:
    """The number, None for one that JSON does not have."""
    return float(value) if value is not None and math.isfinite(value) else None
