"""Rotary embedding: which query and key vectors a model turned by their positions, and into what.

Modeling files do this in module-level functions that take query and key, or one of them, and
return them turned. What each call was given and returned is noted while the model runs. Afterwards
an attention call's query is looked for, bit by bit, among what was returned. Where it is found,
and is what it was given turned in pairs of dimensions, it is known as it was before; anything
that cannot be shown in this way is left out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnviz.capture.compat import times_written
from attnviz.capture.input_projection import Projected, Returned, as_it_is, projected_by
from attnviz.capture.operations import Args, Function, Kwargs

N_CHECKED = 16  # tokens at which a rotation is checked; its code is the same for all
# What the norm of a pair of dimensions may be off by, relative to the largest of them.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}

_Order = Callable[[Tensor], Tensor]
Orders = dict[tuple[Any, ...], _Order | None]  # by function, shape and `others`


@dataclass(frozen=True)
class Rotation:
    """One tensor that a rotary function was given and what it returned for it, of one shape.

    (1, head or 1, position, dimension) or (1, position, head or 1, dimension). `versions` are
    those of their memory, of `before` when it was given: others mean that it was written into.
    """

    function: Function
    before: Tensor
    after: Tensor
    versions: tuple[int, int | None]
    others: tuple[int, ...]  # how many dimensions the function's other tensors have
    projected: Projected | None  # what made `before`

    @property
    def is_untouched(self) -> bool:
        """Whether both are what they were when the function was called."""
        return (times_written(self.before), times_written(self.after)) == self.versions


def watched(
    function: Function, args: Args, kwargs: Kwargs, recent: Iterable[Returned]
) -> tuple[Any, list[Rotation]]:
    """Call a rotary function: what it returns, and what it turned into what."""
    given = [*args, *kwargs.values()]
    versions = [times_written(one) if isinstance(one, Tensor) else None for one in given]
    returned = function(*args, **kwargs)
    results = returned if isinstance(returned, tuple | list) else [returned]
    others = tuple(part.shape[-1] for part in given[len(results) :] if isinstance(part, Tensor))
    rotations = [
        Rotation(
            function=function,
            before=before,
            after=after,
            versions=(version, times_written(after)),
            others=others,
            projected=projected_by(recent, before),
        )
        for before, after, version in zip(given, results, versions, strict=False)
        if version is not None
        and isinstance(after, Tensor)
        and before.ndim == 4
        and before.shape == after.shape
    ]
    return returned, rotations


def _widths(whole: int, others: tuple[int, ...]) -> list[int]:
    """How many dimensions may be turned: all, or one or two for each cosine."""
    possible = {whole, *others, *(2 * other for other in others)}
    return sorted((n for n in possible if n <= whole and n % 2 == 0), reverse=True)


def before_rotary(
    tensor: Tensor, rotations: Sequence[Rotation], orders: Orders
) -> tuple[Tensor | None, Projected | None]:
    """A query or key, (1, head, position, d_head), as it was before it was turned.

    With it what made it, where that made the whole of it. The dimensions are in the order in
    which they are afterwards. None where no rotation is known to have led to the tensor. `orders`
    remembers, for all calls of one forward pass, what each rotary function does.
    """
    latest = rotations[::-1]
    itself = [rotation for rotation in latest if rotation.after is tensor]
    for rotation in itself or latest:
        before, after, made = rotation.before, rotation.after, rotation.projected
        start = _place(after, tensor)
        if start is None:
            before, after = before.transpose(1, 2), after.transpose(1, 2)
            start = _place(after, tensor)
        if start is None or not rotation.is_untouched:
            continue
        kind = (rotation.function, before.shape, rotation.others)
        if kind not in orders:
            orders[kind] = _order(before, after, rotation.others)
        order = orders[kind]
        if order is None:
            return None, None
        made = None if made is None else replace(made, tensor=before, order=order)
        before = order(before)
        if after.shape == tensor.shape:
            return before, made
        whole = tensor.clone()
        whole[..., start : start + after.shape[-1]] = before
        return whole, None if made is None else _made_of_whole(made, whole, start)
    return None, None


def _made_of_whole(made: Projected, whole: Tensor, start: int) -> Projected | None:
    """What made a query or key of which a part was turned; None where that made no more of it."""
    in_memory = made.all_dimensions(start, whole.shape[-1])
    if in_memory is not None and made.order is as_it_is and torch.equal(in_memory, whole):
        return replace(made, tensor=in_memory)
    return made if made.is_all_of(whole) else None


def _place(part: Tensor, whole: Tensor) -> int | None:
    """The dimension at which a part of a query or key begins, at its start or at its end."""
    (_, n_heads, n, width), (_, n_all, n_whole, d_head) = part.shape, whole.shape
    if n != n_whole or width > d_head or n_heads not in (1, n_all):
        return None
    if part is whole or (
        part.data_ptr() == whole.data_ptr()
        and (part.shape, part.stride(), part.dtype) == (whole.shape, whole.stride(), whole.dtype)
    ):
        return 0
    part = part.to(whole.dtype).expand(-1, n_all, -1, -1)
    for start in {0, d_head - width}:
        columns = whole[..., start : start + width]
        if torch.equal(columns[:, :, -1], part[:, :, -1]) and torch.equal(columns, part):
            return start
    return None


def _order(before: Tensor, after: Tensor, others: tuple[int, ...]) -> _Order | None:
    """What brings the dimensions of `before` into the order in which they are in `after`.

    None unless it was turned in pairs of dimensions, and only that: no turn changes the length of
    a pair, though one factor may multiply all of them. A pair is d and d + width / 2, or 2d and
    2d + 1, or the latter before and the former after.
    """
    some = slice(None, None, max(1, before.shape[2] // N_CHECKED))
    a, b = after[:, :, some].float(), before[:, :, some].float()
    for width in _widths(after.shape[-1], others):
        if not torch.equal(a[..., width:], b[..., width:]):
            continue
        halves_a, pairs_a = _lengths(a[..., :width])
        halves_b, pairs_b = _lengths(b[..., :width])
        factor = halves_a.norm() / halves_b.norm()
        bound = _TOLERANCE.get(before.dtype, 0) * halves_a.max()
        for of_a, of_b, order in (
            (halves_a, halves_b, as_it_is),
            (pairs_a, pairs_b, as_it_is),
            (halves_a, pairs_b, partial(_pairs_to_halves, width)),
        ):
            if (of_a - factor * of_b).abs().max() <= bound:
                return order
    return None


def _pairs_to_halves(width: int, tensor: Tensor) -> Tensor:
    parts = tensor[..., :width:2], tensor[..., 1:width:2], tensor[..., width:]
    return torch.cat(parts, dim=-1)


def _lengths(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The lengths of all pairs: d and d + width / 2, then 2d and 2d + 1."""
    first, second = tensor.chunk(2, dim=-1)
    return torch.hypot(first, second), torch.hypot(tensor[..., ::2], tensor[..., 1::2])
