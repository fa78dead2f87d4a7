"""Numbers as charts take them: exact constants, and scales that are true to their sign."""

import json
from collections.abc import Iterable
from math import ceil, floor, log10
from typing import NamedTuple

import altair as alt
import numpy as np

from attnviz.attention.masks import REASONS

# What a legend's number looks like: at most three significant digits, without trailing zeros.
LEGEND_NUMBER = "datum.value == 0 ? '0' : format(datum.value, '.3~g')"

# Some are outliers where the largest is more than 5 times what nine tenths are within; colours then
# end at twice that, as normal numbers do. In the bundled model's heads q, k and v have none.
OUTLIER, NINE_TENTHS, END = 5, 0.9, 2
FEWEST = 64  # numbers of which some can be outliers: the scores of 7 tokens are fewer

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


class ScaleEnd(NamedTuple):
    """Where a scale around zero ends on both sides, and whether there are values beyond it."""

    limit: float
    is_cut: bool

    def constants(self, called: str) -> dict[str, float]:
        """What the scale and the legend of these colours read: the end, and 1 where it is cut."""
        return {f"{called}_limit": self.limit, f"{called}_cut": int(self.is_cut)}


def scale_end(values: np.ndarray, among: np.ndarray | None = None) -> ScaleEnd:
    """Where the colours of values end: at the largest magnitude, or before outliers.

    Outliers are there where the largest is more than 5 times the magnitude that nine tenths are
    within: the scale then ends at twice that. They are looked for `among` other values where those
    say what is ordinary: a weight times a value vector is large for its weight, and an outlier
    where the value vector has one. Fewer than 64 numbers have none; NaN, and 0, which looks alike
    on any scale, do not count; what is infinite is beyond the end. It is 1 where nothing is to be
    shown.
    """
    size = _magnitudes(values)
    end = largest(size[np.isfinite(size)])
    ordinary = size if among is None else _magnitudes(among)
    ordinary = ordinary[np.isfinite(ordinary)]
    if len(ordinary) >= FEWEST:
        most = float(np.quantile(ordinary, NINE_TENTHS, method="lower"))
        if ordinary.max() > OUTLIER * most:
            end = min(end, END * most)
    return ScaleEnd(float(str(np.float32(end))), bool((size > end).any()))


def _magnitudes(values: np.ndarray) -> np.ndarray:
    size: np.ndarray = np.abs(values).ravel()
    return size[size > 0]


def three_digits(value: str) -> str:
    """The Vega expression for a number as `phrases.number` writes it: "3.30", "1240", "0"."""
    form = f"abs({value}) >= 999.5 && abs({value}) < 999500 ? '.3r' : '.3g'"
    return f"({value} == 0 ? '0' : format({value}, {form}))"


def legend_number(is_cut: str) -> str:
    """A legend's number where its ends may stand for what is beyond them: "≥ 2.10"."""
    sign = f"{is_cut} ? (datum.value < 0 ? '≤ ' : '≥ ') : ''"
    return f"(datum.value == 0 ? '' : {sign}) + {three_digits('datum.value')}"


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
    # Clamped: beyond the ends Vega would go on to colours that no legend shows.
    return alt.Scale(domain=ends, domainMid=0, interpolate="rgb", clamp=True)
