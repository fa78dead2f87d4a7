"""One matrix as a heat map: named axes, a legend in numbers, values in the cells or on hover."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import altair as alt
import numpy as np
from jaxtyping import Float

from attnviz.attention import masks
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step
from attnviz.charts.parts import palette, sink
from attnviz.charts.parts.axes import (
    FONT_SIZE,
    axis,
    axis_titles,
    colour,
    edge_to_edge,
    is_of_pairs,
    label_angle,
    labels_of,
    names_of,
    printed_size,
    printed_sizes,
    ticks,
    value_title,
)
from attnviz.charts.parts.blocks import (
    MAX_DIMENSIONS,
    MAX_TOKENS,
    Blocks,
    Summary,
    block_size,
    codes_in_blocks,
    in_blocks,
    strongest_cells,
)
from attnviz.charts.parts.figure import MAX_STRUCTURES, MOST_CELLS_IN_SVG, Figure, structure_of
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.values import WHY_HIDDEN, ScaleEnd, nested, scale_end
from attnviz.charts.parts.window import around

VALUES_FIT = 20  # a matrix of at most this many rows and columns has its values printed
WIDTH, NARROW_WIDTH, LARGE_WIDTH = 310, 150, 600  # px of a row, on a screen 1280 px wide
SMALLEST_FONT_SIZE = 10
SHARE_OF_TWO = 0.46  # of a cell's width: how large two digits may be
ROOM_FOR_THREE, ROOM_FOR_TWO = 27, 18  # px, of a cell: for as many digits
LARGE_FONT_SIZE = 17  # px, on a projector
# px, of all rows together. A step whose values are printed fits a screen of 1280 × 720, below the
# whole head at a glance.
HEIGHT, PRINTED_HEIGHT = 400, 200
LOW_HEIGHT, PRINTED_LOW_HEIGHT = 240, 168  # of rows of numbers, which have other things beside them
NARROW_HEIGHT = 150  # of numbers beside the matrix that they are made with
CLOSE = 4  # px, between the parts of a narrow matrix of numbers
LARGE_HEIGHT = 350
LARGE_LOW_HEIGHT = 310  # below standing labels
LARGE_NARROW_HEIGHT, LARGE_DIMENSIONS_HEIGHT = 224, 340
# The selection parameter that reports a clicked cell by its `row` and `column` in the drawing.
PICKED = "picked"
# How a matrix that is too large for a screen is drawn: in blocks, or the part around the pair.
Large = Literal["maximum", "mean", "window"]


@dataclass(frozen=True)
class _Structure:
    """All that decides what a matrix looks like, but for its numbers and names."""

    name: str
    called: str  # in a figure of several, as its constants are
    axes: tuple[str, str]
    titles: tuple[str, str]  # of rows and columns
    n_rows: int
    n_columns: int
    per_column: int  # how many of the whole matrix, where it is drawn in blocks
    n_dimensions: int  # of the whole matrix; 0 where its columns are tokens
    value_title: str
    has_note: bool
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
    def is_low(self) -> bool:
        """Whether it stands beside another matrix of numbers, on one screen with words."""
        return self.is_narrow and not self.is_large and not self.is_of_pairs

    @property
    def n_cells(self) -> int:
        return self.n_rows * self.n_columns

    @property
    def value(self) -> str:
        """A cell's value, in an expression."""
        return f"datum['{self.value_title}']"

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
        return f"{self.called}_limit"


def matrix_chart(
    head: HeadTrace,
    step: Step,
    pair: Pair | None = None,
    *,
    dimension: int | None = None,
    large: Large = "maximum",
    reports_clicks: bool = False,
    is_narrow: bool = False,
    is_large: bool = False,
    limit: float | None = None,
    called: str = "",
) -> Figure:
    """The matrix of one step, its cells exact where they fit.

    Where they do not, it is drawn in blocks, each the maximum or the mean of its cells (of
    dimensions, which have signs, not the maximum but the most extreme value), or as
    the exact window around the pair; dimensions are in blocks even there. `large` says which.

    The row of the pair's query and the row or column of its key are framed, and the column of a
    `dimension`. Values are printed
    in the cells of small matrices, unless the place for the chart is narrow. `is_large` is for a
    projector. Colours reach up to `limit`, by default to the `scale_end` of what is drawn, and to 1
    for weights. The figure's constants begin with what it is `called`, by default the step's name.
    """
    called = called or step.name
    is_weights = step.name == "weights"
    shown = _shown(step, pair, large)
    blocks = shown.blocks
    row_names, column_names = (
        _names(labels_of(head, axis, n), axis, starts, n)
        for axis, n, starts in zip(step.axes, step.array.shape, shown.starts, strict=True)
    )
    sinks = None if step.sink is None else _sinks(step, step.sink, shown)
    if sinks is not None:
        (column_names if step.axes[1] == "key_pos" else row_names).append(sink.LABEL)
    if limit is None and not is_weights:
        drawn = [blocks.values.ravel(), *([] if sinks is None else [sinks])]
        end = scale_end(np.concatenate(drawn))
    else:
        end = ScaleEnd(1.0 if limit is None else limit, is_cut=False)
    padding = _padding(head, step, shown)
    frames = _frames(step, pair, dimension, shown)
    structure = _Structure(
        name=step.name,
        called=called,
        axes=step.axes,
        titles=axis_titles(step),
        n_rows=len(shown.starts[0]),
        n_columns=len(shown.starts[1]),
        per_column=blocks.columns,
        n_dimensions=0 if is_of_pairs(step) else step.array.shape[1],
        value_title=value_title(step.name, blocks),
        has_note=bool(shown.note),
        has_hidden=bool(blocks.is_hidden.any()),
        is_printed=max(step.array.shape) <= VALUES_FIT and not is_narrow,
        is_clickable=reports_clicks,
        is_narrow=is_narrow,
        is_large=is_large,
        label_options=tuple(_label_angle(column_names, is_narrow, is_large).items()),
        framed=tuple(frames),
        has_sink=sinks is not None,
        padded=tuple(padding),
    )
    constants = {
        called: nested(blocks.values),
        f"{called}_rows": row_names,
        **({f"{called}_columns": column_names} if structure.is_of_pairs else {}),
        **({f"{called}_note": shown.note} if shown.note else {}),
        **end.constants(called),
        **(_printed_sizes(structure) if structure.is_printed else {}),
        **{f"{called}_framed_{channel}": place for channel, place in frames.items()},
        **{f"{called}_padded_{side}": bits for side, bits in padding.items()},
    }
    if structure.has_hidden and step.hidden_because is not None:
        codes = codes_in_blocks(step.hidden_because[shown.part], blocks)
        constants[f"{called}_because"] = codes.tolist()
    if sinks is not None:
        constants[f"{called}_sink"] = nested([sinks])[0]
    n_marks = structure.n_cells + int(blocks.is_hidden.sum())
    return Figure(
        _structure(structure),
        constants,
        n_marks=n_marks,
        most_in_svg=MOST_CELLS_IN_SVG,
        width=_width_alone(step),
    )


def _width_alone(step: Step) -> int:
    n_columns = step.array.shape[1]
    is_printed = is_of_pairs(step) and n_columns <= VALUES_FIT
    return max(40, min(64, 720 // n_columns)) * n_columns if is_printed else Figure.width


@lru_cache(8 * MAX_STRUCTURES)
def _structure(of: _Structure) -> dict[str, Any]:
    # What is not drawn but said on hover is copied to each cell, not computed: there are many.
    row_title, column_title = of.titles
    names = f"slice({of.called}_columns, 0, {of.n_columns})"
    drawn = (
        alt.Chart(alt.sequence(of.n_rows, as_="row"))
        .transform_calculate(
            **{
                "column": f"sequence({of.n_columns})",
                row_title: f"{of.called}_rows[datum.row]",
                column_title: names if of.is_of_pairs else f"sequence({of.n_columns})",
                of.value_title: f"{of.called}[datum.row]",
            }
        )
        .transform_flatten(["column", column_title, of.value_title])
    )
    if not of.is_of_pairs and of.per_column > 1:
        first = f"{of.per_column} * datum.column"
        last = f"min({of.n_dimensions}, {first} + {of.per_column}) - 1"
        name = f"{first} + ({last} > {first} ? ' … ' + ({last}) : '')"
        drawn = drawn.transform_calculate(**{column_title: name})
    base = alt.Chart().encode(x="column:O", y="row:O")
    is_below = of.is_narrow
    has_labels = of.n_cells <= MOST_CELLS_IN_SVG
    label = f"datum['{row_title}'] + ', ' + datum['{column_title}'] + ': ' + {of.value}"
    cells = (
        base.transform_filter(f"isValid({of.value})")
        .mark_rect(
            strokeWidth=0,
            cursor="pointer" if of.is_clickable else "default",
            **({"description": alt.expr(label)} if has_labels else {"aria": False}),
        )
        .encode(
            x=_x(of),
            y=_y(of),
            tooltip=_told(of),
            color=colour(
                of.name,
                of.value_title,
                of.called,
                is_below=is_below,
                font_size=of.font_size,
                field=of.value_title,
                **_legend_options(of),
            ),
        )
    )
    if of.is_clickable:
        picked = alt.selection_point(
            name=PICKED, fields=["row", "column"], toggle=False, clear=False
        )
        cells = cells.add_params(picked)
    else:  # Where something answers the pointer, what is drawn above it lets the pointer through.
        pointed = alt.selection_point(name=f"{of.called}_pointed", on="pointerover", clear=False)
        cells = cells.add_params(pointed)
    layers: list[alt.Chart] = [cells]
    if of.has_hidden:
        layers += _hidden_cells(base, of)
    if of.is_printed:
        layers.append(_printed_values(base, of, of.value))
    if of.sink_along is not None:
        layers += _sink_cells(of, of.sink_along)
    layers += [_frame(of, channel) for channel in of.framed]
    chart = alt.LayerChart(data=drawn.data, transform=drawn.transform, layer=layers).properties(
        height=alt.Step(_row_height(of))
    )
    if of.has_note:
        note = alt.expr(f"{of.called}_note")
        offset: Any = CLOSE if of.is_low else alt.Undefined
        title = alt.Title(note, fontSize=of.font_size, anchor="end", offset=offset)
        chart = chart.properties(title=title)
    return structure_of(chart)


def is_in_blocks(step: Step) -> bool:
    """Whether this step's matrix is too large to be drawn as it is."""
    return block_size(step.array.shape, _max_columns(step)) != (1, 1)


def _legend_options(of: _Structure) -> dict[str, Any]:
    """What saves height where several matrices of numbers stand beside one another."""
    if of.is_low:
        return {"offset": CLOSE, "titlePadding": CLOSE}
    return (
        {"titleOrient": "left", "titlePadding": 2 * CLOSE} if of.is_narrow and of.is_large else {}
    )


# What is shown


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is drawn of a matrix: a part of it, in blocks."""

    blocks: Blocks
    part: tuple[slice, slice]
    note: str

    @property
    def starts(self) -> tuple[range, range]:
        """The rows and the columns of the whole matrix that what is drawn begins with."""
        sizes = zip(self.blocks.values.shape, (self.blocks.rows, self.blocks.columns), strict=True)
        rows, columns = (
            range(part.start, part.start + n * size, size)
            for part, (n, size) in zip(self.part, sizes, strict=True)
        )
        return rows, columns


def _shown(step: Step, pair: Pair | None, large: Large) -> _Shown:
    parts, notes = [], []
    chosen = {} if pair is None else {"query_pos": pair.query, "key_pos": pair.key}
    for side, n in zip(step.axes, step.array.shape, strict=True):
        is_cut = large == "window" and side in ("query_pos", "key_pos") and n > MAX_TOKENS
        shown = around(chosen.get(side) or 0, n) if is_cut else range(n)
        parts.append(slice(shown.start, shown.stop))
        if is_cut:
            what = "queries" if side == "query_pos" else "keys"
            notes.append(f"{what} {shown.start} to {shown.stop - 1} of {n}")
    part = parts[0], parts[1]
    blocks = in_blocks(
        step.array[part],
        None if step.is_hidden is None else step.is_hidden[part],
        _summary(step, large),
        max_columns=_max_columns(step),
    )
    note = "; ".join(filter(None, (", ".join(notes), blocks.note)))
    return _Shown(blocks, part, note)


def _summary(step: Step, large: Large) -> Summary:
    if large == "mean":
        return "mean"
    return "maximum" if is_of_pairs(step) else "most extreme"


@dataclass(frozen=True)
class Cells:
    """Which cells of the whole matrix those that are drawn stand for: a block for its strongest."""

    rows: range  # what each row and column of the drawing begins with
    columns: range
    strongest: Sequence[Sequence[tuple[int, int]]] | None = None  # of each block

    def at(self, row: int, column: int) -> tuple[int, int] | None:
        """Its row and column; None for a place that is not drawn."""
        if row not in range(len(self.rows)) or column not in range(len(self.columns)):
            return None
        if self.strongest is None:
            return self.rows[row], self.columns[column]
        return self.strongest[row][column]


def drawn_cells(step: Step, pair: Pair | None, large: Large) -> Cells:
    """What a click on a cell of a step's matrix means.

    A block's strongest value is its largest, or of dimensions the most extreme one.
    """
    if large == "window" or not is_in_blocks(step):
        return Cells(*_shown(step, pair, large).starts)
    shown = _shown(step, None, "maximum")
    return Cells(*shown.starts, strongest_cells(step.array, step.is_hidden, shown.blocks))


def _names(labels: Sequence[str], axis: str, starts: range, n: int) -> list[str]:
    """What each row or column is called; tokens of a long text with their positions."""
    if n > MAX_TOKENS and axis in ("query_pos", "key_pos"):
        labels = [f"{place} {label}" for place, label in enumerate(labels)]
    names = names_of(labels, starts.step)
    first = starts.start // starts.step
    return names[first : first + len(starts)]


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
    step: Step, values: Float[np.ndarray, " query_pos"], shown: _Shown
) -> Float[np.ndarray, " query_pos"]:
    """What each query gives to the sink, in the blocks of the matrix; NaN without meaning."""
    is_column = step.axes[1] == "key_pos"
    is_hidden = None
    if step.hidden_because is not None:
        of_query = step.hidden_because[:, :1] if is_column else step.hidden_because[:1]
        is_hidden = of_query >= masks.ROW_OF_PADDING
    column = values[:, None] if is_column else values[None, :]
    part = (shown.part[0], slice(None)) if is_column else (slice(None), shown.part[1])
    is_hidden = None if is_hidden is None else is_hidden[part]
    summary = shown.blocks.summary
    return in_blocks(column[part], is_hidden, summary, max_columns=MAX_TOKENS).values.ravel()


def _padding(head: HeadTrace, step: Step, shown: _Shown) -> dict[str, list[int]]:
    """Which rows and columns are padding, 1 or 0 each, for the sides that have some."""
    of_axis = {"query_pos": head.query_is_padding, "key_pos": head.key_is_padding}
    sides = zip(("rows", "columns"), step.axes, shown.part, shown.starts, strict=True)
    return {
        side: np.logical_and.reduceat(
            is_padding[part], range(0, len(is_padding[part]), starts.step)
        )
        .astype(int)
        .tolist()
        for side, axis, part, starts in sides
        if (is_padding := of_axis.get(axis)) is not None
    }


def _frames(step: Step, pair: Pair | None, dimension: int | None, shown: _Shown) -> dict[str, int]:
    """The row and the column that are framed in this matrix, counted within what is drawn."""
    positions = {"d_head": dimension, "d_value": dimension}
    if pair is not None:
        positions |= {"query_pos": pair.query, "key_pos": pair.key}
    return {
        channel: (position - starts.start) // starts.step
        for channel, axis, starts in zip(("row", "column"), step.axes, shown.starts, strict=True)
        if (position := positions.get(axis)) is not None
    }


# Encodings


def _x(of: _Structure) -> alt.X:
    options: dict[str, Any]
    font_size = of.font_size
    if of.is_of_pairs:
        labels = f"{of.called}_columns[datum.value]"
        options = {"labelExpr": labels, **dict(of.label_options), **_greyed(of, "columns")}
        if options["labelAngle"] == -90:  # as many names as do not overlap
            width = _width(of.is_narrow, of.is_large)
            font_size = min(font_size, max(SMALLEST_FONT_SIZE, width // of.all_columns))
            options["values"] = _named(of.n_columns, width // font_size, of.sink_along == "x")
    else:
        options = {
            "labelExpr": f"'' + {of.per_column} * datum.value",
            "labelAngle": 0,
            "values": _named(of.n_columns, 6 if of.is_narrow else 16, False),
            "labelOverlap": "parity",  # on a telephone every other number
            **({"titlePadding": CLOSE} if of.is_low else {}),
        }
    column_axis = axis(of.titles[1], orient="top", font_size=font_size, **options)
    return alt.X("column:O", axis=column_axis, scale=edge_to_edge())


def _y(of: _Structure) -> alt.Y:
    row_height = _row_height(of)
    font_size = min(of.font_size, max(SMALLEST_FONT_SIZE, row_height))
    n_names = of.all_rows * row_height // font_size  # as many as do not overlap
    row_axis = axis(
        of.titles[0],
        labelExpr=f"{of.called}_rows[datum.value]",
        font_size=font_size,
        values=_named(of.n_rows, n_names, of.sink_along == "y"),
        **_greyed(of, "rows"),
    )
    return alt.Y("row:O", axis=row_axis, scale=edge_to_edge())


def _named(n: int, at_most: int, has_sink: bool) -> list[int]:
    """The places that have room for their names; a sink behind them always has."""
    places = ticks(n, at_most - has_sink)
    if has_sink:
        pitch = places[1] - places[0] if len(places) > 1 else 1
        places = [*(place for place in places if n - place >= pitch), n]
    return places


def _greyed(of: _Structure, side: str) -> dict[str, Any]:
    """Padding has grey names."""
    if side not in of.padded:
        return {}
    is_padding = f"{of.called}_padded_{side}[datum.value]"
    return {"labelColor": alt.expr(f"{is_padding} ? {palette.FAINT} : {palette.TEXT}")}


def _row_height(of: _Structure) -> int:
    n_rows, is_flat = of.all_rows, of.n_rows <= VALUES_FIT
    if of.is_large:
        height = LARGE_HEIGHT if is_flat else LARGE_LOW_HEIGHT
        if not of.is_of_pairs:
            height = LARGE_NARROW_HEIGHT if of.is_narrow else LARGE_DIMENSIONS_HEIGHT
        return max(4, min(48, height // n_rows))
    if of.is_low:
        return max(3, min(22, NARROW_HEIGHT // n_rows))
    if is_flat:
        height = PRINTED_HEIGHT if of.is_of_pairs else PRINTED_LOW_HEIGHT
        return min(30 if of.is_of_pairs else 22, height // n_rows)
    return max(4, min(18, (HEIGHT if of.is_of_pairs else LOW_HEIGHT) // n_rows))


# Layers


def _told(of: _Structure) -> list[alt.Tooltip]:
    """A cell's row, column and full number, by name: not what places it, or what a click adds."""
    return [alt.Tooltip(field=title, type="nominal") for title in (*of.titles, of.value_title)]


def _hidden_cells(base: alt.Chart, of: _Structure) -> list[alt.Chart]:
    """Grey and crossed out; why, on hover."""
    hidden = base.transform_filter(f"!isValid({of.value})")
    why = f"{WHY_HIDDEN}[{of.called}_because[datum.row][datum.column]]"
    grey = hidden.transform_calculate(**{of.value_title: why}).mark_rect(
        strokeWidth=0,
        fill=alt.expr(palette.HIDDEN),
        aria=of.n_cells <= MOST_CELLS_IN_SVG,
    )
    grey = grey.encode(tooltip=_told(of))
    crossed = hidden.mark_text(
        text="╲", fill=alt.expr(palette.GREY), fontSize=12, aria=False, tooltip=None
    )
    return [grey, crossed]


def _printed_sizes(of: _Structure) -> dict[str, list[float]]:
    largest = min(of.font_size + 1, _row_height(of))
    return printed_sizes(of.called, largest, ROOM_FOR_TWO * SHARE_OF_TWO)


def _printed_values(base: alt.Chart, of: _Structure, value: str) -> alt.Chart:
    """Three significant digits, but no more decimals than three, or than the largest has.

    Two in cells that are too narrow for them, of a weight without its leading zero.
    """
    cell = f"width / {of.all_columns}"
    is_narrow = f"(width > 0 && {cell} < {ROOM_FOR_THREE})"
    number = f"format({value}, '.3f')"
    two = f"replace(format({value}, '.2f'), /^0[.]/, '.')"
    if of.name != "weights":
        decimals = f"max(3, 3 - floor(log({of.limit}) / LN10))"
        is_small = f"abs({value}) < pow(10, 2 - {decimals})"
        number = f"format({value}, {is_small} ? '.' + {decimals} + 'f' : '.3g')"
        number = f"{value} == 0 ? '0' : {number}"
        two = f"{value} == 0 ? '0' : format({value}, '.2~g')"
    fitting = f"{cell} * ({is_narrow} ? {SHARE_OF_TWO} : 0.33)"
    chart: alt.Chart = (
        base.transform_filter(f"isValid({value})")
        .transform_calculate(printed=number, brief=two)
        .mark_text(
            # What depends on the width is no part of the data, on which in some figures it depends.
            text=alt.expr(f"{is_narrow} ? datum.brief : datum.printed"),
            fontSize=alt.expr(printed_size(of.called, fitting)),
            fill=alt.expr(palette.text_on(f"({value} / {of.limit})")),
            tooltip=None,
        )
    )
    return chart


def _sink_cells(of: _Structure, along: sink.Channel) -> list[alt.Chart]:
    """The sink's column, in the colours of the keys'."""
    is_column = along == "x"
    place = of.n_columns if is_column else of.n_rows
    base = sink.cells(
        f"{of.called}_sink",
        of.n_rows if is_column else of.n_columns,
        place,
        along,
        "row" if is_column else "column",
        f"{of.called}_{'rows' if is_column else 'columns'}",
    )
    cells = base.mark_rect(strokeWidth=0).encode(
        color=alt.Color("v:Q"), tooltip=sink.tooltip(of.value_title)
    )
    printed = [_printed_values(base, of, "datum.v")] if of.is_printed else []
    return [cells, *printed, sink.gap(place, along)]


def _frame(of: _Structure, channel: str) -> alt.Chart:
    """A frame around a row or a column."""
    frame = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(**{channel: f"{of.called}_framed_{channel}"})
        .mark_rect(fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None)
    )
    chart: alt.Chart = frame.encode(y="row:O") if channel == "row" else frame.encode(x="column:O")
    return chart
