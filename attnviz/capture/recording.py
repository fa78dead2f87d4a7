"""Recording one run of a model: while it lasts, what is called tells of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from attnviz.capture import eager, module_calls
from attnviz.capture.calls import Recording
from attnviz.capture.standins import current, standing


@contextmanager
def recording(modules: Sequence[nn.Module], into: Recording) -> Iterator[Recording]:
    """The recording, which is filled by what this thread runs of these modules in the block."""
    into.modules = frozenset(modules)
    standins = [*module_calls.standins_for(into, modules), *eager.standins_for(into, modules)]
    # Tensors of an inference mode do not say how often they were written into.
    with torch.inference_mode(False), torch.no_grad(), standing(into, standins):
        yield into


def modules_running() -> tuple[nn.Module, ...]:
    """The modules that are running in this thread's recording, each called by the one before."""
    recording = current()
    return tuple(recording.running) if isinstance(recording, Recording) else ()
