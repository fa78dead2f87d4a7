"""One matrix as a heat map: named axes, a legend in numbers, values in the cells or on hover."""

import math
from collections.abc import Sequence

import altair as alt

from attnviz.charts import palette
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
from attnviz.charts.blocks import MAX_DIMENSIONS, MAX_TOKENS, Blocks, block_size, in_blocks
from attnviz.charts.pair import Pair
from attnviz.charts.values import largest, nested
from attnviz.results import HeadTrace
from attnviz.steps import Step

VALUES_FIT = 12  # a matrix of at most this many rows and columns has its values printed
LARGE_FONT_SIZE = 17  # px, on a projector
# px, of all rows together, so that a step fits a screen of 1280 × 720.
HEIGHT = 460
LARGE_HEIGHT = 350
LARGE_NARROW_HEIGHT = 200
PICKED = "picked"  # the selection parameter that reports a clicked cell: `row` and `column`


def matrix_chart(
    head: HeadTrace,
    step: Step,
    pair: Pair | None = None,
    *,
    reports_clicks: bool = False,
    is_narrow: bool = False,
    is_large: bool = False,
    limit: float | None = None,
) -> alt.LayerChart:
    """The matrix of one step, its cells exact where they fit and in blocks where they do not.

    The row of the pair's query and the row or column of its key are framed. Values are printed
    in the cells of small matrices, unless the place for the chart is narrow. `is_large` is for a
    projector. Colours reach up to `limit`, by default the matrix's own largest magnitude, and 1
    for weights.
    """
    font_size = LARGE_FONT_SIZE if is_large else FONT_SIZE
    is_weights = step.name == "weights"
    blocks = in_blocks(
        step.array,
        step.is_hidden,
        "maximum" if is_weights else "mean",
        max_columns=_max_columns(step),
    )
    row_labels = labels_of(head, step.axes[0], step.array.shape[0])
    column_labels = labels_of(head, step.axes[1], step.array.shape[1])
    if limit is None:
        limit = 1.0 if is_weights else largest(blocks.values)

    base = (
        alt.Chart(alt.sequence(len(blocks.values), as_="row"))
        .transform_calculate(
            v=f"{step.name}[datum.row]", column=f"sequence({blocks.values.shape[1]})"
        )
        .transform_flatten(["v", "column"])
        .transform_calculate(
            row_token=f"{step.name}_rows[datum.row]",
            column_token=f"{step.name}_columns[datum.column]",
        )
        .encode(
            x=_x(step, column_labels, blocks, font_size, is_narrow=is_narrow),
            y=_y(step, font_size),
        )
    )
    tooltip = [
        alt.Tooltip("row_token:N", title=AXIS_TITLES[step.axes[0]]),
        alt.Tooltip("column_token:N", title=AXIS_TITLES[step.axes[1]]),
        alt.Tooltip("v:Q", title=value_title(step, blocks)),
    ]
    is_clickable = reports_clicks and blocks.are_exact
    cells = (
        base.transform_filter("isValid(datum.v)")
        .mark_rect(strokeWidth=0, cursor="pointer" if is_clickable else "default")
        .encode(
            color=colour(step, limit, blocks, is_below=is_narrow, font_size=font_size),
            tooltip=tooltip,
        )
    )
    if is_clickable:
        picked = alt.selection_point(
            name=PICKED, fields=["row", "column"], toggle=False, clear=False
        )
        cells = cells.add_params(picked)
    layers: list[alt.Chart] = [cells]
    if blocks.is_hidden.any():
        layers += _hidden_cells(base, tooltip, value_title(step, blocks))
    if max(step.array.shape) <= VALUES_FIT and not is_narrow:
        layers.append(_printed_values(base, limit, is_weights, font_size + 1))
    layers += _frames(step, pair, blocks)
    return (
        alt.LayerChart(layer=layers)
        .add_params(
            alt.param(name=step.name, value=nested(blocks.values)),
            alt.param(name=f"{step.name}_rows", value=names_of(row_labels, blocks.rows)),
            alt.param(name=f"{step.name}_columns", value=names_of(column_labels, blocks.columns)),
        )
        .properties(
            height=alt.Step(_row_height(blocks, is_of_pairs=is_of_pairs(step), is_large=is_large)),
            title=alt.TitleParams(blocks.note, fontSize=font_size, anchor="end"),
        )
    )


def is_in_blocks(step: Step) -> bool:
    """Whether the chart of this step shows blocks, so that a row of it is worth showing exactly."""
    return block_size(step.array.shape, _max_columns(step)) != (1, 1)


def _max_columns(step: Step) -> int:
    return MAX_TOKENS if is_of_pairs(step) else MAX_DIMENSIONS


# Encodings


def _x(
    step: Step, labels: Sequence[str], blocks: Blocks, font_size: int, *, is_narrow: bool
) -> alt.X:
    n_columns = blocks.values.shape[1]
    if is_of_pairs(step):
        columns = f"{step.name}_columns[datum.value]"
        options = {"labelExpr": columns, **label_angle(labels, is_narrow=is_narrow)}
    else:
        options = {
            "labelExpr": f"'' + datum.value * {blocks.columns}",
            "labelAngle": 0,
            "values": ticks(n_columns, 6 if is_narrow else 16),
        }
    title = AXIS_TITLES[step.axes[1]]
    column_axis = axis(title, orient="top", font_size=font_size, **options)
    return alt.X("column:O", axis=column_axis, scale=alt.Scale(padding=0))


def _y(step: Step, font_size: int) -> alt.Y:
    row_axis = axis(
        AXIS_TITLES[step.axes[0]],
        labelExpr=f"{step.name}_rows[datum.value]",
        font_size=font_size,
    )
    return alt.Y("row:O", axis=row_axis, scale=alt.Scale(padding=0))


def _row_height(blocks: Blocks, *, is_of_pairs: bool, is_large: bool) -> int:
    n_rows = blocks.values.shape[0]
    if is_large:
        return min(48, (LARGE_HEIGHT if is_of_pairs else LARGE_NARROW_HEIGHT) // n_rows)
    return 30 if n_rows <= VALUES_FIT else max(12, min(18, HEIGHT // n_rows))


# Layers


def _hidden_cells(base: alt.Chart, tooltip: list[alt.Tooltip], title: str) -> list[alt.Chart]:
    hidden = base.transform_filter("!isValid(datum.v)").transform_calculate(state="'hidden'")
    tooltip = [*tooltip[:2], alt.Tooltip("state:N", title=title)]
    return [
        hidden.mark_rect(strokeWidth=0, fill=alt.expr(palette.HIDDEN)).encode(tooltip=tooltip),
        hidden.mark_text(text="╲", fill=alt.expr(palette.GREY), fontSize=12, tooltip=None),
    ]


def _printed_values(base: alt.Chart, limit: float, are_weights: bool, font_size: int) -> alt.Chart:
    # Three significant digits, but no more decimals than those of the largest.
    decimals = 3 if are_weights else max(0, 3 - math.floor(math.log10(limit)))
    fixed = f"format(datum.v, '.{decimals}f')"
    is_small = f"abs(datum.v) < {10.0 ** (2 - decimals)!r}"
    number = fixed if are_weights else f"{is_small} ? {fixed} : format(datum.v, '.3g')"
    return (
        base.transform_filter("isValid(datum.v)")
        .transform_calculate(printed=number)
        .mark_text(
            fontSize=font_size,
            fill=alt.expr(palette.text_on(f"(datum.v / {limit!r})")),
            tooltip=None,
        )
        .encode(text="printed:N")
    )


def _frames(step: Step, pair: Pair | None, blocks: Blocks) -> list[alt.Chart]:
    """Frames around the row and column that the pair has in this matrix."""
    if pair is None:
        return []
    positions = {"query_pos": pair.query, "key_pos": pair.key}
    row, column = (positions.get(axis) for axis in step.axes)
    frames = []
    for channel, position, per_block in (
        ("row", row, blocks.rows),
        ("column", column, blocks.columns),
    ):
        if position is None:
            continue
        place = position // per_block
        frame = alt.Chart(alt.sequence(place, place + 1, as_=channel)).mark_rect(
            fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None
        )
        field = f"{channel}:O"
        frames.append(frame.encode(y=field) if channel == "row" else frame.encode(x=field))
    return frames
