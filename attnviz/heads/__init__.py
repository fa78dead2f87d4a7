"""Numbers about heads: which of them links what, which does what, and where two differ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnviz.heads.aligning import Alignment, aligned
from attnviz.heads.comparing import Difference, difference
from attnviz.heads.definitions import MEASURES, Measure
from attnviz.heads.finding import linking, linking_over, pairs_called
from attnviz.heads.measuring import measures

if TYPE_CHECKING:
    from attnviz.heads.induction_score import induction
    from attnviz.heads.statistics import Survey
    from attnviz.heads.surveying import survey

# These run models; whoever only reads traces waits for none.
_HOME_OF = {
    "Survey": "attnviz.heads.statistics",
    "induction": "attnviz.heads.induction_score",
    "survey": "attnviz.heads.surveying",
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
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
