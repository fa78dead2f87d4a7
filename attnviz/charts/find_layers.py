"""What is drawn of a grid of all heads, a function a part: cells, their numbers, names and frames.

Find colours it by weights, Effect by what changes without a head.
"""

from dataclasses import dataclass
from typing import Any

import altair as alt

from attnviz.charts.model_layers import opening
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import legend
from attnviz.charts.parts.values import signed_scale, weights_scale
from attnviz.heads.finding import FIRST

WIDTH = 800  # px, of a layer, on a screen 1280 px wide
WIDEST, NARROWEST = 60, 14  # px, of a cell
HIGHEST, LOWEST = 34, 24
PRINTED = 36  # px, of a cell that has room for its number
HEADER = 34
FONT_SIZE, SMALL_FONT_SIZE = 12, 9
PLACES = ("kind", "layer", "head")
OF_ONE, OF_SEVERAL = ("weight", "rank"), ("mean", "spread", "n_first", "n_texts", "rank")
OF_CHANGE = ("change", "kl", "rank")


@dataclass(frozen=True)
class Shape:
    """All that decides what the view looks like, but for its numbers."""

    n_tiles: int
    n_rows: int
    n_columns: int
    left: int  # px, for the layers' names
    is_of_several: bool = False  # texts
    is_of_change: bool = False  # signed; heads that have no number yet are left blank

    @property
    def cell(self) -> int:
        return max(NARROWEST, min(WIDEST, (WIDTH - self.left) // self.n_columns))

    @property
    def row(self) -> int:
        return max(LOWEST, min(HIGHEST, self.cell))

    @property
    def is_printed(self) -> bool:
        return self.cell >= PRINTED

    @property
    def columns(self) -> tuple[str, ...]:
        """What is told of each head."""
        if self.is_of_change:
            return OF_CHANGE
        return OF_SEVERAL if self.is_of_several else OF_ONE

    @property
    def value(self) -> str:
        """The one of them that colours the grid."""
        return self.columns[0]

    @property
    def title(self) -> str:
        if self.is_of_change:
            return "Δ log p without the head"
        return "mean weight over the texts" if self.is_of_several else "weight"


def grid(of: Shape) -> alt.LayerChart:
    """All of it, with the parameter that reports a click."""
    layers = [_cells(of), *_numbers(of), *_names(of), _frames(of)]
    return alt.LayerChart(layer=layers).properties(
        width=of.left + of.n_columns * of.cell, height=HEADER + of.n_rows * of.row
    )


def _cells(of: Shape) -> alt.Chart:
    chart: alt.Chart = (
        _tiles(of)
        .mark_rect(stroke=alt.expr(palette.HIDDEN), strokeWidth=1, aria=False, tooltip=None)
        .encode(
            **_box(),
            color=alt.Color(
                "value:Q",
                scale=signed_scale("limit") if of.is_of_change else weights_scale("limit"),
                legend=legend(
                    of.title,
                    alt.expr("[-limit, 0, limit]" if of.is_of_change else "[0, limit / 2, limit]"),
                    FONT_SIZE,
                    orient="top",
                    direction="horizontal",
                    gradientLength=160,
                    gradientThickness=8,
                    titleLimit=320,
                ),
            ),
        )
    )
    return chart


def _numbers(of: Shape) -> list[alt.Chart]:
    """The weight where there is room, and the rank of the strongest, else in its place."""
    ink = alt.expr(palette.text_on("(datum.value / limit)"))
    first = (
        _tiles(of)
        .transform_filter(f"datum.rank <= {FIRST}")
        .mark_text(
            align="left" if of.is_printed else "center",
            fontSize=SMALL_FONT_SIZE + (of.cell >= 20),
            fontWeight="bold",
            fill=ink,
            aria=False,
            tooltip=None,
        )
    )
    if not of.is_printed:
        return [first.encode(x=_x("middle"), y=_y("centre"), text="rank:Q")]
    printed = "format(datum.value, printed_as)"
    if of.is_of_change:  # a zero has no sign
        printed = f"replace({printed}, /^[+−](0[.]0+)$/, '$1')"
    weights = (
        _tiles(of)
        .transform_filter("isValid(datum.value)")
        .transform_calculate(printed=printed, low="datum.y2 - 11")
        .mark_text(
            align="right",
            baseline="middle",
            dx=-4,
            fontSize=FONT_SIZE,
            fill=ink,
            aria=False,
            tooltip=None,
        )
        .encode(x=_x("x2"), y=_y("low"), text="printed:N")
    )
    corner = first.transform_calculate(near="datum.x + 4", high="datum.y + 8")
    return [weights, corner.encode(x=_x("near"), y=_y("high"), text="rank:Q")]


def _names(of: Shape) -> list[alt.Chart]:
    """Of layers and heads along the edges."""
    step = 1 if of.cell >= 20 else 5
    columns = alt.Chart(alt.sequence(0, of.n_columns, step, as_="head")).transform_calculate(
        x=f"{of.left + of.cell / 2} + datum.head * {of.cell}", y=f"{HEADER - 9}"
    )
    rows = alt.Chart(alt.sequence(of.n_rows, as_="row")).transform_calculate(
        x=f"{of.left - 8}",
        y=f"{HEADER + of.row / 2} + datum.row * {of.row}",
        name="row_names[datum.row]",
    )
    title = alt.Chart(alt.sequence(1, as_="one")).transform_calculate(
        x=f"{of.left}", y=f"{HEADER - 26}", said="'head'"
    )
    written: list[tuple[alt.Chart, Any, str]] = [
        (columns, "center", "head:O"),
        (rows, "right", "name:N"),
        (title, "left", "said:N"),
    ]
    return [
        base.mark_text(
            align=align,
            baseline="middle",
            fontSize=FONT_SIZE,
            fill=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        ).encode(x=_x(), y=_y(), text=text)
        for base, align, text in written
    ]


def _frames(of: Shape) -> alt.Chart:
    """Around each cell, above all others; they answer the pointer."""
    is_open = (
        "(opened.layer ? datum.kind === opened.kind[0] && datum.layer === opened.layer[0]"
        " && datum.head === opened.head[0] : datum.tile === framed)"
    )
    opened = opening(PLACES, "tiles_marks")
    tooltip = [alt.Tooltip("kind:N"), alt.Tooltip("layer:O"), alt.Tooltip("head:O")]
    if of.is_of_several:
        tooltip += [
            alt.Tooltip("mean:Q", title="mean weight", format=".4~g"),
            alt.Tooltip("spread:Q", title="spread (standard deviation)", format=".4~g"),
            alt.Tooltip("rank:Q", title="rank by the mean"),
            alt.Tooltip("among:N", title=f"among the first {FIRST}"),
        ]
    elif of.is_of_change:
        tooltip += [
            alt.Tooltip("change:Q", title=of.title, format="+.4~g"),
            alt.Tooltip("kl:Q", title="KL divergence, nats", format=".4~g"),
            alt.Tooltip("rank:Q", title="rank by magnitude"),
        ]
    else:
        tooltip += [alt.Tooltip("weight:Q", format=".4~g"), alt.Tooltip("rank:Q")]
    place = "datum.kind + ', layer ' + datum.layer + ', head ' + datum.head"
    chart: alt.Chart = (
        _tiles(of)
        .mark_rect(
            fillOpacity=0,
            cursor="pointer",
            description=alt.expr(
                f"{place} + ': ' + format(datum.value, '.3~g') + ', rank ' + datum.rank"
            ),
            stroke=alt.expr(palette.TEXT),
            strokeWidth=alt.expr(f"{is_open} ? 3 : 0"),
        )
        .encode(**_box(), tooltip=tooltip)
        .properties(name="tiles")
        .add_params(opened)
    )
    return chart


def _tiles(of: Shape) -> alt.Chart:
    """A datum for each head, at its place in the grid."""
    told = {name: f"tile_{name}[datum.tile]" for name in ("row", "layer", "head", *of.columns)}
    tiles = alt.Chart(alt.sequence(of.n_tiles, as_="tile")).transform_calculate(**told)
    if of.is_of_several:
        tiles = tiles.transform_calculate(among="datum.n_first + ' of ' + datum.n_texts + ' texts'")
    if of.is_of_change:
        tiles = tiles.transform_filter("isValid(datum.change)")
    return tiles.transform_calculate(
        kind="row_kinds[datum.row]",
        value=f"datum.{of.value}",
        x=f"{of.left} + datum.head * {of.cell}",
        y=f"{HEADER} + datum.row * {of.row}",
    ).transform_calculate(
        x2=f"datum.x + {of.cell}",
        y2=f"datum.y + {of.row}",
        middle=f"datum.x + {of.cell / 2}",
        centre=f"datum.y + {of.row / 2}",
    )


def _box() -> dict[str, Any]:
    return {"x": _x(), "x2": "x2:Q", "y": _y(), "y2": "y2:Q"}


def _x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", scale=None, axis=None)


def _y(field: str = "y") -> alt.Y:
    return alt.Y(f"{field}:Q", scale=None, axis=None)
