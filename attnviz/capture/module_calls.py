"""Telling a recording of every call of a model's modules: what they were given and returned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from torch import Tensor, nn

from attnviz.capture import compat
from attnviz.capture.attention_code import attends
from attnviz.capture.calls import Recording, around_attention
from attnviz.capture.compat import times_written
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

    __slots__ = ("compiled_of", "forward")

    def __init__(self, recording: object, module: nn.Module, has_hooks: bool) -> None:
        super().__init__(recording, module.__dict__, compat.CALLED_INSTEAD, module)
        self.compiled_of = compat.submodules(module).get(compat.ORIGINAL)
        # Tells what hooks do from what the module's code does; None where it has no hooks.
        self.forward = ForwardCall(recording, module) if has_hooks else None

    def untold(self, args: Args, kwargs: Kwargs) -> Any:
        compiled = self.original
        if compiled is NOTHING:
            return compat.call(self.module, *args, **kwargs)
        return compiled(*args, **kwargs)

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        running: list[nn.Module] = self.recording.running
        running.append(self.module)
        try:
            return self._told(args, kwargs)
        finally:
            running.pop()

    def _told(self, args: Args, kwargs: Kwargs) -> Any:
        # Where the module is compiled, its own code nevertheless: what that calls is told of too.
        recording: Recording = self.recording
        module = self.module
        if recording.in_hooks_of is not None:  # by a hook that judges or patches: no part of it
            recording.n_called_by_hooks += 1
            try:
                return self.untold(args, kwargs)
            finally:
                recording.n_called_by_hooks -= 1
        if self.compiled_of is not None:  # by torch.compile, as a module of its own
            return self.compiled_of(*args, **kwargs)
        if recording.answering is not None and module is recording.answering.module:
            args = recording.answering.only(args)
        if attends(module.__class__):
            recording.n_attending += 1
            before = _times_written(args, kwargs)
            with around_attention.get()(module), recording.around(module, recording):
                output = self._called(args, kwargs)
            self._note(Run(module, args, kwargs, output, before))
            recording.n_attending -= 1
            if not recording.n_attending:
                recording.returned.clear()
            return output
        if isinstance(module, nn.MultiheadAttention):  # which is fused: its weights are not seen
            recording.unread.append(module)
        output = self._called(args, kwargs)
        if recording.n_attending or recording.awaiting_projection or recording.awaiting_input:
            self._note(Run(module, args, kwargs, output))
        return output

    def _called(self, args: Args, kwargs: Kwargs) -> Any:
        if self.forward is None:
            return compat.call(self.module, *args, **kwargs)
        self.recording.in_hooks_of = self.module
        try:
            return compat.call(self.module, *args, **kwargs)
        finally:
            self.recording.in_hooks_of = None

    def _note(self, run: "Run") -> None:
        if self.forward is not None and self.forward.run is not None:  # without what hooks did
            run, returned = self.forward.run, run.output
            run.output = returned
        _note_run(self.recording, run)


@dataclass(eq=False)
class Run:
    """What a module was given and returned."""

    module: Any
    args: Args
    kwargs: Kwargs
    output: Any
    times_written: Mapping[int, int | None] = field(default_factory=dict)  # before, by tensors' ids
    own_output: Any = None  # before hooks, where it has any, and how often that was written into
    own_times_written: int | None = None

    @property
    def is_patched(self) -> bool:
        """Whether hooks made something else of its output."""
        if self.own_output is None:
            return False
        times = times_written(self.output) if isinstance(self.output, Tensor) else None
        return self.output is not self.own_output or times != self.own_times_written


def _times_written(args: Args, kwargs: Kwargs) -> dict[int, int | None]:
    given = (*args, *kwargs.values())
    return {id(one): times_written(one) for one in given if isinstance(one, Tensor)}


class ForwardCall(Standin):
    """Stands for the code of a module that has hooks, which run before it and after it."""

    __slots__ = ("run",)

    def __init__(self, recording: object, module: nn.Module) -> None:
        super().__init__(recording, module.__dict__, "forward", module)
        self.run: Run | None = None  # the last

    def untold(self, args: Args, kwargs: Kwargs) -> Any:
        forward = self.original
        if forward is NOTHING:
            return type(self.module).forward(self.module, *args, **kwargs)
        return forward(*args, **kwargs)

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        recording: Recording = self.recording
        if recording.in_hooks_of is not self.module or recording.n_called_by_hooks:
            return self.untold(args, kwargs)
        recording.in_hooks_of = None
        before = _times_written(args, kwargs)
        try:
            output = self.untold(args, kwargs)
        finally:
            recording.in_hooks_of = self.module
        times = times_written(output) if isinstance(output, Tensor) else None
        self.run = Run(self.module, args, kwargs, output, before, output, times)
        return output


def standins_for(recording: Recording, modules: Iterable[nn.Module]) -> list[Standin]:
    """What tells the recording of each call of these modules."""
    of_all = compat.has_hooks_of_all()
    calls = [ModuleCall(recording, one, of_all or compat.has_hooks(one)) for one in modules]
    recording.is_seen = any(call.forward is not None for call in calls)
    return [*calls, *(call.forward for call in calls if call.forward is not None)]


# What modeling files call the other sequence in cross attention.
_CROSS_INPUTS = ("key_value_states", "encoder_hidden_states")


def _note_run(recording: Recording, run: Run) -> None:
    """Note what a module, which has just returned, was given, where that tells something."""
    module, args, output = run.module, run.args, run.output
    for joining in recording.awaiting_projection:
        if joining.weight is not None:
            _note_projected(recording, run)
            break
    if isinstance(output, Followed):
        name_obstacle(module, args, output)
    if recording.n_attending and is_noted(module.__class__) and not run.is_patched:
        note_returned(recording.returned, module, args, output)
    if recording.awaiting_input:
        _note_inputs(recording, run)


def _note_projected(recording: Recording, run: Run) -> None:
    """This module, the innermost of those that were running, is the one that projected."""
    for joining in recording.awaiting_projection:
        if joining.weight is not None and run.is_patched:
            joining.hinder("a hook after the projection")
        let_go(joining, run.module)
    recording.awaiting_projection = [
        one for one in recording.awaiting_projection if one.weight is None
    ]


def _note_inputs(recording: Recording, run: Run) -> None:
    """Add to the calls of this module, which has just returned, what it was given."""
    module = run.module
    if is_norm(module.__class__):
        for call in recording.awaiting_input:
            note_norm(call.joining)
    own = [call for call in recording.awaiting_input if call.module is module]
    if not own:
        return
    named = dict(zip(parameters_of(type(module).forward), run.args, strict=False)) | run.kwargs
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
        check_returned(call.joining, run.output, list(embeddings.values()))
        call.is_cross = is_cross
        if not _is_embeddings(x_query):
            continue
        of_key = x_query if x_key is None else x_key
        made_q, made_k = call.projected.get("q"), call.projected.get("k")
        if made_k is not None and any(made_k.given is one for one in embeddings.values()):
            of_key = made_k.given  # whatever it is called
        is_made_of_two = made_q is not None and made_q.given is x_query is not of_key
        call.is_cross = is_cross or is_made_of_two
        given = {id(x): x for x in (x_query, of_key)}
        if all(run.times_written.get(at) == times_written(x) for at, x in given.items()):
            recording.note_x(call, x_query, of_key)  # else the module wrote into it


def _is_embeddings(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()
