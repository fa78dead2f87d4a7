"""A chart in two parts: a structure that many heads share, and the numbers that fill it.

Altair takes tens of milliseconds to build and check one chart, and a page has a dozen. So a
figure's structure is built once for all heads, texts and pairs that look alike, and what differs
(arrays, labels, the ends of a scale) is a constant parameter that its expressions read.
"""

import copy
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt

from attnviz.charts.parts import palette

# A browser draws more of them faster on a canvas, where they have no labels of their own: lines
# and tokens, which are worth one each, and cells of a matrix, which has a table. Of 32 × 32 cells
# an update takes 27 ms on a canvas and 70 ms in SVG.
MOST_MARKS_IN_SVG, MOST_CELLS_IN_SVG = 2_000, 600
# Of a kind of figure, kept: one for each number of queries and keys that is looked at.
MAX_STRUCTURES = 32
# Whether structures are held against Vega-Lite's schema, which takes longer than building them.
# Tests do it.
IS_CHECKED = False

# As wide as its place, and as high as it says: Streamlit would fit the height as well.
FIT_WIDTH = {"autosize": {"type": "fit-x", "contains": "padding"}}


def structure_of(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's specification without what belongs to the outermost chart alone.

    The text's colour, which every axis and legend has several times, is said once.
    """
    specification = chart.to_dict(validate=IS_CHECKED)
    for name in ("$schema", "config"):
        specification.pop(name, None)
    written = json.dumps(specification)
    if palette.TEXT in written:
        specification = json.loads(written.replace(palette.TEXT, INK))
        ink = {"name": INK, "expr": palette.TEXT}
        specification["params"] = [ink, *specification.get("params", [])]
    return specification


def note_above(offset: int = 4) -> alt.TitleParams:
    """What is not shown, in words: the constant `note`, a list of lines, above the chart."""
    return alt.TitleParams(
        alt.expr("note"), fontSize=13, fontWeight="normal", anchor="start", offset=offset
    )


@dataclass(frozen=True, eq=False)
class Figure:
    """A structure, which is never changed, and its constants by name."""

    structure: dict[str, Any]
    constants: Mapping[str, Any]
    description: str = ""  # what is to be seen, for those who do not see it
    n_marks: int = 0  # about how many are drawn at rest
    most_in_svg: int = MOST_MARKS_IN_SVG
    # Whether all that is said of a number is printed with at most eight digits: four bytes then
    # carry it, of which a browser that has all digits would print some that mean nothing.
    is_rounded: bool = False
    width: int = 640  # px, where it stands alone and its structure says none

    def to_dict(self) -> dict[str, Any]:
        """The Vega-Lite specification."""
        structure = self._with_constants(
            {"name": name, "value": value} for name, value in self.constants.items()
        )
        if self.description:
            structure["description"] = self.description
        return structure

    def chart(self) -> Any:
        """The same as an Altair chart, for notebooks and larger figures."""
        chart = _chart_of(_Same(self.structure)).copy(deep=False)
        own = [] if chart.params is alt.Undefined else chart.params
        constants = (alt.VariableParameter(name=n, value=v) for n, v in self.constants.items())
        chart.params = [*constants, *own]
        if self.n_marks > self.most_in_svg:
            chart.usermeta = ON_CANVAS
        if self.description:
            chart.description = self.description
        return chart

    def part(self) -> Any:
        """The same as a part of a larger figure, which says for all parts how it is drawn."""
        chart = self.chart()
        chart.usermeta = alt.Undefined
        return chart

    def with_data(self) -> tuple[dict[str, Any], list[float]]:
        """The specification without its numbers, and the numbers, which are its dataset NUMBERS.

        Two heads that look alike have the same specification. A browser that has drawn one of
        them draws the other by putting its numbers in their place, which takes a fraction of the
        time, and a number takes eight bytes on the way.
        """
        numbers: list[float] = []
        structure = self._with_constants(
            {"name": name, "expr": _taken(value, numbers)}
            if _is_numeric(value)
            else {"name": name, "value": value}
            for name, value in self.constants.items()
        )
        everything = {"name": NUMBERS, "expr": f"pluck(data('{NUMBERS}'), 'v')"}
        structure["params"].insert(0, everything)
        # A dataset that no mark uses would be left out. With thousands of rows it would be taken
        # for as many marks, and their labels would be left out.
        unseen = {"data": {"name": NUMBERS}, "transform": [{"filter": "false"}], "mark": "point"}
        _first_layers(structure).append(unseen)
        structure["config"] = structure.get("config", {}) | {"aria": True}
        structure.setdefault("usermeta", {"embedOptions": {"renderer": "svg"}})
        return structure, numbers

    def _with_constants(self, constants: Iterable[dict[str, Any]]) -> dict[str, Any]:
        structure = copy.deepcopy(self.structure)
        structure["params"] = [*constants, *structure.get("params", [])]
        if self.n_marks > self.most_in_svg:
            structure["usermeta"] = ON_CANVAS
        return structure


class _Same:
    """A structure that equals itself alone, so that what is made of it can be kept."""

    def __init__(self, structure: dict[str, Any]) -> None:
        self.structure = structure

    def __hash__(self) -> int:
        return id(self.structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.structure is self.structure


@lru_cache(MAX_STRUCTURES)
def _chart_of(same: _Same) -> Any:
    """A structure as an Altair chart, without its constants: reading it takes Altair a second."""
    kind = alt.LayerChart if "layer" in same.structure else alt.HConcatChart
    return kind.from_dict(same.structure, validate=IS_CHECKED)


def standing_alone(figure: Figure | alt.LayerChart) -> Any:
    """A figure of the page as an Altair chart with a width of its own."""
    is_figure = isinstance(figure, Figure)
    chart = figure.chart() if isinstance(figure, Figure) else figure
    if isinstance(chart, alt.HConcatChart) or chart.width is not alt.Undefined:
        return chart
    return chart.properties(width=figure.width if is_figure else Figure.width)


# How the name of a column begins that a narrow figure leaves out.
ASIDE = "aside_"
# How a constant's name ends that has the size of numbers in cells, and the least that it may be.
PRINTED = "_printed"
NUMBERS, INK = "numbers", "ink"
ON_CANVAS = {"embedOptions": {"renderer": "canvas"}}


def _is_numeric(value: Any) -> bool:
    """Whether it is a number or is made of numbers; None is one that is not there."""
    if isinstance(value, list):
        return bool(value) and all(map(_is_numeric, value))
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _taken(value: Any, numbers: list[float]) -> str:
    """Puts the numbers behind the others; the expression that reads them from there."""
    first = len(numbers)
    if not isinstance(value, list):
        numbers.append(math.nan if value is None else value)
        return f"{NUMBERS}[{first}]"
    if any(isinstance(part, list) for part in value):
        return f"[{','.join(_taken(part, numbers) for part in value)}]"
    numbers.extend(math.nan if part is None else part for part in value)
    return f"slice({NUMBERS},{first},{len(numbers)})"


def _first_layers(structure: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of the first chart that has some."""
    if "layer" in structure:
        layers: list[dict[str, Any]] = structure["layer"]
        return layers
    return next(_first_layers(part) for part in structure["hconcat"] if "layer" in part)
