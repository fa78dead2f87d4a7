"""Numbers about heads: which of them links what, which does what, and where two differ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnviz.heads.definitions import MEASURES, Measure

if TYPE_CHECKING:
    from attnviz.heads.aligning import Alignment, aligned
    from attnviz.heads.comparing import Difference, difference
    from attnviz.heads.finding import linking, linking_over, pairs_called
    from attnviz.heads.induction_score import induction
    from attnviz.heads.measuring import measures
    from attnviz.heads.statistics import Survey
    from attnviz.heads.surveying import survey

# Loaded on first use: whoever wants the names of measures waits for no numbers, and whoever only
# reads traces for no models.
_HOME_OF = {
    "Alignment": "aligning",
    "Difference": "comparing",
    "Survey": "statistics",
    "aligned": "aligning",
    "difference": "comparing",
    "induction": "induction_score",
    "linking": "finding",
    "linking_over": "finding",
    "measures": "measuring",
    "pairs_called": "finding",
    "survey": "surveying",
}

__all__ = [
    "Alignment",
    "Difference",
    "MEASURES",
    "Measure",
    "Survey",
    "aligned",
    "difference",
    "induction",
    "linking",
    "linking_over",
    "measures",
    "pairs_called",
    "survey",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'attnviz.heads' has no attribute {name!r}")
    return getattr(import_module(f"attnviz.heads.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
