"""Models larger than one device, as accelerate spreads them.

What fits on no GPU is stored in the machine's memory or on its disk, and a module has its weights
only while it runs.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from attnviz.capture.compat import execution_device, hooked, stored_weights

_running = threading.Lock()


def device_of(model: Any) -> torch.device:
    """Where a model takes its inputs; the weights of one that is spread may be nowhere (meta)."""
    device = execution_device(model)
    return torch.device(model.device if device is None else device)


@contextmanager
def one_at_a_time(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let no other thread run such a model meanwhile: the weights that come are taken from it."""
    if any(stored_weights(module) is not None for module in hooked(modules)):
        with _running:
            yield
    else:
        yield
