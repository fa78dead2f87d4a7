"""What made a query, key or value, where that is one projection of x, and perhaps a norm."""

import functools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from attnviz.attention.tolerance import TOLERANCE
from attnviz.capture.compat import UntoldToModes, is_parameter, stored_weights, times_written
from attnviz.capture.operations import Args

N_REMEMBERED = 10  # projections and norms between the first of q, k and v and the attention itself


class Returned(NamedTuple):
    """What a projection or a norm was given and returned.

    As long as the output is held, its memory is nobody else's.
    """

    module: Any
    given: Tensor
    output: Tensor
    memory: int  # where the output's begins
    times_written: int  # that memory until then

    @property
    def is_untouched(self) -> bool:
        return times_written(self.output) == self.times_written


def as_it_is(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True, eq=False)
class Projected:
    """What made a tensor: a projection of `given`, and perhaps a norm of that."""

    tensor: Tensor  # a view of what the last of them returned, or a copy that has its numbers
    projection: Returned
    norm: Returned | None = None
    # Of the projection's output, (head, d_head), where the tensor is a copy.
    columns: Tensor | None = None
    order: Callable[[Tensor], Tensor] = as_it_is  # what dimensions are brought into afterwards

    @property
    def given(self) -> Tensor:
        return self.projection.given

    @property
    def has_bias(self) -> bool:
        return self.projection.module.bias is not None

    @property
    def is_normed(self) -> bool:
        return self.norm is not None

    @property
    def is_plain(self) -> bool:
        """Whether it computes x · W and no more; with quantised weights it may not."""
        modules = [one.module for one in (self.projection, self.norm) if one is not None]
        return all(is_plain(getattr(module, "weight", None)) for module in modules)

    def is_all_of(self, tensor: Tensor) -> bool:
        """Whether a query or key, (1, head, position, d_head), is all that they gave, no more."""
        output = (self.norm or self.projection).output
        if output.numel() != tensor.numel():
            return False
        by_position = tensor.transpose(1, 2).reshape(-1)
        return bool((output.reshape(-1) == by_position).all())

    def all_dimensions(self, start: int, d_head: int) -> Tensor | None:
        """The whole heads of which the tensor is what begins at `start`, in the same memory."""
        whole = self.tensor
        first = whole.storage_offset() - start * whole.stride(-1)
        shape = (*whole.shape[:-1], d_head)
        last = first + sum((n - 1) * step for n, step in zip(shape, whole.stride(), strict=True))
        n_held = whole.untyped_storage().nbytes() // whole.element_size()
        if self.columns is not None or first < 0 or last >= n_held:
            return None
        return whole.as_strided(shape, whole.stride(), first)


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


def note_returned(recent: deque[Returned], module: Any, args: Args, output: Any) -> None:
    """Remember what a projection or a norm has just returned."""
    if _is_own_way(module.__class__):
        with UntoldToModes():
            if not _multiplies(module, args, output):
                return
    if args and isinstance(output, Tensor) and (times := times_written(output)) is not None:
        memory = output.untyped_storage().data_ptr()
        recent.append(Returned(module, args[0], output, memory, times))


def projected_by(recent: Iterable[Returned], tensor: Tensor) -> Projected | None:
    """What made a tensor that is what one of these returned, a view of it, or a part of it."""
    one = _returned(recent, tensor)
    if one is None:
        with UntoldToModes():  # what is looked up here is no part of the model
            return _copied_of(recent, tensor)
    if _is_projection(one.module.__class__):
        return Projected(tensor, one)
    projection = _returned(recent, one.given)  # of a norm
    if projection is None or not _is_projection(projection.module.__class__):
        return None
    return Projected(tensor, projection, one)


@functools.cache
def _is_projection(module_class: Any) -> bool:
    """Whether it gives x · W and a bias, or says that it does."""
    return issubclass(module_class, nn.Linear | Conv1D)


@functools.cache
def _is_own_way(module_class: Any) -> bool:
    """Whether it is a projection that computes it by itself (falcon)."""
    is_plain = module_class.forward in (nn.Linear.forward, Conv1D.forward)
    return _is_projection(module_class) and not is_plain


def _multiplies(module: Any, args: Args, output: Any) -> bool:
    """Whether such a projection gave x · W and a bias; it may norm or quantise x first (bitnet).

    A few columns tell: whatever else it does it does to all of them.
    """
    weight, bias = module.weight, module.bias
    if not args or not is_plain(weight) or weight.is_meta or not isinstance(output, Tensor):
        return False
    some = weight[:8] if isinstance(module, nn.Linear) else weight[:, :8].T
    x, row = (one.reshape(-1, one.shape[-1])[-1].float() for one in (args[0], output))
    if x.shape[-1] != some.shape[-1]:
        return False
    made = some.float() @ x + (0 if bias is None else bias[:8].float())
    bound = TOLERANCE[str(output.dtype).removeprefix("torch.")] * row.abs().max()
    return bool((made - row[:8]).abs().max() <= bound)


def _returned(recent: Iterable[Returned], tensor: Tensor) -> Returned | None:
    if tensor.is_inference():
        return None
    memory = tensor.untyped_storage().data_ptr()
    for one in recent:
        if one.memory == memory:
            return one if one.times_written == times_written(tensor) else None
    return None


# Copies of a projection's columns


def _copied_of(recent: Iterable[Returned], tensor: Tensor) -> Projected | None:
    """The projection whose columns a copy, (1, head, position, d_head), has all its numbers of."""
    if tensor.ndim != 4 or tensor.shape[0] != 1:
        return None
    for one in recent:
        rows = one.output.reshape(-1, one.output.shape[-1])
        if not _is_projection(one.module.__class__) or not one.is_untouched:
            continue
        for copy in (tensor[0], tensor[0].transpose(0, 1)):
            if copy.shape[1] != len(rows) or rows.dtype != copy.dtype:
                continue
            if bool((rows[-1] == copy[0, -1, 0]).any()):  # nearly always false, and quick to tell
                columns = _columns(rows, copy)
                if columns is not None:
                    return Projected(tensor, one, columns=columns)
    return None


def _columns(rows: Tensor, copy: Tensor) -> Tensor | None:
    """Where in each of the rows every dimension of (head, position, d_head) stands, bit by bit.

    None where one stands nowhere, or in several places.
    """
    keys, wanted = _keys(rows), _keys(copy.transpose(0, 1).reshape(len(rows), -1))
    ordered, places = keys.sort()
    found = torch.searchsorted(ordered, wanted).clamp(max=len(keys) - 1)
    after = ordered[(found + 1).clamp(max=len(keys) - 1)]
    is_last = found == len(keys) - 1
    if bool(((ordered[found] != wanted) | ((after == wanted) & ~is_last)).any()):
        return None
    columns = places[found]
    is_same = torch.equal(rows[:, columns], copy.transpose(0, 1).reshape(len(rows), -1))
    return columns.reshape(copy.shape[0], copy.shape[2]) if is_same else None


def _keys(rows: Tensor) -> Tensor:
    """A number for each column, made of its last 64 bits."""
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[rows.element_size()]
    n_rows = 8 // rows.element_size()
    last = rows[-n_rows:].contiguous().view(bits).long()
    width = 64 // n_rows
    keys = torch.zeros_like(last[0])
    for row in last:
        keys = (keys << width) ^ (row & ((1 << width) - 1) if width < 64 else row)
    return keys


# Where in a projection's output each head stands


class _Steps(NamedTuple):
    """In the memory of a projection's output: the first number of a tensor, and the next ones."""

    start: int
    head: int
    position: int
    dimension: int


def before_norm(made: Projected) -> Tensor | None:
    """The tensor, (1, head, position, d_head), as the projection returned it; None if unknown."""
    steps = _steps(made)
    if steps is None:
        return None
    start, *strides = steps
    output = made.projection.output
    tensor = output.as_strided(made.tensor.shape, (0, *strides), output.storage_offset() + start)
    return made.order(tensor)


def columns_of(made: Projected) -> Tensor | None:
    """The columns of the projection that give each head, (head, d_head); None if unknown."""
    columns = made.columns
    if columns is None:
        steps = _steps(made)
        if steps is None:
            return None
        _, n_heads, _, d_head = made.tensor.shape
        columns = _regular(steps.start, steps.head, steps.dimension, n_heads, d_head)
    return made.order(columns)


@functools.lru_cache(maxsize=64)  # of every layer the same
def _regular(start: int, head: int, dimension: int, n_heads: int, d_head: int) -> Tensor:
    return start + head * torch.arange(n_heads)[:, None] + dimension * torch.arange(d_head)


def _steps(made: Projected) -> _Steps | None:
    """None where a tensor is not made of whole columns, or no view."""
    tensor, output = made.tensor, made.projection.output
    last = (made.norm or made.projection).output
    if tensor.ndim != 4 or not output.is_contiguous() or _memory(tensor) != _memory(last):
        return None
    start = int(tensor.storage_offset()) - int(last.storage_offset())
    steps = [start, *tensor.stride()[1:]]
    if made.norm is not None:
        given = made.norm.given
        if given.shape != last.shape:
            return None
        steps = [_carried(step, last, given) for step in steps]
        steps[0] += int(given.storage_offset()) - int(output.storage_offset())
    found = _Steps(*steps)
    _, n_heads, n, d_head = tensor.shape
    width = output.shape[-1]
    ends = [found.start]
    for count, step in ((n_heads, found.head), (d_head, found.dimension)):
        ends += [end + (count - 1) * step for end in ends]
    is_of_rows = n == 1 or found.position == width
    return found if is_of_rows and min(ends) >= 0 and max(ends) < width else None


def _carried(offset: int, one: Tensor, other: Tensor) -> int:
    """A step in the memory of one tensor, in that of another of the same shape."""
    axes = zip(one.stride(), other.stride(), one.shape, strict=True)
    carried = 0
    for of_one, of_other, size in sorted(axes, reverse=True):
        if size > 1 and of_one:
            n_steps, offset = divmod(offset, of_one)
            carried += n_steps * of_other
    return carried


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


# What it is multiplied by


def weight_and_bias(made: Projected) -> Callable[[], tuple[Tensor, Tensor | None] | None] | None:
    """What reads W, (d_model, columns), and b as the model has them; None once it has others.

    Nothing reads them where they are the model's only while it runs and nobody stores them.
    """
    module = made.projection.module
    is_turned = not isinstance(module, Conv1D)
    stored = stored_weights(module)
    if stored is not None:
        return functools.partial(_stored, stored, is_turned, made.has_bias)
    weight, bias = module.weight, module.bias
    if not all(is_parameter(one) and not one.is_meta for one in (weight, bias) if one is not None):
        return None
    held = [None if one is None else one.detach() for one in (weight, bias)]
    times = [None if one is None else times_written(one) for one in held]
    return functools.partial(_unchanged, held, times, is_turned)


def _stored(stored: Any, is_turned: bool, has_bias: bool) -> tuple[Tensor, Tensor | None]:
    weight = stored["weight"].detach()
    bias = stored["bias"].detach() if has_bias else None
    return (weight.t() if is_turned else weight), bias


def _unchanged(
    held: list[Tensor | None], times: list[int | None], is_turned: bool
) -> tuple[Tensor, Tensor | None] | None:
    if [None if one is None else times_written(one) for one in held] != times:
        return None
    weight, bias = held
    assert weight is not None
    return (weight.t() if is_turned else weight), bias
