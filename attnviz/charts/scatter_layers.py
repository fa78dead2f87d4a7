"""What is drawn of the scatter, a function a part: a ground to drag over, points and a ring."""

import math
from dataclasses import dataclass
from typing import Any

import altair as alt

from attnviz.charts.model_layers import is_signed, opening, titled
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import legend
from attnviz.charts.parts.values import LEGEND_NUMBER, signed_scale
from attnviz.heads.definitions import Measure

BRUSHED = "brushed"  # the selection parameter that reports an area: `x` and `y`, two ends each
PLACES = ("layer", "head")  # what a colour may be besides a measure

HEIGHT = 360  # px
FONT_SIZE = 12
SMALLEST, LARGEST, PLAIN = 30, 500, 110  # px², of a point
RING = 3  # px, around it
OPACITY, FADED = 0.8, 0.2


@dataclass(frozen=True)
class Shape:
    """All that decides what the scatter looks like, but for its numbers."""

    n_points: int
    x: Measure
    y: Measure
    colour: Measure | str  # "layer" or "head"
    size: Measure | None

    @property
    def measures(self) -> dict[str, Measure]:
        """By what they decide."""
        drawn = {"x": self.x, "y": self.y, "colour": self.colour, "size": self.size}
        return {channel: one for channel, one in drawn.items() if isinstance(one, Measure)}


def points(of: Shape) -> alt.LayerChart:
    """All of it, with the parameters that report a click and an area."""
    chart = alt.LayerChart(layer=[alt.LayerChart(layer=[_ground(of)]), _points(of), _ring(of)])
    drawn: alt.LayerChart = chart.resolve_scale(size="independent").properties(height=HEIGHT)
    return drawn


def _ground(of: Shape) -> alt.Chart:
    """What is dragged over; below the points, so that those in the area answer the pointer."""
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(x="x_ends[0]", y="y_ends[0]")
        .mark_point(opacity=0, aria=False, tooltip=None)
        .encode(x=_along("x", of.x), y=_along("y", of.y))
        .properties(name="ground")
        .add_params(_brush())
    )
    return chart


def _brush() -> alt.Parameter:
    # A click on a point opens its head and leaves the area as it is.
    is_elsewhere = "!event.item || event.item.mark.name !== 'points_marks'"
    return alt.selection_interval(
        name=BRUSHED,
        encodings=["x", "y"],
        on=f"[pointerdown[{is_elsewhere}], window:pointerup] > window:pointermove!",
        zoom=False,
        mark=alt.BrushConfig(fill="#808890", fillOpacity=0.12, stroke="#808890"),
    )


def _points(of: Shape) -> alt.Chart:
    opened = opening(PLACES, "points_marks")
    told: dict[Measure, str] = {one: channel for channel, one in of.measures.items()}
    said = "".join(
        f" + ', {one.title} ' + format(datum.{channel}, '.3~g')" for one, channel in told.items()
    )
    chart: alt.Chart = (
        _heads(of)
        .mark_point(
            filled=True,
            cursor="pointer",
            stroke=alt.expr(palette.GREY),
            strokeWidth=1,
            description=alt.expr(f"'layer ' + datum.layer + ', head ' + datum.head{said}"),
        )
        .encode(
            x=_along("x", of.x),
            y=_along("y", of.y),
            fill=_colour(of),
            size=_size(of),
            opacity=alt.when(_brush()).then(alt.value(OPACITY)).otherwise(alt.value(FADED)),
            tooltip=[
                *(alt.Tooltip(f"{place}:O") for place in PLACES),
                *(
                    alt.Tooltip(f"{channel}:Q", title=titled(one), format=".4~g")
                    for one, channel in told.items()
                ),
            ],
        )
        .properties(name="points")
        .add_params(opened)
    )
    return chart


def _ring(of: Shape) -> alt.Chart:
    """Around the open head, above all points."""
    is_open = (
        "opened.layer ? datum.layer === opened.layer[0] && datum.head === opened.head[0]"
        " : datum.point === ringed"
    )
    chart: alt.Chart = (
        _heads(of)
        .transform_filter(is_open)
        .mark_point(
            filled=False,
            stroke=alt.expr(palette.TEXT),
            strokeWidth=3,
            opacity=1,
            aria=False,
            tooltip=None,
        )
        .encode(x=_along("x", of.x), y=_along("y", of.y), size=_size(of, RING))
    )
    return chart


def _heads(of: Shape) -> alt.Chart:
    """A datum for each head."""
    channels = (*of.measures, "colour")
    return (
        alt.Chart(alt.sequence(0, of.n_points, as_="point"))
        .transform_calculate(
            **{name: f"point_{name}[datum.point]" for name in (*PLACES, *channels)}
        )
        .transform_calculate(magnitude="abs(datum.size)")
    )


def _along(channel: str, measure: Measure) -> Any:
    axis = alt.Axis(
        title=titled(measure),
        labelExpr=LEGEND_NUMBER,
        labelFontSize=FONT_SIZE,
        titleFontSize=FONT_SIZE,
        labelColor=alt.expr(palette.TEXT),
        titleColor=alt.expr(palette.TEXT),
        gridColor=alt.expr(f"datum.value === 0 ? {palette.FAINT} : {palette.HIDDEN}"),
        domain=False,
        ticks=False,
        tickCount=6,
        labelPadding=6,
    )
    ends = [alt.expr(f"{channel}_ends[0]"), alt.expr(f"{channel}_ends[1]")]
    scale = alt.Scale(domain=ends, nice=False, zero=False)
    along = alt.X if channel == "x" else alt.Y
    return along(f"{channel}:Q", scale=scale, axis=axis)


def _colour(of: Shape) -> alt.Fill:
    ends = [alt.expr("colour_ends[0]"), alt.expr("colour_ends[1]")]
    scale = alt.Scale(domain=ends, interpolate="rgb")
    title = of.colour
    if isinstance(of.colour, Measure):
        title = titled(of.colour)
        if is_signed(of.colour):
            scale = signed_scale("colour_ends[1]")
    return alt.Fill(
        "colour:Q",
        scale=scale,
        legend=_legend(
            f"colour: {title}",
            alt.expr("colour_named"),
            "top",
            gradientLength=160,
            gradientThickness=8,
        ),
    )


def _size(of: Shape, room: int = 0) -> Any:
    """The areas of points, or of rings around them with so much room."""
    smallest, plain, largest = (
        math.pi * (math.sqrt(area / math.pi) + room) ** 2 for area in (SMALLEST, PLAIN, LARGEST)
    )
    if of.size is None:
        return alt.value(plain)
    title = titled(of.size) + (", without its sign" if is_signed(of.size) else "")
    shown = _legend(
        f"size: {title}",
        alt.expr("[0, size_limit / 2, size_limit]"),
        "bottom",
        symbolFillColor=alt.expr(palette.HIDDEN),
        symbolStrokeColor=alt.expr(palette.FAINT),
        symbolStrokeWidth=1,
    )
    return alt.Size(
        "magnitude:Q",
        scale=alt.Scale(domain=[0, alt.expr("size_limit")], range=[smallest, largest]),
        legend=None if room else shown,
    )


def _legend(title: str, values: Any, orient: str, **options: Any) -> alt.Legend:
    return legend(title, values, FONT_SIZE, orient=orient, titleLimit=480, **options)
