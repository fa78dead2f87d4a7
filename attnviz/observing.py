"""Watching a model's own eager attention: what each call was given and what it returned.

transformers computes eager attention in module-level functions whose names end in
`eager_attention_forward`, and looks them up when it calls them. A wrapper is put around each of
them, once in the life of the process. It tells of a call only while a `ContextVar` of the
running thread holds a recorder, so that other threads, with the same model or another, see the
plain function. Nothing on the model is changed.
"""

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from transformers import PreTrainedModel

from attnviz.projecting import Joining, check_returned, follow, name_obstacle, note_module


@dataclass
class Call:
    """One call of an eager attention function: its arguments and results, as tensors.

    Shapes, with a batch of one: `q` (1, head, query_pos, d_head), `k` and `v` (1,
    key_value_head, key_pos, d_head or d_value), `mask` and `bias` (1, head or 1, query_pos,
    key_pos), `weights` (1, head, query_pos, key_pos), `updated` (1, query_pos, head, d_value),
    `x_query` and `x_key` (1, position, d_model).
    """

    module: nn.Module
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None
    bias: Tensor | None
    sink_logits: Tensor | None
    weights: Tensor
    updated: Tensor
    joining: Joining  # what became of the updates
    x_query: Tensor | None = None
    x_key: Tensor | None = None
    is_cross: bool = False


@dataclass
class _Recorder:
    calls: list[Call] = field(default_factory=list)
    awaiting_input: list[Call] = field(default_factory=list)  # their module is still running


_recorder: ContextVar[_Recorder | None] = ContextVar("attnviz_recorder", default=None)
_wrapping = threading.Lock()


@contextmanager
def recorded_calls(model: PreTrainedModel) -> Iterator[list[Call]]:
    """The list of the model's attention calls, in order, filled while the block runs."""
    classes = {type(module) for module in model.modules()}
    for source in {base.__module__ for module_class in classes for base in module_class.__mro__}:
        if not source.startswith("torch."):
            _wrap_functions_in(sys.modules[source])
    recorder = _Recorder()
    token = _recorder.set(recorder)
    try:
        yield recorder.calls
    finally:
        _recorder.reset(token)


def _wrap_functions_in(source: ModuleType) -> None:
    """Wrap every eager attention function that the code of one source file can call."""
    for name in [name for name in vars(source) if name.endswith("eager_attention_forward")]:
        with _wrapping:
            function = getattr(source, name)
            if not hasattr(function, "observes"):
                setattr(source, name, _observed(function))


def _observed(function: Callable) -> Callable:
    """The function itself, which also tells the running recorder, if any, of its calls."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        output, weights = function(*args, **kwargs)
        recorder = _recorder.get()
        if recorder is None:
            return output, weights
        bound = signature.bind(*args, **kwargs).arguments
        call = _call({**bound, **bound.pop("kwargs", {})}, output, weights)
        recorder.calls.append(call)
        recorder.awaiting_input.append(call)
        return follow(output, call.joining), weights

    observed.observes = function  # type: ignore[attr-defined]
    return observed


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
        sink_logits=None if sinks is None else sinks.detach().clone().reshape(-1),
        weights=weights,
        updated=output,
        joining=Joining(),
    )


# What modeling files call the other sequence in cross attention.
_CROSS_INPUTS = ("key_value_states", "encoder_hidden_states")


def _note_inputs(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
    """Add to the calls of this module, which has just returned, what it was given."""
    recorder = _recorder.get()
    if recorder is None:
        return
    name_obstacle(module, args, output)
    if not recorder.awaiting_input:
        return
    for call in recorder.awaiting_input:
        note_module(call.joining, module)
    own = [call for call in recorder.awaiting_input if call.module is module]
    if not own:
        return
    named = dict(zip(parameters_of(type(module).forward), args, strict=False)) | kwargs
    x_query = named.get("hidden_states")
    if x_query is None:
        x_query = next((value for value in named.values() if _is_embeddings(value)), None)
    x_key = next((named[name] for name in _CROSS_INPUTS if _is_embeddings(named.get(name))), None)
    for call in own:
        recorder.awaiting_input.remove(call)
        check_returned(call.joining, output)
        call.is_cross = x_key is not None
        if _is_embeddings(x_query):
            call.x_query, call.x_key = x_query, x_query if x_key is None else x_key


def _is_embeddings(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()


@functools.cache
def parameters_of(forward: Callable) -> tuple[str, ...]:
    """The names of a forward method's parameters; "**" stands for any other."""
    return tuple(
        "**" if parameter.kind is parameter.VAR_KEYWORD else name
        for name, parameter in inspect.signature(forward).parameters.items()
        if name != "self"
    )


# torch calls this after every module of the process, which leaves the model untouched; outside
# a recording it returns at once.
register_module_forward_hook(_note_inputs, with_kwargs=True)
