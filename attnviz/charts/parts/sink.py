"""A head's sink beside its keys: one column more, or one row, set apart from them.

It takes part in the softmax like a key, and is no token: what goes there goes nowhere.
"""

from typing import Any, Literal

import altair as alt

LABEL = "sink"
NO_TOKEN = "no token: the head’s sink"
GAP = 6  # px
SINK_ROW = "sink (no token)"  # what it is called in a list of keys
SMALLEST_SINK = 5e-4  # what would be printed as 0.000 is not worth a row of its own

Channel = Literal["x", "y"]


def cells(values: str, n: int, place: int, along: Channel, other: str, names: str) -> alt.Chart:
    """What each of `n` rows gives to the sink: a datum each, `v`, at one `place` of a channel.

    `values` and `names` are the constants that hold the numbers and the other side's tokens,
    which stand along the other channel, in a field called `other`. The sink's own place is called
    `sink_place`, so that a click on it is none on a key.
    """
    across: Channel = "y" if along == "x" else "x"
    encoding = {along: _at("sink_place", along), across: _at(other, across)}
    return (
        alt.Chart(alt.sequence(n, as_=other))
        .transform_calculate(
            v=f"{values}[datum.{other}]",
            sink_place=f"{place}",
            query_token=f"{names}[datum.{other}]",
            to=f'"{NO_TOKEN}"',
        )
        .transform_filter("isValid(datum.v)")
        .encode(**encoding)
    )


def gap(place: int, along: Channel) -> alt.Chart:
    """Between the last key and the sink: a stroke in the background's colour."""
    encoding: dict[str, Any] = {along: _at("sink_place", along, bandPosition=0)}
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(sink_place=f"{place}")
        .mark_rule(strokeWidth=GAP, stroke=alt.expr("background"), aria=False, tooltip=None)
        .encode(**encoding)
    )
    return chart


def tooltip(value_title: str, row_title: str = "query token") -> list[alt.Tooltip]:
    return [
        alt.Tooltip("query_token:N", title=row_title),
        alt.Tooltip("to:N", title="gives to"),
        alt.Tooltip("v:Q", title=value_title),
    ]


def _at(field: str, channel: Channel, **options: Any) -> Any:
    return (alt.X if channel == "x" else alt.Y)(f"{field}:O", **options)
