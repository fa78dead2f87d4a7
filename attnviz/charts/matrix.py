"""One matrix as a heat map: named axes, a legend in numbers, values in the cells or on hover."""

from collections.abc import Sequence

import altair as alt

from attnviz.charts import palette
from attnviz.charts.axes import AXIS_TITLES, axis, colour, labels_of, names_of, ticks, value_title
from attnviz.charts.blocks import MAX_DIMENSIONS, MAX_TOKENS, Blocks, block_size, in_blocks
from attnviz.charts.pair import Pair
from attnviz.charts.values import largest, nested
from attnviz.results import HeadTrace
from attnviz.steps import Step

VALUES_FIT = 12  # a matrix of at most this many rows and columns has its values printed
PICKED = "picked"  # the selection parameter that reports a clicked cell: `row` and `column`


def matrix_chart(
    head: HeadTrace,
    step: Step,
    pair: Pair | None = None,
    *,
    reports_clicks: bool = False,
    is_narrow: bool = False,
) -> alt.LayerChart:
    """The matrix of one step, its cells exact where they fit and in blocks where they do not.

    The row of the pair's query and the row or column of its key are framed. Values are printed
    in the cells of small matrices, unless the place for the chart is narrow.
    """
    is_hidden = head.is_masked if step.name in ("masked", "weights") else None
    is_weights = step.name == "weights"
    blocks = in_blocks(
        step.array,
        is_hidden,
        "maximum" if is_weights else "mean",
        max_columns=_max_columns(step),
    )
    row_labels = labels_of(head, step.axes[0], step.array.shape[0])
    column_labels = labels_of(head, step.axes[1], step.array.shape[1])
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
            x=_x(step, column_labels, blocks, 6 if is_narrow else 16),
            y=_y(step),
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
            color=colour(step, limit, blocks),
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
        layers.append(_printed_values(base, limit, is_weights))
    layers += _frames(step, pair, blocks)
    return (
        alt.LayerChart(layer=layers)
        .add_params(
            alt.param(name=step.name, value=nested(blocks.values)),
            alt.param(name=f"{step.name}_rows", value=names_of(row_labels, blocks.rows)),
            alt.param(name=f"{step.name}_columns", value=names_of(column_labels, blocks.columns)),
        )
        .properties(
            height=alt.Step(_row_height(blocks)),
            title=alt.TitleParams(blocks.note, fontSize=12, anchor="end"),
        )
    )


def is_in_blocks(step: Step) -> bool:
    """Whether the chart of this step shows blocks, so that a row of it is worth showing exactly."""
    return block_size(step.array.shape, _max_columns(step)) != (1, 1)


def _max_columns(step: Step) -> int:
    return MAX_TOKENS if step.axes[1] == "key_pos" else MAX_DIMENSIONS


# Encodings


def _x(step: Step, labels: Sequence[str], blocks: Blocks, max_ticks: int) -> alt.X:
    n_columns = blocks.values.shape[1]
    if step.axes[1] == "key_pos":
        angle = _label_angle(labels)
        options = {
            "labelExpr": f"{step.name}_columns[datum.value]",
            "labelAngle": angle,
            "labelBaseline": "middle" if angle == -90 else "alphabetic",
        }
    else:
        options = {
            "labelExpr": f"'' + datum.value * {blocks.columns}",
            "labelAngle": 0,
            "values": ticks(n_columns, max_ticks),
        }
    column_axis = axis(AXIS_TITLES[step.axes[1]], orient="top", **options)
    return alt.X("column:O", axis=column_axis, scale=alt.Scale(padding=0))


def _y(step: Step) -> alt.Y:
    row_axis = axis(AXIS_TITLES[step.axes[0]], labelExpr=f"{step.name}_rows[datum.value]")
    return alt.Y("row:O", axis=row_axis, scale=alt.Scale(padding=0))


def _label_angle(labels: Sequence[str]) -> int:
    """Words lie flat where they fit, and stand where there are many of them."""
    if len(labels) > VALUES_FIT:
        return -90
    return -45 if max(map(len, labels), default=0) > 7 else 0


def _row_height(blocks: Blocks) -> int:
    return 30 if blocks.values.shape[0] <= VALUES_FIT else 18


# Layers


def _hidden_cells(base: alt.Chart, tooltip: list[alt.Tooltip], title: str) -> list[alt.Chart]:
    hidden = base.transform_filter("!isValid(datum.v)").transform_calculate(state="'hidden'")
    tooltip = [*tooltip[:2], alt.Tooltip("state:N", title=title)]
    return [
        hidden.mark_rect(strokeWidth=0, fill=alt.expr(palette.HIDDEN)).encode(tooltip=tooltip),
        hidden.mark_text(text="╲", fill=alt.expr(palette.GREY), fontSize=12, tooltip=None),
    ]


def _printed_values(base: alt.Chart, limit: float, are_weights: bool) -> alt.Chart:
    number = "format(datum.v, '.3f')" if are_weights else "format(datum.v, '.3g')"
    return (
        base.transform_filter("isValid(datum.v)")
        .transform_calculate(printed=number)
        .mark_text(
            fontSize=13,
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
