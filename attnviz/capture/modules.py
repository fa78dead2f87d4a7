"""The modules of a model, and what their code takes."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from attnviz.capture.compat import submodules


def modules_of(model: nn.Module) -> list[nn.Module]:
    """The model and every module in it, once each, as `model.modules()` gives them but faster."""
    found, seen = [model], {model}
    for module in found:  # which grows
        for part in submodules(module).values():
            if part is not None and part not in seen:
                seen.add(part)
                found.append(part)
    return found


@functools.lru_cache(maxsize=1024)
def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters but `self`; "**" stands for any other."""
    return tuple(
        "**" if parameter.kind is parameter.VAR_KEYWORD else name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    )
