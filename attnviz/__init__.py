"""How one attention head of a transformer works, with the model's own numbers.

The public names below load on first use: `import attnviz` imports neither torch nor
transformers.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attnviz.text.version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    from attnviz import effect, heads
    from attnviz.attention import filters
    from attnviz.attention.head import HeadTrace
    from attnviz.attention.own_arrays import from_arrays
    from attnviz.attention.trace import Trace
    from attnviz.attention.what_if import what_if
    from attnviz.capture.forward_pass import trace, trace_inputs
    from attnviz.charts.compare import compare_view
    from attnviz.charts.effect import effect_view, sweep_view
    from attnviz.charts.find import find_view
    from attnviz.charts.heads import head_view
    from attnviz.charts.model import model_view
    from attnviz.charts.neurons import neuron_view
    from attnviz.charts.overview import overview
    from attnviz.charts.scatter import scatter_view
    from attnviz.charts.steps import steps_view
    from attnviz.charts.what_if import what_if_view
    from attnviz.export.figures import save
    from attnviz.export.notebook import show
    from attnviz.models.loader import load
    from attnviz.text.errors import (
        AttnvizError,
        InputError,
        ModelLoadError,
        NoAttentionError,
        UnsupportedModelError,
    )


_HOME_OF = {
    "AttnvizError": "attnviz.text.errors",
    "HeadTrace": "attnviz.attention.head",
    "InputError": "attnviz.text.errors",
    "ModelLoadError": "attnviz.text.errors",
    "NoAttentionError": "attnviz.text.errors",
    "Trace": "attnviz.attention.trace",
    "UnsupportedModelError": "attnviz.text.errors",
    "compare_view": "attnviz.charts.compare",
    "effect_view": "attnviz.charts.effect",
    "find_view": "attnviz.charts.find",
    "from_arrays": "attnviz.attention.own_arrays",
    "head_view": "attnviz.charts.heads",
    "load": "attnviz.models.loader",
    "model_view": "attnviz.charts.model",
    "neuron_view": "attnviz.charts.neurons",
    "overview": "attnviz.charts.overview",
    "scatter_view": "attnviz.charts.scatter",
    "save": "attnviz.export.figures",
    "show": "attnviz.export.notebook",
    "steps_view": "attnviz.charts.steps",
    "sweep_view": "attnviz.charts.effect",
    "trace": "attnviz.capture.forward_pass",
    "trace_inputs": "attnviz.capture.forward_pass",
    "what_if": "attnviz.attention.what_if",
    "what_if_view": "attnviz.charts.what_if",
}

__all__ = [
    "AttnvizError",
    "HeadTrace",
    "InputError",
    "ModelLoadError",
    "NoAttentionError",
    "Trace",
    "UnsupportedModelError",
    "compare_view",
    "effect",
    "effect_view",
    "filters",
    "find_view",
    "from_arrays",
    "head_view",
    "heads",
    "load",
    "model_view",
    "neuron_view",
    "overview",
    "save",
    "scatter_view",
    "show",
    "steps_view",
    "sweep_view",
    "trace",
    "trace_inputs",
    "what_if",
    "what_if_view",
]


class _Room(ModuleType):
    """A module under another name, imported when something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(_ROOMS[self.__name__]), name)


# With names of their own: `attnviz.filters.hide_special(trace)`, `from attnviz.filters import …`.
_ROOMS = {
    "attnviz.effect": "attnviz.effect",
    "attnviz.filters": "attnviz.attention.filters",
    "attnviz.heads": "attnviz.heads",
}
sys.modules.setdefault("attnviz.filters", _Room("attnviz.filters"))


def __getattr__(name: str) -> Any:
    if (room := f"{__name__}.{name}") in _ROOMS:
        return import_module(_ROOMS[room])
    if name not in _HOME_OF:
        raise AttributeError(f"module 'attnviz' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
