"""Telling a recording of every call of a model's modules: what they were given and returned."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from attnviz.capture import compat
from attnviz.capture.attention_code import attends
from attnviz.capture.calls import Recording
from attnviz.capture.input_projection import is_norm, is_noted, note_returned
from attnviz.capture.modules import parameters_of
from attnviz.capture.operations import Args, Kwargs
from attnviz.capture.output_projection import (
    Followed,
    check_returned,
    let_go,
    name_obstacle,
    note_norm,
)
from attnviz.capture.standins import NOTHING, Standin


class ModuleCall(Standin):
    """Stands for what torch calls when a module is called; hooks on the module run as ever."""

    __slots__ = ()

    def untold(self, args: Args, kwargs: Kwargs) -> Any:
        compiled = self.original
        if compiled is NOTHING:
            return compat.call(self.module, *args, **kwargs)
        return compiled(*args, **kwargs)

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        # Where the module is compiled, its own code nevertheless: what that calls is told of too.
        recording: Recording = self.recording
        module = self.module
        if attends(module.__class__):
            recording.n_attending += 1
            with recording.around(module, recording):
                output = compat.call(module, *args, **kwargs)
            _note_call(recording, module, args, kwargs, output)
            recording.n_attending -= 1
            if not recording.n_attending:
                recording.returned.clear()
            return output
        output = compat.call(module, *args, **kwargs)
        if recording.n_attending or recording.awaiting_projection or recording.awaiting_input:
            _note_call(recording, module, args, kwargs, output)
        return output


def standins_for(recording: Recording, modules: Iterable[nn.Module]) -> list[Standin]:
    """What tells the recording of each call of these modules."""
    name = compat.CALLED_INSTEAD
    return [ModuleCall(recording, module.__dict__, name, module) for module in modules]


# What modeling files call the other sequence in cross attention.
_CROSS_INPUTS = ("key_value_states", "encoder_hidden_states")


def _note_call(recording: Recording, module: Any, args: Args, kwargs: Kwargs, output: Any) -> None:
    """Note what a module, which has just returned, was given, where that tells something."""
    for joining in recording.awaiting_projection:
        if joining.weight is not None:
            _note_projected(recording, module)
            break
    if isinstance(output, Followed):
        name_obstacle(module, args, output)
    if recording.n_attending and is_noted(module.__class__):
        note_returned(recording.returned, module, args, output)
    if recording.awaiting_input:
        _note_inputs(recording, module, args, kwargs, output)


def _note_projected(recording: Recording, module: nn.Module) -> None:
    """This module, the innermost of those that were running, is the one that projected."""
    for joining in recording.awaiting_projection:
        let_go(joining, module)
    recording.awaiting_projection = [
        one for one in recording.awaiting_projection if one.weight is None
    ]


def _note_inputs(
    recording: Recording, module: Any, args: Args, kwargs: Kwargs, output: Any
) -> None:
    """Add to the calls of this module, which has just returned, what it was given."""
    if is_norm(module.__class__):
        for call in recording.awaiting_input:
            note_norm(call.joining)
    own = [call for call in recording.awaiting_input if call.module is module]
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
        recording.awaiting_input.remove(call)
        check_returned(call.joining, output, list(embeddings.values()))
        call.is_cross = is_cross
        if _is_embeddings(x_query):
            call.x_query, call.x_key = x_query, x_query if x_key is None else x_key


def _is_embeddings(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()
