"""The update of one query, made visible: each w·v as a band, the largest first, down to x′."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from attnviz.charts import palette
from attnviz.charts.axes import FONT_SIZE
from attnviz.charts.values import LEGEND_NUMBER, largest, nested, signed_scale
from attnviz.results import HeadTrace
from attnviz.shares import value_shares

MAX_KEYS = 12  # with a band of their own; the others are added up
PITCH = 26  # px a row
LARGE_PITCH = 30
BAND_WIDTH = 224
BAR_WIDTH = 88


def shares_chart(
    head: HeadTrace, query: int, key: int | None = None, *, is_large: bool = False
) -> alt.HConcatChart:
    """One row a key: its weight, ‖v‖, ‖w·v‖, and w·v itself; the last row is their sum, x′.

    Beyond 12 keys the others are added up in one row. Beside them stand cosine and distance of
    x′ to each v; one key may be marked. `is_large` is for a projector, without those two.
    """
    table = value_shares(head, query)
    keys = table["key"].to_numpy()
    products = head.weights[query][:, None] * head.v
    bands = [products[place] for place in keys[:MAX_KEYS]]
    rows = table[:MAX_KEYS].drop(columns=["token", "share"])
    rows["label"] = [
        f"{'▸ ' if place == key else ''}{head.key_tokens[place]}" for place in keys[:MAX_KEYS]
    ]
    rows["what"] = "key"
    others = keys[MAX_KEYS:]
    if len(others):
        bands.append(products[others].sum(axis=0))
        rest = {"label": f"the other {len(others)}", "weight": head.weights[query][others].sum()}
        rest |= {"share_norm": np.linalg.norm(bands[-1]), "what": "rest"}
        rows = pd.concat([rows, pd.DataFrame([rest])], ignore_index=True)
    bands.append(head.updated[query])
    total = {"label": "sum: x′", "share_norm": np.linalg.norm(bands[-1]), "what": "sum"}
    rows = pd.concat([rows, pd.DataFrame([total])], ignore_index=True)
    rows["place"] = range(len(rows))
    pitch = LARGE_PITCH if is_large else PITCH
    size = {"height": alt.Step(pitch)}
    font_size = FONT_SIZE + 4 if is_large else FONT_SIZE + 1
    base = alt.Chart(rows).encode(
        y=alt.Y("place:O", axis=None, scale=alt.Scale(padding=0)),
        tooltip=[
            alt.Tooltip("label:N", title="key token"),
            alt.Tooltip("weight:Q", title="weight w"),
            alt.Tooltip("value_norm:Q", title="‖v‖"),
            alt.Tooltip("share_norm:Q", title="‖w·v‖"),
            alt.Tooltip("cosine:Q", title="cosine of x′ and v"),
            alt.Tooltip("distance:Q", title="‖x′ − v‖"),
        ],
    )
    columns: list[Any] = [
        _names(base, rows["label"], font_size).properties(**size),
        _bars(base, "weight", 1.0, palette.LINE, font_size).properties(
            title=_title("weight w", font_size), **size
        ),
        _bars(
            base, "value_norm", largest(rows["value_norm"].to_numpy()), palette.GREY, font_size
        ).properties(title=_title("‖v‖", font_size), **size),
        _bars(
            base, "share_norm", largest(rows["share_norm"].to_numpy()), palette.GREY, font_size
        ).properties(title=_title("‖w·v‖", font_size), **size),
        _bands(bands, rows["label"], font_size).properties(
            title=_title(f"w·v, {head.v.shape[1]} dimensions", font_size), **size
        ),
    ]
    if not is_large:
        columns += [
            _numbers(base, "cosine", ".2f", font_size).properties(
                title=_title("cos(x′, v)", font_size), width=62, **size
            ),
            _numbers(base, "distance", ".3~g", font_size).properties(
                title=_title("‖x′ − v‖", font_size), width=62, **size
            ),
        ]
    return (
        alt.hconcat(*columns, spacing=12, bounds="flush")
        .resolve_scale(y="shared", x="independent", color="independent")
        .add_params(
            alt.param(name="bands", value=nested(bands)),
            alt.param(name="band_names", value=list(rows["label"])),
        )
    )


def _title(text: str, font_size: int) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=font_size, fontWeight="normal", anchor="start", offset=6)


def _names(base: alt.Chart, labels: pd.Series, font_size: int) -> alt.Chart:
    width = min(150, max(60, int(0.62 * font_size * max(map(len, labels)))))
    return (
        base.mark_text(align="right", fontSize=font_size, fill=alt.expr(palette.TEXT), limit=150)
        .encode(text="label:N", x=alt.value(width))
        .properties(width=width)
    )


def _bars(base: alt.Chart, field: str, limit: float, colour: str, font_size: int) -> alt.LayerChart:
    """A bar and its number; none where a row has no such number."""
    known = base.transform_filter(f"isValid(datum.{field})")
    x = alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, limit * 1.9], nice=False))
    bar = known.mark_bar(height=12, fill=alt.expr(colour), fillOpacity=0.75).encode(x=x)
    number = known.mark_text(
        align="left", dx=4, fontSize=font_size, fill=alt.expr(palette.TEXT)
    ).encode(x=x, text=alt.Text(f"{field}:Q", format=".3f" if field == "weight" else ".3~g"))
    return alt.LayerChart(layer=[bar, number]).properties(width=BAR_WIDTH)


def _numbers(base: alt.Chart, field: str, form: str, font_size: int) -> alt.Chart:
    return (
        base.transform_filter(f"isValid(datum.{field})")
        .mark_text(align="left", fontSize=font_size, fill=alt.expr(palette.TEXT))
        .encode(x=alt.value(0), text=alt.Text(f"{field}:Q", format=form))
    )


def _bands(bands: list[np.ndarray], labels: pd.Series, font_size: int) -> alt.LayerChart:
    limit = largest(np.stack(bands))
    cells = (
        alt.Chart(alt.sequence(len(bands), as_="place"))
        .transform_calculate(
            v="bands[datum.place]",
            dimension=f"sequence({len(bands[0])})",
            label="band_names[datum.place]",
        )
        .transform_flatten(["v", "dimension"])
        .mark_rect(strokeWidth=0)
        .encode(
            x=alt.X("dimension:O", axis=None, scale=alt.Scale(padding=0)),
            y=alt.Y("place:O", axis=None, scale=alt.Scale(padding=0)),
            color=alt.Color(
                "v:Q",
                scale=signed_scale(limit),
                legend=alt.Legend(
                    title="w·v",
                    orient="bottom",
                    direction="horizontal",
                    gradientLength=150,
                    values=[-limit, 0, limit],
                    labelExpr=LEGEND_NUMBER,
                    labelOverlap=False,
                    labelFontSize=font_size,
                    titleFontSize=font_size,
                    labelColor=alt.expr(palette.TEXT),
                    titleColor=alt.expr(palette.TEXT),
                ),
            ),
            tooltip=[
                alt.Tooltip("label:N", title="key token"),
                alt.Tooltip("dimension:Q", title="dimension (d_value)"),
                alt.Tooltip("v:Q", title="w·v"),
            ],
        )
    )
    total = (
        alt.Chart(alt.sequence(len(bands) - 1, len(bands), as_="place"))
        .mark_rect(fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None)
        .encode(y=alt.Y("place:O", axis=None))
    )
    return alt.LayerChart(layer=[cells, total]).properties(width=BAND_WIDTH)
