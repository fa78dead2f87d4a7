"""Watching a model's own eager attention: what each call was given and what it returned.

transformers computes eager attention in module-level functions whose names end in
`eager_attention_forward`, and looks them up when it calls them. A wrapper is put around each of
them, once in the life of the process. It tells of a call only while the running thread holds a
recording, so that other threads, with the same model or another, see the plain function.
"""

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.capture.attention_modules import EAGER
from attnviz.capture.output_projection import Joining, follow
from attnviz.capture.recording import Call, current
from attnviz.capture.rotary import turns, watched

_wrapping = threading.Lock()


def observe(modules: Iterable[nn.Module]) -> None:
    """Wrap every eager attention function that the modules' code can call; once is enough."""
    classes: set[Any] = {type(module) for module in modules}
    for name in {name for module_class in classes for name in _sources_of(module_class)}:
        source = sys.modules.get(name)
        if source is not None:
            _wrap_functions_in(source)


@functools.cache
def _sources_of(module_class: Any) -> tuple[str, ...]:
    """The source files that a class and those that it is made from are written in."""
    sources = dict.fromkeys(base.__module__ for base in module_class.__mro__)
    return tuple(name for name in sources if not name.startswith("torch."))


def _wrap_functions_in(source: ModuleType) -> None:
    """Wrap every eager attention and rotary function that the code of one source file can call."""
    for name in _names_to_wrap(source, len(vars(source))):
        function = getattr(source, name)
        if not hasattr(function, "observes"):
            with _wrapping:
                _wrap(source, name)


@functools.lru_cache(maxsize=256)
def _names_to_wrap(source: ModuleType, n_names: int) -> tuple[str, ...]:
    """What those functions are called, among so many names: looked for again if there are more."""
    return tuple(
        name
        for name, value in list(vars(source).items())
        if (name.endswith(EAGER) or turns(name)) and callable(value)
    )


def _wrap(source: ModuleType, name: str) -> None:
    function = getattr(source, name)
    if not hasattr(function, "observes"):  # by another thread meanwhile
        setattr(source, name, (_observed if name.endswith(EAGER) else _rotating)(function))


def _observed(function: Callable) -> Callable:
    """The function itself, which also tells the running recording, if any, of its calls."""
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        recording = current()
        if recording is None:
            return function(*args, **kwargs)
        with torch._C.DisableTorchFunction():  # its softmax is not one that is traced
            output, weights = function(*args, **kwargs)
        given = dict(zip(names, args, strict=False)) | kwargs
        call = _call(given, output, weights)
        if not recording.keeps_weights and call.sink_logits is None and output.is_cpu:
            call.weights, call.weights_as = None, []
            call.again = functools.partial(_weights, function, given)
        recording.add(call)
        if recording.finds_projections:
            output = follow(output, call.joining)
        return output, weights

    observed.observes = function  # type: ignore[attr-defined]
    return observed


def _weights(
    function: Callable, given: dict[str, Any], queries: slice, key_value_heads: slice
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
    with torch.no_grad(), torch._C.DisableTorchFunction():
        return function(**given | parts)[1]


def _rotating(function: Callable) -> Callable:
    """The rotary function itself, which also tells the running recording what it turned."""

    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        recording = current()
        if recording is None:
            return function(*args, **kwargs)
        returned, rotations = watched(function, args, kwargs, recording.returned)
        recording.rotations += rotations
        return returned

    observed.observes = function  # type: ignore[attr-defined]
    return observed


def _call(given: dict[str, Any], output: Tensor, weights: Tensor) -> Call:
    module, query = given["module"], given["query"]
    scaling = given.get("scaling")
    if scaling is None:
        scaling = getattr(module, "head_dim", query.shape[-1]) ** -0.5
    sinks = given.get("s_aux")
    if sinks is None:
        sinks = given.get("sinks", module._parameters.get("sinks", vars(module).get("sinks")))
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
