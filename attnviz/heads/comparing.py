"""Where two heads differ: of one text, of two, or of two models."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import bidirectional

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from attnviz.attention.head import HeadTrace
from attnviz.heads.aligning import Alignment, aligned, alike
from attnviz.text.errors import InputError
from attnviz.text.phrases import escaped, fixed, token

SMALLEST = 5e-4  # what is no larger is called no difference


@dataclass(frozen=True)
class LeftOut:
    """How many tokens have no partner, the first number those of A, the second those of B."""

    queries: tuple[int, int]
    keys: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Difference:
    """The weights of two heads, and B − A, as float32 NumPy arrays (query_pair, key_pair).

    A row is a pair of `queries`, a column a pair of `keys`, in their order. A weight that a mask
    hides from one of the heads counts there as 0; `is_hidden` is what both do not see, and what
    goes to a sink is no part of it. Tokens without a partner are left out, so that a row need not
    sum to 1, nor a row of differences to 0.
    """

    a: HeadTrace
    b: HeadTrace
    queries: Alignment
    keys: Alignment

    @cached_property
    def weights_a(self) -> Float[np.ndarray, "query_pair key_pair"]:
        weights = self.a.weights[np.ix_(self.queries.of_a, self.keys.of_a)]
        return np.where(self.because_a > 0, np.float32(0), weights)

    @cached_property
    def weights_b(self) -> Float[np.ndarray, "query_pair key_pair"]:
        weights = self.b.weights[np.ix_(self.queries.of_b, self.keys.of_b)]
        return np.where(self.because_b > 0, np.float32(0), weights)

    @cached_property
    def weights(self) -> Float[np.ndarray, "query_pair key_pair"]:
        """weights_b − weights_a, from −1 to 1."""
        difference: np.ndarray = self.weights_b - self.weights_a
        return difference

    @cached_property
    def because_a(self) -> UInt8[np.ndarray, "query_pair key_pair"]:
        """Why A does not see a key, as a code of `attnviz.attention.masks`; 0 where it does."""
        return self.a.hiding.codes[np.ix_(self.queries.of_a, self.keys.of_a)]

    @cached_property
    def because_b(self) -> UInt8[np.ndarray, "query_pair key_pair"]:
        return self.b.hiding.codes[np.ix_(self.queries.of_b, self.keys.of_b)]

    @property
    def is_hidden(self) -> Bool[np.ndarray, "query_pair key_pair"]:
        return (self.because_a > 0) & (self.because_b > 0)

    @property
    def query_labels(self) -> list[str]:
        """What each row is called: "flies", or "time / fruit" where A and B are not alike."""
        return joined(self.a.query_tokens, self.b.query_tokens, self.queries)

    @property
    def key_labels(self) -> list[str]:
        """What each column is called, likewise."""
        return joined(self.a.key_tokens, self.b.key_tokens, self.keys)

    def query_called(self, row: int) -> str:
        """A row in a sentence, as Markdown, with its positions where others are called the same."""
        return _named(self.query_labels, self.queries, row)

    def key_called(self, column: int) -> str:
        """A column, likewise."""
        return _named(self.key_labels, self.keys, column)

    @property
    def left_out(self) -> LeftOut:
        n_queries, n_keys = len(self.queries.pairs), len(self.keys.pairs)
        a, b = self.a, self.b
        return LeftOut(
            (len(a.query_tokens) - n_queries, len(b.query_tokens) - n_queries),
            (len(a.key_tokens) - n_keys, len(b.key_tokens) - n_keys),
        )

    def largest(self, n: int = 3) -> list[tuple[int, int, float]]:
        """The row, the column and the value of the n cells furthest from 0, the furthest first."""
        rows, columns = np.nonzero(~self.is_hidden)
        values = self.weights[rows, columns]
        first = np.argsort(-np.abs(values), kind="stable")[: max(n, 0)]
        return [(int(rows[at]), int(columns[at]), float(values[at])) for at in first]

    def table(self) -> pd.DataFrame:
        """One row a cell: both weights and the difference, and the positions and tokens in A and B.

        `query_a`, `query_b`, `key_a` and `key_b` count from 0; `weight_a`, `weight_b` and
        `difference` are NaN where a head does not see the key, the last where neither does.
        """
        rows, columns = (part.ravel() for part in np.indices(self.weights.shape))
        sides = (
            ("query_a", self.queries.of_a, self.a.query_tokens, rows),
            ("query_b", self.queries.of_b, self.b.query_tokens, rows),
            ("key_a", self.keys.of_a, self.a.key_tokens, columns),
            ("key_b", self.keys.of_b, self.b.key_tokens, columns),
        )
        named = {}
        for side, places, tokens, at in sides:
            named[side] = np.array(places)[at]
            named[f"{side}_token"] = np.array([tokens[place] for place in places], object)[at]
        values = (
            ("weight_a", self.weights_a, self.because_a > 0),
            ("weight_b", self.weights_b, self.because_b > 0),
            ("difference", self.weights, self.is_hidden),
        )
        return pd.DataFrame(
            named | {name: np.where(hidden, np.nan, v).ravel() for name, v, hidden in values}
        )


def difference(
    a: HeadTrace,
    b: HeadTrace,
    *,
    queries: Alignment | None = None,
    keys: Alignment | None = None,
) -> Difference:
    """What head B gives more, or less, than head A from each query to each key: B − A.

    Two heads of one text are compared cell by cell, of two texts by their tokens as `aligned`
    pairs them, unless other `queries` or `keys` are given. For two models that split words
    differently take both heads from traces in words, `filters.in_words(trace)`: rows and columns
    are then words. Raises InputError for an alignment that does not fit, and where nothing pairs.
    """
    queries = aligned(a.query_tokens, b.query_tokens) if queries is None else queries
    keys = aligned(a.key_tokens, b.key_tokens) if keys is None else keys
    for what, alignment, n_a, n_b in (
        ("query", queries, len(a.query_tokens), len(b.query_tokens)),
        ("key", keys, len(a.key_tokens), len(b.key_tokens)),
    ):
        alignment.check(n_a, n_b)
        if not alignment.pairs:
            raise InputError(
                f"No {what} token of A ({n_a} in all) is aligned with one of B ({n_b})."
                "\n\nHint: pair at least one of each."
            )
    return Difference(a, b, queries, keys)


def where_largest(difference: Difference, names: tuple[str, str] = ("A", "B")) -> str:
    """Where B gives most more than A, and where most less, in a sentence, as Markdown.

    `names` are what the two are called. Each printed difference is that of the printed weights.
    """
    a, b = map(escaped, names)
    seen = np.where(difference.is_hidden, 0, difference.weights)
    parts: list[str] = []
    for word, at in (("more", seen.argmax()), ("less", seen.argmin())):
        row, column = map(int, np.unravel_index(at, seen.shape))
        if (seen[row, column] if word == "more" else -seen[row, column]) <= SMALLEST:
            continue
        who, than = ("it", "") if parts else (b, f" than {a}")
        before, after, by = _printed(difference, row, column)
        parts.append(
            f"from {difference.query_called(row)} to {difference.key_called(column)}, {who} gives "
            f"**{by}** {word}{than} ({after} instead of {before})"
        )
    if not parts:
        return (
            f"Nothing differs: no weight of {b} differs from that of {a} by more than {SMALLEST}."
        )
    if len(parts) == 1:
        other = "less" if seen.max() > SMALLEST else "more"
        parts.append(f"nowhere does it give more than {SMALLEST} {other}")
    return f"F{'; '.join(parts)[1:]}."


def joined(labels_a: Sequence[str], labels_b: Sequence[str], alignment: Alignment) -> list[str]:
    """What each pair is called: by its label in A alone where the two are alike."""
    return [_both(labels_a[a], labels_b[b]) for a, b in alignment.pairs]


def _both(a: str, b: str) -> str:
    if alike(a, b):
        return a
    # Between letters that run to the left a slash would run with them, and B stand before A.
    is_leftwards = any(bidirectional(letter) in ("R", "AL") for letter in a + b)
    return f"A {a} / B {b}" if is_leftwards else f"{a} / {b}"


def _named(labels: Sequence[str], alignment: Alignment, place: int) -> str:
    """A pair of tokens in a sentence, with its positions where others are called the same."""
    if labels.count(labels[place]) == 1:
        return token(labels[place])
    a, b = alignment.pairs[place]
    return f"{token(labels[place])}\u00a0({a if a == b else f'{a} / {b}'})"


def _printed(difference: Difference, row: int, column: int) -> tuple[str, str, str]:
    """Both weights of a cell, and the size of the difference of what is printed of them."""
    a, b = difference.weights_a[row, column], difference.weights_b[row, column]
    decimals = 3 if abs(b - a) >= 0.01 else 4
    before, after = (round(float(weight), decimals) for weight in (a, b))
    return (
        fixed(before, decimals),
        fixed(after, decimals),
        fixed(abs(after - before), decimals),
    )
