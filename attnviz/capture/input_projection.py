"""What made a query, key or value, where that is one projection of x, and perhaps a norm."""

import functools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from attnviz.capture.compat import times_written
from attnviz.capture.operations import Args

N_REMEMBERED = 10  # projections and norms between the first of q, k and v and the attention itself


class Returned(NamedTuple):
    """What a projection or a norm was given and returned.

    As long as the output is held, its memory is nobody else's.
    """

    module: nn.Module
    given: Tensor
    output: Tensor
    memory: int  # where the output's begins
    times_written: int  # that memory until then


@dataclass(frozen=True)
class Projected:
    """What made a tensor: a projection of `given`, and perhaps a norm of that."""

    given: Tensor
    output: Tensor
    has_bias: bool
    is_normed: bool

    def is_all_of(self, tensor: Tensor) -> bool:
        """Whether a query or key, (1, head, position, d_head), is this output and nothing else."""
        if self.output.numel() != tensor.numel():
            return False
        by_position = tensor.transpose(1, 2).reshape(-1)
        return bool((self.output.reshape(-1) == by_position).all())


def is_plain(weight: Any) -> bool:
    """Whether a weight, if there is one, is made of the numbers that it is multiplied by."""
    return weight is None or type(weight) in (Tensor, nn.Parameter)


@functools.cache
def is_noted(module_class: Any) -> bool:
    """Whether modules of a class are projections or norms, whose results are remembered."""
    return _is_projection(module_class) or is_norm(module_class)


@functools.cache
def is_norm(module_class: Any) -> bool:
    return "norm" in module_class.__name__.lower()


def note_returned(recent: deque[Returned], module: nn.Module, args: Args, output: Any) -> None:
    """Remember what a projection or a norm has just returned."""
    if not is_plain(getattr(module, "weight", None)):
        return  # quantised: it may compute something else than x · W
    if args and isinstance(output, Tensor) and (times := times_written(output)) is not None:
        memory = output.untyped_storage().data_ptr()
        recent.append(Returned(module, args[0], output, memory, times))


def projected_by(recent: Iterable[Returned], tensor: Tensor) -> Projected | None:
    """What made a tensor that is the output of one of these, or a view of it."""
    one = _returned(recent, tensor)
    if one is None:
        return None
    projection: Returned | None = one
    if not _is_projection(type(one.module)):  # a norm; of what?
        projection = _returned(recent, one.given)
    if projection is None or not _is_projection(type(projection.module)):
        return None
    has_bias = projection.module.bias is not None
    return Projected(projection.given, one.output, has_bias, is_normed=projection is not one)


def _is_projection(module_class: Any) -> bool:
    """Whether it gives x · W and a bias; a subclass may norm or quantise x first (bitnet)."""
    return module_class.forward in (nn.Linear.forward, Conv1D.forward)


def _returned(recent: Iterable[Returned], tensor: Tensor) -> Returned | None:
    if tensor.is_inference():
        return None
    memory = tensor.untyped_storage().data_ptr()
    for one in recent:
        if one.memory == memory:
            return one if one.times_written == times_written(tensor) else None
    return None
