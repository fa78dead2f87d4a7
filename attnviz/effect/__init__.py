"""What a head changes in what the model says."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnviz.effect.ablation import Without, without, without_weight
    from attnviz.effect.attributing import attribution, key_shares
    from attnviz.effect.average_updates import Means, means
    from attnviz.effect.circuits import reads, writes
    from attnviz.effect.predicting import prediction
    from attnviz.effect.sweeping import sweep

# Loaded on first use, as the public names of attnviz are.
_HOME_OF = {
    "Means": "average_updates",
    "Without": "ablation",
    "attribution": "attributing",
    "key_shares": "attributing",
    "means": "average_updates",
    "prediction": "predicting",
    "reads": "circuits",
    "sweep": "sweeping",
    "without": "ablation",
    "without_weight": "ablation",
    "writes": "circuits",
}

__all__ = [
    "Means",
    "Without",
    "attribution",
    "key_shares",
    "means",
    "prediction",
    "reads",
    "sweep",
    "without",
    "without_weight",
    "writes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'attnviz.effect' has no attribute {name!r}")
    return getattr(import_module(f"attnviz.effect.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
