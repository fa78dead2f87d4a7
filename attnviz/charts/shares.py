"""The update of one query, made visible: each w·v as a band, the largest first, down to x′."""

from functools import cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.attention.explained.shares import value_shares
from attnviz.attention.head import HeadTrace
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import FONT_SIZE, colour
from attnviz.charts.parts.figure import ASIDE, Figure, structure_of
from attnviz.charts.parts.values import largest, nested, scale_end, three_digits

MAX_KEYS = 8  # with a band of their own; the others are added up
PITCH, COMPACT_PITCH, LARGE_PITCH = 22, 20, 27  # px a row
BAND_WIDTH, COMPACT_BAND_WIDTH = 224, 160
BAR_WIDTH = 88
NUMBER_WIDTH = 62
NAME_STEP = 30  # px; the names' column is as wide as they need, in steps, and no wider than five

# A row is of a key, by its position, or of something else.
OTHERS, SINK, SUM = -1, -2, -3
ROW = "share_rows[datum.place]"
NAME = (
    f"{ROW} >= 0 ? ({ROW} == share_marked ? '▸ ' : '') + share_tokens[{ROW}]"
    f" : {ROW} == {OTHERS} ? 'the other ' + share_n_others"
    f" : {ROW} == {SINK} ? 'sink: no token' : 'sum: x′'"
)

MARKS_OF_ROW = 9  # a name, three bars, and numbers
# What a row says of its key: the field, and what it is called.
FIELDS = {
    "weight": "weight w",
    "value_norm": "‖v‖",
    "share_norm": "‖w·v‖",
    "cosine": "cos(x′, v)",
    "distance": "‖x′ − v‖",
}


def shares_chart(
    head: HeadTrace,
    query: int,
    key: int | None = None,
    *,
    is_large: bool = False,
    is_compact: bool = False,
) -> Figure:
    """One row a key: its weight, ‖v‖, ‖w·v‖, and w·v itself; the last row is their sum, x′.

    The largest ‖w·v‖ comes first, which the arrow behind its title says.

    Beyond 8 keys the others are added up in one row; a sink has a row with a weight alone. Beside
    them stand cosine and distance of x′ to each v; one key may be marked. `is_large` is for a
    projector, without those two, and so is `is_compact`, for the place beside a text.
    """
    table = value_shares(head, query)
    keys = table["key"].to_numpy()
    products = head.weights[query][:, None] * head.v
    shown, others = keys[:MAX_KEYS], keys[MAX_KEYS:]
    rows = shown.tolist()
    bands = [products[place] for place in shown]
    fields = {field: table[field][:MAX_KEYS].tolist() for field in FIELDS}

    def add_row(row: int, band: np.ndarray, **known: float) -> None:
        rows.append(row)
        bands.append(band)
        for field, column in fields.items():
            column.append(known.get(field, np.nan))

    if len(others):
        rest = products[others].sum(axis=0)
        weight = float(head.weights[query][others].sum())
        norm = float(np.linalg.norm(rest))
        add_row(OTHERS, rest, weight=weight, share_norm=norm)
    if head.sink_logits is not None:  # it takes weight and has no value
        no_value = np.full(head.v.shape[1], np.nan, np.float32)
        add_row(SINK, no_value, weight=float(head.sink[query]))
    update = head.updated[query]
    add_row(SUM, update, share_norm=float(np.linalg.norm(update)))
    constants: dict[str, Any] = {
        "share_tokens": list(head.key_tokens),
        "share_rows": rows,
        "share_marked": -1 if key is None else key,
        "share_n_others": len(others),
        "share_bands": nested(bands),
        **scale_end(np.stack(bands), among=head.v).constants("share"),
        **{
            f"share_{field}": [None if np.isnan(value) else value for value in column]
            for field, column in fields.items()
        },
        **{f"share_{field}_limit": largest(np.array(column)) for field, column in fields.items()},
    }
    constants["share_weight_limit"] = 1.0
    longest = max(len("the other 500" if len(others) else "sum: x′"), *map(len, head.key_tokens))
    d_value = len(bands[0])
    n_steps = min(3 if is_compact else 5, max(2, 1 + (longest + 2) * 8 // NAME_STEP))
    structure = _structure(len(rows), d_value, n_steps * NAME_STEP, is_large, is_compact)
    n_bands = len(rows) - rows.count(SINK)
    return Figure(structure, constants, n_marks=n_bands * (d_value + MARKS_OF_ROW))


@cache
def _structure(
    n_rows: int, d_value: int, names_width: int, is_large: bool, is_compact: bool
) -> dict[str, Any]:
    font_size = FONT_SIZE + 4 if is_large else FONT_SIZE + 1
    height = alt.Step(LARGE_PITCH if is_large else COMPACT_PITCH if is_compact else PITCH)
    place = alt.Y("place:O", axis=None, scale=alt.Scale(padding=0))
    tooltip = [
        alt.Tooltip("name:N", title="key token"),
        *(alt.Tooltip(f"{field}:Q", title=title) for field, title in FIELDS.items()),
    ]
    base = alt.Chart().encode(y=place, tooltip=tooltip)
    columns: list[Any] = [
        base.mark_text(
            align="right", fontSize=font_size, fill=alt.expr(palette.TEXT), limit=names_width
        )
        .encode(text="name:N", x=alt.value("width"))
        .properties(width=names_width, height=height),
        *(
            _bars(base, field, colour, font_size).properties(
                name=name, title=_title(f"{FIELDS[field]}{order}", font_size), height=height
            )
            for name, field, colour, order in (
                ("weight", "weight", palette.LINE, ""),
                (f"{ASIDE}value_norm", "value_norm", palette.GREY, ""),
                ("share_norm", "share_norm", palette.GREY, " ↓"),
            )
        ),
        _bands(n_rows, d_value, font_size, is_compact).properties(
            title=_title(f"w·v, {d_value} dimensions", font_size), height=height
        ),
    ]
    if not is_large and not is_compact:
        columns += [
            _numbers(base, field, font_size).properties(
                name=f"{ASIDE}{field}",
                title=_title(FIELDS[field], font_size),
                width=NUMBER_WIDTH,
                height=height,
            )
            for field in ("cosine", "distance")
        ]
    chart = alt.hconcat(*columns, spacing=12, bounds="flush").resolve_scale(
        y="shared", x="independent", color="independent"
    )
    # What a row says is worked out once, for all columns.
    said = {"name": NAME} | {field: f"share_{field}[datum.place]" for field in FIELDS}
    rows = alt.Chart(alt.sequence(n_rows, as_="place")).transform_calculate(**said)
    chart.data, chart.transform = rows.data, rows.transform
    return structure_of(chart)


def _title(text: str, font_size: int) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=font_size, fontWeight="normal", anchor="start", offset=6)


def _bars(row: alt.Chart, field: str, fill: str, font_size: int) -> alt.LayerChart:
    """A bar and its number; none where a row has no such number."""
    known = alt.Chart().transform_filter(f"isValid(datum.{field})")
    limit = alt.expr(f"share_{field}_limit * 1.9")  # room for the number beside the longest
    x = alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, limit], nice=False))
    shared: Any = alt.Chart().encode(x=x, y=row.encoding.y, tooltip=row.encoding.tooltip)
    bar = known.mark_bar(height=12, fill=alt.expr(fill), fillOpacity=0.75)
    said = f"format(datum.{field}, '.3f')" if field == "weight" else three_digits(f"datum.{field}")
    number = (
        known.transform_calculate(said=said)
        .mark_text(align="left", dx=4, fontSize=font_size, fill=alt.expr(palette.TEXT))
        .encode(text="said:N")
    )
    return alt.LayerChart(layer=[bar, number], encoding=shared.encoding, width=BAR_WIDTH)


def _numbers(base: alt.Chart, field: str, font_size: int) -> alt.Chart:
    chart: alt.Chart = (
        base.transform_filter(f"isValid(datum.{field})")
        .transform_calculate(said=three_digits(f"datum.{field}"))
        .mark_text(align="left", fontSize=font_size, fill=alt.expr(palette.TEXT))
        .encode(x=alt.value(0), text="said:N")
    )
    return chart


def _bands(n_rows: int, d_value: int, font_size: int, is_compact: bool) -> alt.LayerChart:
    cells = (
        alt.Chart()
        .transform_calculate(v="share_bands[datum.place]", dimension=f"sequence({d_value})")
        .transform_flatten(["v", "dimension"])
        .transform_filter("isValid(datum.v)")
        .mark_rect(strokeWidth=0)
        .encode(
            x=alt.X("dimension:O", axis=None, scale=alt.Scale(padding=0)),
            y=alt.Y("place:O", axis=None, scale=alt.Scale(padding=0)),
            color=colour("share", "w·v", "share", is_below=True, font_size=font_size),
            tooltip=[
                alt.Tooltip("name:N", title="key token"),
                alt.Tooltip("dimension:Q", title="dimension (d_value)"),
                alt.Tooltip("v:Q", title="w·v"),
            ],
        )
    )
    total = (
        alt.Chart()
        .transform_filter(f"datum.place == {n_rows - 1}")
        .mark_rect(fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None)
        .encode(y=alt.Y("place:O", axis=None))
    )
    return alt.LayerChart(layer=[cells, total]).properties(
        width=COMPACT_BAND_WIDTH if is_compact else BAND_WIDTH
    )
