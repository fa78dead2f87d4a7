"""A few rows over the same columns, on one scale each kind: before, after and difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from attnviz.charts.matrix import VALUES_FIT
from attnviz.charts.parts import palette, sink
from attnviz.charts.parts.axes import (
    FONT_SIZE,
    axis,
    edge_to_edge,
    label_angle,
    legend,
    names_of,
    printed_size,
    printed_sizes,
    ticks,
)
from attnviz.charts.parts.blocks import MAX_DIMENSIONS, MAX_TOKENS, in_blocks
from attnviz.charts.parts.values import (
    LEGEND_NUMBER,
    ScaleEnd,
    legend_number,
    nested,
    signed_scale,
    weights_scale,
)

PITCH = 30
SHARE, SMALLEST = 0.26, 7  # of a cell's width, and px: how large and small its number may be
WIDTH = 620  # px of all cells of a row, on a screen 1280 px wide


def strips_chart(
    rows: Mapping[str, np.ndarray],
    columns: Sequence[str] | int,
    *,
    column_title: str,
    value_title: str,
    end: ScaleEnd | None = None,
    printed: Sequence[Sequence[str]] = (),
    sinks: Sequence[float] = (),
    called: str = "strip",
) -> alt.LayerChart:
    """Named rows of values, over named columns or so many dimensions, on one scale.

    The scale reaches to its `end` on both sides, or without one from 0 to 1, as weights do. What is
    `printed` for each value is shown where it fits; more columns than a screen can show are
    drawn in blocks, each the mean of its cells, said so above. Hidden cells, NaN in `rows`, are
    grey. What the rows give to a sink, `sinks`, stands behind the columns; its numbers are the last
    of each row that is `printed`. The chart's constants begin with what it is `called`.
    """
    are_tokens = not isinstance(columns, int)
    names = list(columns) if not isinstance(columns, int) else [str(d) for d in range(columns)]
    matrix = np.stack(list(rows.values()))
    blocks = in_blocks(
        matrix, np.isnan(matrix), max_columns=MAX_TOKENS if are_tokens else MAX_DIMENSIONS
    )
    n_columns = blocks.values.shape[1]
    column_names = names_of(names, blocks.columns) + ([sink.LABEL] if sinks else [])
    options: dict[str, Any]
    if are_tokens:
        options = {
            "labelExpr": f"{called}_columns[datum.value]",
            **label_angle(column_names, FONT_SIZE, WIDTH),
        }
    else:
        options = {
            "labelExpr": f"'' + datum.value * {blocks.columns}",
            "labelAngle": 0,
            "values": ticks(n_columns, 16),
        }
    base = (
        alt.Chart(alt.sequence(len(rows), as_="row"))
        .transform_calculate(v=f"{called}s[datum.row]", column=f"sequence({n_columns})")
        .transform_flatten(["v", "column"])
        .transform_calculate(
            name=f"{called}_rows[datum.row]", column_name=f"{called}_columns[datum.column]"
        )
        .encode(
            x=alt.X(
                "column:O",
                axis=axis(column_title, orient="top", **options),
                scale=edge_to_edge(),
            ),
            y=alt.Y(
                "row:O",
                axis=axis("", labelExpr=f"{called}_rows[datum.value]"),
                scale=alt.Scale(paddingInner=0.12),
            ),
        )
    )
    known = base.transform_filter("isValid(datum.v)")
    cells = known.mark_rect(strokeWidth=0).encode(
        color=alt.Color(
            "v:Q",
            scale=weights_scale() if end is None else signed_scale(end.limit),
            legend=legend(
                value_title,
                [0, 1] if end is None else [-end.limit, 0, end.limit],
                labelExpr=LEGEND_NUMBER if end is None else legend_number(str(int(end.is_cut))),
                orient="right",
                gradientLength=50,
            ),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="row"),
            alt.Tooltip("column_name:N", title=column_title),
            alt.Tooltip("v:Q", title=value_title),
        ],
    )
    hidden = base.transform_filter("!isValid(datum.v)").mark_rect(
        strokeWidth=0, fill=alt.expr(palette.HIDDEN), tooltip=None
    )
    layers = [cells, hidden]
    is_printed = bool(printed) and n_columns <= VALUES_FIT

    def numbers(base: alt.Chart, place: str) -> alt.Chart:
        share = f"(datum.v / {1.0 if end is None else end.limit!r})"
        chart: alt.Chart = (
            base.transform_calculate(printed=f"{called}_numbers[datum.row][{place}]")
            .mark_text(
                fontSize=alt.expr(printed_size(called, f"{SHARE} * width / {len(column_names)}")),
                fill=alt.expr(palette.text_on(share)),
                tooltip=None,
            )
            .encode(text="printed:N")
        )
        return chart

    if is_printed:
        layers.append(numbers(known, "datum.column"))
    if sinks:
        of_sink = sink.cells(f"{called}_sinks", len(rows), n_columns, "x", "row", f"{called}_rows")
        layers.append(
            of_sink.mark_rect(strokeWidth=0).encode(
                color=alt.Color("v:Q"), tooltip=sink.tooltip(value_title, "row")
            )
        )
        if is_printed:
            layers.append(numbers(of_sink, f"{n_columns}"))
        layers.append(sink.gap(n_columns, "x"))
    return (
        alt.LayerChart(layer=layers)
        .add_params(
            alt.param(name=f"{called}s", value=nested(blocks.values)),
            alt.param(name=f"{called}_numbers", value=[list(row) for row in printed]),
            alt.param(name=f"{called}_rows", value=list(rows)),
            *(
                alt.param(name=name, value=value)
                for name, value in printed_sizes(called, FONT_SIZE + 1, SMALLEST).items()
            ),
            alt.param(name=f"{called}_columns", value=column_names),
            *(
                [alt.param(name=f"{called}_sinks", value=[float(v) for v in sinks])]
                if sinks
                else []
            ),
        )
        .properties(
            height=alt.Step(PITCH),
            title=alt.TitleParams(blocks.note, fontSize=FONT_SIZE, anchor="end"),
        )
    )
