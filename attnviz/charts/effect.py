"""What a head changes in what a model says: probabilities with and without it, and all heads.

One figure has a pair of bars for each of the first tokens. The other is a grid of layers × heads:
where a cell is orange, the followed token falls without that head, and where it is blue it rises.
"""

from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts.find_layers import PLACES, Shape, grid
from attnviz.charts.grid_numbers import numbers_of, room_for_names
from attnviz.charts.model_layers import OPENED
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import FONT_SIZE, axis, legend
from attnviz.charts.parts.figure import (
    FIT_WIDTH,
    MAX_STRUCTURES,
    Figure,
    note_above,
    structure_of,
)
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.values import end_of_signed
from attnviz.heads.finding import FIRST
from attnviz.text.errors import InputError
from attnviz.text.phrases import number, percent

__all__ = ["OPENED", "effect_figure", "effect_view", "sweep_figure", "sweep_view"]

WIDTH = 640  # px, where nothing else says it
PITCH = 30  # px from one token to the next
ROOM = 1.28  # times the largest probability: for the numbers behind the bars
WITH, WITHOUT = "with the head", "without it"


# Before and after


def effect_view(table: pd.DataFrame, *, display_mode: DisplayMode | None = None) -> alt.LayerChart:
    """What a model says with a head and without it: two bars for each of its first tokens.

    The table is `both` of what `attnviz.effect.without` gives: token, id, before, after. The token
    that it follows is bold. `display_mode` is "light" (default) or "dark". Raises InputError for
    another table.
    """
    chart = effect_figure(table).chart().properties(width=WIDTH)
    shown: alt.LayerChart = displayed(chart, display_mode or "light")
    return shown


def effect_figure(table: pd.DataFrame) -> Figure:
    """The same as a figure, for a page that has colours of its own."""
    _check(table, ("token", "id", "before", "after"), "both of attnviz.effect.without")
    n = len(table)
    followed = np.flatnonzero(table["id"] == table.attrs.get("token_id"))
    both = table[["before", "after"]].to_numpy(float)
    constants = {
        "tokens": table["token"].tolist(),
        "before": both[:, 0].tolist(),
        "after": both[:, 1].tolist(),
        "end": ROOM * float(both.max()) or 1.0,
        "followed": int(followed[0]) if len(followed) else -1,
    }
    return Figure(_bars_structure(n), constants, takeaway(table), n_marks=5 * n, width=WIDTH)


def takeaway(table: pd.DataFrame) -> str:
    """What the bars show, for those who do not see them."""
    first = table.head(3)
    said = "; ".join(
        f"{token} {percent(before)}, without it {percent(after)}"
        for token, before, after in zip(
            first["token"], first["before"].astype(float), first["after"].astype(float), strict=True
        )
    )
    return f"Effect view: the {len(table)} tokens with and without the head. {said}."


@lru_cache(MAX_STRUCTURES)
def _bars_structure(n: int) -> dict[str, Any]:
    chart = alt.LayerChart(layer=[_bars(n), _shares(n)]).properties(height=n * PITCH)
    return structure_of(chart) | FIT_WIDTH


def _rows(n: int) -> alt.Chart:
    """A datum for each token and for each of both: what is said with the head, and without it."""
    return alt.Chart(alt.sequence(2 * n, as_="at")).transform_calculate(
        row="floor(datum.at / 2)",
        of=f"datum.at % 2 ? '{WITHOUT}' : '{WITH}'",
        token="tokens[floor(datum.at / 2)]",
        probability="datum.at % 2 ? after[floor(datum.at / 2)] : before[floor(datum.at / 2)]",
    )


def _bars(n: int) -> alt.Chart:
    colours = alt.Scale(
        domain=[WITH, WITHOUT], range=[alt.expr(palette.LINE), alt.expr(palette.GREY)]
    )
    key = legend("probability", alt.Undefined, orient="top", direction="horizontal")
    key.symbolType, key.labelExpr, key.titleOrient = "square", "datum.value", "left"
    chart: alt.Chart = (
        _rows(n)
        .mark_bar(
            description=alt.expr(
                "datum.token + ', ' + datum.of + ': ' + format(datum.probability, '.1%')"
            )
        )
        .encode(
            x=_share(),
            **_row(),
            fill=alt.Fill("of:N", scale=colours, legend=key),
            tooltip=[
                alt.Tooltip("token:N"),
                alt.Tooltip("of:N", title="said"),
                alt.Tooltip("probability:Q", format=".4~g"),
            ],
        )
    )
    return chart


def _shares(n: int) -> alt.Chart:
    """The probability behind each bar."""
    form = "100 * datum.probability, datum.probability >= 0.001 ? '.1f' : '.2~g'"
    chart: alt.Chart = (
        _rows(n)
        .transform_calculate(said=f"format({form}) + ' %'")
        .mark_text(
            align="left",
            baseline="middle",
            dx=4,
            fontSize=FONT_SIZE - 1,
            fill=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        )
        .encode(x=_share(), **_row(), text="said:N")
    )
    return chart


def _share() -> alt.X:
    scale = alt.Scale(domain=[0, alt.expr("end")], nice=False)
    return alt.X("probability:Q", scale=scale, axis=None)


def _row() -> dict[str, Any]:
    """The place of a token, and within it that of what is said with the head and without it."""
    names = axis(
        "",
        labelExpr="tokens[datum.value]",
        labelFontWeight=alt.expr("datum.value === followed ? 'bold' : 'normal'"),
    )
    return {
        "y": alt.Y("row:O", axis=names, scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
        "yOffset": alt.YOffset("of:N", scale=alt.Scale(domain=[WITH, WITHOUT])),
    }


# All heads


def sweep_view(
    table: pd.DataFrame,
    *,
    kind: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """Every head, layers × heads, coloured by what changes where it is switched off.

    The table is what `attnviz.effect.sweep` gives. The ten heads that change most have their rank
    in the cell; one head, of the first kind unless `kind` names one, may be framed. `display_mode`
    is "light" (default) or "dark". Raises InputError for another table.
    """
    figure = sweep_figure(table, layer, head, kind=kind)
    chart: alt.LayerChart = displayed(figure.chart(), display_mode or "light")
    return chart


def sweep_figure(
    table: pd.DataFrame,
    layer: int | None = None,
    head: int | None = None,
    *,
    kind: str | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours of its own.

    Heads whose `change` is not known, because a sweep has not come to them, are left blank. Clicks
    are reported by the selection parameter OPENED: kind, layer and head.
    """
    _check(table, (*PLACES, "change", "kl"), "what attnviz.effect.sweep gives")
    heads = ranked(table)
    rows = list(dict.fromkeys(zip(heads["kind"], heads["layer"], strict=True)))
    shape = Shape(
        n_tiles=len(heads),
        n_rows=len(rows),
        n_columns=int(heads["head"].max()) + 1,
        left=room_for_names(rows),
        is_of_change=True,
    )
    largest = float(heads["change"].abs().max())
    limit = end_of_signed(largest) if np.isfinite(largest) and largest else 1.0
    framed = (heads["kind"][0] if kind is None else kind), layer, head
    constants = {
        "note": [_note(table)],
        "limit": limit,
        "printed_as": "+.2f" if largest >= 0.095 else "+.1~g",
        **numbers_of(heads, rows, shape.columns, framed),
    }
    n_marks = (2 + shape.is_printed) * len(heads)
    return Figure(_grid_structure(shape), constants, takeaway_of_sweep(table), n_marks=n_marks)


def _note(table: pd.DataFrame) -> str:
    """How to read the ranks, and how many heads there are in all where some are missing."""
    n_done, n = int(table["change"].notna().sum()), table.attrs.get("n_heads", len(table))
    ranks = f"Bold numbers: rank by magnitude, 1 to {min(FIRST, n_done)}"
    return ranks if n_done == n else f"{ranks}; {n_done} of {n} heads are switched off so far"


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The heads of a sweep with their `rank` by the magnitude of the change, in its own order."""
    heads = table.reset_index(drop=True)
    return heads.assign(rank=heads["change"].abs().rank(ascending=False, method="first"))


def pushing(table: pd.DataFrame, way: int, n: int) -> pd.DataFrame:
    """The heads that push the followed token most up (way 1) or down (−1), the strongest first.

    A head pushes it up where it falls without that head.
    """
    pushed = -way * table["change"]
    order = pushed[pushed > 0].sort_values(ascending=False, kind="stable").index[:n]
    return table.loc[order].reset_index(drop=True)


def takeaway_of_sweep(table: pd.DataFrame) -> str:
    """What the grid shows, for those who do not see it."""
    n_layers = len(table[["kind", "layer"]].drop_duplicates())
    parts = [f"Effect view: {len(table)} heads in {n_layers} layers."]
    for way, said in ((1, "falls"), (-1, "rises")):
        for _, row in pushing(table, way, 1).iterrows():
            place = f"{row['kind']} attention, layer {row['layer']}, head {row['head']}"
            change = number(float(row["change"]))
            parts.append(f"The token {said} most without {place}: Δ log p {change}.")
    return " ".join(parts)


@lru_cache(MAX_STRUCTURES)
def _grid_structure(shape: Shape) -> dict[str, Any]:
    return structure_of(grid(shape).properties(title=note_above())) | {"autosize": {"type": "pad"}}


def _check(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        why = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise InputError(f"The table {why}.\n\nHint: pass {what}.")
