"""Following what an attention function returned to the output projection that joins the heads.

The function's result is handed on as a tensor that remembers what is done to it. Whatever only
moves numbers (a reshape, a cast) or multiplies each by another (a gate) keeps the heads apart,
so that W_O can be read as one share for each head. Anything else (a norm, a mix of heads) is
named as what stands between. The model computes with the same numbers as ever.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from attnviz.capture.several_devices import stored_weights


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Operation(NamedTuple):
    """One step on the way to the projection; None stands in `args` at the followed tensor's place.

    It is not held: it knows its steps, and neither would be let go before garbage is collected.
    """

    function: Callable
    args: tuple
    kwargs: dict
    place: int

    def on(self, tensor: Tensor) -> Tensor:
        """The same done to another tensor."""
        args = (*self.args[: self.place], tensor, *self.args[self.place + 1 :])
        return self.function(*args, **self.kwargs)

    def without_tensor(self) -> tuple:
        """What can be compared: the same for the same move of another tensor."""
        kwargs = ((name, _hashable(value)) for name, value in self.kwargs.items())
        return self.function, tuple(map(_hashable, self.args)), tuple(kwargs), self.place


@dataclass
class Joining:
    """What a model did to the updates of all heads, (1, query_pos, head, d_value)."""

    operations: tuple[Operation, ...] = ()  # up to the projection
    weight: Tensor | None = None  # (head · d_value, d_model); on "meta" where it is stored
    view: Callable[[Tensor], Tensor] | None = None  # what makes it of the model's parameter
    read: Callable[[], Tensor | None] | None = None  # it again; None once it was changed
    bias: Tensor | None = None
    output: Tensor | None = None  # (…, d_model)
    is_normed_after: bool = False  # the module adds the residual and a norm itself, as albert's
    obstacle: str | None = None  # what keeps the heads from having shares of their own

    def weight_rows(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """The row of the weight that each value of each head meets, (head, d_value).

        None where the projection is not given each token's heads side by side.
        """
        n_rows = n_heads * d_value
        changes = {step.function.__name__ for step in self.operations} & _RESHAPE
        if self.weight is None or len(self.weight) != n_rows:
            return None
        if changes <= _IN_ORDER:
            return _rows_in_order(n_heads, d_value)
        moves = [step for step in self.operations if step.function.__name__ in _RESHAPE | _COPY]
        recipe = tuple(step.without_tensor() for step in moves)
        return _rows_after(recipe, n_queries, n_heads, d_value)

    def gate(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """What each token's joined updates are multiplied by, (query_pos, row of the weight)."""
        if not any(step.function.__name__ in _MULTIPLY for step in self.operations):
            return None
        device = None if self.output is None else self.output.device
        ones = torch.ones(1, n_queries, n_heads, d_value, device=device)
        return self._joined(ones, _RESHAPE | _COPY | _MULTIPLY).reshape(n_queries, -1)

    def _joined(self, tensor: Tensor, names: set[str]) -> Tensor:
        for step in self.operations:
            if step.function.__name__ in names:
                tensor = step.on(tensor)
        return tensor


@functools.lru_cache(maxsize=64)
def _rows_in_order(n_heads: int, d_value: int) -> Tensor:
    return torch.arange(n_heads * d_value).reshape(n_heads, d_value)


@functools.lru_cache(maxsize=64)  # of every layer the same, and costly in a long text
def _rows_after(recipe: tuple, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
    """Which row each value of each head stands in, after such moves; None where in none."""
    n_rows = n_heads * d_value
    numbers = torch.arange(n_queries * n_rows).reshape(1, n_queries, n_heads, d_value)
    for function, args, kwargs, place in recipe:
        numbers = Operation(function, args, dict(kwargs), place).on(numbers)
    if numbers.numel() != n_queries * n_rows:
        return None
    # In the row of token n must stand the numbers n · n_rows to (n + 1) · n_rows − 1.
    rows = numbers.reshape(n_queries, n_rows) - n_rows * torch.arange(n_queries)[:, None]
    if bool((rows != rows[0]).any() or (rows[0].sort()[0] != torch.arange(n_rows)).any()):
        return None
    return rows[0].argsort().reshape(n_heads, d_value)


class Followed(Tensor):
    """A tensor on its way to the output projection, with what was done to it so far."""

    joining: Joining
    path: tuple[Operation, ...]
    obstacle: str | None  # the first thing on the way that mixes heads or is not linear

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        name = func.__name__
        if name in _KEEP and _is_first_alone(args, kwargs) and isinstance(result, Tensor):
            return _moved(args[0], func, args, kwargs, 0, result)  # by far the most common
        given = [(place, arg) for place, arg in enumerate(args) if isinstance(arg, Followed)]
        hidden = [part for arg in (*args, *kwargs.values()) for part in _parts(arg)]
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            for _, one in given:  # written into in place: whoever holds it holds something else
                one.joining.obstacle = one.joining.obstacle or name
        if type(result) is torch.Size or not _holds_tensors(result):
            return result
        if name in _LOOK and not any(place == 0 for place, _ in given):
            return result
        if not given and not hidden:
            return result
        if len(given) == 1 and not hidden and isinstance(result, Tensor):
            place, one = given[0]
            if name in _PROJECT and (projection := _PROJECT[name](place, args, kwargs)):
                _note_projection(one, *projection, result)
                return result
            is_whole = name == "__getitem__" and place == 0 and result.shape == one.shape
            if is_whole or _keeps_heads_apart(name, place, args, kwargs):
                return _moved(one, func, args, kwargs, place, result)
        first, *others = [*(one for _, one in given), *hidden]
        obstacle = first.obstacle or f"an operation ({name.strip('_')})"
        for one in others:
            if one.joining is not first.joining:
                one.joining.obstacle = one.joining.obstacle or obstacle
        if isinstance(result, Tensor):
            return follow(result, first.joining, first.path, obstacle)
        first.joining.obstacle = first.joining.obstacle or obstacle
        return result


def _moved(
    one: Followed, function: Callable, args: tuple, kwargs: dict, place: int, result: Tensor
) -> Followed:
    """The result of a step that keeps the heads apart, which remembers that step too."""
    step = Operation(function, (*args[:place], None, *args[place + 1 :]), kwargs, place)
    return follow(result, one.joining, (*one.path, step), one.obstacle)


def _is_first_alone(args: tuple, kwargs: dict) -> bool:
    """Whether the first argument is followed and the others are numbers and the like."""
    return (
        isinstance(args[0], Followed)
        and not kwargs
        and not any(isinstance(arg, Tensor | tuple | list) for arg in args[1:])
    )


# By the names of torch's functions and methods.
_RESHAPE = {
    *("reshape", "view", "flatten", "transpose", "swapaxes", "permute", "squeeze", "unsqueeze"),
}
_IN_ORDER = {"reshape", "view", "flatten", "squeeze", "unsqueeze"}  # no number moves past another
_COPY = {"contiguous", "clone"}
_KEEP = _RESHAPE | _COPY | {"to", "type_as", "float", "half", "bfloat16", "detach"}
_LOOK = {"view_as", "reshape_as", "expand_as", "type_as"}  # at another's shape or dtype
_MULTIPLY = {"mul", "multiply", "__mul__", "__rmul__"}


def _keeps_heads_apart(name: str, place: int, args: tuple, kwargs: dict) -> bool:
    if name == "dropout":
        return not kwargs.get("training", args[2] if len(args) > 2 else True)
    return name in _MULTIPLY or (place == 0 and name in _KEEP)


# The weight, what turns it into (d_in, d_out), and the bias, where the followed tensor is what is
# projected.

_View = Callable[[Tensor], Tensor]
_Projection = tuple[Tensor, _View, Tensor | None]


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _linear(place: int, args: tuple, kwargs: dict) -> _Projection | None:
    weight, bias = [*args[1:], *(None,) * 2][:2]
    weight, bias = kwargs.get("weight", weight), kwargs.get("bias", bias)
    return None if place != 0 or weight is None else (weight, torch.t, bias)


def _addmm(place: int, args: tuple, kwargs: dict) -> _Projection | None:
    is_plain = len(args) == 3 and not kwargs and place == 1
    return (args[2], _as_it_is, args[0]) if is_plain else None


def _matmul(place: int, args: tuple, kwargs: dict) -> _Projection | None:
    weight = args[1] if len(args) > 1 else kwargs.get("other")
    if place != 0 or weight is None or weight.ndim != 2:
        return None
    return weight, _as_it_is, None


def _einsum(place: int, args: tuple, kwargs: dict) -> _Projection | None:
    """A sum over the last axes of the followed tensor, in their order, with a new axis last."""
    if place != 1 or len(args) != 3 or not re.fullmatch(r"\w+,\w+->\w+", args[0]):
        return None
    given, weight, out = re.split(",|->", args[0])
    summed = "".join(letter for letter in given if letter in weight)
    new = "".join(letter for letter in weight if letter not in given)
    if len(new) != 1 or not given.endswith(summed) or out != given.removesuffix(summed) + new:
        return None
    order = [weight.index(letter) for letter in summed + new]
    return args[2], lambda tensor: tensor.permute(order).flatten(0, -2), None


_PROJECT = {"linear": _linear, "addmm": _addmm, "matmul": _matmul, "einsum": _einsum}


def _note_projection(
    followed: Followed, weight: Tensor, view: _View, bias: Tensor | None, output: Tensor
) -> None:
    joining = followed.joining
    if joining.output is not None:
        joining.obstacle = joining.obstacle or "a second projection, added to the first,"
    joining.obstacle = joining.obstacle or followed.obstacle
    if not (isinstance(weight, nn.Parameter) or isinstance(weight._base, nn.Parameter)):
        weight = weight.cpu()  # made for this pass: it would fill the GPU as long as a trace lives
    joining.weight, joining.view, joining.bias = view(weight.detach()), view, bias
    joining.read = functools.partial(_unchanged, joining.weight, weight._version)
    joining.operations = followed.path
    joining.output = output.clone()  # the model may add the residual in place


def _unchanged(weight: Tensor, version: int) -> Tensor | None:
    """The weight; None where its memory was written into since."""
    return weight if weight._version == version else None


def let_go(joining: Joining, module: nn.Module) -> None:
    """Hold no weight that its module, which has just returned, has only while it runs.

    It is read again where it is stored; where that cannot be told it is copied off the GPU.
    """
    stored = stored_weights(module)
    if stored is None or joining.weight is None or joining.view is None:
        return
    parameters = module.named_parameters(recurse=False)
    names = [name for name, one in parameters if one.numel() == joining.weight.numel()]
    if len(names) == 1:
        joining.read = functools.partial(_stored, stored, names[0], joining.view)
        joining.weight = joining.weight.to("meta")
    else:
        joining.weight = joining.weight.cpu()
        joining.read = functools.partial(_unchanged, joining.weight, joining.weight._version)


def _stored(weights: Mapping[str, Tensor], name: str, view: _View) -> Tensor:
    return view(weights[name].detach())


def follow(
    output: Tensor,
    joining: Joining,
    path: tuple[Operation, ...] = (),
    obstacle: str | None = None,
) -> Followed:
    """The same tensor, which tells `joining` what is done to it."""
    followed = output.as_subclass(Followed)
    followed.joining, followed.path, followed.obstacle = joining, path, obstacle
    return followed


def name_obstacle(module: nn.Module, args: tuple, output: Any) -> None:
    """Call an obstacle by the module that it was met in, once that has returned."""
    is_met_here = (
        isinstance(output, Followed)
        and output.obstacle is not None
        and bool(args)
        and isinstance(args[0], Followed)
        and args[0].obstacle is None
    )
    if is_met_here:
        output.obstacle = type(module).__name__


def note_norm(joining: Joining) -> None:
    """Note a norm inside the attention module, where it comes after the projection."""
    if joining.output is not None:
        joining.is_normed_after = True


def check_returned(joining: Joining, returned: Any, given: list[Tensor]) -> None:
    """Note where the attention module returns something else than what its projection gave.

    It may add one of the embeddings that it was given: the residual (bloom).
    """
    first = returned[0] if isinstance(returned, tuple | list) and returned else returned
    own = joining.output
    if own is None or joining.is_normed_after or not isinstance(first, Tensor):
        return
    if first.numel() != own.numel():
        joining.obstacle = joining.obstacle or "something after the projection"
        return
    returned = first.reshape(own.shape)
    sums = (own + x.reshape(own.shape) for x in given if x.numel() == own.numel())
    if not torch.equal(returned, own) and not any(torch.equal(returned, x) for x in sums):
        joining.obstacle = joining.obstacle or "something after the projection"


def _parts(value: Any) -> list[Followed]:
    """The followed tensors inside a list of tensors, as torch.cat takes it."""
    return [p for p in value if isinstance(p, Followed)] if isinstance(value, tuple | list) else []


def _holds_tensors(result: Any) -> bool:
    if isinstance(result, tuple | list):
        return any(isinstance(part, Tensor) for part in result)
    return isinstance(result, Tensor)
