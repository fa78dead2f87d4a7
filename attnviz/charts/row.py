"""One row of a matrix, every value exact: what stands beside a matrix drawn in blocks."""

import altair as alt
import numpy as np

from attnviz.charts.axes import AXIS_TITLES, axis, colour, labels_of, names_of, ticks, value_title
from attnviz.charts.blocks import MAX_DIMENSIONS
from attnviz.charts.values import largest, nested
from attnviz.results import HeadTrace
from attnviz.steps import Step


def row_chart(head: HeadTrace, step: Step, row: int) -> alt.Chart:
    """One row of a matrix, every value exact, wrapped into lines that fit a screen."""
    values = step.array[row]
    if step.is_hidden is not None:
        values = np.where(step.is_hidden[row], np.nan, values)
    per_line = MAX_DIMENSIONS
    title = AXIS_TITLES[step.axes[1]]
    labels = labels_of(head, step.axes[1], len(values))
    limit = 1.0 if step.name == "weights" else largest(values)
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
                axis=axis(
                    f"{title}: line + column",
                    orient="top",
                    labelAngle=0,
                    values=ticks(min(len(values), per_line), 16),
                ),
            ),
            y=alt.Y("line:O", axis=axis("line")),
            color=colour(step, limit, is_below=True),
            tooltip=[
                alt.Tooltip("column_token:N", title=title),
                alt.Tooltip("v:Q", title=value_title(step)),
            ],
        )
        .add_params(
            alt.param(name=name, value=nested(lines)),
            alt.param(name=f"{name}_columns", value=names_of(labels, 1)),
        )
        .properties(height=alt.Step(22))
    )
