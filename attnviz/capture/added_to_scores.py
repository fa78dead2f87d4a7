"""What a module that writes attention by hand added to its scores: a mask, and the rest.

What it did to the scores on their way to the softmax is done again to zeros.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from attnviz.attention.maths import HIDDEN_BELOW
from attnviz.capture.compat import times_written
from attnviz.capture.computed import Computed, Steps, tensors_in
from attnviz.capture.operations import KEEPS_ORDER, SCALES
from attnviz.capture.products import Product

MaskAndBias = tuple[Tensor | None, Tensor | None]  # (1, head or 1, query_pos, key_pos)
Known = dict[tuple[object, ...], tuple[list[Tensor], MaskAndBias]]  # of one pass, by recipes


def mask_and_bias(
    scores: Computed,
    product: Product,
    steps: Steps,
    known: Known,
    is_own: Callable[[Tensor], bool],
) -> MaskAndBias:
    """What hides keys, and the rest; None where nothing was added.

    Worked out once where all layers are given the same: not what is a module's own.
    """
    others = [
        (*scores.args[:1], scores.kwargs.get("beta")) if scores.name == "baddbmm" else (),
        *(
            (*step.args[:place], *step.args[place + 1 :], *step.kwargs.values())
            for step, place in steps
        ),
    ]
    given = list(tensors_in(tuple(others)))
    if any(is_own(tensor) or tensor.is_inference() for tensor in given):
        return split(added_to(scores, product, steps))
    recipe = (
        scores.result.shape,
        *((step.function, place) for step, place in steps),
        *((id(tensor), times_written(tensor)) for tensor in given),
        repr([[x for x in of if not isinstance(x, Tensor)] for of in others]),
    )
    if recipe not in known:  # beside what was given, whose ids are thus no other's
        known[recipe] = (given, split(added_to(scores, product, steps)))
    return known[recipe][1]


def added_to(scores: Computed, product: Product, steps: Steps) -> Tensor | None:
    """What was added to the scaled scores: the steps from the product on, done to zeros.

    To those of one head, where what is added is the same for all or brings its own heads along.
    """
    is_scaled_only = all(step.name in KEEPS_ORDER | SCALES for step, _ in steps)
    if is_scaled_only and not isinstance(product.added, Tensor):
        return None
    shape = scores.result.shape
    nothing = torch.zeros((), dtype=scores.result.dtype, device=scores.result.device)
    if isinstance(product.added, Tensor):
        return _done(steps, (nothing + product.added).expand(shape))
    steps = list(itertools.dropwhile(lambda one: one[0].factor(one[1]) != 1, steps))
    step, place = steps[0]
    other = step.args[1 - place] if step.name == "add" and len(step.args) == 2 else None
    if isinstance(other, Tensor) and other.shape == step.result.shape and not step.kwargs:
        return _done(steps[1:], other)  # zeros and it
    try:
        added = _done(steps, nothing.expand(*(1 for _ in shape[:-2]), *shape[-2:]))
        if added.shape[-2:] == shape[-2:]:
            return added
    except RuntimeError:  # a shape that has all heads in it
        pass
    return _done(steps, nothing.expand(shape))


def _done(steps: Steps, tensor: Tensor) -> Tensor:
    for step, place in steps:
        tensor = step.on(place, tensor)
    return tensor


def split(added: Tensor | None, is_hidden: Tensor | None = None) -> MaskAndBias:
    """What hides keys, and the rest, of what was added; None where nothing."""
    if added is None:
        return None, None
    added = by_head(added)
    if is_hidden is None:
        if added.shape[1] > 1 and torch.equal(added[:, :1].expand_as(added), added):
            added = added[:, :1]
        is_hidden = added < HIDDEN_BELOW
    if not is_hidden.any():
        return None, added if added.any() else None
    mask = added.where(is_hidden, 0)
    bias = added.masked_fill(is_hidden, 0)
    return mask, bias if bias.any() else None


def by_head(tensor: Tensor) -> Tensor:
    """A batch of matrices as (1, head, rows, columns)."""
    return tensor.reshape(1, -1, *tensor.shape[-2:])
