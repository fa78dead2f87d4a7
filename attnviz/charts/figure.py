"""A chart in two parts: a structure that many heads share, and the numbers that fill it.

Altair takes tens of milliseconds to build and check one chart, and a page has a dozen. So a
figure's structure is built once for all heads, texts and pairs that look alike, and what differs
(arrays, labels, the ends of a scale) is a constant parameter that its expressions read.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

# A browser draws more of them faster on a canvas, where they have no labels of their own.
MOST_MARKS_IN_SVG = 2_000
# Of a kind of figure, kept: one for each number of queries and keys that is looked at.
MAX_STRUCTURES = 32


# As wide as its place, and as high as it says: Streamlit would fit the height as well.
FIT_WIDTH = {"autosize": {"type": "fit-x", "contains": "padding"}}


def structure_of(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's specification without what belongs to the outermost chart alone."""
    specification = chart.to_dict()
    for name in ("$schema", "config"):
        specification.pop(name, None)
    return specification


def note_above() -> alt.TitleParams:
    """What is not shown, in words: the constant `note`, a list of lines, above the chart."""
    return alt.TitleParams(
        alt.expr("note"), fontSize=13, fontWeight="normal", anchor="start", offset=4
    )


@dataclass(frozen=True, eq=False)
class Figure:
    """A structure, which is never changed, and its constants by name."""

    structure: dict[str, Any]
    constants: Mapping[str, Any]
    description: str = ""  # what is to be seen, for those who do not see it
    n_marks: int = 0  # about how many are drawn at rest

    def to_dict(self) -> dict[str, Any]:
        """The Vega-Lite specification."""
        structure = copy.deepcopy(self.structure)
        constants = [{"name": name, "value": value} for name, value in self.constants.items()]
        structure["params"] = [*constants, *structure.get("params", [])]
        if self.description:
            structure["description"] = self.description
        if self.n_marks > MOST_MARKS_IN_SVG:
            structure["usermeta"] = {"embedOptions": {"renderer": "canvas"}}
        return structure

    def chart(self) -> Any:
        """The same as an Altair chart, for notebooks and larger figures."""
        kind = alt.LayerChart if "layer" in self.structure else alt.HConcatChart
        return kind.from_dict(self.to_dict())
