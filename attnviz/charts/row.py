"""One row of a matrix, every value exact: what stands beside a matrix drawn in blocks."""

from functools import cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step
from attnviz.charts.parts import palette, sink
from attnviz.charts.parts.axes import (
    axis,
    axis_titles,
    colour,
    labels_of,
    names_of,
    ticks,
    value_title,
)
from attnviz.charts.parts.blocks import MAX_DIMENSIONS
from attnviz.charts.parts.figure import MOST_CELLS_IN_SVG, Figure, structure_of
from attnviz.charts.parts.values import WHY_HIDDEN, ScaleEnd, nested, scale_end

PER_LINE = MAX_DIMENSIONS


def row_chart(head: HeadTrace, step: Step, row: int) -> Figure:
    """One row of a matrix, every value exact, wrapped into lines that fit a screen.

    What a query gives to the head's sink stands in a line of its own.
    """
    values = step.array[row]
    if step.is_hidden is not None:
        values = np.where(step.is_hidden[row], np.nan, values)
    labels = labels_of(head, step.axes[1], len(values))
    lines = [values[start : start + PER_LINE] for start in range(0, len(values), PER_LINE)]
    names, all_values = names_of(labels, 1), values
    has_sink = step.sink is not None and step.axes[1] == "key_pos"
    if step.sink is not None and has_sink:
        own = step.sink[row : row + 1]
        lines.append(own)
        all_values = np.append(values, own)
        n_empty = -len(names) % PER_LINE  # behind the last key
        names = [*names, *[""] * n_empty, sink.NO_TOKEN]
    are_tokens = step.axes[1] in ("query_pos", "key_pos")
    end = ScaleEnd(1.0, is_cut=False) if step.name == "weights" else scale_end(all_values)
    constants: dict[str, Any] = {
        f"{step.name}_row": nested(lines),
        **({f"{step.name}_row_columns": names} if are_tokens else {}),
        **end.constants(f"{step.name}_row"),
    }
    has_hidden = step.hidden_because is not None and bool(np.isnan(values).any())
    if step.hidden_because is not None and has_hidden:
        constants[f"{step.name}_row_because"] = step.hidden_because[row].tolist()
    structure = _structure(
        step.name, axis_titles(step)[1], are_tokens, len(values), has_sink, has_hidden
    )
    return Figure(
        structure,
        constants,
        n_marks=len(values),
        most_in_svg=MOST_CELLS_IN_SVG,
        is_rounded=True,
    )


@cache
def _structure(
    step_name: str,
    title: str,
    are_tokens: bool,
    n_values: int,
    has_sink: bool,
    has_hidden: bool,
) -> dict[str, Any]:
    n_lines, n_places = -(-n_values // PER_LINE), min(n_values, PER_LINE)
    labels: dict[str, Any] = {}
    if has_sink:
        labels["labelExpr"] = (
            f"datum.value == {n_lines * PER_LINE} ? '{sink.LABEL}' : '' + datum.value"
        )
    name = f"{step_name}_row"
    what = value_title(step_name)
    tooltip = [alt.Tooltip("column_token:N", title=title)]
    base = (
        alt.Chart(alt.sequence(n_lines + has_sink, as_="number"))
        .transform_calculate(
            line=f"datum.number * {PER_LINE}",
            v=f"{name}[datum.number]",
            place=f"sequence(length({name}[datum.number]))",
        )
        .transform_flatten(["v", "place"])
        .transform_calculate(
            column="datum.line + datum.place",
            column_token=f"{name}_columns[datum.line + datum.place]"
            if are_tokens
            else "'' + (datum.line + datum.place)",
        )
        .encode(
            x=alt.X(
                "place:O",
                axis=axis(
                    f"{title} = row label + column label",
                    orient="top",
                    labelAngle=0,
                    values=ticks(n_places, 8),
                ),
                scale=alt.Scale(domain=list(range(n_places))),
            ),
            y=alt.Y("line:O", axis=axis("line", **labels)),
        )
    )
    known = base.transform_filter("isValid(datum.v)").mark_rect(strokeWidth=0)
    cells = [
        known.encode(
            color=colour(step_name, what, name, is_below=True),
            tooltip=[*tooltip, alt.Tooltip("v:Q", title=what, format=".8~g")],
        )
    ]
    if has_hidden:
        hidden = base.transform_filter("!isValid(datum.v)").transform_calculate(
            state=f"{WHY_HIDDEN}[{name}_because[datum.column]]"
        )
        cells.append(
            hidden.mark_rect(strokeWidth=0, fill=alt.expr(palette.HIDDEN)).encode(
                tooltip=[*tooltip, alt.Tooltip("state:N", title=what)]
            )
        )
    return structure_of(alt.LayerChart(layer=cells).properties(height=alt.Step(18)))
