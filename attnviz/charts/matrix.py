"""One matrix as a heat map: named axes, a legend in numbers, values in the cells or on hover."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from attnviz.charts import palette
from attnviz.charts.blocks import MAX_DIMENSIONS, MAX_TOKENS, Blocks, in_blocks
from attnviz.charts.values import LEGEND_NUMBER, largest, nested, signed_scale, weights_scale
from attnviz.errors import InputError
from attnviz.results import HeadTrace
from attnviz.steps import Step

AXIS_TITLES = {
    "query_pos": "query token",
    "key_pos": "key token",
    "d_model": "dimension of x (d_model)",
    "d_head": "dimension (d_head)",
    "d_value": "dimension (d_value)",
}
VALUES_FIT = 12  # a matrix of at most this many rows and columns has its values printed
LABEL_LENGTH = 120  # px; a longer token is cut with an ellipsis and whole on hover


@dataclass(frozen=True)
class Pair:
    """The query and the key token that are followed through the steps, by position."""

    query: int | None
    key: int | None


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
    row_labels = _labels(head, step.axes[0], step.array.shape[0])
    column_labels = _labels(head, step.axes[1], step.array.shape[1])
    limit = 1.0 if is_weights else largest(blocks.values)
    scale = weights_scale() if is_weights else signed_scale(limit)

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
            y=_y(step, row_labels, blocks),
        )
    )
    tooltip = [
        alt.Tooltip("row_token:N", title=AXIS_TITLES[step.axes[0]]),
        alt.Tooltip("column_token:N", title=AXIS_TITLES[step.axes[1]]),
        alt.Tooltip("v:Q", title=_value_title(step, blocks)),
    ]
    is_clickable = reports_clicks and blocks.are_exact
    cells = (
        base.transform_filter("isValid(datum.v)")
        .mark_rect(strokeWidth=0, cursor="pointer" if is_clickable else "default")
        .encode(
            color=alt.Color("v:Q", scale=scale, legend=_legend(step, blocks, limit)),
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
        layers += _hidden_cells(base, tooltip, _value_title(step, blocks))
    if max(step.array.shape) <= VALUES_FIT and not is_narrow:
        layers.append(_printed_values(base, limit, is_weights))
    layers += _frames(step, pair, blocks)
    return (
        alt.LayerChart(layer=layers)
        .add_params(
            alt.param(name=step.name, value=nested(blocks.values)),
            alt.param(name=f"{step.name}_rows", value=_names(row_labels, blocks.rows)),
            alt.param(name=f"{step.name}_columns", value=_names(column_labels, blocks.columns)),
        )
        .properties(
            height=alt.Step(_row_height(blocks)),
            title=alt.TitleParams(blocks.note, fontSize=12, anchor="end"),
        )
    )


def pair_of(head: HeadTrace, query: int | None, key: int | None) -> Pair:
    """The pair at two positions, or one of them alone. Raises InputError for one that is not."""
    for what, position, tokens in (
        ("query", query, head.query_tokens),
        ("key", key, head.key_tokens),
    ):
        if position is not None and position not in range(len(tokens)):
            raise InputError(
                f"There is no {what} token {position!r}.\n\nHint: positions run from 0 to "
                f"{len(tokens) - 1}."
            )
    return Pair(query, key)


def row_chart(head: HeadTrace, step: Step, row: int) -> alt.Chart:
    """One row of a matrix, every value exact, wrapped into lines that fit a screen."""
    values = step.array[row]
    is_hidden = head.is_masked[row] if step.name in ("masked", "weights") else None
    if is_hidden is not None:
        values = np.where(is_hidden, np.nan, values)
    per_line = MAX_DIMENSIONS
    labels = _labels(head, step.axes[1], len(values))
    is_weights = step.name == "weights"
    limit = 1.0 if is_weights else largest(values)
    name = f"{step.name}_row"
    lines = [values[start : start + per_line] for start in range(0, len(values), per_line)]
    return (
        alt.Chart(alt.sequence(len(lines), as_="number"))
        .transform_calculate(
            line=f"datum.number * {per_line}",
            v=f"{name}[datum.number]",
            place=f"sequence(length({name}[datum.number]))",
        )
        .transform_flatten(["v", "place"])
        .transform_calculate(
            column="datum.line + datum.place",
            column_token=f"{name}_columns[datum.line + datum.place]",
        )
        .mark_rect(strokeWidth=0)
        .encode(
            x=alt.X(
                "place:O",
                axis=alt.Axis(
                    title=f"{AXIS_TITLES[step.axes[1]]}: line + column",
                    orient="top",
                    domain=False,
                    ticks=False,
                    values=_ticks(min(len(values), per_line), 16),
                    labelAngle=0,
                    labelOverlap=False,
                    labelColor=alt.expr(palette.TEXT),
                ),
            ),
            y=alt.Y(
                "line:O",
                axis=alt.Axis(
                    title="line",
                    domain=False,
                    ticks=False,
                    labelOverlap=False,
                    labelBound=False,
                    labelFlush=False,
                    labelColor=alt.expr(palette.TEXT),
                ),
            ),
            color=alt.Color(
                "v:Q",
                scale=weights_scale() if is_weights else signed_scale(limit),
                legend=_legend(step, None, limit, is_below=True),
            ),
            tooltip=[
                alt.Tooltip("column_token:N", title=AXIS_TITLES[step.axes[1]]),
                alt.Tooltip("v:Q", title=_value_title(step)),
            ],
        )
        .add_params(
            alt.param(name=name, value=nested(lines)),
            alt.param(name=f"{name}_columns", value=_names(labels, 1)),
        )
        .properties(height=alt.Step(22))
    )


def is_in_blocks(step: Step) -> bool:
    """Whether the chart of this step shows blocks, so that a row of it is worth showing exactly."""
    return not in_blocks(step.array, max_columns=_max_columns(step)).are_exact


def _max_columns(step: Step) -> int:
    return MAX_TOKENS if step.axes[1] == "key_pos" else MAX_DIMENSIONS


# Data


def _labels(head: HeadTrace, axis: str, n: int) -> Sequence[str]:
    if axis == "query_pos":
        return head.query_tokens
    if axis == "key_pos":
        return head.key_tokens
    return [str(dimension) for dimension in range(n)]


def _names(labels: Sequence[str], per_block: int) -> list[str]:
    """What each row or column is called, on hover and beside the axis."""
    if per_block == 1:
        return list(labels)
    ends = (
        (start, min(start + per_block, len(labels)) - 1)
        for start in range(0, len(labels), per_block)
    )
    return [labels[a] if a == b else f"{labels[a]} … {labels[b]}" for a, b in ends]


# Encodings


def _x(step: Step, labels: Sequence[str], blocks: Blocks, max_ticks: int) -> alt.X:
    are_tokens = step.axes[1] == "key_pos"
    axis = alt.Axis(
        title=AXIS_TITLES[step.axes[1]],
        orient="top",
        domain=False,
        ticks=False,
        labelExpr=(
            f"{step.name}_columns[datum.value]"
            if are_tokens
            else f"'' + datum.value * {blocks.columns}"
        ),
        labelAngle=_label_angle(labels) if are_tokens else 0,
        labelBaseline="middle" if are_tokens and _label_angle(labels) == -90 else "alphabetic",
        labelLimit=LABEL_LENGTH,
        values=_ticks(blocks.values.shape[1], blocks.values.shape[1] if are_tokens else max_ticks),
        labelOverlap=False,
        labelPadding=6,
        labelBound=False,
        labelFlush=False,
        labelColor=alt.expr(palette.TEXT),
    )
    return alt.X("column:O", axis=axis, scale=alt.Scale(padding=0))


def _y(step: Step, labels: Sequence[str], blocks: Blocks) -> alt.Y:
    axis = alt.Axis(
        title=AXIS_TITLES[step.axes[0]],
        domain=False,
        ticks=False,
        labelExpr=f"{step.name}_rows[datum.value]",
        labelLimit=LABEL_LENGTH,
        labelOverlap=False,
        labelPadding=6,
        labelBound=False,
        labelFlush=False,
        labelColor=alt.expr(palette.TEXT),
    )
    return alt.Y("row:O", axis=axis, scale=alt.Scale(padding=0))


def _ticks(n: int, at_most: int) -> list[int]:
    """Evenly spaced places to name, a power of two apart."""
    step = 1
    while n > at_most * step:
        step *= 2
    return list(range(0, n, step))


def _label_angle(labels: Sequence[str]) -> int:
    """Words lie flat where they fit, and stand where there are many of them."""
    if len(labels) > VALUES_FIT:
        return -90
    return -45 if max(map(len, labels), default=0) > 7 else 0


def _legend(
    step: Step, blocks: Blocks | None, limit: float, *, is_below: bool = False
) -> alt.Legend:
    values = [0, 0.5, 1] if step.name == "weights" else [-limit, 0, limit]
    return alt.Legend(
        title=_value_title(step, blocks),
        values=values,
        labelExpr=LEGEND_NUMBER,
        labelOverlap=False,
        labelColor=alt.expr(palette.TEXT),
        **_legend_place(is_below or step.axes != ("query_pos", "key_pos")),
    )


def _legend_place(is_below: bool) -> dict[str, Any]:
    if is_below:
        return {"orient": "bottom", "direction": "horizontal", "gradientLength": 110}
    return {"orient": "right", "gradientLength": 90}


def _value_title(step: Step, blocks: Blocks | None = None) -> str:
    name = step.name.removesuffix("_query").removesuffix("_key")
    return name if blocks is None or blocks.are_exact else f"{name}, {blocks.summary}"


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
