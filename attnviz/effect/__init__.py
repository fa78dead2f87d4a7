"""What a head changes in what the model says."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnviz.effect.ablation import Without, without, without_weight
    from attnviz.effect.average_updates import Means, means
    from attnviz.effect.predicting import prediction
    from attnviz.effect.sweeping import sweep

# Loaded on first use, as the public names of attnviz are.
_HOME_OF = {
    "Means": "average_updates",
    "Without": "ablation",
    "means": "average_updates",
    "prediction": "predicting",
    "sweep": "sweeping",
    "without": "ablation",
    "without_weight": "ablation",
}

__all__ = ["Means", "Without", "means", "prediction", "sweep", "without", "without_weight"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'attnviz.effect' has no attribute {name!r}")
    return getattr(import_module(f"attnviz.effect.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
