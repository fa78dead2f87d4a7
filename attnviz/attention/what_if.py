"""The same head with something changed: a factor, a temperature, a mask, a dimension.

The result is a `HeadTrace` of its own, replayed from the same query, key and value; the head
that was given stays as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnviz.attention.head import HeadTrace
from attnviz.text.errors import InputError

_SMALLEST = 1e-12  # factor or temperature: what float32 can still compute with
_HIDE = np.finfo(np.float32).min


def what_if(
    head: HeadTrace,
    *,
    scaling: float | None = None,
    temperature: float | None = None,
    hidden_keys: Collection[int] = (),
    is_causal: bool | None = None,
    zeroed_dimensions: Collection[int] = (),
) -> HeadTrace:
    """The head with other scores, replayed from the scores on.

    `scaling` replaces the head's own factor (1 switches scaling off). `temperature` divides
    what the softmax is given: above 1 weights are more alike, below 1 sharper. `hidden_keys`
    are masked for every query. `is_causal` hides (True) or shows (False) keys that come after
    the query. `zeroed_dimensions` of d_head are left out of every score. What is None or empty
    stays the model's own; `own_weights` and `own_updated` stay the model's in any case.

    Raises InputError for a factor or temperature that is no positive number, and for a position
    or dimension that is not there.
    """
    for what, value in (("scaling", scaling), ("temperature", temperature)):
        if value is not None and not _SMALLEST <= value <= 1 / _SMALLEST:
            raise InputError(
                f"The {what} must be a positive number, from {_SMALLEST:g} to {1 / _SMALLEST:g}; "
                f"received {value!r}.\n\nHint: 1 leaves the scores as they are."
            )
    _check(hidden_keys, len(head.key_tokens), "key")
    _check(zeroed_dimensions, head.q.shape[1], "dimension")
    changes: dict[str, Any] = {"is_changed": True}
    if scaling is not None:
        changes["scaling"] = float(scaling)
    if temperature is not None:
        changes["temperature"] = float(temperature)
    if zeroed_dimensions:
        changes["q"] = head.q.copy()
        changes["q"][:, list(zeroed_dimensions)] = 0
        changes["q_before_rotary"] = None  # zeroed afterwards
    if hidden_keys or is_causal is not None:
        changes["mask"] = _mask(head, list(hidden_keys), is_causal)
    return head.replaced(**changes)


@dataclass(frozen=True)
class Change:
    """What `what_if` changes, as plain values; called with a head, it does so."""

    scaling: float | None = None
    temperature: float | None = None
    hidden_keys: tuple[int, ...] = ()
    is_causal: bool | None = None
    zeroed_dimensions: tuple[int, ...] = ()

    def __call__(self, head: HeadTrace) -> HeadTrace:
        return what_if(head, **vars(self))

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self != NO_CHANGE


NO_CHANGE = Change()


def is_causal(head: HeadTrace) -> bool:
    """Whether every key after its query is hidden, keys hidden from all (padding) apart.

    A text of one token tells nothing: False.
    """
    later = _later(head)
    return bool(later.any() and head.is_masked[later].all())


def can_be_causal(head: HeadTrace) -> bool:
    """Whether queries and keys are the same tokens, so that "later" means something."""
    return head.kind != "cross" and len(head.query_tokens) == len(head.key_tokens)


def _mask(head: HeadTrace, hidden_keys: list[int], wants_causal: bool | None) -> np.ndarray:
    mask = np.zeros(head.scores.shape, np.float32) if head.mask is None else head.mask.copy()
    if wants_causal is not None and wants_causal != is_causal(head):
        mask[_later(head)] = _HIDE if wants_causal else 0
    mask[:, hidden_keys] = _HIDE
    return mask


def _later(head: HeadTrace) -> np.ndarray:
    """Where a key comes after its query, and is not padding."""
    is_later = np.triu(np.ones(head.scores.shape, dtype=bool), k=1)
    return is_later & ~head.is_masked.all(axis=0)


def _check(positions: Collection[int], n: int, what: str) -> None:
    for position in positions:
        if position not in range(n):
            raise InputError(
                f"There is no {what} {position!r}.\n\nHint: a number from 0 to {n - 1}."
            )
