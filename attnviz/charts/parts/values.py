"""Numbers as charts take them: exact constants, and scales that are true to their sign."""

import json
from collections.abc import Iterable
from math import ceil, floor, log10

import altair as alt
import numpy as np

from attnviz.attention.masks import REASONS

# What a legend's number looks like: at most three significant digits, without trailing zeros.
LEGEND_NUMBER = "datum.value == 0 ? '0' : format(datum.value, '.3~g')"

# By the code of a hidden cell: what is said of it. 0: a block of several.
WHY_HIDDEN = json.dumps(["hidden", *(f"hidden: {why}" for why in REASONS.values())])


def nested(rows: Iterable[np.ndarray]) -> list[list[float | None]]:
    """The shortest decimals that are these float32 numbers exactly; None for NaN.

    A matrix is a constant of its chart, not a table: no name is repeated for each cell.
    """
    shortest = ([float(digits) for digits in map(str, row)] for row in rows)
    return [[None if value != value else value for value in row] for row in shortest]


def as_bits(rows: Iterable[np.ndarray]) -> list[list[int]]:
    """1 where something is true, else 0."""
    return [[int(value) for value in row] for row in rows]


def largest(values: np.ndarray) -> float:
    """The largest magnitude, NaN apart; 1 where there is none, so that a scale has two ends."""
    return float(str(np.float32(np.nanmax(np.abs(values), initial=0)))) or 1.0


def weights_scale(end: str | None = None) -> alt.Scale:
    """Weights run from 0 to 1, unless a parameter says where their colours end."""
    return alt.Scale(domain=[0, 1 if end is None else alt.expr(end)], interpolate="rgb")


def end_of_weights(largest: float) -> float:
    """Where their colours end: 1, or where no weight comes near it the next of 0.5, 0.2, 0.1 …"""
    if not 0 < largest <= 0.5:
        return 1.0
    power = 10.0 ** floor(log10(largest))
    return next(end for n in (1, 2, 5, 10) if (end := float(f"{n * power:.0e}")) >= largest)


def end_of_signed(largest: float) -> float:
    """The next number of two digits, which a legend can say as it is."""
    power = 10.0 ** (floor(log10(largest)) - 1)
    return float(f"{ceil(round(largest / power, 3)) * power:.1e}")


def signed_scale(limit: float | str) -> alt.Scale:
    """A scale that is symmetric around zero, so that hue is the sign; a name is a parameter's."""
    ends = [alt.expr(f"-{limit}"), alt.expr(limit)] if isinstance(limit, str) else [-limit, limit]
    return alt.Scale(domain=ends, domainMid=0, interpolate="rgb")
