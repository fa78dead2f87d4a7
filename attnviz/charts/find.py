"""The find view: which heads link one token to another, every layer and head in one grid.

Layers run down and heads across; a cell is as dark as its head's weight is large, and the ten
strongest have their rank in it. A click opens the head.
"""

from functools import lru_cache
from math import floor, log10
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts.find_layers import OF_ONE, OF_SEVERAL, PLACES, Shape, grid
from attnviz.charts.grid_numbers import numbers_of, room_for_names
from attnviz.charts.model_layers import OPENED
from attnviz.charts.parts.figure import MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.values import end_of_weights
from attnviz.heads.finding import FIRST
from attnviz.text.errors import InputError
from attnviz.text.phrases import number

__all__ = ["OPENED", "find_figure", "find_view", "strongest", "takeaway"]


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
    chart: alt.LayerChart = displayed(figure.chart(), display_mode or "light")
    return chart


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
    shape = Shape(
        n_tiles=len(heads),
        n_rows=len(rows),
        n_columns=int(heads["head"].max()) + 1,
        left=room_for_names(rows),
        is_of_several=value == "mean",
    )
    largest = float(heads[value].where(np.isfinite(heads[value])).max())
    limit = end_of_weights(largest)
    constants = {
        "note": [_note(largest, limit, shape)],
        "limit": limit,
        "printed_as": f".{_decimals(largest)}f",
        **numbers_of(heads, rows, shape.columns, (kind, layer, head)),
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


def _note(largest: float, limit: float, shape: Shape) -> str:
    """How to read the colours and ranks."""
    ranks = f"Bold numbers: rank, 1 to {min(FIRST, shape.n_tiles)}"
    if limit == 1:
        return ranks
    return f"{ranks}; the colours end at {limit:g}, not at 1: the largest is {number(largest)}"


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    return structure_of(grid(shape).properties(title=note_above())) | {"autosize": {"type": "pad"}}
