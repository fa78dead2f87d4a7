"""The steps of one head, in order: what each is called, how it is computed, what came out.

The page, the tables and the exports iterate `head.steps`; a step that a head does not have (a
soft-cap, a position bias) is not in its list.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from attnviz.results import HeadTrace


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one head."""

    name: str  # the attribute of HeadTrace that holds the array
    number: str  # its place in the four steps of self-attention: "in", "1", "2", "3a" …
    title: str
    formula: str  # LaTeX, with this head's own sizes
    array: Float[np.ndarray, "rows columns"]
    axes: tuple[str, str]  # what a row is and what a column is


_SCORES_AXES = ("query_pos", "key_pos")


def steps_of(head: "HeadTrace") -> tuple[Step, ...]:
    """The steps that this head has, in order."""
    return tuple(
        Step(name, number, title, formula, getattr(head, name), axes)
        for name, number, title, formula, axes in (
            *_inputs(head),
            ("q", "1", "query", r"q = x\,W_Q", ("query_pos", "d_head")),
            ("k", "1", "key", r"k = x\,W_K", ("key_pos", "d_head")),
            ("v", "1", "value", r"v = x\,W_V", ("key_pos", "d_value")),
            ("scores", "2", "score", r"\text{scores} = q \cdot k^\top", _SCORES_AXES),
            *_changes_to_scores(head),
            ("weights", "3c", "softmax", _softmax_formula(head), _SCORES_AXES),
            ("updated", "4", "update", r"x' = \text{weights} \cdot v", ("query_pos", "d_value")),
            *_output(head),
        )
    )


_Row = tuple[str, str, str, str, tuple[str, str]]


def _inputs(head: "HeadTrace") -> list[_Row]:
    if head.x_query is None:
        return []
    if head.x_key is head.x_query:
        return [("x_query", "in", "token embeddings", "x", ("query_pos", "d_model"))]
    return [
        ("x_query", "in", "queries' embeddings", r"x_{\text{query}}", ("query_pos", "d_model")),
        ("x_key", "in", "keys' embeddings", r"x_{\text{key}}", ("key_pos", "d_model")),
    ]


def _changes_to_scores(head: "HeadTrace") -> list[_Row]:
    """From scores to what the softmax is given."""
    scaling = _scaling_in_latex(head.scaling, head.q.shape[1])
    rows = [
        (
            "scaled",
            "3a",
            "scale",
            rf"\text{{scaled}} = \text{{scores}} \times {scaling}",
            _SCORES_AXES,
        )
    ]
    if head.softcap is not None:
        cap = f"{head.softcap:g}"
        formula = rf"\text{{capped}} = {cap} \cdot \tanh(\text{{scaled}} / {cap})"
        rows.append(("capped", "3a", "soft-cap", formula, _SCORES_AXES))
    if head.bias is not None:
        formula = rf"\text{{biased}} = \text{{{rows[-1][0]}}} + \text{{bias}}"
        rows.append(("biased", "3a", "position bias", formula, _SCORES_AXES))
    mask = r" + \text{mask}" if head.mask is not None else ""
    formula = rf"\text{{masked}} = \text{{{rows[-1][0]}}}{mask}"
    rows.append(("masked", "3b", "mask", formula, _SCORES_AXES))
    return rows


def _output(head: "HeadTrace") -> list[_Row]:
    if head.output_weight is None:
        return []
    gate = r"\odot \text{gate}" if head.output_gate is not None else ""
    joined = rf"(x' {gate})" if gate else "x'"
    formula = rf"\text{{output}} = {joined}\,W_O"
    return [("output", "beyond", "output", formula, ("query_pos", "d_model"))]


def _softmax_formula(head: "HeadTrace") -> str:
    sink = r"\,;\ \text{sink}" if head.sink_logit is not None else ""
    return rf"\text{{weights}} = \text{{softmax}}(\text{{masked}}{sink})"


def _scaling_in_latex(scaling: float, d_head: int) -> str:
    if np.isclose(scaling, d_head**-0.5):
        return rf"\tfrac{{1}}{{\sqrt{{{d_head}}}}}"
    return f"{scaling:.4g}"
