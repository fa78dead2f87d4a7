"""Following what an attention function returned to the output projection that joins the heads.

The function's result is handed on as a tensor that remembers what is done to it. Whatever only
moves numbers (a reshape, a cast) or multiplies each by another (a gate) keeps the heads apart,
so that W_O can be read as one share for each head. Anything else (a norm, a mix of heads) is
named as what stands between. The model computes with the same numbers as ever.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.capture.compat import UntoldToSubclasses, is_parameter, stored_weights, times_written
from attnviz.capture.input_projection import is_plain
from attnviz.capture.joining import Joining, Operation
from attnviz.capture.operations import (
    DROPS,
    KEEPS_NUMBERS,
    LOOKS_AT_SECOND,
    MULTIPLIES,
    Args,
    Function,
    Kwargs,
    is_in_place,
    name_of,
)


class Followed(Tensor):
    """A tensor on its way to the output projection, with what was done to it so far."""

    joining: Joining
    path: tuple[Operation, ...]
    obstacle: str | None  # the first thing on the way that mixes heads or is not linear

    @classmethod
    def __torch_function__(
        cls,
        func: Function,
        types: Any,
        args: Args = (),
        kwargs: Kwargs | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if all(issubclass(one, Followed) for one in types):
            with UntoldToSubclasses():
                result = func(*args, **kwargs)
        else:  # weights of another kind, as quantised ones, compute themselves
            result = func(*map(_plain, args), **{at: _plain(one) for at, one in kwargs.items()})
        name = name_of(func)
        if name in KEEPS_NUMBERS and _is_first_alone(args, kwargs) and isinstance(result, Tensor):
            return _moved(args[0], func, args, kwargs, 0, result)  # by far the most common
        given = [(place, arg) for place, arg in enumerate(args) if isinstance(arg, Followed)]
        hidden = [part for arg in (*args, *kwargs.values()) for part in _parts(arg)]
        if is_in_place(func):
            for _, one in given:  # whoever holds it holds something else
                one.joining.hinder(func.__name__)
        if type(result) is torch.Size or not _holds_tensors(result):
            return result
        if name in LOOKS_AT_SECOND and not any(place == 0 for place, _ in given):
            return result
        if not given and not hidden:
            return result
        if len(given) == 1 and not hidden and isinstance(result, Tensor):
            place, one = given[0]
            if name in _PROJECT and (projection := _PROJECT[name](place, args, kwargs)):
                _note_projection(one, *projection, result)
                return result
            is_whole = name == "getitem" and place == 0 and result.shape == one.shape
            if is_whole or _keeps_heads_apart(name, place, args, kwargs):
                return _moved(one, func, args, kwargs, place, result)
        first, *others = [*(one for _, one in given), *hidden]
        obstacle = first.obstacle or f"an operation ({name})"
        for one in others:
            if one.joining is not first.joining:
                one.joining.hinder(obstacle)
        if isinstance(result, Tensor):
            return follow(result, first.joining, first.path, obstacle)
        first.joining.hinder(obstacle)
        return result


def _plain(value: Any) -> Any:
    """The same tensor, not followed."""
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value))
    return value.as_subclass(Tensor) if isinstance(value, Followed) else value


def _moved(
    one: Followed, function: Function, args: Args, kwargs: Kwargs, place: int, result: Tensor
) -> Followed:
    """The result of a step that keeps the heads apart, which remembers that step too."""
    step = Operation(function, (*args[:place], None, *args[place + 1 :]), kwargs, place)
    return follow(result, one.joining, (*one.path, step), one.obstacle)


def _is_first_alone(args: Args, kwargs: Kwargs) -> bool:
    """Whether the first argument is followed and the others are numbers and the like."""
    return (
        isinstance(args[0], Followed)
        and not kwargs
        and not any(isinstance(arg, Tensor | tuple | list) for arg in args[1:])
    )


def _keeps_heads_apart(name: str, place: int, args: Args, kwargs: Kwargs) -> bool:
    if name in DROPS:
        return not kwargs.get("training", args[2] if len(args) > 2 else True)
    return name in MULTIPLIES or (place == 0 and name in KEEPS_NUMBERS)


# The weight, what turns it into (d_in, d_out), and the bias, where the followed tensor is what is
# projected.

_View = Callable[[Tensor], Tensor]
_Projection = tuple[Tensor, _View, Tensor | None]


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _linear(place: int, args: Args, kwargs: Kwargs) -> _Projection | None:
    weight, bias = [*args[1:], *(None,) * 2][:2]
    weight, bias = kwargs.get("weight", weight), kwargs.get("bias", bias)
    return None if place != 0 or weight is None else (weight, torch.t, bias)


def _addmm(place: int, args: Args, kwargs: Kwargs) -> _Projection | None:
    is_plain = len(args) == 3 and not kwargs and place == 1
    return (args[2], _as_it_is, args[0]) if is_plain else None


def _matmul(place: int, args: Args, kwargs: Kwargs) -> _Projection | None:
    weight = args[1] if len(args) > 1 else kwargs.get("other")
    if place != 0 or weight is None or weight.ndim != 2:
        return None
    return weight, _as_it_is, None


def _einsum(place: int, args: Args, kwargs: Kwargs) -> _Projection | None:
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
        joining.hinder("a second projection, added to the first,")
    if followed.obstacle is not None:
        joining.hinder(followed.obstacle)
    if not is_plain(weight):
        joining.hinder("a projection with quantised weights")
        return
    if not is_parameter(weight):
        weight = weight.cpu()  # made for this pass: it would fill the GPU as long as a trace lives
    joining.weight, joining.view, joining.bias = view(weight.detach()), view, bias
    joining.read = functools.partial(_unchanged, joining.weight, times_written(weight))
    joining.operations = followed.path
    joining.output = output.clone()  # the model may add the residual in place


def _unchanged(weight: Tensor, times: int | None) -> Tensor | None:
    """The weight; None where its memory was written into since."""
    return weight if times_written(weight) == times else None


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
        joining.read = functools.partial(_unchanged, joining.weight, times_written(joining.weight))


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


def name_obstacle(module: nn.Module, args: Args, output: Any) -> None:
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
        joining.hinder("something after the projection")
        return
    returned = first.reshape(own.shape)
    sums = (own + x.reshape(own.shape) for x in given if x.numel() == own.numel())
    if not torch.equal(returned, own) and not any(torch.equal(returned, x) for x in sums):
        joining.hinder("something after the projection")


def _parts(value: Any) -> list[Followed]:
    """The followed tensors inside a list of tensors, as torch.cat takes it."""
    return [p for p in value if isinstance(p, Followed)] if isinstance(value, tuple | list) else []


def _holds_tensors(result: Any) -> bool:
    if isinstance(result, tuple | list):
        return any(isinstance(part, Tensor) for part in result)
    return isinstance(result, Tensor)
