"""Which dimensions decide a score: each one's share, the largest first, and their running sum."""

from functools import cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.attention.explained.dimensions import (
    ENOUGH,
    dimension_shares,
    dimensions_sentence,
    n_enough,
)
from attnviz.attention.head import HeadTrace
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import FONT_SIZE, axis, ticks
from attnviz.charts.parts.figure import Figure, structure_of
from attnviz.text.phrases import plain

HEIGHT = 150
FIELDS = ("dimension", "product", "share", "running")


def dimensions_chart(head: HeadTrace, query: int, key: int) -> Figure:
    """A bar for each dimension's share of the pair's score, and a line for the sum so far.

    The rule marks the number of dimensions that give 80 %.
    """
    shares = dimension_shares(head, query, key)
    constants: dict[str, Any] = {
        f"shares_{name}": [None if np.isnan(value) else value for value in shares[name].tolist()]
        for name in FIELDS
    }
    return Figure(
        _structure(len(shares)),
        constants | {"n_enough": n_enough(shares) or 0},
        plain(dimensions_sentence(head, query, key)),
    )


@cache
def _structure(n: int) -> dict[str, Any]:
    base = alt.Chart(alt.sequence(n, as_="place")).transform_calculate(
        x="datum.place + 0.5",
        first="datum.place + 0.1",
        last="datum.place + 0.9",
        zero="0",
        **{name: f"shares_{name}[datum.place]" for name in FIELDS},
    )
    x_scale = alt.Scale(domain=[0, n], nice=False)
    x_axis = axis(
        "dimensions (d_head), the largest share of q · k first",
        values=[place + 0.5 for place in ticks(n, 32)],
        labelExpr="'' + shares_dimension[floor(datum.value)]",
        grid=False,
    )
    tooltip = [
        alt.Tooltip("dimension:Q"),
        alt.Tooltip("product:Q", title="q × k", format=".4~g"),
        alt.Tooltip("share:Q", title="share of q · k", format=".1%"),
        alt.Tooltip("running:Q", title="running sum", format=".1%"),
    ]
    y_axis = axis("share of q · k", format=".0%", tickCount=4, grid=True, gridOpacity=0.3)
    bars = base.mark_rect(
        fill=alt.expr(f"datum.share < 0 ? {palette.NEGATIVE} : {palette.LINE}")
    ).encode(
        x=alt.X("first:Q", scale=x_scale, axis=x_axis),
        x2="last:Q",
        y=alt.Y("zero:Q", axis=y_axis),
        y2="share:Q",
        tooltip=tooltip,
    )
    line = base.mark_line(
        stroke=alt.expr(palette.TEXT), strokeWidth=1.5, interpolate="monotone", tooltip=None
    ).encode(x="x:Q", y="running:Q")
    points = base.mark_point(
        filled=True, size=22, fill=alt.expr(palette.TEXT), fillOpacity=1, strokeWidth=0
    ).encode(x="x:Q", y="running:Q", tooltip=tooltip)
    enough = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_filter("n_enough > 0")
        .transform_calculate(
            x="n_enough", said=f"'{100 * ENOUGH:.0f} % after ' + n_enough + ' of {n}'"
        )
    )
    rule = enough.mark_rule(
        strokeDash=[4, 3], stroke=alt.expr(palette.GREY), strokeWidth=1.5, tooltip=None
    ).encode(x="x:Q")
    label = enough.mark_text(
        align="left",
        baseline="top",
        dx=5,
        fontSize=FONT_SIZE,
        fill=alt.expr(palette.TEXT),
        y=2,
        tooltip=None,
    ).encode(x="x:Q", text="said:N")
    chart = alt.LayerChart(layer=[bars, line, points, rule, label]).properties(height=HEIGHT)
    return structure_of(chart)
