"""The columns of the neuron view, one method each."""

from typing import Any, Literal

import altair as alt
import numpy as np

from attnviz.charts import palette
from attnviz.charts.values import LEGEND_NUMBER, largest, nested, signed_scale
from attnviz.results import HeadTrace

# The selection parameters that report a clicked token, by its place among those shown.
CLICKED_QUERY = "clicked"  # field `query`
CLICKED_KEY = "clicked_key"  # field `key`
PITCH = 26  # px a token
BAND_WIDTH = 104
TOKEN_WIDTH = 72
GAP = 8


class Columns:
    """The columns of the view; rows are positions in the window, not in the text."""

    def __init__(self, head: HeadTrace, queries: range, keys: range) -> None:
        q, k = head.q[queries.start : queries.stop], head.k[keys.start : keys.stop]
        cells = np.s_[queries.start : queries.stop, keys.start : keys.stop]
        is_hidden = head.is_masked[cells]
        masked = np.where(is_hidden, np.nan, head.masked[cells])
        self.head, self.queries, self.keys = head, queries, keys
        self.arrays = {
            "Q": q,
            "K": k,
            "scores": head.scores[cells],
            "masked": masked,
            "weights": head.weights[cells],
        }
        self.largest_weight = largest(self.arrays["weights"])
        # The largest product of any query and key, dimension by dimension.
        largest_product = float((np.abs(q).max(axis=0) * np.abs(k).max(axis=0)).max())
        self.limits = {
            "q": largest(q),
            "k": largest(k),
            "product": largest_product or 1.0,
            "scores": largest(self.arrays["scores"]),
            "masked": largest(masked),
        }

    def constants(self) -> list[alt.Parameter]:
        """The arrays and names that the expressions of the other columns read."""
        return [
            *(alt.param(name=name, value=nested(array)) for name, array in self.arrays.items()),
            alt.param(name="query_names", value=[self.head.query_tokens[i] for i in self.queries]),
            alt.param(name="key_names", value=[self.head.key_tokens[i] for i in self.keys]),
        ]

    def query_tokens(self) -> alt.LayerChart:
        text = _token_text(self.queries, "query_names", "right", "datum.place == selected_query")
        return _column(_layered(text), "query token", self.queries, TOKEN_WIDTH)

    def key_tokens(self) -> alt.LayerChart:
        text = _token_text(self.keys, "key_names", "left", "datum.place == pinned_key")
        return _column(_layered(text), "key token", self.keys, TOKEN_WIDTH)

    def query_bands(self) -> alt.LayerChart:
        """The bands, and under them and the token beside them what answers the pointer."""
        rows = (
            _tokens_data(self.queries)
            .transform_calculate(query="datum.place")
            .encode(y=_band_y(self.queries))
        )
        touch = rows.mark_rect(opacity=0, cursor="pointer", tooltip=None).encode(
            x=alt.value(-TOKEN_WIDTH - GAP), x2=alt.value(BAND_WIDTH)
        )
        cells = _bands("Q", self.queries, "query_names", "query token", row="query").encode(
            color=_band_colour(self.limits["q"], "q")
        )
        frame = _frame(self.queries, "query", "selected_query")
        picture = _layered(touch.add_params(*_pointers()), cells, frame)
        return _column(picture, "query q", self.queries, BAND_WIDTH, "q")

    def key_bands(self) -> alt.LayerChart:
        cells = (
            _bands("K", self.keys, "key_names", "key token", row="key")
            .encode(color=_band_colour(self.limits["k"], "k"))
            .mark_rect(strokeWidth=0, cursor="pointer")
            .add_params(
                alt.selection_point(
                    name=CLICKED_KEY, fields=["key"], on="click", toggle=False, empty=False
                )
            )
        )
        frame = _frame(self.keys, "key", "pinned_key")
        return _column(_layered(cells, frame), "key k", self.keys, BAND_WIDTH, "k")

    def products(self) -> alt.LayerChart:
        cells = (
            _bands("K", self.keys, "key_names", "key token", row="key", value="k")
            .transform_calculate(v="datum.k * Q[selected_query][datum.dimension]")
            .encode(color=_band_colour(self.limits["product"], "q × k"))
        )
        return _column(_layered(cells), "q × k", self.keys, BAND_WIDTH)

    def lines(self) -> alt.LayerChart:
        def y(field: str, tokens: range) -> Any:
            scale = alt.Scale(domain=[-0.5, len(tokens) - 0.5], reverse=True, nice=False)
            return alt.Y(field, scale=scale, axis=None)

        lines = (
            _tokens_data(self.keys)
            .transform_calculate(
                weight="weights[selected_query][datum.place]",
                # The two sides may differ in length: a query's place in units of the key's scale.
                start="selected_query",
                from_token="query_names[selected_query]",
                to_token="key_names[datum.place]",
            )
            .mark_rule(strokeWidth=2.5, stroke=alt.expr(palette.LINE))
            .encode(
                x=alt.datum(0, type="quantitative", scale=alt.Scale(domain=[0, 1]), axis=None),
                x2=alt.datum(1),
                y=y("start:Q", self.keys),
                y2=alt.Y2("place:Q"),
                opacity=alt.Opacity(
                    "weight:Q",
                    scale=alt.Scale(domain=[0, self.largest_weight], range=[0, 1]),
                    legend=None,
                ),
                tooltip=[
                    alt.Tooltip("from_token:N", title="query token"),
                    alt.Tooltip("to_token:N", title="key token"),
                    alt.Tooltip("weight:Q", title="weight"),
                ],
            )
        )
        return _column(_layered(lines), "weights", self.keys, width=72)

    def number(self, title: str, array: str, width: int) -> alt.LayerChart:
        limit = self.limits[array]
        base = (
            _tokens_data(self.keys)
            .transform_calculate(
                v=f"{array}[selected_query][datum.place]",
                printed=f"isValid({array}[selected_query][datum.place])"
                f" ? format({array}[selected_query][datum.place], '.3g') : 'hidden'",
                token="key_names[datum.place]",
            )
            .encode(y=_band_y(self.keys))
        )
        tiles = base.mark_rect(fill=alt.expr(palette.HIDDEN)).encode(
            fill=alt.Fill("v:Q", scale=signed_scale(limit), legend=None),
            tooltip=[
                alt.Tooltip("token:N", title="key token"),
                alt.Tooltip("v:Q", title=title),
            ],
        )
        text = base.mark_text(
            fontSize=12, fill=alt.expr(palette.text_on(f"(datum.v / {limit!r})")), tooltip=None
        ).encode(text="printed:N")
        return _column(_layered(tiles, text), title, self.keys, width)

    def softmax(self) -> alt.LayerChart:
        base = (
            _tokens_data(self.keys)
            .transform_calculate(
                weight="weights[selected_query][datum.place]",
                printed="format(weights[selected_query][datum.place], '.3f')",
                token="key_names[datum.place]",
            )
            .encode(y=_band_y(self.keys))
        )
        bars = base.mark_bar(fill=alt.expr(palette.LINE)).encode(
            x=alt.X(
                "weight:Q",
                scale=alt.Scale(domain=[0, 1.7 * self.largest_weight]),
                axis=None,
            ),
            tooltip=[
                alt.Tooltip("token:N", title="key token"),
                alt.Tooltip("weight:Q", title="weight"),
            ],
        )
        text = base.mark_text(
            align="left", dx=4, fontSize=12, fill=alt.expr(palette.TEXT), tooltip=None
        ).encode(x=alt.X("weight:Q"), text="printed:N")
        return _column(_layered(bars, text), "softmax", self.keys, width=96)


def _pointers() -> list[alt.Parameter]:
    hovered = alt.selection_point(
        name="hovered", fields=["query"], on="pointerover", clear="pointerout", empty=False
    )
    clicked = alt.selection_point(
        name=CLICKED_QUERY, fields=["query"], on="click", toggle=False, empty=False
    )
    return [hovered, clicked]


def _layered(*layers: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(layers))


def _tokens_data(tokens: range) -> alt.Chart:
    return alt.Chart(alt.sequence(len(tokens), as_="place"))


def _frame(tokens: range, row: str, at: str) -> alt.Chart:
    """A frame around one row; it answers the pointer as the row under it does."""
    return (
        _tokens_data(tokens)
        .transform_calculate(**{row: "datum.place"})
        .transform_filter(f"datum.place == {at}")
        .mark_rect(fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), tooltip=None)
        .encode(y=_band_y(tokens))
    )


def _bands(
    array: str, tokens: range, names: str, title: str, *, row: str, value: str = "v"
) -> alt.Chart:
    return (
        _tokens_data(tokens)
        .transform_calculate(
            **{value: f"{array}[datum.place]"},
            dimension=f"sequence(length({array}[datum.place]))",
            token=f"{names}[datum.place]",
            **{row: "datum.place"},
        )
        .transform_flatten([value, "dimension"])
        .mark_rect(strokeWidth=0)
        .encode(
            x=alt.X("dimension:O", axis=None, scale=alt.Scale(padding=0)),
            y=_band_y(tokens),
            tooltip=[
                alt.Tooltip("token:N", title=title),
                alt.Tooltip("dimension:O", title="dimension"),
                alt.Tooltip("v:Q", title="value", format=".7~g"),
            ],
        )
    )


def _band_y(tokens: range) -> alt.Y:
    scale = alt.Scale(domain=list(range(len(tokens))), paddingInner=0.2, paddingOuter=0.1)
    return alt.Y("place:O", scale=scale, axis=None)


def _token_text(
    tokens: range, names: str, align: Literal["left", "right"], is_bold: str
) -> alt.Chart:
    return (
        _tokens_data(tokens)
        .transform_calculate(token=f"{names}[datum.place]")
        .mark_text(
            align=align,
            x="width" if align == "right" else 0,
            fontSize=13,
            limit=TOKEN_WIDTH,
            fill=alt.expr(palette.TEXT),
            fontWeight=alt.expr(f"{is_bold} ? 'bold' : 'normal'"),
        )
        .encode(y=_band_y(tokens), text="token:N")
    )


def _band_colour(limit: float, title: str) -> alt.Color:
    legend = alt.Legend(
        title=title,
        orient="bottom",
        direction="horizontal",
        values=[-limit, 0, limit],
        labelExpr=LEGEND_NUMBER,
        labelColor=alt.expr(palette.TEXT),
        titleColor=alt.expr(palette.TEXT),
        gradientLength=BAND_WIDTH - 16,
        gradientThickness=8,
    )
    return alt.Color("v:Q", scale=signed_scale(limit), legend=legend)


def _column(
    picture: alt.LayerChart, title: str, tokens: range, width: int, identity: str | None = None
) -> alt.LayerChart:
    colour = alt.expr(palette.TEXT) if identity is None else palette.IDENTITY[identity]
    return picture.properties(
        title=alt.TitleParams(title, fontSize=13, color=colour, anchor="middle", offset=8),
        width=width,
        height=PITCH * len(tokens),
    )
