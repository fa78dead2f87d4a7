"""Following what an attention function returned to the output projection that joins the heads.

The function's result is handed on as a tensor that remembers what is done to it. Whatever only
moves numbers (a reshape, a cast) or multiplies each by another (a gate) keeps the heads apart,
so that W_O can be read as one share for each head. Anything else (a norm, a mix of heads) is
named as what stands between. The model computes with the same numbers as ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Operation(NamedTuple):
    """One step on the way to the projection; the followed tensor stands at `place` in `args`."""

    function: Callable
    args: tuple
    kwargs: dict
    place: int

    def on(self, tensor: Tensor) -> Tensor:
        """The same done to another tensor."""
        args = (*self.args[: self.place], tensor, *self.args[self.place + 1 :])
        return self.function(*args, **self.kwargs)


@dataclass
class Joining:
    """What a model did to the updates of all heads, (1, query_pos, head, d_value)."""

    operations: list[Operation] = field(default_factory=list)  # up to the projection
    weight: Tensor | None = None  # (head · d_value, d_model)
    bias: Tensor | None = None
    output: Tensor | None = None  # (…, d_model)
    obstacle: str | None = None  # what keeps the heads from having shares of their own
    module_of_obstacle: str | None = None

    def weight_rows(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """The row of the weight that each value of each head meets, (head, d_value).

        None where the projection is not given each token's heads side by side.
        """
        n_rows = n_heads * d_value
        numbers = torch.arange(n_rows).reshape(n_heads, d_value)
        numbers = self._joined(numbers.expand(1, n_queries, -1, -1), _RESHAPE)
        if numbers.numel() != n_queries * n_rows or numbers.shape[-1] != n_rows:
            return None
        numbers = numbers.reshape(n_queries, n_rows)
        if bool((numbers != numbers[0]).any()):
            return None
        return numbers[0].argsort().reshape(n_heads, d_value)

    def gate(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """What each token's joined updates are multiplied by, (query_pos, row of the weight)."""
        if not any(step.function.__name__ in _MULTIPLY for step in self.operations):
            return None
        ones = torch.ones(1, n_queries, n_heads, d_value)
        return self._joined(ones, _RESHAPE | _MULTIPLY).reshape(n_queries, -1)

    def _joined(self, tensor: Tensor, names: set[str]) -> Tensor:
        for step in self.operations:
            if step.function.__name__ in names:
                tensor = step.on(tensor)
        return tensor


class Followed(Tensor):
    """A tensor on its way to the output projection."""

    joining: Joining
    path: tuple[Operation, ...]

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if type(result) is torch.Size or not _holds_tensors(result):
            return result
        followed = [(place, arg) for place, arg in enumerate(args) if isinstance(arg, Followed)]
        hidden = [part for arg in (*args, *kwargs.values()) for part in _parts(arg)]
        name = func.__name__
        if name in _LOOK and not any(place == 0 for place, _ in followed):
            return result
        if len(followed) == 1 and not hidden and isinstance(result, Tensor):
            place, one = followed[0]
            if name in _MULTIPLY or (place == 0 and name in _RESHAPE | _KEEP):
                step = Operation(func, args, kwargs, place)
                return follow(result, one.joining, (*one.path, step))
            if name in _PROJECT and one.joining.output is None:
                _note_projection(one, place, _PROJECT[name](args, kwargs), result)
                return result
        for one in (*(one for _, one in followed), *hidden):
            one.joining.obstacle = one.joining.obstacle or name
        return result


# By the names of torch's functions and methods. The last gives the place of what is projected,
# the weight as (d_in, d_out), and the bias.
_RESHAPE = {
    *("reshape", "view", "flatten", "transpose", "swapaxes", "permute", "squeeze", "unsqueeze"),
}
_KEEP = {"contiguous", "clone", "to", "type_as", "float", "half", "bfloat16", "dropout"}
_LOOK = {"view_as", "reshape_as", "expand_as", "type_as"}  # at another's shape or dtype
_MULTIPLY = {"mul", "multiply", "__mul__", "__rmul__"}
_PROJECT: dict[str, Callable[[tuple, dict], tuple[int, Tensor, Tensor | None]]] = {
    "linear": lambda a, k: (0, a[1].T, a[2] if len(a) > 2 else k.get("bias")),
    "addmm": lambda a, k: (1, a[2], a[0]),
    "matmul": lambda a, k: (0, a[1], None),
}


def follow(output: Tensor, joining: Joining, path: tuple[Operation, ...] = ()) -> Followed:
    """The same tensor, which tells `joining` what is done to it."""
    followed = output.as_subclass(Followed)
    followed.joining, followed.path = joining, path
    return followed


def name_obstacle(module: nn.Module, args: tuple) -> None:
    """Note the module that an obstacle was met in, when it has returned; the innermost counts."""
    if args and isinstance(args[0], Followed) and args[0].joining.obstacle:
        joining = args[0].joining
        joining.module_of_obstacle = joining.module_of_obstacle or type(module).__name__


def _note_projection(
    followed: Followed, place: int, projection: tuple[int, Tensor, Tensor | None], output: Tensor
) -> None:
    joining = followed.joining
    expected, weight, bias = projection
    if place != expected or weight.ndim != 2:
        joining.obstacle = joining.obstacle or "a product of another kind"
        return
    joining.weight, joining.bias = weight, bias
    joining.operations = list(followed.path)
    joining.output = output.detach().clone()  # the model may add the residual in place


def _parts(value: Any) -> list[Followed]:
    """The followed tensors inside a list of tensors, as torch.cat takes it."""
    return [p for p in value if isinstance(p, Followed)] if isinstance(value, tuple | list) else []


def _holds_tensors(result: Any) -> bool:
    if isinstance(result, tuple | list):
        return any(isinstance(part, Tensor) for part in result)
    return isinstance(result, Tensor)
