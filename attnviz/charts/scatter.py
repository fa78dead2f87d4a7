"""The scatter of all heads: a point a head, by any of the continuous measures.

Dragging marks an area: heads inside keep their colour, the others fade, in the browser. A click
opens the head.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts.model import measure_named
from attnviz.charts.model_layers import OPENED, is_signed, titled
from attnviz.charts.parts.figure import FIT_WIDTH, MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.scatter_layers import BRUSHED, PLACES, Shape, points
from attnviz.heads.definitions import MEASURES, Measure
from attnviz.text.errors import InputError
from attnviz.text.phrases import number

__all__ = ["BRUSHED", "OPENED", "brushed", "scatter_figure", "scatter_view", "takeaway"]

WIDTH = 720  # px, where nothing else says it


def scatter_view(
    table: pd.DataFrame,
    *,
    x: str = "entropy",
    y: str = "distance",
    colour: str = "layer",
    size: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """Every head of a table as a point, at two of its measures.

    The table is what `attnviz.heads.measures` gives for one kind of attention. `x`, `y`, `colour`
    and `size` are names of `attnviz.heads.MEASURES`; the colour may also be "layer" or "head". Of
    a measure that may be negative the colour is its sign and the size its magnitude. Heads without
    one of these numbers are left out, which the chart says. One head may be ringed.
    `display_mode` is "light" (default) or "dark". Raises InputError for a measure that is not
    there and for another table.
    """
    if (layer is None) != (head is None):
        raise InputError("A head is ringed by its layer and its number.\n\nHint: pass both.")
    figure = scatter_figure(table, layer, head, x=x, y=y, colour=colour, size=size)
    chart: alt.LayerChart = displayed(
        figure.chart().properties(width=WIDTH), display_mode or "light"
    )
    return chart


def scatter_figure(
    table: pd.DataFrame,
    layer: int | None = None,
    head: int | None = None,
    *,
    x: str = "entropy",
    y: str = "distance",
    colour: str = "layer",
    size: str | None = None,
    area: Mapping[str, Any] | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    Clicks are reported by the selection parameter OPENED (layer and head), areas by BRUSHED, the
    ends of both axes: `brushed` gives the heads in them. `area` is what BRUSHED reported once and
    is marked from the beginning.
    """
    shape = _shape_without_numbers(x, y, colour, size)
    names = {channel: one.name for channel, one in shape.measures.items()}
    _check(table, {*PLACES, *names.values()})
    numbers = pd.DataFrame({channel: _sent(table[name]) for channel, name in names.items()})
    is_known = np.isfinite(numbers.to_numpy()).all(axis=1)
    if not is_known.any():
        titles = " and ".join(dict.fromkeys(one.title for one in shape.measures.values()))
        raise InputError(
            f"Of {len(table)} heads none has {titles}.\n\nHint: choose another measure; the "
            "induction score takes a model, not arrays alone."
        )
    heads = table[[*PLACES]].reset_index(drop=True).join(numbers)[is_known]
    if not isinstance(shape.colour, Measure):
        heads["colour"] = heads[shape.colour]
    ringed = np.flatnonzero((heads["layer"] == layer) & (heads["head"] == head))
    constants = {
        "note": _note(table, is_known, shape, layer, head),
        "x_ends": _ends(heads["x"]),
        "y_ends": _ends(heads["y"]),
        **_colours(heads["colour"], shape),
        "size_limit": _limit(heads["size"]) if size is not None else 1.0,
        "ringed": int(ringed[0]) if len(ringed) else -1,
        **{f"point_{name}": heads[name].tolist() for name in heads},
    }
    shape = Shape(len(heads), shape.x, shape.y, shape.colour, shape.size)
    description = takeaway(table, x, y)
    return Figure(_with_area(_structure(shape), area), constants, description, len(heads) + 1)


def brushed(table: pd.DataFrame, x: str, y: str, selection: Mapping[str, Any]) -> pd.DataFrame:
    """The heads of the table in the area that a scatter of `x` and `y` reports, in its order.

    `selection` is what the parameter BRUSHED reports, or a mapping that has it under that name:
    two ends for "x" and for "y", or for the names of the measures. Both ends belong to the area.
    No heads where nothing is marked. Raises InputError for a measure that is not in the table.
    """
    for name in (x, y):
        measure_named(name)
    _check(table, {x, y})
    area = _area(selection.get(BRUSHED, selection), x, y)
    if area is None:
        return table.iloc[:0]
    is_inside = np.ones(len(table), dtype=bool)
    for name, (lowest, highest) in zip((x, y), area, strict=True):
        numbers = _sent(table[name])
        is_inside &= (numbers >= lowest) & (numbers <= highest)
    return table[is_inside]


def takeaway(table: pd.DataFrame, x: str, y: str) -> str:
    """What the scatter shows, for those who do not see it."""
    across, up = measure_named(x), measure_named(y)
    known = table[np.isfinite(table[[x, y]].to_numpy(float)).all(axis=1)]
    text = f"Scatter of {len(known)} heads: x axis {titled(across)}, y axis {titled(up)}."
    ranges = (
        f"The {one.title} runs from {number(known[one.name].min())} to "
        f"{number(known[one.name].max())}."
        for one in dict.fromkeys((across, up))
    )
    return " ".join((text, *ranges))


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    return structure_of(points(shape).properties(title=note_above())) | FIT_WIDTH


def _with_area(structure: dict[str, Any], area: Mapping[str, Any] | None) -> dict[str, Any]:
    """The structure with an area that is marked from the beginning."""
    found = None if area is None else _area(area.get(BRUSHED, area), "x", "y")
    if found is None:
        return structure
    value = dict(zip("xy", found, strict=True))
    return structure | {
        "params": [
            one | {"value": value} if one["name"] == BRUSHED else one for one in structure["params"]
        ]
    }


# The numbers


def _shape_without_numbers(x: str, y: str, colour: str, size: str | None) -> Shape:
    if colour not in PLACES and colour not in {one.name for one in MEASURES}:
        known = ", ".join(repr(name) for name in (*PLACES, *(one.name for one in MEASURES)))
        raise InputError(f"There is no colour {colour!r}.\n\nHint: {known}.")
    return Shape(
        n_points=0,
        x=measure_named(x),
        y=measure_named(y),
        colour=colour if colour in PLACES else measure_named(colour),
        size=None if size is None else measure_named(size),
    )


def _check(table: pd.DataFrame, names: set[str]) -> None:
    missing = sorted(names - {*table.columns})
    if missing or table.empty:
        what = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise InputError(f"The table {what}.\n\nHint: pass what attnviz.heads.measures gives.")


def _sent(numbers: pd.Series) -> np.ndarray:
    """The shortest decimals that are these numbers in float32, which is what the heads have."""
    return np.array([float(str(np.float32(one))) for one in numbers])


def _ends(numbers: pd.Series) -> list[float]:
    """Where an axis begins and ends, with room for the points at its edges."""
    lowest, highest = float(numbers.min()), float(numbers.max())
    room = 0.06 * (highest - lowest) or 0.1 * abs(highest) or 0.5
    return [lowest - room, highest + room]


def _limit(numbers: pd.Series) -> float:
    """The largest magnitude; 1 where all are 0."""
    return float(numbers.abs().max()) or 1.0


def _colours(numbers: pd.Series, shape: Shape) -> dict[str, Any]:
    """The ends of the colours, and the numbers that their legend names."""
    if isinstance(shape.colour, Measure):
        limit = _limit(numbers)
        ends = [-limit, limit] if is_signed(shape.colour) else [0.0, limit]
        return {"colour_ends": ends, "colour_named": [ends[0], sum(ends) / 2, ends[1]]}
    places = sorted({*numbers.tolist()})
    named = sorted({places[0], places[len(places) // 2], places[-1]})
    # The first place is no weak one: it has a colour of its own, not that of the background.
    before = places[0] - max(1, (places[-1] - places[0]) / 4)
    return {"colour_ends": [before, places[-1]], "colour_named": named}


def _note(
    table: pd.DataFrame, is_known: np.ndarray, shape: Shape, layer: int | None, head: int | None
) -> list[str]:
    """How many heads are left out, and why."""
    if is_known.all():
        return []
    numbers = {one.name: one.title for one in shape.measures.values()}
    without = [t for name, t in numbers.items() if not np.isfinite(_sent(table[name])).all()]
    n = int((~is_known).sum())
    left_out = table[~is_known]
    is_open_among = ((left_out["layer"] == layer) & (left_out["head"] == head)).any()
    return [
        f"{n} of {len(table)} heads {'is' if n == 1 else 'are'} left out, without "
        f"{' or '.join(without)}" + (", among them the selected head" if is_open_among else "")
    ]


def _area(reported: Any, x: str, y: str) -> tuple[list[float], list[float]] | None:
    """The two ends on each axis; None where nothing whole is marked."""
    if not isinstance(reported, Mapping):
        return None
    ends = [reported.get(channel, reported.get(name)) for channel, name in (("x", x), ("y", y))]
    if not all(_is_range(one) for one in ends):
        return None
    across, up = (sorted(map(float, one)) for one in ends)
    return across, up


def _is_range(ends: Any) -> bool:
    return (
        isinstance(ends, list | tuple)
        and len(ends) == 2
        and all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
    )
