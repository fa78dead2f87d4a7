"""Why a mask hides a key from a query, read off the mask itself.

No model says what its mask means, so a pattern has a name only where every cell fits it: keys
after their query, keys outside a window, padding. What fits none is hidden "by the mask".
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, UInt8

# Why a cell is hidden, by its code.
SEEN, LATER, OUTSIDE, PADDING, EVERYWHERE, OTHER, ROW_OF_PADDING, NOTHING_SEEN = range(8)
REASONS = {
    LATER: "after the query",
    OUTSIDE: "outside the window",
    PADDING: "padding",
    EVERYWHERE: "from every query",
    OTHER: "by the mask",
    ROW_OF_PADDING: "the query is padding, and its row has no meaning",
    NOTHING_SEEN: "the query sees no key, and its row has no meaning",
}


@dataclass(frozen=True, eq=False)
class Hiding:
    """What a mask hides, cell by cell, and how far its window reaches."""

    codes: UInt8[np.ndarray, "query_pos key_pos"]  # of REASONS; SEEN where nothing is hidden
    before: int | None = None  # a query sees no key that is further back, None: no such bound
    after: int | None = None  # nor one that is further on

    @cached_property
    def counts(self) -> dict[int, int]:
        """How many cells are hidden for each reason that there is, the rows without meaning apart.

        By code, in the order of REASONS.
        """
        counted = {code: int((self.codes == code).sum()) for code in range(LATER, ROW_OF_PADDING)}
        return {code: n for code, n in counted.items() if n}


def hiding(
    is_masked: Bool[np.ndarray, "query_pos key_pos"],
    query_is_padding: Bool[np.ndarray, " query_pos"] | None = None,
    key_is_padding: Bool[np.ndarray, " key_pos"] | None = None,
    *,
    is_of_one_text: bool = True,
) -> Hiding:
    """Why each cell is hidden.

    `is_of_one_text` says that queries and keys are the same tokens, all of them, so that "after"
    and "further back" mean something. Rows and columns of padding take no part in a pattern.
    """
    n_queries, n_keys = is_masked.shape
    is_row_of_padding = _known(query_is_padding, n_queries)
    is_column_of_padding = _known(key_is_padding, n_keys)
    sees_nothing = is_masked.all(axis=1) & ~is_row_of_padding
    rows = ~is_row_of_padding & ~sees_nothing
    is_everywhere = is_masked[rows].all(axis=0) & rows.any() & ~is_column_of_padding
    in_pattern = rows[:, None] & ~is_column_of_padding & ~is_everywhere
    is_hidden = is_masked & in_pattern
    codes = np.where(is_masked, OTHER, SEEN).astype(np.uint8)
    before = after = None
    if is_of_one_text and n_queries == n_keys:
        # How far a key is behind its query; negative for one that comes after it.
        distance = np.arange(n_queries)[:, None] - np.arange(n_keys)
        is_later = in_pattern & (distance < 0)
        is_causal = bool(is_later.any() and is_masked[is_later].all())
        if is_causal:
            codes[is_later] = LATER
            is_hidden &= ~is_later
        before, after = (_reach(is_hidden, in_pattern, away) for away in (distance, -distance))
        fits = (distance > before if before is not None else False) | (
            -distance > after if after is not None else False
        )
        if (is_hidden & ~fits).any():
            before = after = None
        else:
            codes[is_hidden] = OUTSIDE
    codes[:, is_everywhere] = EVERYWHERE
    codes[is_masked & is_column_of_padding] = PADDING
    codes[sees_nothing] = NOTHING_SEEN
    codes[is_row_of_padding] = ROW_OF_PADDING
    return Hiding(codes, before, after)


def _reach(
    is_hidden: Bool[np.ndarray, "query_pos key_pos"],
    in_pattern: Bool[np.ndarray, "query_pos key_pos"],
    distance: np.ndarray,
) -> int | None:
    """How far the keys on one side may be; None unless exactly those further off are hidden.

    One query alone shows no pattern: what it does not see may be hidden for any reason.
    """
    side = in_pattern & (distance > 0)
    hidden, seen = distance[side & is_hidden], distance[side & ~is_hidden]
    if np.count_nonzero((side & is_hidden).any(axis=1)) < 2:
        return None
    reach = int(seen.max(initial=0))
    return reach if hidden.min() > reach else None


def _known(
    is_padding: Bool[np.ndarray, " position"] | None, n: int
) -> Bool[np.ndarray, " position"]:
    return np.zeros(n, dtype=bool) if is_padding is None else is_padding
