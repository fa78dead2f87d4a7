"""Models larger than one device, as accelerate spreads them.

What fits on no GPU is stored in the machine's memory or on its disk, and a module has its weights
only while it runs.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_running = threading.Lock()


def device_of(model: Any) -> torch.device:
    """Where a model takes its inputs; the weights of one that is spread may be nowhere (meta)."""
    hook = getattr(model, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return model.device if device is None else torch.device(device)


def stored_weights(module: nn.Module) -> Mapping[str, Tensor] | None:
    """The weights of a module that has them only while it runs; None where they are its own."""
    hook = vars(module).get("_hf_hook")
    if hook is None:
        return None
    for one in getattr(hook, "hooks", (hook,)):
        if getattr(one, "offload", False):
            return one.weights_map
    return None


def hooked(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that accelerate does something for before and after they run."""
    return [module for module in modules if "_hf_hook" in vars(module)]


@contextmanager
def one_at_a_time(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let no other thread run such a model meanwhile: the weights that come are taken from it."""
    if any(stored_weights(module) is not None for module in hooked(modules)):
        with _running:
            yield
    else:
        yield
