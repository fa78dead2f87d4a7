"""Watching a model's own eager attention: what each call was given and what it returned.

transformers computes eager attention, and applies rotary embeddings, in functions of its modeling
files, which look them up when they call them.
"""

import functools
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.capture.calls import Call, Recording
from attnviz.capture.compat import UntoldToModes, is_eager, turns
from attnviz.capture.joining import Joining
from attnviz.capture.modules import parameters_of
from attnviz.capture.operations import Args, Function, Kwargs
from attnviz.capture.output_projection import follow
from attnviz.capture.rotary import watched
from attnviz.capture.standins import Standin


def standins_for(recording: Recording, modules: Iterable[nn.Module]) -> list[Standin]:
    """What tells the recording of every such function that the code of these modules can call."""
    classes: set[Any] = {type(module) for module in modules}
    names = {name for module_class in classes for name in _sources_of(module_class)}
    sources = [sys.modules[name] for name in names if name in sys.modules]
    return [
        _standin(recording, vars(source), name)
        for source in sources
        for name in _functions_in(source, len(vars(source)))
    ]


def _standin(recording: Recording, namespace: dict[str, Any], name: str) -> Standin:
    made = (EagerCall if is_eager(name) else RotaryCall)(recording, namespace, name)
    functools.update_wrapper(made, namespace[name])
    return made


@functools.cache
def _sources_of(module_class: Any) -> tuple[str, ...]:
    """The source files that a class and those that it is made from are written in."""
    sources = dict.fromkeys(base.__module__ for base in module_class.__mro__)
    return tuple(name for name in sources if not name.startswith("torch."))


@functools.lru_cache(maxsize=256)
def _functions_in(source: ModuleType, n_names: int) -> tuple[str, ...]:
    """What such functions are called, among so many names: looked for again if there are more."""
    return tuple(
        name
        for name, value in list(vars(source).items())
        if (is_eager(name) or turns(name)) and callable(value)
    )


class EagerCall(Standin):
    """An eager attention function, whose calls are recorded."""

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        recording, function = self.recording, self.original
        given = _given(function, args, kwargs)
        if recording.in_hooks_of is not None or given.get("module") not in recording.modules:
            return function(*args, **kwargs)  # of another model, which a hook or a wrapper runs
        with UntoldToModes():  # its softmax is not one that is traced
            output, weights = function(*args, **kwargs)
        call = _call(given, output, weights)
        if not recording.keeps_weights and call.sink_logits is None and output.is_cpu:
            call.weights, call.weights_as = None, []
            call.given = given | {"module": _AsItWas(given["module"])}
            call.again = functools.partial(_weights, function, call.given)
        recording.add(call)
        output = recording.handed_on(output)
        if recording.finds_projections:
            output = follow(output, call.joining)
        return output, weights


# How modeling files call the first of them, and give them in this order.
_FIRST = ("module", "query", "key", "value", "attention_mask")


def _given(function: Function, args: Args, kwargs: Kwargs) -> dict[str, Any]:
    """What an eager attention function is given, by name, also through a wrapper of any name."""
    names = parameters_of(function)
    return dict(zip(names if "module" in names else _FIRST, args, strict=False)) | kwargs


class RotaryCall(Standin):
    """A rotary function, of which is noted what it turned into what."""

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        if self.recording.in_hooks_of is not None:
            return self.original(*args, **kwargs)
        returned, rotations = watched(self.original, args, kwargs, self.recording.returned)
        self.recording.rotations += rotations
        return returned


class _AsItWas:
    """What a module says of itself in plain numbers, when it was asked; the rest as it is now."""

    def __init__(self, module: nn.Module) -> None:
        plain = {name: one for name, one in vars(module).items() if isinstance(one, int | float)}
        self.__dict__.update(plain, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _weights(
    function: Function, given: dict[str, Any], queries: slice, key_value_heads: slice
) -> Tensor:
    """The weights of some queries in some heads, from the function itself and what it was given.

    No query depends on another, nor does a head; those that share keys and values stay together.
    """
    query, key = given["query"], given["key"]
    n_heads, n_queries = query.shape[1:3]
    first, stop, _ = key_value_heads.indices(key.shape[1])
    n_readers = n_heads // key.shape[1]
    heads = slice(first * n_readers, stop * n_readers)

    def part(tensor: Tensor) -> Tensor:
        """Of a tensor with rows for all queries, or for any, and with all heads, or for any."""
        tensor = tensor[:, heads] if tensor.shape[1] == n_heads else tensor
        return tensor[..., queries, :] if tensor.shape[-2] == n_queries else tensor

    parts = {
        name: part(tensor)
        for name in ("query", "attention_mask", "position_bias")
        if (tensor := given.get(name)) is not None
    }
    parts |= {name: given[name][:, key_value_heads] for name in ("key", "value")}
    with torch.no_grad(), UntoldToModes():
        weights: Tensor = function(**given | parts)[1]
    return weights


def _call(given: dict[str, Any], output: Tensor, weights: Tensor) -> Call:
    module, query = given["module"], given["query"]
    scaling = given.get("scaling")
    if scaling is None:
        scaling = getattr(module, "head_dim", query.shape[-1]) ** -0.5
    sinks = given.get("s_aux")
    if sinks is None:
        sinks = given.get("sinks", getattr(module, "sinks", None))
    return Call(
        module=module,
        q=query,
        k=given["key"],
        v=given["value"],
        mask=given.get("attention_mask"),
        scaling=float(scaling),
        softcap=given.get("softcap"),
        bias=given.get("position_bias"),
        sink_logits=None if sinks is None else sinks.detach().clone().reshape(query.shape[1], -1),
        weights=weights,
        updated=output,
        joining=Joining(),
        captured="observed",
        weights_as=[weights],
    )
