"""Axes and legends of matrices: what a row, a column and a colour are called."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step
from attnviz.charts.parts import palette
from attnviz.charts.parts.blocks import Blocks
from attnviz.charts.parts.figure import PRINTED
from attnviz.charts.parts.values import (
    LEGEND_NUMBER,
    legend_number,
    signed_scale,
    weights_scale,
)

AXIS_TITLES = {
    "query_pos": "query token",
    "key_pos": "key token",
    "d_model": "dimension of x (d_model)",
    "d_head": "dimension (d_head)",
    "d_value": "dimension (d_value)",
}
FONT_SIZE = 12  # px, of labels; larger on a projector
CHARACTER = 0.56  # of the font size: how wide a letter is, on average
LEANING_LABELS = 9
NARROW = 250  # px
LABEL_LENGTH = 120  # px; a longer token is cut with an ellipsis and whole on hover


def axis(title: str, *, font_size: int = FONT_SIZE, **options: Any) -> alt.Axis:
    """A plain axis in the text's own colour, with every label at its place, as a rule."""
    own: dict[str, Any] = {"labelColor": alt.expr(palette.TEXT), "labelOverlap": False}
    return alt.Axis(
        labelFontSize=font_size,
        titleFontSize=font_size,
        title=title,
        domain=False,
        ticks=False,
        labelLimit=LABEL_LENGTH,
        labelPadding=6,
        labelFlush=False,
        titleColor=alt.expr(palette.TEXT),
        **own | options,
    )


def edge_to_edge(**options: Any) -> alt.Scale:
    """Cells beside one another, the first of them exactly at the edge.

    Centred, as by default, it may be a rounding error outside, and Vega draws no name there.
    """
    return alt.Scale(padding=0, align=0, **options)


def labels_of(head: HeadTrace, axis: str, n: int) -> Sequence[str]:
    """What the rows or columns along an axis are called."""
    if axis == "query_pos":
        return head.query_tokens
    if axis == "key_pos":
        return head.key_tokens
    return [str(dimension) for dimension in range(n)]


def label_angle(labels: Sequence[str], font_size: int, width: int) -> dict[str, Any]:
    """Words lie flat where they fit into the width, lean where there are few, else stand."""
    n, longest = len(labels), max(map(len, labels), default=0)
    if longest * CHARACTER * font_size <= width / n:
        return {"labelAngle": 0, "labelBaseline": "alphabetic"}
    if n <= LEANING_LABELS and width > NARROW:
        return {"labelAngle": -45, "labelBaseline": "alphabetic"}
    return {"labelAngle": -90, "labelBaseline": "middle"}


def names_of(labels: Sequence[str], per_block: int) -> list[str]:
    """What each row or column is called, on hover and beside the axis."""
    if per_block == 1:
        return list(labels)
    ends = (
        (start, min(start + per_block, len(labels)) - 1)
        for start in range(0, len(labels), per_block)
    )
    return [labels[a] if a == b else f"{labels[a]} … {labels[b]}" for a, b in ends]


def ticks(n: int, at_most: int) -> list[int]:
    """Evenly spaced places to name, a power of two apart."""
    step = 1
    while n > at_most * step:
        step *= 2
    return list(range(0, n, step))


def colour(
    name: str,
    title: str,
    called: str,
    *,
    is_below: bool,
    font_size: int = FONT_SIZE,
    field: str = "v",
    **options: Any,
) -> alt.Color:
    """A step's colours, with a legend in numbers: both ends and the middle.

    They end where `ScaleEnd.constants` of what they are `called` says. `options` are the legend's.
    """
    place = _legend_place(is_below) | options
    if name == "weights":
        return alt.Color(
            f"{field}:Q",
            scale=weights_scale(),
            legend=legend(title, [0, 0.5, 1], font_size, **place),
        )
    limit = f"{called}_limit"
    values = alt.expr(f"[-{limit}, 0, {limit}]")
    place["labelExpr"] = legend_number(f"{called}_cut")
    return alt.Color(
        f"{field}:Q",
        scale=signed_scale(limit),
        legend=legend(title, values, font_size, **place),
    )


def legend(title: str, values: Any, font_size: int = FONT_SIZE, **options: Any) -> alt.Legend:
    """A legend in numbers, in the text's own colour."""
    return alt.Legend(
        title=title,
        values=values,
        labelOverlap=False,
        labelFontSize=font_size,
        titleFontSize=font_size,
        labelColor=alt.expr(palette.TEXT),
        titleColor=alt.expr(palette.TEXT),
        **{"labelExpr": LEGEND_NUMBER} | options,
    )


def printed_sizes(called: str, largest: float, least: float) -> dict[str, list[float]]:
    """The constant that `printed_size` reads."""
    return {f"{called}{PRINTED}": [largest, least]}


def printed_size(called: str, fitting: str) -> str:
    """The size of numbers in cells, in an expression; 0 where cells are too narrow for them.

    `fitting` is an expression for the size that fits. Where it is too small, on a phone, numbers
    are left to the tooltip. In a larger figure the width of this part is not known (0), and there
    is room.
    """
    sizes = f"{called}{PRINTED}"
    return f"width == 0 ? {sizes}[0] : {fitting} < {sizes}[1] ? 0 : min({sizes}[0], {fitting})"


def axis_titles(step: Step) -> tuple[str, str]:
    """What a row and a column of a step's matrix are called."""
    rows, columns = (AXIS_TITLES[axis] for axis in step.axes)
    if step.name == "output":
        columns = "dimension of the output (d_model)"
    return "token" if step.is_of_all_tokens else rows, columns


def matrix_title(step: Step) -> str:
    """What a step's matrix is, for a list of figures."""
    return f"{step.title}: {' by '.join(axis_titles(step))}"


def is_of_pairs(step: Step) -> bool:
    """Whether a cell of the step's matrix is a query and a key."""
    return set(step.axes) == {"query_pos", "key_pos"}


def _legend_place(is_below: bool) -> dict[str, Any]:
    if is_below:
        return {"orient": "bottom", "direction": "horizontal", "gradientLength": 110}
    return {"orient": "right", "gradientLength": 90}


def value_title(name: str, blocks: Blocks | None = None) -> str:
    """What the numbers are: the step's name, and how blocks sum them up."""
    if name.startswith("w_"):
        name = name.upper()
    else:
        name = name.removesuffix("_query").removesuffix("_key").replace("_", " ")
    return name if blocks is None or blocks.are_exact else f"{name}, {blocks.summary}"
