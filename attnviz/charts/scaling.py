"""Entropy of the softmax against the factor that the scores are multiplied by."""

import altair as alt
import numpy as np
import pandas as pd

from attnviz.attention.explained.scaling import FACTORS, entropy_curve
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import scaling_factor
from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import FONT_SIZE, axis


def entropy_chart(head: HeadTrace, query: int) -> alt.LayerChart:
    """How evenly attention is spread at each factor, with this head's own and 1 marked.

    One line is the query's own entropy, the other the mean over all queries; in bits, from 0
    (one key) to log₂ of the number of keys (all alike).
    """
    factors = head.scaling * FACTORS
    of_query, mean = entropy_curve(head, query, factors)
    name = f"{head.query_tokens[query]}"
    lines = pd.DataFrame(
        {
            "factor": np.tile(factors, 2),
            "entropy": np.concatenate([of_query, mean]),
            "of": np.repeat([name, "mean of all queries"], len(factors)),
        }
    )
    most = float(np.log2(len(head.key_tokens))) or 1.0
    x = alt.X(
        "factor:Q",
        scale=alt.Scale(type="log", nice=False),
        axis=axis(
            "factor that scores are multiplied by (log scale)", format="~g", tickCount=6, grid=False
        ),
    )
    y = alt.Y(
        "entropy:Q",
        scale=alt.Scale(domain=[0, most], nice=False),
        axis=axis("entropy (bits)", tickCount=4, grid=True, gridOpacity=0.2, format="~g"),
    )
    curves = (
        alt.Chart(lines)
        .mark_line(strokeWidth=2.5, stroke=alt.expr(palette.LINE))
        .encode(
            x=x,
            y=y,
            strokeDash=alt.StrokeDash(
                "of:N",
                scale=alt.Scale(domain=[name, "mean of all queries"], range=[[1, 0], [5, 4]]),
                legend=alt.Legend(
                    title=None,
                    orient="bottom",
                    labelFontSize=FONT_SIZE,
                    labelColor=alt.expr(palette.TEXT),
                    symbolStrokeColor=alt.expr(palette.LINE),
                ),
            ),
            tooltip=[
                alt.Tooltip("of:N", title="entropy of"),
                alt.Tooltip("factor:Q", title="factor", format=".4g"),
                alt.Tooltip("entropy:Q", title="bits", format=".3f"),
            ],
        )
    )
    own = f"this head: {scaling_factor(head)}"
    marks = [{"factor": head.scaling, "label": own, "side": "left"}]
    if head.scaling != 1 and factors[0] < 1 < factors[-1]:
        marks.append({"factor": 1.0, "label": "no scaling: 1", "side": "left"})
    marked = alt.Chart(pd.DataFrame(marks))
    rules = marked.mark_rule(strokeDash=[2, 2], stroke=alt.expr(palette.TEXT)).encode(x="factor:Q")
    names = marked.mark_text(
        align="left", dx=5, baseline="top", y=2, fontSize=FONT_SIZE, fill=alt.expr(palette.TEXT)
    ).encode(x="factor:Q", text="label:N")
    return alt.LayerChart(layer=[curves, rules, names]).properties(height=220)
