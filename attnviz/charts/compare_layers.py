"""What is drawn of two heads beside each other, a function a part: three panels of cells."""

from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import FONT_SIZE, axis, edge_to_edge, legend, ticks
from attnviz.charts.parts.pointer import LEAVES
from attnviz.charts.parts.values import WHY_HIDDEN, signed_scale, weights_scale

# The selection parameters, each with the fields `row` and `column`, of all that is compared.
PICKED_PAIR = "picked_pair"  # reports a click
POINTED_PAIR = "pointed_pair"

VALUES_FIT = 8  # so many rows and columns have their values printed
HEIGHT, LARGEST_ROW, SMALLEST_ROW = 400, 26, 10  # px
SMALLEST_FONT_SIZE = 9
NARROW = 8  # px, of a cell that a thick frame would hide

Side = Literal["a", "b", "difference"]
SIDES: tuple[Side, ...] = ("a", "b", "difference")
TITLES = {"a": "weight in A", "b": "weight in B", "difference": "B − A"}
# px, of the cells and at most of the tokens beside them, on a screen 1280 px wide
WIDTHS = {"a": 190, "b": 190, "difference": 232}
NAMES = {"a": 76, "b": 76, "difference": 0}  # whose rows are those beside it


@dataclass(frozen=True)
class Shape:
    """All that decides what the panels look like, but for their numbers and names."""

    n_rows: int
    n_columns: int
    has_hidden: bool
    label_angle: tuple[tuple[str, Any], ...]  # of the columns' names, in every panel
    label_height: int  # px that they take, so that the titles stand on one line

    @property
    def n_cells(self) -> int:
        return self.n_rows * self.n_columns

    @property
    def is_printed(self) -> bool:
        return max(self.n_rows, self.n_columns) <= VALUES_FIT

    @property
    def row_height(self) -> int:
        return max(SMALLEST_ROW, min(LARGEST_ROW, HEIGHT // self.n_rows))


def panels(of: Shape) -> alt.HConcatChart:
    """The three of them; what each cell is, is worked out once for all."""
    cells = (
        alt.Chart(alt.sequence(of.n_rows, as_="down"))
        .transform_calculate(
            across=f"sequence({of.n_columns})",
            **{side: f"{side}_cells[datum.down]" for side in SIDES},
        )
        .transform_flatten(["across", *SIDES])
        .transform_calculate(
            row="first_row + datum.down",
            column="first_column + datum.across",
            from_tokens="rows_difference[datum.down]",
            to_tokens="columns_difference[datum.across]",
            **{f"said_{side}": _said(of, side) for side in ("a", "b")},
        )
        .transform_calculate(said_difference=_difference("4"))
    )
    chart: alt.HConcatChart = alt.HConcatChart(
        data=cells.data,
        transform=cells.transform,
        hconcat=[_panel(of, side) for side in SIDES],
        params=[
            _selection(POINTED_PAIR, on="pointerover", clear=LEAVES),
            _selection(PICKED_PAIR, on="click", clear=False, toggle=False),
        ],
        spacing=10,
    ).resolve_scale(color="independent")
    return chart


def _selection(name: str, **options: Any) -> alt.TopLevelSelectionParameter:
    """One pair, whichever panel it is chosen in."""
    chosen = alt.PointSelectionConfig(type="point", fields=["row", "column"], **options)
    views = [_view(side) for side in SIDES]
    return alt.TopLevelSelectionParameter(name=name, select=chosen, views=views)


def _view(side: Side) -> str:
    return f"cells_{SIDES.index(side)}"  # as Altair numbers the views beside each other


def _panel(of: Shape, side: Side) -> alt.LayerChart:
    base = alt.Chart().encode(x=_x(of, side), y=_y(of, side))
    layers = [_cells(of, base, side)]
    if of.has_hidden:
        layers += _hidden(base, side)
    if of.is_printed:
        layers.append(_printed(of, base, side))
    for field in ("row", "column"):
        layers += [_frame(of, field, PICKED_PAIR, side), _frame(of, field, POINTED_PAIR, side)]
    title = alt.TitleParams(
        alt.expr(f"titles[{SIDES.index(side)}]"),
        fontSize=FONT_SIZE + 1,
        limit=WIDTHS[side] + NAMES[side],
        anchor="middle",
        frame="group",
    )
    return alt.LayerChart(
        layer=layers, width=WIDTHS[side], height=alt.Step(of.row_height), title=title
    )


def _cells(of: Shape, base: alt.Chart, side: Side) -> alt.Chart:
    """They answer the pointer, hidden ones as well."""
    both = "'A ' + datum.said_a + ', B ' + datum.said_b + ', B − A ' + datum.said_difference"
    label = f"datum.from_tokens + ', ' + datum.to_tokens + ': ' + {both}"
    aria: dict[str, Any] = {"description": alt.expr(label)} if of.is_printed else {"aria": False}
    chart: alt.Chart = (
        base.mark_rect(strokeWidth=0, cursor="pointer", invalid="show", **aria)
        .encode(
            color=alt.Color(f"{side}:Q", scale=_scale(side), legend=_legend(side)),
            tooltip=[
                alt.Tooltip("from_tokens:N", title="query token"),
                alt.Tooltip("to_tokens:N", title="key token"),
                *(alt.Tooltip(f"said_{one}:N", title=TITLES[one]) for one in SIDES),
            ],
        )
        .properties(name=_view(side))
    )
    return chart


def _hidden(base: alt.Chart, side: Side) -> list[alt.Chart]:
    """Grey and crossed out, over cells that answer the pointer."""
    hidden = base.transform_filter(f"!isValid(datum.{side})")
    return [
        hidden.mark_rect(strokeWidth=0, fill=alt.expr(palette.HIDDEN), aria=False, tooltip=None),
        hidden.mark_text(
            text="╲", fill=alt.expr(palette.GREY), fontSize=12, aria=False, tooltip=None
        ),
    ]


def _printed(of: Shape, base: alt.Chart, side: Side) -> alt.Chart:
    """Three decimals; a difference is that of the numbers beside it."""
    number = f"format(datum.{side}, '.3f')" if side != "difference" else _difference("3")
    share = f"(datum.{side} / {'limit' if side == 'difference' else 'end'})"
    room = int(WIDTHS["a"] / of.n_columns * 0.38)  # five characters in a cell
    chart: alt.Chart = (
        base.transform_filter(f"isValid(datum.{side})")
        .transform_calculate(printed=number)
        .mark_text(
            fontSize=max(SMALLEST_FONT_SIZE, min(FONT_SIZE, room)),
            fill=alt.expr(palette.text_on(share)),
            aria=False,
            tooltip=None,
        )
        .encode(text="printed:N")
    )
    return chart


def _frame(of: Shape, field: Literal["row", "column"], chosen: str, side: Side) -> alt.Chart:
    """Around the row or the column of a pair, where it is among those that are shown."""
    is_row, is_picked = field == "row", chosen == PICKED_PAIR
    n, place = (of.n_rows, "down") if is_row else (of.n_columns, "across")
    otherwise = f"framed_{field}" if is_picked else "-1"
    at = f"({chosen}.{field} ? {chosen}.{field}[0] : {otherwise}) - first_{field}"
    is_wide = is_row or WIDTHS[side] / n > NARROW
    frame = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(**{place: at})
        .transform_filter(f"datum.{place} >= 0 && datum.{place} < {n}")
        .mark_rect(
            fillOpacity=0,
            strokeWidth=2 if is_picked and is_wide else 1,
            strokeDash=[1, 0] if is_picked else [4, 2],
            stroke=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        )
    )
    chart: alt.Chart = frame.encode(y="down:O") if is_row else frame.encode(x="across:O")
    return chart


# What is said


def _said(of: Shape, side: Side) -> str:
    """A weight with four decimals, or why it is hidden, as an expression."""
    number = f"format(datum.{side}, '.4f')"
    if not of.has_hidden:
        return number
    why = f"{WHY_HIDDEN}[because_{side}[datum.down][datum.across]]"
    return f"isValid(datum.{side}) ? {number} : {why}"


def _difference(decimals: str) -> str:
    """B − A of the weights as they are printed; what one of them hides is 0 there."""
    a, b = (f"toNumber(format(datum.{side} || 0, '.{decimals}f'))" for side in ("a", "b"))
    number = f"format({b} - {a}, '+.{decimals}f')"
    hidden = "'hidden in both'"
    return f"!isValid(datum.difference) ? {hidden} : datum.difference == 0 ? '0' : {number}"


# Encodings


def _scale(side: Side) -> alt.Scale:
    return signed_scale("limit") if side == "difference" else weights_scale("end")


def _legend(side: Side) -> alt.Legend | None:
    """One for the weights of both, and one for their difference."""
    if side == "b":
        return None
    is_weight = side == "a"
    return legend(
        "weight, in A and B" if is_weight else "difference of weights, B − A",
        alt.expr("[0, end / 2, end]") if is_weight else alt.expr("[-limit, 0, limit]"),
        orient="bottom",
        direction="horizontal",
        gradientLength=WIDTHS[side] - 40,
        titleLimit=WIDTHS[side] + 60,
    )


def _x(of: Shape, side: Side) -> alt.X:
    width = WIDTHS["a"] / of.n_columns  # names of one size in all three
    options = dict(of.label_angle)
    if options["labelAngle"] == -90:  # as many names as do not overlap
        font_size = int(max(SMALLEST_FONT_SIZE + 1, min(FONT_SIZE, width)))
        n_names = WIDTHS["a"] // font_size
    else:
        font_size, n_names = FONT_SIZE, of.n_columns
    drawn = axis(
        "key token",
        orient="top",
        font_size=font_size,
        labelExpr=f"columns_{side}[datum.value]",
        values=ticks(of.n_columns, n_names),
        minExtent=of.label_height,
        **options,
    )
    return alt.X("across:O", axis=drawn, scale=_places(of.n_columns))


def _y(of: Shape, side: Side) -> alt.Y:
    font_size = max(SMALLEST_FONT_SIZE + 1, min(FONT_SIZE, of.row_height))
    drawn = axis(
        "query token" if side == "a" else "",
        font_size=font_size,
        labelExpr=f"rows_{side}[datum.value]",
    )
    drawn.labelLimit = NAMES[side]
    drawn.labels = side != "difference"  # its rows are those beside it
    return alt.Y("down:O", axis=drawn, scale=_places(of.n_rows))


def _places(n: int) -> alt.Scale:
    return edge_to_edge(domain=list(range(n)))
