"""The model view: every head of a model at a glance, a thumbnail of its weights for each.

Layers run down and heads across, or the heads are sorted by one number about them; under each
thumbnail a bar is that number. A click opens the head.
"""

from functools import lru_cache
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts import palette
from attnviz.charts.axes import legend
from attnviz.charts.figure import MAX_STRUCTURES, Figure, structure_of
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.charts.thumbnails import COLOUR, most_cells, sheet, thumbnail
from attnviz.errors import InputError
from attnviz.heads import MEASURES, Measure, measures
from attnviz.results import Trace
from attnviz.wording import number

OPENED = "opened"  # the selection parameter that reports a click: `layer` and `head`

WIDTH = 800  # px, of all thumbnails of a layer, on a screen 1280 px wide
LARGEST, SMALLEST = 60, 12  # px, of a thumbnail
GAP = 4
BAR = 6
NAME = 15  # px above a thumbnail, where heads are sorted
LABEL_WIDTH = 56
HEADER = 40
FONT_SIZE = 12


def model_view(
    trace: Trace,
    kind: str | None = None,
    *,
    measure: str = "entropy",
    is_sorted: bool = False,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """Every head of one kind of attention, layers × heads, or sorted by a measure.

    The bar under a thumbnail is the head's `measure`: "entropy", "distance", "first" (share on
    the first token) or "special" (share on special tokens). One head may be framed.
    `display_mode` is "light" (default) or "dark". Raises InputError for a measure, kind, layer or
    head that is not there.
    """
    if (layer is None) != (head is None):
        raise InputError("A head is framed by its layer and its number.\n\nHint: pass both.")
    if layer is not None and head is not None:
        trace.head(layer, head, kind)
    figure = model_figure(trace, kind, measure, layer, head, is_sorted=is_sorted)
    return displayed(figure.chart(), display_mode or "light")


def model_figure(
    trace: Trace,
    kind: str | None,
    measure: str,
    layer: int | None = None,
    head: int | None = None,
    *,
    is_sorted: bool = False,
    table: pd.DataFrame | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    `table` is what `measures` gives for the trace, where it is known already.
    """
    kind = kind or trace.kinds[0]
    described = _measure(measure)
    table = measures(trace, kind) if table is None else table
    layers = trace.layers(kind)
    n_columns = max(trace.n_heads(layer, kind) for layer in layers)
    size = max(SMALLEST, min(LARGEST, (WIDTH - LABEL_WIDTH) // n_columns - GAP))
    heads = _placed(table, layers, n_columns, described, is_sorted)
    n_rows = int(heads["row"].max()) + 1
    row_pitch = _row_pitch(size, is_sorted)
    pictures = np.zeros((n_rows * row_pitch, n_columns * (size + GAP)), np.uint8)
    places = heads[["layer", "head", "row", "column"]].to_numpy().tolist()
    for of_layer, of_head, row, column in places:
        call = trace.layer(of_layer, kind)
        weights = call.own_weights[of_head]
        if call.has_line is not None:
            weights = np.where(call.has_line[of_head], weights, 0)
        top, left = row * row_pitch, column * (size + GAP)
        pictures[top : top + size, left : left + size] = thumbnail(weights, size)
    values = heads[measure].to_numpy()
    framed = np.flatnonzero((heads["layer"] == layer) & (heads["head"] == head))
    notes = [note for one in layers for note in trace.layer(one, kind).notes]
    names = [one.name for one in MEASURES]
    constants = {
        "thumbnails": sheet(pictures),
        "note": list(dict.fromkeys(notes)),
        "tile_row": heads["row"].tolist(),
        "tile_column": heads["column"].tolist(),
        "tile_layer": heads["layer"].tolist(),
        "tile_head": heads["head"].tolist(),
        "row_names": [] if is_sorted else [f"layer {layer}" for layer in layers],
        **{
            f"tile_{name}": [None if np.isnan(value) else float(value) for value in heads[name]]
            for name in names
        },
        "limit": float(np.nanmax(values, initial=0)) or 1.0,
        "framed": int(framed[0]) if len(framed) else -1,
    }
    n_tokens = max(max(trace.layer(one, kind).own_weights.shape[1:]) for one in layers)
    structure = _structure(
        len(heads), n_rows, n_columns, size, measure, is_sorted, n_tokens > most_cells(size)
    )
    return Figure(structure, constants, takeaway(table, described))


def takeaway(table: pd.DataFrame, measure: Measure) -> str:
    """What the view shows, for those who do not see it."""
    n_layers = table["layer"].nunique()
    text = f"Model view: {len(table)} heads in {n_layers} layers."
    known = table[table[measure.name].notna()].sort_values(measure.name, kind="stable")
    if known.empty:
        return text
    largest, smallest = (
        f"layer {int(one['layer'])}, head {int(one['head'])} "
        f"({number(one[measure.name])}{f' {measure.unit}' if measure.unit else ''})"
        for one in (known.iloc[-1], known.iloc[0])
    )
    return f"{text} The {measure.title} is largest in {largest} and smallest in {smallest}."


def _measure(name: str) -> Measure:
    for measure in MEASURES:
        if measure.name == name:
            return measure
    known = ", ".join(repr(measure.name) for measure in MEASURES)
    raise InputError(f"There is no measure {name!r}.\n\nHint: {known}.")


def _placed(
    table: pd.DataFrame,
    layers: tuple[int, ...],
    n_columns: int,
    measure: Measure,
    is_sorted: bool,
) -> pd.DataFrame:
    """Each head with its row and column."""
    if is_sorted:
        heads = table.sort_values(measure.name, ascending=False, kind="stable", ignore_index=True)
        places = np.arange(len(heads))
        return heads.assign(row=places // n_columns, column=places % n_columns)
    rows = {layer: row for row, layer in enumerate(layers)}
    return table.assign(row=table["layer"].map(rows), column=table["head"])


def _row_pitch(size: int, is_sorted: bool) -> int:
    return size + GAP + BAR + (NAME if is_sorted else 0)


@lru_cache(MAX_STRUCTURES)
def _structure(
    n_tiles: int,
    n_rows: int,
    n_columns: int,
    size: int,
    measure: str,
    is_sorted: bool,
    is_in_blocks: bool,
) -> dict[str, Any]:
    pitch, row_pitch = size + GAP, _row_pitch(size, is_sorted)
    left = 0 if is_sorted else LABEL_WIDTH
    width, height = left + n_columns * pitch, HEADER + n_rows * row_pitch

    def x(field: str = "x") -> alt.X:
        return alt.X(f"{field}:Q", scale=None, axis=None)

    def y(field: str = "y") -> alt.Y:
        return alt.Y(f"{field}:Q", scale=None, axis=None)

    tiles = (
        alt.Chart(alt.sequence(n_tiles, as_="tile"))
        .transform_calculate(
            layer="tile_layer[datum.tile]",
            head="tile_head[datum.tile]",
            value=f"tile_{measure}[datum.tile]",
            **{measure.name: f"tile_{measure.name}[datum.tile]" for measure in MEASURES},
        )
        .transform_calculate(
            x=f"{left} + tile_column[datum.tile] * {pitch}",
            y=f"{HEADER} + tile_row[datum.tile] * {row_pitch}",
        )
        .transform_calculate(
            x2=f"datum.x + {size}",
            y2=f"datum.y + {size}",
            bar_top=f"datum.y + {size + 1}",
            bar_bottom=f"datum.y + {size + BAR - 1}",
            bar_end=f"datum.x + {size} * datum.value / limit",
            name="datum.layer + ' · ' + datum.head",
        )
    )
    picture = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(x=f"{left}", y=f"{HEADER}", url="thumbnails")
        .mark_image(
            width=n_columns * pitch,
            height=n_rows * row_pitch,
            align="left",
            baseline="top",
            aspect=False,
            smooth=False,
            aria=False,
            tooltip=None,
        )
        .encode(x=x(), y=y(), url="url:N")
    )
    is_selected = "(opened.layer ? datum.layer === opened.layer[0] && datum.head === opened.head[0]"
    is_selected += " : datum.tile === framed)"
    touch = (
        tiles.mark_rect(
            fillOpacity=0,
            cursor="pointer",
            description=alt.expr("'layer ' + datum.layer + ', head ' + datum.head"),
            stroke=alt.expr(f"{is_selected} ? {palette.TEXT} : {palette.HIDDEN}"),
            strokeWidth=alt.expr(f"{is_selected} ? 3 : 1"),
        )
        .encode(
            x=x(),
            x2="x2:Q",
            y=y(),
            y2="y2:Q",
            tooltip=[
                alt.Tooltip("layer:O"),
                alt.Tooltip("head:O"),
                *(
                    alt.Tooltip(f"{measure.name}:Q", title=measure.title, format=".4~g")
                    for measure in MEASURES
                ),
            ],
        )
        .properties(name="tiles")
        .add_params(
            alt.selection_point(
                name=OPENED,
                fields=["layer", "head"],
                on="@tiles_marks:click",
                clear=False,
                toggle=False,
                empty=False,
            )
        )
    )
    described = _measure(measure)
    unit = f", {described.unit}" if described.unit else ""
    bars = (
        tiles.transform_filter("isValid(datum.value)")
        .mark_rect(
            description=alt.expr(f"'{described.title} ' + format(datum.value, '.3~g')"),
            tooltip=None,
        )
        .encode(
            x=x(),
            x2="bar_end:Q",
            y=y("bar_top"),
            y2="bar_bottom:Q",
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(domain=[0, alt.expr("limit")], interpolate="rgb"),
                legend=legend(
                    f"bar below: {described.title}{unit}",
                    alt.expr("[0, limit]"),
                    FONT_SIZE,
                    orient="top",
                    direction="horizontal",
                    gradientLength=160,
                    gradientThickness=8,
                    titleLimit=260,
                ),
            ),
        )
    )
    # Drawn for its legend: the picture's own colours have no scale.
    ramp = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(weight="0", x="0", y="0")
        .mark_rect(fillOpacity=0, aria=False, tooltip=None)
        .encode(
            x=x(),
            y=y(),
            fill=alt.Fill(
                "weight:Q",
                scale=alt.Scale(
                    type="sqrt", domain=[0, 1], range=[f"{COLOUR}00", COLOUR], interpolate="rgb"
                ),
                legend=legend(
                    "weight" + (", the largest of each block" if is_in_blocks else ""),
                    [0, 0.1, 0.5, 1],
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

    def words(base: alt.Chart, align: Literal["left", "center", "right"], text: str) -> alt.Chart:
        return base.mark_text(
            align=align,
            baseline="middle",
            fontSize=FONT_SIZE if size >= 24 else 9,
            fill=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        ).encode(x=x(), y=y(), text=text)

    columns = alt.Chart(alt.sequence(n_columns, as_="head")).transform_calculate(
        x=f"{left + size / 2} + datum.head * {pitch}", y=f"{HEADER - 10}"
    )
    rows = alt.Chart(alt.sequence(n_rows, as_="row")).transform_calculate(
        x=f"{left - 8}",
        y=f"{HEADER + size / 2} + datum.row * {row_pitch}",
        name="row_names[datum.row]",
    )
    said = f"layer · head, by {described.title}, the largest first" if is_sorted else "head"
    title = alt.Chart(alt.sequence(1, as_="one")).transform_calculate(
        x=f"{left}", y=f"{HEADER - 28}", said=f"'{said}'"
    )
    above = tiles.transform_calculate(y="datum.y - 7")
    names = (
        [words(above, "left", "name:N"), words(title, "left", "said:N")]
        if is_sorted
        else [
            words(columns, "center", "head:O"),
            words(rows, "right", "name:N"),
            words(title, "left", "said:N"),
        ]
    )
    chart = (
        alt.LayerChart(layer=[ramp, picture, touch, bars, *names])
        .resolve_scale(color="independent", fill="independent")
        .properties(
            width=width,
            height=height,
            title=alt.TitleParams(
                alt.expr("note"), fontSize=FONT_SIZE + 1, fontWeight="normal", anchor="start"
            ),
        )
    )
    return structure_of(chart) | {"autosize": {"type": "pad"}}
