"""What is drawn in the model view, a function a part, in pixels: a picture with all thumbnails,
and on it a frame, a bar and a name for each head."""

from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from attnviz.charts import palette
from attnviz.charts.axes import legend
from attnviz.charts.thumbnails import COLOUR, most_cells
from attnviz.heads import MEASURES, Measure

OPENED = "opened"  # the selection parameter that reports a click: `layer` and `head`

WIDTH = 800  # px, of a layer, on a screen 1280 px wide
LARGEST, SMALLEST = 60, 12  # px, of a thumbnail
GAP = 4
BAR = 6
NAME = 15  # above a thumbnail, where heads are sorted
LABEL_WIDTH = 56
HEADER = 40
FONT_SIZE = 12
SMALL_FONT_SIZE = 9  # for thumbnails narrower than two digits


def size_of(n_columns: int) -> int:
    """px of a thumbnail, a square, where so many stand beside one another."""
    return max(SMALLEST, min(LARGEST, (WIDTH - LABEL_WIDTH) // n_columns - GAP))


@dataclass(frozen=True)
class Shape:
    """All that decides what the view looks like, but for its numbers."""

    n_tiles: int
    n_rows: int
    n_columns: int
    n_tokens: int  # the most of any layer
    measure: Measure
    is_sorted: bool

    @property
    def size(self) -> int:
        return size_of(self.n_columns)

    @property
    def pitch(self) -> int:
        return self.size + GAP

    @property
    def row_pitch(self) -> int:
        return self.size + GAP + BAR + (NAME if self.is_sorted else 0)

    @property
    def left(self) -> int:
        """Where the thumbnails begin, beside the layers' names."""
        return 0 if self.is_sorted else LABEL_WIDTH

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
    return [_ramp(of), _thumbnails(of), _frames(of), _bars(of), *_names(of)]


def _thumbnails(of: Shape) -> alt.Chart:
    return (
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


def _frames(of: Shape) -> alt.Chart:
    """Around each thumbnail; they answer the pointer."""
    is_open = (
        "(opened.layer ? datum.layer === opened.layer[0] && datum.head === opened.head[0]"
        " : datum.tile === framed)"
    )
    opened = alt.selection_point(
        name=OPENED,
        fields=["layer", "head"],
        on="@tiles_marks:click",
        clear=False,
        toggle=False,
        empty=False,
    )
    numbers = (alt.Tooltip(f"{m.name}:Q", title=m.title, format=".4~g") for m in MEASURES)
    return (
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


def _bars(of: Shape) -> alt.Chart:
    """Under each thumbnail its measure, as long and as dark as it is large."""
    measure = of.measure
    unit = f", {measure.unit}" if measure.unit else ""
    return (
        _tiles(of)
        .transform_calculate(
            top=f"datum.y + {of.size + 1}",
            bottom=f"datum.y + {of.size + BAR - 1}",
            end=f"datum.x + {of.size} * datum.value / limit",
        )
        .transform_filter("isValid(datum.value)")
        .mark_rect(
            description=alt.expr(f"'{measure.title} ' + format(datum.value, '.3~g')"), tooltip=None
        )
        .encode(
            x=_x(),
            x2="end:Q",
            y=_y("top"),
            y2="bottom:Q",
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(domain=[0, alt.expr("limit")], interpolate="rgb"),
                legend=_legend(f"bar below: {measure.title}{unit}", alt.expr("[0, limit]")),
            ),
        )
    )


def _ramp(of: Shape) -> alt.Chart:
    """Nothing but a legend: the colours of a picture have no scale of their own."""
    return (
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


def _names(of: Shape) -> list[alt.Chart]:
    """Of layers and heads along the edges, or where they are sorted of each head."""
    if of.is_sorted:
        said = f"layer · head, by {of.measure.title}, the largest first"
        above = _tiles(of).transform_calculate(y="datum.y - 7")
        return [_words(of, above, "left", "name:N"), _above(of, said)]
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
        _above(of, "head"),
    ]


def _above(of: Shape, said: str) -> alt.Chart:
    base = alt.Chart(alt.sequence(1, as_="one")).transform_calculate(
        x=f"{of.left}", y=f"{HEADER - 28}", said=f"'{said}'"
    )
    return _words(of, base, "left", "said:N")


def _words(
    of: Shape, base: alt.Chart, align: Literal["left", "center", "right"], text: str
) -> alt.Chart:
    return base.mark_text(
        align=align,
        baseline="middle",
        fontSize=FONT_SIZE if of.size >= 24 else SMALL_FONT_SIZE,
        fill=alt.expr(palette.TEXT),
        aria=False,
        tooltip=None,
    ).encode(x=_x(), y=_y(), text=text)


def _tiles(of: Shape) -> alt.Chart:
    """A datum for each head, at the corner of its thumbnail."""
    return (
        alt.Chart(alt.sequence(of.n_tiles, as_="tile"))
        .transform_calculate(
            layer="tile_layer[datum.tile]",
            head="tile_head[datum.tile]",
            value=f"tile_{of.measure.name}[datum.tile]",
            **{measure.name: f"tile_{measure.name}[datum.tile]" for measure in MEASURES},
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
        titleLimit=320,
    )


def _x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", scale=None, axis=None)


def _y(field: str = "y") -> alt.Y:
    return alt.Y(f"{field}:Q", scale=None, axis=None)
