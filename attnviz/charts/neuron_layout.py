"""Where everything stands in the neuron view: columns across, token rows down.

Across, a unit is a hundredth of the view's width, whatever that is; down, it is one token's row.
The view has two forms, with the dimensions and without, and each column a place in one or both.
"""

from dataclasses import dataclass
from typing import Any

import altair as alt

PITCH = 26  # px a row
TITLE_LINE = 15  # px
PADDING = 0.08  # of a row, above and below what it holds
DIMENSIONS_A_LINE = 64  # more dimensions take several lines within the row

_EXPANDED = {
    "query_token": (0, 9),
    "q": (10, 21),
    "lines": (22, 31.5),
    "k": (32.5, 43.5),
    "product": (44.5, 55.5),
    "scores": (56.5, 63.5),
    "masked": (64.5, 71.5),
    "softmax": (72.5, 80.5),
    "key_token": (81, 89),
    "value": (90, 100),
}
_COLLAPSED = {
    "query_token": (0, 18),
    "lines": (19, 55),
    "key_token": (56, 74),
    "softmax": (75, 95),
}


@dataclass(frozen=True)
class Shape:
    """All that decides what the view looks like, but for its numbers and names."""

    n_queries: int
    n_keys: int
    d_head: int
    d_value: int
    n_sums: int  # rows below the keys: what is not shown, and the sum
    has_bands: bool  # words have none of their own
    masked_title: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        return max(self.n_queries, self.n_keys + self.n_sums)

    @property
    def n_cells(self) -> int:
        """How many cells q, k, q × k and w · v have together."""
        of_head = (self.n_queries + 2 * self.n_keys) * self.d_head
        return of_head + (self.n_keys + 1) * self.d_value if self.has_bands else 0

    @property
    def header(self) -> float:
        """How many rows the columns' titles take."""
        return 0.7 + len(self.masked_title) * TITLE_LINE / PITCH

    @property
    def footer(self) -> float:
        """How many rows the legends take."""
        return 2.4 if self.has_bands else 0.4

    @property
    def height(self) -> float:
        return PITCH * (self.header + self.n_rows + self.footer)


def start(column: str) -> str:
    """Where a column starts, as a Vega expression."""
    return _edge(column, 0)


def end(column: str) -> str:
    """Where a column ends, as a Vega expression."""
    return _edge(column, 1)


def middle(column: str) -> str:
    return f"(({start(column)} + {end(column)}) / 2)"


def share_of_width(column: str) -> float:
    """How much of the width a column of the expanded form has."""
    first, last = _EXPANDED[column]
    return (last - first) / 100


def is_always_shown(column: str) -> bool:
    return column in _COLLAPSED


def x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, 100], nice=False, zero=False))


def y(of: Shape, field: str = "y") -> alt.Y:
    domain = [-of.header, of.n_rows + of.footer]
    scale = alt.Scale(domain=domain, reverse=True, nice=False, zero=False)
    return alt.Y(f"{field}:Q", axis=None, scale=scale)


def lines_a_row(n_dimensions: int) -> int:
    return -(-n_dimensions // DIMENSIONS_A_LINE)


def cell_places(column: str, n_dimensions: int) -> dict[str, str]:
    """The corners of the cell of `datum.slot` in the row of `datum.place`."""
    n_lines = lines_a_row(n_dimensions)
    per_line = -(-n_dimensions // n_lines)
    width = f"({end(column)} - {start(column)}) / {per_line}"
    line_height = (1 - 2 * PADDING) / n_lines
    return {
        "x": f"{start(column)} + (datum.slot % {per_line}) * {width}",
        "x2": f"{start(column)} + (datum.slot % {per_line} + 1) * {width}",
        "y": f"datum.place + {PADDING} + floor(datum.slot / {per_line}) * {line_height}",
        "y2": f"datum.place + {PADDING} + (floor(datum.slot / {per_line}) + 1) * {line_height}",
    }


def row_places(first: str, last: str) -> dict[str, str]:
    """The corners of a box from one column to another in the row of `datum.place`."""
    return {
        "x": start(first),
        "x2": end(last),
        "y": f"datum.place + {PADDING}",
        "y2": f"datum.place + {1 - PADDING}",
    }


def legend_place(column: str, of: Shape) -> dict[str, Any]:
    """Where a column's legend stands: under it."""
    first, last = _EXPANDED[column]
    return {
        "orient": "none",
        "direction": "horizontal",
        "legendX": alt.expr(f"width * {first / 100}"),
        "legendY": PITCH * (of.header + of.n_rows + 0.6),
        "gradientLength": alt.expr(f"width * {(last - first) / 100}"),
        "gradientThickness": 8,
        "padding": 0,
        "offset": 0,
    }


def _edge(column: str, side: int) -> str:
    expanded, collapsed = _EXPANDED[column][side], _COLLAPSED.get(column)
    if collapsed is None or collapsed[side] == expanded:
        return f"{expanded}"
    return f"(is_expanded ? {expanded} : {collapsed[side]})"
