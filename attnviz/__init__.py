"""How one attention head of a transformer works, with the model's own numbers.

The public names below load on first use: `import attnviz` imports neither torch nor
transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnviz import filters, heads
    from attnviz.arrays import from_arrays
    from attnviz.capture import trace, trace_inputs
    from attnviz.charts.compare import compare_view
    from attnviz.charts.find import find_view
    from attnviz.charts.heads import head_view
    from attnviz.charts.model import model_view
    from attnviz.charts.neurons import neuron_view
    from attnviz.charts.scatter import scatter_view
    from attnviz.charts.steps import steps_view
    from attnviz.charts.what_if import what_if_view
    from attnviz.errors import (
        AttnvizError,
        InputError,
        ModelLoadError,
        NoAttentionError,
        UnsupportedModelError,
    )
    from attnviz.export.figures import save
    from attnviz.models import load
    from attnviz.notebook import show
    from attnviz.results import HeadTrace, Trace
    from attnviz.whatif import what_if

__version__ = "0.1.0"

_HOME_OF = {
    "AttnvizError": "attnviz.errors",
    "HeadTrace": "attnviz.results",
    "InputError": "attnviz.errors",
    "ModelLoadError": "attnviz.errors",
    "NoAttentionError": "attnviz.errors",
    "Trace": "attnviz.results",
    "UnsupportedModelError": "attnviz.errors",
    "compare_view": "attnviz.charts.compare",
    "find_view": "attnviz.charts.find",
    "from_arrays": "attnviz.arrays",
    "head_view": "attnviz.charts.heads",
    "load": "attnviz.models",
    "model_view": "attnviz.charts.model",
    "neuron_view": "attnviz.charts.neurons",
    "scatter_view": "attnviz.charts.scatter",
    "save": "attnviz.export.figures",
    "show": "attnviz.notebook",
    "steps_view": "attnviz.charts.steps",
    "trace": "attnviz.capture",
    "trace_inputs": "attnviz.capture",
    "what_if": "attnviz.whatif",
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
    "filters",
    "find_view",
    "from_arrays",
    "head_view",
    "heads",
    "load",
    "model_view",
    "neuron_view",
    "save",
    "scatter_view",
    "show",
    "steps_view",
    "trace",
    "trace_inputs",
    "what_if",
    "what_if_view",
]


# Rooms with names of their own: `attnviz.filters.hide_special(trace)`.
_ROOMS = ("filters", "heads")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"attnviz.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'attnviz' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
