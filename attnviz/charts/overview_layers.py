"""The layers of a head's overview, in the units of its layout; its numbers are constants."""

from dataclasses import dataclass
from typing import Any

import altair as alt

from attnviz.charts.overview_layout import (
    CHIP_FONT_SIZE,
    CHIP_HEIGHT,
    MATRIX_HEIGHT,
    OTHERS,
    ROW_PITCH,
    SENTENCE_HEIGHT,
    SINK,
    TITLES_HEIGHT,
    TOTAL,
)
from attnviz.charts.parts import palette
from attnviz.charts.parts.pointer import LEAVES
from attnviz.charts.parts.values import signed_scale, three_digits, weights_scale

CHOSEN, OPENED = "chosen_token", "opened_step"  # selections
_POINTED = "pointed_token"
# The query whose weights the sentence shows: the one that is pointed at, else the one followed.
_SHOWN = f"(isValid({_POINTED}.chip) ? {_POINTED}.chip[0] : query_at)"
_SHOWN_POSITION = f"chip_position[{_SHOWN}]"
_TITLE_SIZE, _SHARE_SIZE, _SMALL = 12, 12, 10.5  # px


@dataclass(frozen=True)
class Shape:
    """All that decides what it looks like, but for its numbers and names."""

    has_two_rows: bool
    n_panels: int
    height: int
    has_hidden: bool
    reports_clicks: bool

    @property
    def top(self) -> int:
        """Where the matrices begin."""
        return SENTENCE_HEIGHT + ROW_PITCH * self.has_two_rows + TITLES_HEIGHT


def layers(shape: Shape) -> list[alt.Chart]:
    drawn = _sentence(shape)
    if shape.n_panels:
        drawn += [*_cells(shape), _frames(shape), *_words(shape), _places_to_click(shape)]
    return drawn


# The sentence


def _sentence(shape: Shape) -> list[alt.Chart]:
    lower = SENTENCE_HEIGHT + ROW_PITCH * shape.has_two_rows - 50
    n_first = "n_query_chips" if shape.has_two_rows else "0"
    weight = f"given[{_SHOWN} * (length(chip_left) - {n_first}) + datum.chip - {n_first}]"
    is_query = f"datum.chip < {n_first}"
    names = f"{is_query} ? query_names[datum.position] : key_names[datum.position]"
    # How many there are is a number too, and so the same for each pair of a text.
    one = alt.Chart(alt.sequence(1, as_="one"))
    all_chips = (
        one.transform_calculate(chip="sequence(length(chip_left))")
        .transform_flatten(["chip"])
        .transform_filter("isValid(chip_left[datum.chip])")
    )
    # A weight that is hidden has no value, and a query in a row of its own has no weight.
    chips = all_chips.transform_calculate(
        position="chip_position[datum.chip]",
    ).transform_calculate(
        token=f"datum.position == {SINK} ? 'sink' : datum.position == {OTHERS}"
        f" ? '+ ' + n_others + ' others' : {names}",
        side="'query'" if not shape.has_two_rows else f"{is_query} ? 'query' : 'key'",
        left="chip_left[datum.chip]",
        right="chip_right[datum.chip]",
        middle="(chip_left[datum.chip] + chip_right[datum.chip]) / 2",
        top=f"{is_query} ? 2 : {lower}",
        bottom=f"{is_query} ? {2 + CHIP_HEIGHT} : {lower + CHIP_HEIGHT}",
        weight=f"{is_query} ? 0 : {weight}",
    )
    if shape.has_two_rows:
        is_framed = f"({is_query} ? datum.chip == {_SHOWN} : datum.position == key_position)"
        is_first = is_query
    else:
        is_first = f"datum.position == {_SHOWN_POSITION}"
        is_framed = f"({is_first} || datum.position == key_position)"
    edge = f"{is_framed} ? ({is_first} ? {palette.ACCENT} : {palette.TEXT}) : 'transparent'"
    boxes = (
        chips.transform_calculate(drawn="isValid(datum.weight) ? datum.weight : 0")
        .mark_rect(
            cornerRadius=5,
            fillOpacity=alt.expr("isValid(datum.weight) ? 1 : 0"),
            stroke=alt.expr(edge),
            strokeWidth=alt.expr(f"{is_first} ? 3 : 2"),
            cursor="pointer" if shape.reports_clicks else "default",
            aria=True,
        )
        .encode(
            **_box("left", "right", "top", "bottom"),
            color=alt.Color("drawn:Q", scale=weights_scale(), legend=None),
            # No weight: the pointer changes whose weights these are, and a tooltip is made before.
            tooltip=alt.Tooltip("token:N", title="token"),
        )
        .add_params(
            alt.selection_point(
                name=_POINTED, fields=["chip"], on="pointerover", clear=LEAVES, empty=False
            )
        )
    )
    if shape.reports_clicks:
        boxes = boxes.add_params(
            alt.selection_point(
                name=CHOSEN, fields=["position", "side"], toggle="true", clear=False
            )
        )
    size = alt.expr(f"{CHIP_FONT_SIZE} * min(enlarged, width / {TOTAL})")
    shares_size = alt.expr(f"ceil({_SHARE_SIZE} * enlarged)")
    names = chips.mark_text(
        fontSize=size, fill=alt.expr(palette.text_on("datum.weight")), tooltip=None, dy=1
    ).encode(x=_x("middle"), y=_y("name_y"), text="token:N")
    names = names.transform_calculate(name_y=f"datum.top + {CHIP_HEIGHT / 2}")
    percent = "format(datum.weight, datum.weight >= 0.9995 ? '.0%' : '.1%')"
    percent = f"replace({percent}, '%', ' %')"
    shares = (
        chips.transform_filter(f"!({is_query})")
        .transform_calculate(
            share=f"isValid(datum.weight) ? {percent} : 'hidden'",
            share_y="datum.bottom + 11",
        )
        .mark_text(fontSize=shares_size, fill=alt.expr(palette.TEXT), tooltip=None, aria=False)
        .encode(x=_x("middle"), y=_y("share_y"), text="share:N")
    )
    hidden = (
        chips.transform_filter("!isValid(datum.weight)")
        .mark_rect(cornerRadius=5, fill=alt.expr(palette.HIDDEN), tooltip=None, aria=False)
        .encode(**_box("left", "right", "top", "bottom"))
    )
    return [hidden, boxes, names, shares]


# The matrices


def _panels(shape: Shape) -> alt.Chart:
    return alt.Chart(alt.sequence(shape.n_panels, as_="panel")).transform_calculate(
        left="panel_left[datum.panel]", right="panel_right[datum.panel]"
    )


def _cells(shape: Shape) -> list[alt.Chart]:
    rows, columns = "panel_rows[datum.panel]", "panel_columns[datum.panel]"
    wide = f"(datum.right - datum.left) / {columns}"
    high = f"{MATRIX_HEIGHT} / {rows}"
    first = f"panel_first[datum.panel] + datum.row * {columns}"
    # Neighbours overlap a little: a canvas would show the background between them.
    cells = (
        _panels(shape)
        .transform_calculate(row=f"sequence({rows})")
        .transform_flatten(["row"])
        .transform_calculate(
            column=f"sequence({columns})",
            v=f"slice(cells, {first}, {first} + {columns})",
        )
        .transform_flatten(["column", "v"])
        .transform_calculate(
            cell_left=f"datum.left + datum.column * {wide}",
            cell_right=f"min(datum.right, datum.left + (datum.column + 1) * {wide} + 0.35)",
            cell_top=f"{shape.top} + datum.row * {high}",
            cell_bottom=f"min({shape.top + MATRIX_HEIGHT}, {shape.top} + (datum.row + 1) * {high}"
            " + 0.35)",
        )
    )
    box = _box("cell_left", "cell_right", "cell_top", "cell_bottom")
    plain: dict[str, Any] = {"strokeWidth": 0, "tooltip": None, "aria": False}
    drawn = [
        cells.transform_filter(f"isValid(datum.v) && {which}panel_is_weights[datum.panel]")
        .mark_rect(**plain)
        .encode(**box, color=alt.Color("v:Q", scale=scale, legend=None))
        for which, scale in (("!", signed_scale(1)), ("", weights_scale()))
    ]
    if shape.has_hidden:
        hidden = cells.transform_filter("!isValid(datum.v)")
        drawn.append(hidden.mark_rect(fill=alt.expr(palette.HIDDEN), **plain).encode(**box))
    return drawn


def _frames(shape: Shape) -> alt.Chart:
    """Around the query's row, and the key's row or column, of each matrix that has them."""
    frames = (
        _panels(shape)
        .transform_calculate(what="['query_rows', 'key_rows', 'key_columns']")
        .transform_flatten(["what"])
        .transform_calculate(
            per="datum.what == 'query_rows' ? query_rows[datum.panel] : "
            "datum.what == 'key_rows' ? key_rows[datum.panel] : key_columns[datum.panel]",
            at=f"datum.what == 'query_rows' ? {_SHOWN_POSITION} : key_position",
        )
        .transform_filter("datum.per > 0")
        .transform_calculate(
            place="floor(datum.at / datum.per)",
            n="datum.what == 'key_columns' ? panel_columns[datum.panel] : panel_rows[datum.panel]",
            is_column="datum.what == 'key_columns'",
        )
        .transform_calculate(
            frame_left="datum.left + (datum.is_column ? (datum.right - datum.left) * datum.place"
            " / datum.n : 0)",
            frame_right="datum.is_column ? datum.left + (datum.right - datum.left) * "
            "(datum.place + 1) / datum.n : datum.right",
            frame_top=f"{shape.top} + (datum.is_column ? 0 : {MATRIX_HEIGHT} * datum.place"
            " / datum.n)",
            frame_bottom=f"{shape.top} + {MATRIX_HEIGHT} * (datum.is_column ? 1 : "
            "(datum.place + 1) / datum.n)",
        )
    )
    drawn: alt.Chart = frames.mark_rect(
        fillOpacity=0, strokeWidth=1.5, stroke=alt.expr(palette.TEXT), tooltip=None, aria=False
    ).encode(**_box("frame_left", "frame_right", "frame_top", "frame_bottom"))
    return drawn


def _words(shape: Shape) -> list[alt.Chart]:
    """Each matrix's title and size, and what leads to it."""
    panels = _panels(shape).transform_calculate(
        middle="(datum.left + datum.right) / 2",
        before="datum.left - panel_gap[datum.panel] / 2",
        title="panel_title[datum.panel]",
        size="panel_size[datum.panel]",
        operator="panel_operator[datum.panel]",
        arrow="panel_operator[datum.panel] ? '→' : ''",
    )
    middle = shape.top + MATRIX_HEIGHT / 2

    def text(field: str, x: str, y: float, size: float, colour: str, **options: Any) -> alt.Chart:
        at = panels.transform_calculate(y=f"{y}")
        drawn: alt.Chart = at.mark_text(
            fontSize=size, fill=alt.expr(colour), tooltip=None, aria=False, **options
        ).encode(x=_x(x), y=_y("y"), text=f"{field}:N")
        return drawn

    of_title = f"panel_is_open[datum.panel] ? {palette.ACCENT} : {palette.TEXT}"
    return [
        text("title", "middle", shape.top - 9, _TITLE_SIZE, of_title, fontWeight="bold"),
        text("size", "middle", shape.top + MATRIX_HEIGHT + 8, _SMALL, palette.GREY),
        text("operator", "before", middle - 9, _SMALL, palette.TEXT),
        text("arrow", "before", middle + 5, _SMALL + 3, palette.TEXT),
    ]


def _places_to_click(shape: Shape) -> alt.Chart:
    """Over each matrix, to answer the pointer; the open step's are framed."""
    line = f"panel_is_open[datum.panel] ? {palette.ACCENT} : {palette.HIDDEN}"
    places = (
        _panels(shape)
        .transform_calculate(
            says="panel_step[datum.panel] + ': ' + panel_size[datum.panel] + ', colours ' + "
            "(panel_is_weights[datum.panel] ? '0 to 1' : '±' + "
            f"{three_digits('panel_limit[datum.panel]')} + "
            "(panel_cut[datum.panel] ? ' and beyond' : '')) + panel_note[datum.panel]",
            top=f"{shape.top}",
            bottom=f"{shape.top + MATRIX_HEIGHT}",
        )
        .mark_rect(
            fillOpacity=0,
            stroke=alt.expr(line),
            strokeWidth=alt.expr("panel_is_open[datum.panel] ? 2.5 : 1"),
            cursor="pointer" if shape.reports_clicks else "default",
            aria=True,
            description=alt.expr("datum.says"),
        )
        .encode(
            **_box("left", "right", "top", "bottom"), tooltip=alt.Tooltip("says:N", title="step")
        )
    )
    if shape.reports_clicks:
        places = places.add_params(
            alt.selection_point(name=OPENED, fields=["panel"], toggle="true", clear=False)
        )
    drawn: alt.Chart = places
    return drawn


def _box(left: str, right: str, top: str, bottom: str) -> dict[str, Any]:
    return {"x": _x(left), "x2": right, "y": _y(top), "y2": bottom}


def _x(field: str) -> alt.X:
    scale = alt.Scale(domain=[0, TOTAL], nice=False, zero=False)
    return alt.X(f"{field}:Q", axis=None, scale=scale)


def _y(field: str) -> alt.Y:
    """Downwards, a pixel a unit, unless it is enlarged: the chart is as high as they are many."""
    scale = alt.Scale(
        domain=[0, alt.expr("height / enlarged")], reverse=True, nice=False, zero=False
    )
    return alt.Y(f"{field}:Q", axis=None, scale=scale)
