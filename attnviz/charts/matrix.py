"""One matrix as a heat map: named axes, a legend in numbers, values in the cells or on hover."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import numpy as np
from jaxtyping import Float

from attnviz import masks
from attnviz.charts import palette, sink
from attnviz.charts.axes import (
    AXIS_TITLES,
    FONT_SIZE,
    axis,
    colour,
    is_of_pairs,
    label_angle,
    labels_of,
    names_of,
    ticks,
    value_title,
)
from attnviz.charts.blocks import (
    MAX_DIMENSIONS,
    MAX_TOKENS,
    Blocks,
    Summary,
    block_size,
    codes_in_blocks,
    in_blocks,
)
from attnviz.charts.figure import Figure, structure_of
from attnviz.charts.pair import Pair
from attnviz.charts.values import WHY_HIDDEN, largest, nested
from attnviz.results import HeadTrace
from attnviz.steps import Step

VALUES_FIT = 12  # a matrix of at most this many rows and columns has its values printed
WIDTH, NARROW_WIDTH, LARGE_WIDTH = 310, 150, 480  # px of a row, on a screen 1280 px wide
SMALLEST_FONT_SIZE = 10
LARGE_FONT_SIZE = 17  # px, on a projector
# px, of all rows together, so that a step fits a screen of 1280 × 720.
HEIGHT = 400
LOW_HEIGHT = 240  # of rows of numbers, which have other things beside them
LARGE_HEIGHT = 350
LARGE_LOW_HEIGHT = 280  # below standing labels
LARGE_NARROW_HEIGHT = 126
PICKED = "picked"  # the selection parameter that reports a clicked cell: `row` and `column`


@dataclass(frozen=True)
class _Structure:
    """All that decides what a matrix looks like, but for its numbers and names."""

    name: str
    axes: tuple[str, str]
    n_rows: int
    n_columns: int
    columns_a_block: int
    value_title: str
    note: str
    has_hidden: bool
    is_printed: bool
    is_clickable: bool
    is_narrow: bool
    is_large: bool
    label_options: tuple[tuple[str, Any], ...]
    framed: tuple[str, ...]  # "row", "column" or both
    has_sink: bool
    padded: tuple[str, ...]  # "rows", "columns" or both: some of them are padding

    @property
    def is_of_pairs(self) -> bool:
        return set(self.axes) == {"query_pos", "key_pos"}

    @property
    def sink_along(self) -> sink.Channel | None:
        """Across the keys, where there is a sink behind them."""
        if not self.has_sink:
            return None
        return "x" if self.axes[1] == "key_pos" else "y"

    @property
    def all_columns(self) -> int:
        return self.n_columns + (self.sink_along == "x")

    @property
    def all_rows(self) -> int:
        return self.n_rows + (self.sink_along == "y")

    @property
    def font_size(self) -> int:
        return LARGE_FONT_SIZE if self.is_large else FONT_SIZE

    @property
    def limit(self) -> str:
        return f"{self.name}_limit"


def matrix_chart(
    head: HeadTrace,
    step: Step,
    pair: Pair | None = None,
    *,
    reports_clicks: bool = False,
    is_narrow: bool = False,
    is_large: bool = False,
    limit: float | None = None,
) -> Figure:
    """The matrix of one step, its cells exact where they fit and in blocks where they do not.

    The row of the pair's query and the row or column of its key are framed. Values are printed
    in the cells of small matrices, unless the place for the chart is narrow. `is_large` is for a
    projector. Colours reach up to `limit`, by default the matrix's own largest magnitude, and 1
    for weights.
    """
    is_weights = step.name == "weights"
    blocks = in_blocks(
        step.array,
        step.is_hidden,
        "maximum" if is_weights else "mean",
        max_columns=_max_columns(step),
    )
    row_labels = labels_of(head, step.axes[0], step.array.shape[0])
    column_labels = labels_of(head, step.axes[1], step.array.shape[1])
    row_names, column_names = (
        names_of(labels, per_block)
        for labels, per_block in ((row_labels, blocks.rows), (column_labels, blocks.columns))
    )
    sinks = None if step.sink is None else _sinks(step, step.sink, blocks.summary)
    if sinks is not None:
        (column_names if step.axes[1] == "key_pos" else row_names).append(sink.LABEL)
    if limit is None:
        limit = 1.0 if is_weights else largest(blocks.values)
        if sinks is not None:
            limit = max(limit, largest(sinks))
    padding = _padding(head, step, blocks)
    frames = _frames(step, pair, blocks)
    structure = _Structure(
        name=step.name,
        axes=step.axes,
        n_rows=blocks.values.shape[0],
        n_columns=blocks.values.shape[1],
        columns_a_block=blocks.columns,
        value_title=value_title(step.name, blocks),
        note=blocks.note,
        has_hidden=bool(blocks.is_hidden.any()),
        is_printed=max(step.array.shape) <= VALUES_FIT and not is_narrow,
        is_clickable=reports_clicks and blocks.are_exact,
        is_narrow=is_narrow,
        is_large=is_large,
        label_options=tuple(_label_angle(column_names, is_narrow, is_large).items()),
        framed=tuple(frames),
        has_sink=sinks is not None,
        padded=tuple(padding),
    )
    constants = {
        step.name: nested(blocks.values),
        f"{step.name}_rows": row_names,
        f"{step.name}_columns": column_names,
        structure.limit: limit,
        **{f"{step.name}_framed_{channel}": place for channel, place in frames.items()},
        **{f"{step.name}_padded_{side}": bits for side, bits in padding.items()},
    }
    if structure.has_hidden and step.hidden_because is not None:
        codes = codes_in_blocks(step.hidden_because, blocks)
        constants[f"{step.name}_because"] = codes.tolist()
    if sinks is not None:
        constants[f"{step.name}_sink"] = nested([sinks])[0]
    return Figure(_structure(structure), constants)


@cache
def _structure(of: _Structure) -> dict[str, Any]:
    base = (
        alt.Chart(alt.sequence(of.n_rows, as_="row"))
        .transform_calculate(v=f"{of.name}[datum.row]", column=f"sequence({of.n_columns})")
        .transform_flatten(["v", "column"])
        .transform_calculate(
            row_token=f"{of.name}_rows[datum.row]",
            column_token=f"{of.name}_columns[datum.column]",
        )
        .encode(x=_x(of), y=_y(of))
    )
    tooltip = [
        alt.Tooltip("row_token:N", title=AXIS_TITLES[of.axes[0]]),
        alt.Tooltip("column_token:N", title=AXIS_TITLES[of.axes[1]]),
        alt.Tooltip("v:Q", title=of.value_title),
    ]
    is_below = of.is_narrow or not of.is_of_pairs
    cells = (
        base.transform_filter("isValid(datum.v)")
        .mark_rect(strokeWidth=0, cursor="pointer" if of.is_clickable else "default")
        .encode(
            color=colour(
                of.name, of.value_title, of.limit, is_below=is_below, font_size=of.font_size
            ),
            tooltip=tooltip,
        )
    )
    if of.is_clickable:
        picked = alt.selection_point(
            name=PICKED, fields=["row", "column"], toggle=False, clear=False
        )
        cells = cells.add_params(picked)
    layers: list[alt.Chart] = [cells]
    if of.has_hidden:
        layers += _hidden_cells(base, tooltip, of)
    if of.is_printed:
        layers.append(_printed_values(base, of))
    if of.sink_along is not None:
        layers += _sink_cells(of, of.sink_along)
    layers += [_frame(of.name, channel) for channel in of.framed]
    chart = alt.LayerChart(layer=layers).properties(
        height=alt.Step(_row_height(of)),
        title=alt.TitleParams(of.note, fontSize=of.font_size, anchor="end"),
    )
    return structure_of(chart)


def is_in_blocks(step: Step) -> bool:
    """Whether the chart of this step shows blocks, so that a row of it is worth showing exactly."""
    return block_size(step.array.shape, _max_columns(step)) != (1, 1)


def _max_columns(step: Step) -> int:
    return MAX_TOKENS if is_of_pairs(step) else MAX_DIMENSIONS


def _label_angle(labels: Sequence[str], is_narrow: bool, is_large: bool) -> dict[str, Any]:
    font_size = LARGE_FONT_SIZE if is_large else FONT_SIZE
    return label_angle(labels, font_size, _width(is_narrow, is_large))


def _width(is_narrow: bool, is_large: bool) -> int:
    if is_narrow:
        return NARROW_WIDTH
    return LARGE_WIDTH if is_large else WIDTH


def _sinks(
    step: Step, values: Float[np.ndarray, " query_pos"], summary: Summary
) -> Float[np.ndarray, " query_pos"]:
    """What each query gives to the sink, in the blocks of the matrix; NaN without meaning."""
    is_column = step.axes[1] == "key_pos"
    is_hidden = None
    if step.hidden_because is not None:
        of_query = step.hidden_because[:, :1] if is_column else step.hidden_because[:1]
        is_hidden = of_query >= masks.ROW_OF_PADDING
    column = values[:, None] if is_column else values[None, :]
    return in_blocks(column, is_hidden, summary, max_columns=MAX_TOKENS).values.ravel()


def _padding(head: HeadTrace, step: Step, blocks: Blocks) -> dict[str, list[int]]:
    """Which rows and columns are padding, 1 or 0 each, for the sides that have some."""
    of_axis = {"query_pos": head.query_is_padding, "key_pos": head.key_is_padding}
    sides = zip(("rows", "columns"), step.axes, (blocks.rows, blocks.columns), strict=True)
    return {
        side: np.logical_and.reduceat(is_padding, range(0, len(is_padding), per_block))
        .astype(int)
        .tolist()
        for side, axis, per_block in sides
        if (is_padding := of_axis.get(axis)) is not None
    }


def _frames(step: Step, pair: Pair | None, blocks: Blocks) -> dict[str, int]:
    """The row and the column that the pair has in this matrix."""
    if pair is None:
        return {}
    positions = {"query_pos": pair.query, "key_pos": pair.key}
    row, column = (positions.get(axis) for axis in step.axes)
    places = {"row": (row, blocks.rows), "column": (column, blocks.columns)}
    return {
        channel: position // per_block
        for channel, (position, per_block) in places.items()
        if position is not None
    }


# Encodings


def _x(of: _Structure) -> alt.X:
    options: dict[str, Any]
    font_size = of.font_size
    if of.is_of_pairs:
        columns = f"{of.name}_columns[datum.value]"
        options = {"labelExpr": columns, **dict(of.label_options), **_greyed(of, "columns")}
        if options["labelAngle"] == -90:  # as many names as do not overlap
            width = _width(of.is_narrow, of.is_large)
            font_size = min(font_size, max(SMALLEST_FONT_SIZE, width // of.all_columns))
            options["values"] = _named(of.n_columns, width // font_size, of.sink_along == "x")
    else:
        options = {
            "labelExpr": f"'' + datum.value * {of.columns_a_block}",
            "labelAngle": 0,
            "values": ticks(of.n_columns, 6 if of.is_narrow else 16),
        }
    title = AXIS_TITLES[of.axes[1]]
    column_axis = axis(title, orient="top", font_size=font_size, **options)
    return alt.X("column:O", axis=column_axis, scale=alt.Scale(padding=0))


def _y(of: _Structure) -> alt.Y:
    row_height = _row_height(of)
    font_size = min(of.font_size, max(SMALLEST_FONT_SIZE, row_height))
    n_names = of.all_rows * row_height // font_size  # as many as do not overlap
    row_axis = axis(
        AXIS_TITLES[of.axes[0]],
        labelExpr=f"{of.name}_rows[datum.value]",
        font_size=font_size,
        values=_named(of.n_rows, n_names, of.sink_along == "y"),
        **_greyed(of, "rows"),
    )
    return alt.Y("row:O", axis=row_axis, scale=alt.Scale(padding=0))


def _named(n: int, at_most: int, has_sink: bool) -> list[int]:
    """The places that have room for their names; a sink behind them always has."""
    if not has_sink:
        return ticks(n, at_most)
    places = ticks(n, at_most - 1)
    pitch = places[1] - places[0] if len(places) > 1 else 1
    return [*(place for place in places if n - place >= pitch), n]


def _greyed(of: _Structure, side: str) -> dict[str, Any]:
    """Padding has grey names."""
    if side not in of.padded:
        return {}
    is_padding = f"{of.name}_padded_{side}[datum.value]"
    return {"labelColor": alt.expr(f"{is_padding} ? {palette.FAINT} : {palette.TEXT}")}


def _row_height(of: _Structure) -> int:
    n_rows, is_flat = of.all_rows, of.n_rows <= VALUES_FIT
    if of.is_large:
        height = LARGE_HEIGHT if is_flat else LARGE_LOW_HEIGHT
        return max(4, min(48, (height if of.is_of_pairs else LARGE_NARROW_HEIGHT) // n_rows))
    if is_flat:
        return 30 if of.is_of_pairs else 22
    return max(4, min(18, (HEIGHT if of.is_of_pairs else LOW_HEIGHT) // n_rows))


# Layers


def _hidden_cells(base: alt.Chart, tooltip: list[alt.Tooltip], of: _Structure) -> list[alt.Chart]:
    """Grey and crossed out; why, on hover."""
    hidden = base.transform_filter("!isValid(datum.v)").transform_calculate(
        state=f"{WHY_HIDDEN}[{of.name}_because[datum.row][datum.column]]"
    )
    tooltip = [*tooltip[:2], alt.Tooltip("state:N", title=of.value_title)]
    return [
        hidden.mark_rect(strokeWidth=0, fill=alt.expr(palette.HIDDEN)).encode(tooltip=tooltip),
        hidden.mark_text(text="╲", fill=alt.expr(palette.GREY), fontSize=12, tooltip=None),
    ]


def _printed_values(base: alt.Chart, of: _Structure) -> alt.Chart:
    """Three significant digits, but no more decimals than the largest has with four."""
    number = "format(datum.v, '.3f')"
    if of.name != "weights":
        decimals = f"max(0, 3 - floor(log({of.limit}) / LN10))"
        is_small = f"abs(datum.v) < pow(10, 2 - {decimals})"
        number = f"format(datum.v, {is_small} ? '.' + {decimals} + 'f' : '.3g')"
        number = f"datum.v == 0 ? '0' : {number}"
    # Where cells are too narrow for their numbers, on a phone, they are left to the tooltip. In a
    # larger figure the width of this part is not known (0), and there is room.
    size, cell = of.font_size + 1, f"width / {of.all_columns}"
    font_size = f"width == 0 ? {size} : {cell} < 24 ? 0 : min({size}, {cell} * 0.31)"
    return (
        base.transform_filter("isValid(datum.v)")
        .transform_calculate(printed=number)
        .mark_text(
            fontSize=alt.expr(font_size),
            fill=alt.expr(palette.text_on(f"(datum.v / {of.limit})")),
            tooltip=None,
        )
        .encode(text="printed:N")
    )


def _sink_cells(of: _Structure, along: sink.Channel) -> list[alt.Chart]:
    """The sink's column, in the colours of the keys'."""
    is_column = along == "x"
    base = sink.cells(
        f"{of.name}_sink",
        of.n_rows if is_column else of.n_columns,
        of.n_columns if is_column else of.n_rows,
        along,
        ("column", "row"),
        f"{of.name}_{'rows' if is_column else 'columns'}",
    )
    cells = base.mark_rect(strokeWidth=0).encode(
        color=alt.Color("v:Q"), tooltip=sink.tooltip(of.value_title)
    )
    printed = [_printed_values(base, of)] if of.is_printed else []
    return [cells, *printed, sink.gap(of.n_columns if is_column else of.n_rows, along)]


def _frame(name: str, channel: str) -> alt.Chart:
    """A frame around a row or a column."""
    frame = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(**{channel: f"{name}_framed_{channel}"})
        .mark_rect(fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None)
    )
    field = f"{channel}:O"
    return frame.encode(y=field) if channel == "row" else frame.encode(x=field)
