"""What is drawn in the model view, a function a part, in pixels: a picture with all thumbnails,
and on it a frame, a bar and a name for each head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import CHARACTER, legend
from attnviz.charts.parts.thumbnails import COLOUR, most_cells
from attnviz.charts.parts.values import signed_scale
from attnviz.heads.definitions import MEASURES, Measure

# Said of each head that is pointed at, before the measure that is shown.
ALWAYS_SAID = tuple(m for m in MEASURES if m.name in ("entropy", "distance", "first", "special"))

OPENED = "opened"  # the selection parameter that reports a click: `layer` and `head`

WIDTH = 800  # px, of a layer, on a screen 1280 px wide
NARROW_WIDTH = 384  # px, of a few heads beside something else
LARGEST, SMALLEST = 60, 12  # px, of a thumbnail
GAP = 4
BAR = 6
NAME = 15  # above a thumbnail that has one of its own
LABEL_WIDTH = 56
HEADER = 40
FONT_SIZE = 12
SMALL_FONT_SIZE = 9  # for thumbnails narrower than two digits


def size_of(n_columns: int) -> int:
    """px of a thumbnail, a square, where so many stand beside one another."""
    return max(SMALLEST, min(LARGEST, (WIDTH - LABEL_WIDTH) // n_columns - GAP))


def pitch_of(size: int, n_letters: int = 0) -> int:
    """px from one thumbnail to the next, with room for a name of so many letters."""
    return max(size + GAP, math.ceil(n_letters * CHARACTER * font_size_of(size)) + GAP)


def font_size_of(size: int) -> int:
    """px of the names beside thumbnails of that size."""
    return FONT_SIZE if size >= 24 else SMALL_FONT_SIZE


def is_signed(measure: Measure) -> bool:
    """Whether it has two directions, so that its sign is a hue and its size the intensity."""
    return measure.lowest < 0


def titled(measure: Measure) -> str:
    """What it is called, with its unit."""
    return f"{measure.title}, {measure.unit}" if measure.unit else measure.title


@dataclass(frozen=True)
class Shape:
    """All that decides what the view looks like, but for its numbers."""

    n_tiles: int
    n_rows: int
    n_columns: int
    size: int  # px of a thumbnail
    n_tokens: int  # the most of any layer
    measure: Measure
    above: str = "head"  # what the names are of
    n_letters: int = 0  # of the longest name, where each thumbnail has one of its own

    @property
    def said(self) -> list[Measure]:
        """The measures that are told of a head."""
        return list(dict.fromkeys([self.measure, *ALWAYS_SAID]))

    @property
    def is_named(self) -> bool:
        """Whether each thumbnail has a name, not each row and column."""
        return self.n_letters > 0

    @property
    def pitch(self) -> int:
        return pitch_of(self.size, self.n_letters)

    @property
    def row_pitch(self) -> int:
        return self.size + GAP + BAR + (NAME if self.is_named else 0)

    @property
    def left(self) -> int:
        """Where the thumbnails begin, beside the layers' names."""
        return 0 if self.is_named else LABEL_WIDTH

    @property
    def width(self) -> int:
        return self.left + self.n_columns * self.pitch

    @property
    def height(self) -> int:
        return HEADER + self.n_rows * self.row_pitch

    @property
    def is_in_blocks(self) -> bool:
        return self.n_tokens > most_cells(self.size)


def layers(of: Shape) -> list[alt.Chart]:
    """Everything that is drawn, from the back to the front."""
    zero_line = [_middles(of)] if is_signed(of.measure) else []
    return [_ramp(of), _thumbnails(of), _frames(of), *zero_line, _bars(of), *_names(of)]


def _thumbnails(of: Shape) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(x=f"{of.left}", y=f"{HEADER}", url="thumbnails")
        .mark_image(
            width=of.n_columns * of.pitch,
            height=of.n_rows * of.row_pitch,
            align="left",
            baseline="top",
            aspect=False,
            smooth=False,
            aria=False,
            tooltip=None,
        )
        .encode(x=_x(), y=_y(), url="url:N")
    )
    return chart


def opening(fields: Sequence[str], marks: str) -> alt.Parameter:
    """The selection parameter that reports which head was clicked, among these marks."""
    return alt.selection_point(
        name=OPENED,
        fields=list(fields),
        on=f"@{marks}:click",
        clear=False,
        toggle=False,
        empty=False,
    )


def _frames(of: Shape) -> alt.Chart:
    """Around each thumbnail; they answer the pointer."""
    is_open = (
        "(opened.layer ? datum.layer === opened.layer[0] && datum.head === opened.head[0]"
        " : datum.tile === framed)"
    )
    opened = opening(["layer", "head"], "tiles_marks")
    numbers = (alt.Tooltip(f"tile_{m.name}:Q", title=titled(m), format=".4~g") for m in of.said)
    chart: alt.Chart = (
        _tiles(of)
        .transform_calculate(x2=f"datum.x + {of.size}", y2=f"datum.y + {of.size}")
        .mark_rect(
            fillOpacity=0,
            cursor="pointer",
            description=alt.expr("'layer ' + datum.layer + ', head ' + datum.head"),
            stroke=alt.expr(f"{is_open} ? {palette.TEXT} : {palette.HIDDEN}"),
            strokeWidth=alt.expr(f"{is_open} ? 3 : 1"),
        )
        .encode(
            x=_x(),
            x2="x2:Q",
            y=_y(),
            y2="y2:Q",
            tooltip=[alt.Tooltip("layer:O"), alt.Tooltip("head:O"), *numbers],
        )
        .properties(name="tiles")
        .add_params(opened)
    )
    return chart


def _bars(of: Shape) -> alt.Chart:
    """Under each thumbnail its measure, as long and as dark as it is large.

    One that has a sign grows from the middle of its thumbnail, to the left where it is negative.
    """
    measure = of.measure
    start, length, place = f"datum.x + {of.size / 2}", of.size / 2, "bar below, from its middle"
    scale, values = signed_scale("limit"), "[-limit, 0, limit]"
    if not is_signed(measure):
        start, length, place = "datum.x", of.size, "bar below"
        scale = alt.Scale(domain=[0, alt.expr("limit")], interpolate="rgb")
        values = "[0, limit]"
    chart: alt.Chart = (
        _tiles(of)
        .transform_filter("isValid(datum.value)")
        .transform_calculate(
            top=f"datum.y + {of.size + 1}",
            bottom=f"datum.y + {of.size + BAR - 1}",
            start=start,
            end=f"{start} + {length} * datum.value / limit",
        )
        .mark_rect(
            description=alt.expr(f"'{measure.title} ' + format(datum.value, '.3~g')"), tooltip=None
        )
        .encode(
            x=_x("start"),
            x2="end:Q",
            y=_y("top"),
            y2="bottom:Q",
            color=alt.Color(
                "value:Q",
                scale=scale,
                legend=_legend(f"{place}: {titled(measure)}", alt.expr(values)),
            ),
        )
    )
    return chart


def _middles(of: Shape) -> alt.Chart:
    """Where a bar that has a sign begins."""
    chart: alt.Chart = (
        _tiles(of)
        .transform_calculate(
            x=f"datum.x + {of.size / 2}",
            top=f"datum.y + {of.size + 1}",
            bottom=f"datum.y + {of.size + BAR}",
        )
        .mark_rule(stroke=alt.expr(palette.FAINT), strokeWidth=1, aria=False, tooltip=None)
        .encode(x=_x(), y=_y("top"), y2="bottom:Q")
    )
    return chart


def _ramp(of: Shape) -> alt.Chart:
    """Nothing but a legend: the colours of a picture have no scale of their own."""
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(weight="0", x="0", y="0")
        .mark_rect(fillOpacity=0, aria=False, tooltip=None)
        .encode(
            x=_x(),
            y=_y(),
            fill=alt.Fill(
                "weight:Q",
                scale=alt.Scale(
                    type="sqrt", domain=[0, 1], range=[f"{COLOUR}00", COLOUR], interpolate="rgb"
                ),
                legend=_legend(
                    "weight" + (", the largest of each block" if of.is_in_blocks else ""),
                    [0, 0.1, 0.5, 1],
                ),
            ),
        )
    )
    return chart


def _names(of: Shape) -> list[alt.Chart]:
    """Of layers and heads along the edges, or of each head."""
    if of.is_named:
        names = _tiles(of).transform_calculate(y="datum.y - 7")
        return [_words(of, names, "left", "name:N"), _above(of)]
    columns = alt.Chart(alt.sequence(of.n_columns, as_="head")).transform_calculate(
        x=f"{of.left + of.size / 2} + datum.head * {of.pitch}", y=f"{HEADER - 10}"
    )
    rows = alt.Chart(alt.sequence(of.n_rows, as_="row")).transform_calculate(
        x=f"{of.left - 8}",
        y=f"{HEADER + of.size / 2} + datum.row * {of.row_pitch}",
        name="row_names[datum.row]",
    )
    return [
        _words(of, columns, "center", "head:O"),
        _words(of, rows, "right", "name:N"),
        _above(of),
    ]


def _above(of: Shape) -> alt.Chart:
    base = alt.Chart(alt.sequence(1, as_="one")).transform_calculate(
        x=f"{of.left}", y=f"{HEADER - 28}", said=f"'{of.above}'"
    )
    return _words(of, base, "left", "said:N")


def _words(
    of: Shape, base: alt.Chart, align: Literal["left", "center", "right"], text: str
) -> alt.Chart:
    chart: alt.Chart = base.mark_text(
        align=align,
        baseline="middle",
        fontSize=font_size_of(of.size),
        fill=alt.expr(palette.TEXT),
        aria=False,
        tooltip=None,
    ).encode(x=_x(), y=_y(), text=text)
    return chart


def _tiles(of: Shape) -> alt.Chart:
    """A datum for each head, at the corner of its thumbnail."""
    return (
        alt.Chart(alt.sequence(of.n_tiles, as_="tile"))
        .transform_calculate(
            layer="tile_layer[datum.tile]",
            head="tile_head[datum.tile]",
            value=f"tile_{of.measure.name}[datum.tile]",
            **{f"tile_{one.name}": f"tile_{one.name}[datum.tile]" for one in of.said},
        )
        .transform_calculate(
            x=f"{of.left} + tile_column[datum.tile] * {of.pitch}",
            y=f"{HEADER} + tile_row[datum.tile] * {of.row_pitch}",
            name="datum.layer + ' · ' + datum.head",
        )
    )


def _legend(title: str, values: Any) -> alt.Legend:
    return legend(
        title,
        values,
        FONT_SIZE,
        orient="top",
        direction="horizontal",
        gradientLength=160,
        gradientThickness=8,
        titleLimit=480,
    )


def _x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", scale=None, axis=None)


def _y(field: str = "y") -> alt.Y:
    return alt.Y(f"{field}:Q", scale=None, axis=None)
