"""Two heads beside each other, and their difference: three matrices that are read as one.

The same row is the same pair of query tokens in all three, the same column the same pair of keys.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.charts.compare_layers import PICKED_PAIR, SIDES, WIDTHS, Shape, panels
from attnviz.charts.parts.axes import FONT_SIZE, LABEL_LENGTH, label_angle
from attnviz.charts.parts.figure import (
    MAX_STRUCTURES,
    MOST_CELLS_IN_SVG,
    Figure,
    note_above,
    structure_of,
)
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.values import end_of_signed, end_of_weights, largest, nested
from attnviz.charts.parts.window import Window, window_around
from attnviz.heads.aligning import Alignment
from attnviz.heads.comparing import SMALLEST, Difference, joined, where_largest
from attnviz.text.characters import shown
from attnviz.text.errors import InputError
from attnviz.text.phrases import plain

LABEL_PADDING = 6  # px, of an axis
LETTER = 0.48  # of the font size, for names that may stand out a little
STEP = 10  # px: names of nearly the same length share a structure

__all__ = ["PICKED_PAIR", "compare_figure", "compare_view", "takeaway"]


def compare_view(
    difference: Difference,
    *,
    query: int | None = None,
    key: int | None = None,
    names: tuple[str, str] = ("A", "B"),
    display_mode: DisplayMode | None = None,
) -> alt.HConcatChart:
    """The weights of A, those of B, and B − A, over rows and columns of aligned tokens.

    `query` and `key` are a row and a column of `difference.weights`, to be framed; a click frames
    others. Of more than 40 rows or columns those around them are shown. `names` say what A and B
    are. `display_mode` is "light" (default) or "dark". Raises InputError for a row or a column
    that is not there.
    """
    figure = compare_figure(difference, query, key, names)
    chart: alt.HConcatChart = displayed(figure.chart(), display_mode or "light")
    return chart


def compare_figure(
    difference: Difference,
    query: int | None = None,
    key: int | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    Clicks are reported by the selection parameter PICKED_PAIR: `row` and `column` are those of
    `difference.weights`, whatever part of it is shown.
    """
    n_rows, n_columns = difference.weights.shape
    for what, place, n in (("query", query, n_rows), ("key", key, n_columns)):
        if place is not None and place not in range(n):
            raise InputError(f"There is no {what} pair {place!r}.\n\nHint: 0 to {n - 1}.")
    part = window_around(int(query or 0), int(key or 0), n_rows, n_columns)
    cells = np.ix_(part.queries, part.keys)
    because_a, because_b = difference.because_a[cells], difference.because_b[cells]
    hidden = (because_a > 0, because_b > 0, difference.is_hidden[cells])
    weights = (difference.weights_a, difference.weights_b, difference.weights)
    has_hidden = bool(hidden[0].any() or hidden[1].any())
    end = end_of_weights(max(largest(of_one) for of_one in weights[:2]))
    constants: dict[str, Any] = {
        **{
            f"{side}_cells": nested(np.where(is_hidden, np.float32(np.nan), values[cells]))
            for side, values, is_hidden in zip(SIDES, weights, hidden, strict=True)
        },
        **_names(difference, part),
        "titles": _titles(names),
        "note": [*_note(difference, part), *_note_on_colours(end)],
        "end": end,
        "limit": _limit(difference),
        "first_row": part.queries.start,
        "first_column": part.keys.start,
        "framed_row": -1 if query is None else int(query),
        "framed_column": -1 if key is None else int(key),
    }
    if has_hidden:
        constants |= {"because_a": because_a.tolist(), "because_b": because_b.tolist()}
    shape = Shape(len(part.queries), len(part.keys), has_hidden, *_labels(constants))
    n_hidden = sum(int(is_hidden.sum()) for is_hidden in hidden)
    return Figure(
        _structure(shape),
        constants,
        takeaway(difference, names),
        n_marks=3 * shape.n_cells * (1 + shape.is_printed) + n_hidden * (2 - shape.is_printed),
        most_in_svg=MOST_CELLS_IN_SVG,
    )


def takeaway(difference: Difference, names: tuple[str, str] = ("A", "B")) -> str:
    """What the three show, for those who do not see them."""
    n_rows, n_columns = difference.weights.shape
    a, b = map(shown, names)
    return (
        f"Two heads compared: weights of {a} and of {b}, and their difference, {n_rows} × "
        f"{n_columns} aligned tokens. {plain(where_largest(difference, names))}"
    )


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    return structure_of(panels(shape).properties(title=note_above(offset=12)))


# What is said


def _names(difference: Difference, part: Window) -> dict[str, list[str]]:
    """What rows and columns are called in each of the three."""
    a, b = difference.a, difference.b
    rows = _called(difference.queries, a.query_tokens, b.query_tokens, part.queries, part)
    columns = _called(difference.keys, a.key_tokens, b.key_tokens, part.keys, part)
    return {
        f"{what}_{side}": called
        for what, names in (("rows", rows), ("columns", columns))
        for side, called in zip(SIDES, names, strict=True)
    }


def _called(
    alignment: Alignment,
    labels_a: Sequence[str],
    labels_b: Sequence[str],
    places: range,
    part: Window,
) -> list[list[str]]:
    """The tokens in A, in B, and both; those of a long text with their positions."""
    pairs = Alignment(tuple(alignment.pairs[place] for place in places))
    names = [
        [labels_a[place] for place in pairs.of_a],
        [labels_b[place] for place in pairs.of_b],
        joined(labels_a, labels_b, pairs),
    ]
    if part.is_whole:
        return names
    positions = [
        [str(place) for place in pairs.of_a],
        [str(place) for place in pairs.of_b],
        [f"{a}" if a == b else f"{a}/{b}" for a, b in pairs.pairs],
    ]
    return [
        [f"{at} {name}" for at, name in zip(*one, strict=True)]
        for one in zip(positions, names, strict=True)
    ]


def _titles(names: tuple[str, str]) -> list[str]:
    a, b = (
        letter if name == letter else f"{letter} · {shown(name)}"
        for letter, name in zip("AB", names, strict=True)
    )
    return [a, b, "B − A"]


def _note(difference: Difference, part: Window) -> list[str]:
    """What is not shown, a line each."""
    left_out, heads = difference.left_out, {"A": difference.a, "B": difference.b}
    lone = [
        f"{n} {what if n == 1 else many} of {name}"
        for what, many, numbers in (
            ("query", "queries", left_out.queries),
            ("key", "keys", left_out.keys),
        )
        for name, n in zip("AB", numbers, strict=True)
        if n
    ]
    with_sink = [name for name, head in heads.items() if head.sink_logits is not None]
    lines = [
        part.note and (f"{part.note}, of those that are aligned" if lone else part.note),
        lone and f"left out, without a partner: {', '.join(lone)}",
        with_sink and f"left out: attention to the sink of {' and '.join(with_sink)}",
    ]
    if ((difference.because_a > 0) != (difference.because_b > 0)).any():
        lines.append("difference: a cell hidden in one of them counts as 0 there")
    filtered = [f"{name}: {note}" for name, head in heads.items() for note in head.notes]
    if difference.a.notes == difference.b.notes:
        filtered = list(difference.a.notes)
    return [line for line in (*lines, *filtered) if line]


def _note_on_colours(end: float) -> list[str]:
    """Without the largest weight itself: a note that changes with every head is drawn anew."""
    return [] if end == 1 else [f"the colours of A and B end at {end:g}, not at 1"]


def _limit(difference: Difference) -> float:
    """The end of the differences' scale, shown or not; 1 where nothing differs."""
    size = largest(np.where(difference.is_hidden, 0, difference.weights))
    return end_of_signed(size) if size > SMALLEST else 1.0


def _labels(constants: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], int]:
    """The angle of all columns' names, which stand where those of one panel have to; their px."""
    columns = {side: constants[f"columns_{side}"] for side in SIDES}
    angles = [label_angle(columns[side], FONT_SIZE, WIDTHS[side]) for side in SIDES]
    angle = min(angles, key=lambda one: one["labelAngle"])
    if not angle["labelAngle"]:
        return tuple(angle.items()), 0
    longest = max(len(name) for names in columns.values() for name in names)
    height = min(LABEL_LENGTH, LETTER * FONT_SIZE * longest) + LABEL_PADDING
    return tuple(angle.items()), STEP * round(height / STEP)
