"""What is recorded while a model runs: its attention calls, in order, and what each was given.

A recording belongs to the thread that runs the model, through a `ContextVar`: other threads,
with the same model or another, are never seen. Nothing on the model is changed.
"""

import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from attnviz.capture.attention_modules import attends
from attnviz.capture.output_projection import (
    Followed,
    Joining,
    check_returned,
    let_go,
    name_obstacle,
    note_norm,
)
from attnviz.capture.qkv_origin import (
    N_REMEMBERED,
    Made,
    Returned,
    is_norm,
    is_noted,
    made_by,
    note_returned,
)
from attnviz.capture.rotary import Rotation


@dataclass(eq=False)
class Call:
    """One call of an attention: its arguments and results, as tensors.

    Shapes, with a batch of one: `q` (1, head, query_pos, d_head), `k` and `v` (1,
    key_value_head, key_pos, d_head or d_value), `mask` and `bias` (1, head or 1, query_pos,
    key_pos), `sink_logits` (head, query_pos or 1), `weights` (1, head, query_pos, key_pos),
    `updated` (1, query_pos, head, d_value), `x_query` and `x_key` (1, position, d_model).
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
    weights: Tensor | None  # None where `again` computes them
    updated: Tensor
    joining: Joining  # what became of the updates
    captured: Literal["observed", "traced"]
    weights_as: list[Tensor]  # the tensors that the model may give back as these weights
    # The weights of some queries in some key and value heads, by the same function once more.
    again: Callable[[slice, slice], Tensor] | None = None
    n_streams: int = 1  # how often its heads are there, one stream behind the other (prophetnet)
    stream: int = 0
    beside: list["Call"] = field(default_factory=list)  # all that its module made in one run
    rotations: tuple[Rotation, ...] = ()  # all rotary embeddings of the pass up to here
    made: dict[str, Made | None] = field(default_factory=dict)  # by "q", "k" and "v"
    x_query: Tensor | None = None
    x_key: Tensor | None = None
    is_cross: bool = False


def for_each_head(tensor: Tensor, n_heads: int) -> Tensor:
    """The keys or values that each query head reads, (1, head, key_pos, dimension)."""
    return tensor.repeat_interleave(n_heads // tensor.shape[1], dim=1)


@dataclass
class Recording:
    """The attention calls of one pass, and the modules whose attention could not be read."""

    keeps_weights: bool = True  # False: those of every call that can be made again are let go
    finds_projections: bool = True  # False: the updates are not followed to what projects them
    calls: list[Call] = field(default_factory=list)
    unread: list[nn.Module] = field(default_factory=list)
    awaiting_input: list[Call] = field(default_factory=list)  # their module is still running
    awaiting_projection: list[Joining] = field(default_factory=list)
    rotations: list[Rotation] = field(default_factory=list)
    # What projections and norms returned in the modules that are running whose code attends.
    returned: deque[Returned] = field(default_factory=lambda: deque(maxlen=N_REMEMBERED))
    n_attending: int = 0  # how many such modules are running
    # What is entered while a module runs whose code attends, as attnviz.capture.handwritten has it.
    around: Callable[[nn.Module], AbstractContextManager] = nullcontext

    def add(self, call: Call) -> None:
        call.rotations = tuple(self.rotations)
        call.made = {name: made_by(self.returned, getattr(call, name)) for name in "qkv"}
        self.calls.append(call)
        self.awaiting_input.append(call)
        self.awaiting_projection.append(call.joining)

    def drop(self, calls: list[Call]) -> None:
        self.calls = [call for call in self.calls if call not in calls]
        self.awaiting_input = [call for call in self.awaiting_input if call not in calls]


_current: ContextVar[Recording | None] = ContextVar("attnviz_recording", default=None)


def current() -> Recording | None:
    """The recording of the running thread, if any."""
    return _current.get()


@contextmanager
def recording(made: Recording | None = None, *, keeps_weights: bool = True) -> Iterator[Recording]:
    """A recording that is filled while the block runs: a new one, unless one is given."""
    made = Recording(keeps_weights) if made is None else made
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


# What modeling files call the other sequence in cross attention.
_CROSS_INPUTS = ("key_value_states", "encoder_hidden_states")


def _note_call(made: Recording, module: Any, args: tuple, kwargs: dict, output: Any) -> None:
    """Note what a module, which has just returned, was given, where that tells something."""
    for joining in made.awaiting_projection:
        if joining.weight is not None:
            _note_projected(made, module)
            break
    if isinstance(output, Followed):
        name_obstacle(module, args, output)
    if made.n_attending and is_noted(module.__class__):
        note_returned(made.returned, module, args, output)
    if made.awaiting_input:
        _note_inputs(made, module, args, kwargs, output)


def _note_inputs(made: Recording, module: Any, args: tuple, kwargs: dict, output: Any) -> None:
    """Add to the calls of this module, which has just returned, what it was given."""
    if is_norm(module.__class__):
        for call in made.awaiting_input:
            note_norm(call.joining)
    own = [call for call in made.awaiting_input if call.module is module]
    if not own:
        return
    named = dict(zip(parameters_of(type(module).forward), args, strict=False)) | kwargs
    embeddings = {name: value for name, value in named.items() if _is_embeddings(value)}
    x_query = named.get("hidden_states")
    if x_query is None:
        x_query = next(iter(embeddings.values()), None)
    x_key = next((embeddings[name] for name in _CROSS_INPUTS if name in embeddings), None)
    is_cross = x_key is not None
    if x_key is None:
        x_key = embeddings.get("key")  # of another length (funnel) or text
    for call in own:
        made.awaiting_input.remove(call)
        check_returned(call.joining, output, list(embeddings.values()))
        call.is_cross = is_cross
        if _is_embeddings(x_query):
            call.x_query, call.x_key = x_query, x_query if x_key is None else x_key


def _note_projected(made: Recording, module: nn.Module) -> None:
    """This module, the innermost of those that were running, is the one that projected."""
    for joining in made.awaiting_projection:
        let_go(joining, module)
    made.awaiting_projection = [one for one in made.awaiting_projection if one.weight is None]


def _is_embeddings(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()


def modules_of(model: nn.Module) -> list[nn.Module]:
    """The model and every module in it, once each, as `model.modules()` gives them but faster."""
    found, seen = [model], {model}
    for module in found:  # which grows
        for part in module._modules.values():
            if part is not None and part not in seen:
                seen.add(part)
                found.append(part)
    return found


@functools.cache
def parameters_of(forward: Callable) -> tuple[str, ...]:
    """The names of a forward method's parameters; "**" stands for any other."""
    return tuple(
        "**" if parameter.kind is parameter.VAR_KEYWORD else name
        for name, parameter in inspect.signature(forward).parameters.items()
        if name != "self"
    )


def _told(call: Callable) -> Callable:
    """How torch calls a module, which also tells the running recording, if any, of the call."""

    @functools.wraps(call)
    def told(module: Any, *args: Any, **kwargs: Any) -> Any:
        made = _current.get()
        if made is None:
            return call(module, *args, **kwargs)
        if attends(module.__class__):
            made.n_attending += 1
            with made.around(module):
                output = call(module, *args, **kwargs)
            _note_call(made, module, args, kwargs, output)
            made.n_attending -= 1
            if not made.n_attending:
                made.returned.clear()
            return output
        output = call(module, *args, **kwargs)
        if made.n_attending or made.awaiting_projection or made.awaiting_input:
            _note_call(made, module, args, kwargs, output)
        return output

    return told


# Once in the life of the process, which leaves every model untouched. torch's own hooks for all
# modules would take every call of the process on a way that is several times as long.
nn.Module.__call__ = _told(nn.Module.__call__)  # type: ignore[method-assign]
