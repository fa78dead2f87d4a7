"""The find view: which heads link one token to another, every layer and head in one grid.

Layers run down and heads across; a cell is as dark as its head's weight is large, and the ten
strongest have their rank in it. A click opens the head.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import floor, isfinite, log10
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts import palette
from attnviz.charts.axes import legend
from attnviz.charts.figure import MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.model_layers import OPENED
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.charts.values import end_of_weights
from attnviz.errors import InputError
from attnviz.heads.finding import FIRST
from attnviz.wording import number

__all__ = ["OPENED", "find_figure", "find_view", "strongest", "takeaway"]

WIDTH = 800  # px, of a layer, on a screen 1280 px wide
WIDEST, NARROWEST = 60, 14  # px, of a cell
HIGHEST, LOWEST = 34, 24
PRINTED = 36  # px, of a cell that has room for its number
HEADER = 34
FONT_SIZE, SMALL_FONT_SIZE = 12, 9
LETTER = 7  # px
PLACES = ("kind", "layer", "head")
OF_ONE, OF_SEVERAL = ("weight", "rank"), ("mean", "spread", "n_first", "n_texts", "rank")


@dataclass(frozen=True)
class _Shape:
    """All that decides what the view looks like, but for its numbers."""

    n_tiles: int
    n_rows: int
    n_columns: int
    left: int  # px, for the layers' names
    is_of_several: bool  # texts

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
        return OF_SEVERAL if self.is_of_several else OF_ONE

    @property
    def title(self) -> str:
        return "mean weight over the texts" if self.is_of_several else "weight"


def find_view(
    table: pd.DataFrame,
    *,
    kind: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """Every head of a table, layers × heads, coloured by what it gives from a token to another.

    The table is what `attnviz.heads.linking` gives, or `linking_over` for several texts. The ten
    strongest have their rank in the cell; one head, of one `kind` where there are several, may be
    framed. `display_mode` is "light" (default) or "dark". Raises InputError for another table and
    for a head that it does not have.
    """
    if (layer is None) != (head is None):
        raise InputError("A head is framed by its layer and its number.\n\nHint: pass both.")
    figure = find_figure(table, layer, head, kind=kind)
    if layer is not None and figure.constants["framed"] < 0:
        raise InputError(
            f"The table has no layer {layer!r} with a head {head!r}.\n\nHint: choose a head that "
            "is in its columns 'layer' and 'head'."
        )
    return displayed(figure.chart(), display_mode or "light")


def find_figure(
    table: pd.DataFrame,
    layer: int | None = None,
    head: int | None = None,
    *,
    kind: str | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    Clicks are reported by the selection parameter OPENED: kind, layer and head.
    """
    value = _value(table)
    heads = strongest(table, len(table))
    rows = list(heads[["kind", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    kinds = list(dict.fromkeys(table["kind"]))
    rows.sort(key=lambda row: (kinds.index(row[0]), row[1]))
    names = [f"{of} {n}" if len(kinds) > 1 else f"layer {n}" for of, n in rows]
    shape = _Shape(
        n_tiles=len(heads),
        n_rows=len(rows),
        n_columns=int(heads["head"].max()) + 1,
        left=16 + LETTER * max(map(len, names)),
        is_of_several=value == "mean",
    )
    largest = float(heads[value].where(np.isfinite(heads[value])).max())
    limit = end_of_weights(largest)
    is_framed = (heads["layer"] == layer) & (heads["head"] == head)
    if kind is not None:
        is_framed &= heads["kind"] == kind
    framed = np.flatnonzero(is_framed)
    constants = {
        "note": [_note(largest, limit, shape)],
        "row_names": names,
        "row_kinds": [of for of, _ in rows],
        "limit": limit,
        "printed_as": f".{_decimals(largest)}f",
        "framed": int(framed[0]) if len(framed) else -1,
        "tile_row": [
            rows.index(place) for place in zip(heads["kind"], heads["layer"], strict=True)
        ],
        **{
            f"tile_{name}": [one if isfinite(one) else None for one in heads[name].tolist()]
            for name in ("layer", "head", *shape.columns)
        },
    }
    n_marks = (2 + shape.is_printed) * len(heads)
    return Figure(_structure(shape), constants, takeaway(table), n_marks=n_marks)


def strongest(table: pd.DataFrame, n: int = FIRST) -> pd.DataFrame:
    """The first `n` heads of the table by their rank, the strongest first."""
    return table.sort_values("rank", kind="stable", ignore_index=True).head(n)


def takeaway(table: pd.DataFrame) -> str:
    """What the view shows, for those who do not see it."""
    value = _value(table)
    n_layers = len(table[["kind", "layer"]].drop_duplicates())
    first = "; ".join(_said(head) for _, head in strongest(table, 3).iterrows())
    what = "mean weights" if value == "mean" else "weights"
    return f"Find view: {len(table)} heads in {n_layers} layers. The largest {what}: {first}."


def _said(head: pd.Series) -> str:
    """One of the strongest heads, with its number."""
    of_kind = "" if head["kind"] == "self" else f"{head['kind']} attention, "
    place = f"{of_kind}layer {head['layer']}, head {head['head']}"
    if "mean" not in head:
        return f"{place} ({number(head['weight'])})"
    how_often = f"among the first {FIRST} in {head['n_first']} of {head['n_texts']} texts"
    return f"{place} ({number(head['mean'])}, {how_often})"


def _value(table: pd.DataFrame) -> str:
    """The column that colours the grid. Raises InputError for a table that is not of heads."""
    for value, columns in (("weight", OF_ONE), ("mean", OF_SEVERAL)):
        if {*PLACES, *columns} <= set(table.columns) and len(table):
            return value
    raise InputError(
        f"A table of {len(table)} rows with the columns {', '.join(map(repr, table.columns))} "
        "has no weights of heads.\n\nHint: pass what attnviz.heads.linking or linking_over gives."
    )


def _decimals(largest: float) -> int:
    """As many as give the largest two digits, and no more than a cell has room for."""
    return 2 if not 0 < largest < 0.1 else min(4, 1 - floor(log10(largest)))


def _note(largest: float, limit: float, shape: _Shape) -> str:
    """How to read the colours and ranks."""
    ranks = f"bold, 1 to {min(FIRST, shape.n_tiles)}: the ranks of the strongest"
    if limit == 1:
        return ranks
    return f"{ranks}; colours end at {limit:g}, not at 1, for the largest is {number(largest)}"


# What is drawn


@lru_cache(MAX_STRUCTURES)
def _structure(shape: _Shape) -> dict[str, Any]:
    chart = alt.LayerChart(
        layer=[_cells(shape), *_numbers(shape), *_names(shape), _frames(shape)]
    ).properties(
        width=shape.left + shape.n_columns * shape.cell,
        height=HEADER + shape.n_rows * shape.row,
        title=note_above(),
    )
    return structure_of(chart) | {"autosize": {"type": "pad"}}


def _cells(of: _Shape) -> alt.Chart:
    end = alt.expr("limit")
    return (
        _tiles(of)
        .mark_rect(stroke=alt.expr(palette.HIDDEN), strokeWidth=1, aria=False, tooltip=None)
        .encode(
            **_box(),
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(domain=[0, end], interpolate="rgb"),
                legend=legend(
                    of.title,
                    alt.expr("[0, limit / 2, limit]"),
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


def _numbers(of: _Shape) -> list[alt.Chart]:
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
    weights = (
        _tiles(of)
        .transform_filter("isValid(datum.value)")
        .transform_calculate(printed="format(datum.value, printed_as)", low="datum.y2 - 11")
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


def _names(of: _Shape) -> list[alt.Chart]:
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


def _frames(of: _Shape) -> alt.Chart:
    """Around each cell, above all others; they answer the pointer."""
    is_open = (
        "(opened.layer ? datum.kind === opened.kind[0] && datum.layer === opened.layer[0]"
        " && datum.head === opened.head[0] : datum.tile === framed)"
    )
    opened = alt.selection_point(
        name=OPENED,
        fields=list(PLACES),
        on="@tiles_marks:click",
        clear=False,
        toggle=False,
        empty=False,
    )
    tooltip = [alt.Tooltip("kind:N"), alt.Tooltip("layer:O"), alt.Tooltip("head:O")]
    if of.is_of_several:
        tooltip += [
            alt.Tooltip("mean:Q", title="mean weight", format=".4~g"),
            alt.Tooltip("spread:Q", title="spread (standard deviation)", format=".4~g"),
            alt.Tooltip("rank:Q", title="rank by the mean"),
            alt.Tooltip("among:N", title=f"among the first {FIRST}"),
        ]
    else:
        tooltip += [alt.Tooltip("weight:Q", format=".4~g"), alt.Tooltip("rank:Q")]
    place = "datum.kind + ', layer ' + datum.layer + ', head ' + datum.head"
    return (
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


def _tiles(of: _Shape) -> alt.Chart:
    """A datum for each head, at its place in the grid."""
    told = {name: f"tile_{name}[datum.tile]" for name in ("row", "layer", "head", *of.columns)}
    tiles = alt.Chart(alt.sequence(of.n_tiles, as_="tile")).transform_calculate(**told)
    if of.is_of_several:
        tiles = tiles.transform_calculate(among="datum.n_first + ' of ' + datum.n_texts + ' texts'")
    return tiles.transform_calculate(
        kind="row_kinds[datum.row]",
        value=f"datum.{'mean' if of.is_of_several else 'weight'}",
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
