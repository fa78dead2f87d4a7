"""The model view: every head of a model at a glance, a thumbnail of its weights for each.

Layers run down and heads across, or the heads are sorted by one number about them; under each
thumbnail a bar is that number. A click opens the head.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import UInt8

from attnviz.attention.call import LayerTrace
from attnviz.attention.trace import Trace
from attnviz.charts.model_layers import NARROW_WIDTH, WIDTH, Shape, layers, pitch_of, size_of
from attnviz.charts.parts.figure import MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.thumbnails import beside_sink, sheet, thumbnail
from attnviz.heads.definitions import MEASURES, Measure
from attnviz.heads.measuring import measures
from attnviz.text.errors import InputError
from attnviz.text.phrases import number

MARKS_OF_HEAD = 2  # what answers a click and the bar; the thumbnails are one picture
Pictures = dict[tuple[int, int], UInt8[np.ndarray, "row column"]]  # by layer and head


def model_view(
    trace: Trace,
    kind: str | None = None,
    *,
    measure: str = "entropy",
    is_sorted: bool = False,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """Every head of one kind of attention, layers × heads, or sorted by a measure.

    The bar under a thumbnail is the head's `measure`, one of the names of
    `attnviz.heads.MEASURES`; where that may be negative, it grows from the middle, to either side.
    One head may be framed. `display_mode` is "light" (default) or "dark". Raises InputError for a
    measure, kind, layer or head that is not there.
    """
    if (layer is None) != (head is None):
        raise InputError("A head is framed by its layer and its number.\n\nHint: pass both.")
    if layer is not None and head is not None:
        trace.head(layer, head, kind)
    figure = model_figure(trace, kind, measure, layer, head, is_sorted=is_sorted)
    chart: alt.LayerChart = displayed(figure.chart(), display_mode or "light")
    return chart


def model_figure(
    trace: Trace,
    kind: str | None,
    measure: str,
    layer: int | None = None,
    head: int | None = None,
    *,
    is_sorted: bool = False,
    only: Collection[tuple[int, int]] | None = None,
    table: pd.DataFrame | None = None,
    pictures: Pictures | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    Clicks are reported by the selection parameter OPENED. With `only`, pairs of layer and head,
    these alone are drawn, in the table's order and a narrower picture. `table` is what `measures`
    gives for the trace and `pictures` what `thumbnails` does, where they are known already. Raises
    InputError where none of `only` is there.
    """
    kind = kind or trace.kinds[0]
    described = measure_named(measure)
    table = measures(trace, kind) if table is None else table
    pictures = thumbnails(trace, kind) if pictures is None else pictures
    calls = _calls(trace, kind)
    n_columns = _n_columns(calls)
    size = size_of(n_columns)
    if only is not None:
        table = _only(table, only)
    if is_sorted:
        table = table.sort_values(measure, ascending=False, kind="stable", ignore_index=True)
    n_letters = 0
    if is_sorted or only is not None:
        names = (
            f"{layer} · {head}" for layer, head in zip(table["layer"], table["head"], strict=True)
        )
        n_letters = max(map(len, names))
        width = WIDTH if only is None else NARROW_WIDTH
        n_columns = max(1, min(width // pitch_of(size, n_letters), len(table)))
    heads = _placed(table, n_columns) if n_letters else _in_layers(table, list(calls))
    order = f", by {described.title}, the largest first" if is_sorted else ""
    shape = Shape(
        n_tiles=len(heads),
        n_rows=int(heads["row"].max()) + 1,
        n_columns=n_columns,
        size=size,
        n_tokens=max(max(len(c.query_tokens), len(c.key_tokens)) for c in calls.values()),
        measure=described,
        above=f"layer · head{order}" if n_letters else "head",
        n_letters=n_letters,
    )
    framed = np.flatnonzero((heads["layer"] == layer) & (heads["head"] == head))
    notes = [note for call in calls.values() for note in call.notes]
    if any(call.sinks is not None for call in calls.values()):
        notes.append("strip at the right of a thumbnail: weight of the sink (no token)")
    constants = {
        "thumbnails": _sheet(pictures, heads, shape),
        "note": list(dict.fromkeys(notes)),
        "row_names": [] if shape.is_named else [f"layer {number}" for number in calls],
        "limit": float(heads[measure].fillna(0).abs().max()) or 1.0,
        "framed": int(framed[0]) if len(framed) else -1,
        **{f"tile_{name}": heads[name].tolist() for name in ("row", "column", "layer", "head")},
        **{
            f"tile_{one.name}": [None if np.isnan(value) else value for value in heads[one.name]]
            for one in shape.said
        },
    }
    n_marks = MARKS_OF_HEAD * len(heads)
    return Figure(_structure(shape), constants, takeaway(table, described), n_marks)


def takeaway(table: pd.DataFrame, measure: Measure) -> str:
    """What the view shows, for those who do not see it."""
    n_layers = table["layer"].nunique()
    text = f"Model view: {len(table)} heads in {n_layers} layers."
    known = table[table[measure.name].notna()].sort_values(measure.name, kind="stable")
    if known.empty:
        return text
    largest, smallest = (
        f"layer {int(one['layer'])}, head {int(one['head'])} "
        f"({number(one[measure.name])}{f' {measure.unit}' if measure.unit else ''})"
        for one in (known.iloc[-1], known.iloc[0])
    )
    return f"{text} The {measure.title} is largest in {largest} and smallest in {smallest}."


def measure_named(name: str) -> Measure:
    """The one of MEASURES with this name; InputError where there is none."""
    for measure in MEASURES:
        if measure.name == name:
            return measure
    known = ", ".join(repr(measure.name) for measure in MEASURES)
    raise InputError(f"There is no measure {name!r}.\n\nHint: {known}.")


def _only(table: pd.DataFrame, heads: Collection[tuple[int, int]]) -> pd.DataFrame:
    """Those rows of the table that are of these layers and heads."""
    places = zip(table["layer"], table["head"], strict=True)
    asked = {*heads}
    is_asked = np.array([place in asked for place in places])
    if not is_asked.any():
        raise InputError(
            f"None of the {len(heads)} heads asked for is among the {len(table)} of this kind."
            "\n\nHint: name at least one by its layer and its number."
        )
    return table[is_asked].reset_index(drop=True)


def _in_layers(table: pd.DataFrame, layers: list[int]) -> pd.DataFrame:
    """The table's heads with the row and the column of each: layers down, heads across."""
    return table.assign(row=table["layer"].map(layers.index), column=table["head"])


def _placed(table: pd.DataFrame, n_columns: int) -> pd.DataFrame:
    """The same in the table's order, row by row."""
    places = np.arange(len(table))
    return table.assign(row=places // n_columns, column=places % n_columns)


def thumbnails(trace: Trace, kind: str) -> Pictures:
    """Each head's weights as a small picture."""
    calls = _calls(trace, kind)
    size = size_of(_n_columns(calls))
    pictures: Pictures = {}
    for layer, call in calls.items():
        for head, weights in enumerate(call.own_weights):
            if call.has_line is not None:
                weights = np.where(call.has_line[head], weights, 0)
            pictures[layer, head] = (
                thumbnail(weights, size)
                if call.sinks is None
                else beside_sink(weights, call.sinks[head], size)
            )
    return pictures


def _sheet(pictures: Pictures, heads: pd.DataFrame, shape: Shape) -> str:
    """One picture with every head at its place."""
    levels = np.zeros((shape.n_rows * shape.row_pitch, shape.n_columns * shape.pitch), np.uint8)
    for layer, head, row, column in heads[["layer", "head", "row", "column"]].to_numpy().tolist():
        top, left = row * shape.row_pitch, column * shape.pitch
        levels[top : top + shape.size, left : left + shape.size] = pictures[layer, head]
    return sheet(levels)


def _calls(trace: Trace, kind: str) -> dict[int, LayerTrace]:
    return {layer: trace.layer(layer, kind) for layer in trace.layers(kind)}


def _n_columns(calls: dict[int, LayerTrace]) -> int:
    return max(call.n_heads for call in calls.values())


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    chart = (
        alt.LayerChart(layer=layers(shape))
        .resolve_scale(color="independent", fill="independent")
        .properties(
            width=shape.width,
            height=shape.height,
            title=note_above(),
        )
    )
    return structure_of(chart) | {"autosize": {"type": "pad"}}
