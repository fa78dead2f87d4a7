"""The tokens that a view of a long text shows at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz.text.errors import InputError

MAX_TOKENS = 40  # of the queries and of the keys: what a screen can show


@dataclass(frozen=True)
class Window:
    """Which queries and keys are shown; a place is counted within it, a position in the text."""

    queries: range
    keys: range
    n_queries: int  # of the whole text
    n_keys: int

    def check(self, query: int | None, key: int | None) -> None:
        """Raise InputError for a position that is not shown."""
        for what, position, shown in (("query", query, self.queries), ("key", key, self.keys)):
            if position is not None and position not in shown:
                raise InputError(
                    f"{what.capitalize()} {position} is not among the tokens shown, "
                    f"{shown.start} to {shown.stop - 1}."
                    f"\n\nHint: pass first_{what} so that the window holds it."
                )

    def named(self, tokens: Sequence[str], shown: range) -> list[str]:
        """The tokens shown; those of a long text with their positions, as in lists of them."""
        return [tokens[at] if self.is_whole else f"{at} {tokens[at]}" for at in shown]

    @property
    def is_whole(self) -> bool:
        return len(self.queries) == self.n_queries and len(self.keys) == self.n_keys

    @property
    def note(self) -> str:
        """Which part is shown, in words; empty where all of it is."""
        parts = [
            f"{what} {shown.start} to {shown.stop - 1} of {n}"
            for what, shown, n in (
                ("queries", self.queries, self.n_queries),
                ("keys", self.keys, self.n_keys),
            )
            if len(shown) < n
        ]
        return f"shown: {', '.join(parts)}" if parts else ""


def strongest_outside(
    weights: Float[np.ndarray, " key_pos"], shown: Window, n: int = 3
) -> list[int]:
    """The keys with the largest of one query's weights among those not shown, largest first."""
    outside = [key for key in range(len(weights)) if key not in shown.keys]
    return sorted(outside, key=lambda key: -weights[key])[:n]


def window(
    n_queries: int,
    n_keys: int,
    first_query: int = 0,
    first_key: int = 0,
    *,
    size: int = MAX_TOKENS,
) -> Window:
    """At most `size` queries and as many keys, from these on.

    Raises InputError for a first token that is not there.
    """
    return Window(
        _from(first_query, n_queries, size, "first_query"),
        _from(first_key, n_keys, size, "first_key"),
        n_queries,
        n_keys,
    )


def window_around(
    query: int, key: int, n_queries: int, n_keys: int, *, size: int = MAX_TOKENS
) -> Window:
    """The window that has this query and this key in its middle, as far as the text reaches."""
    starts = around(query, n_queries, size).start, around(key, n_keys, size).start
    return window(n_queries, n_keys, *starts, size=size)


def around(position: int, n_tokens: int, size: int = MAX_TOKENS) -> range:
    """At most `size` positions with this one in their middle, as far as the text reaches."""
    start = max(0, min(position - size // 2, n_tokens - size))
    return range(start, min(start + size, n_tokens))


def _from(first: int, n_tokens: int, size: int, argument: str) -> range:
    if first not in range(n_tokens):
        raise InputError(
            f"{argument} is {first}; there are {n_tokens} tokens."
            f"\n\nHint: a number from 0 to {n_tokens - 1}."
        )
    return range(first, min(first + size, n_tokens))
