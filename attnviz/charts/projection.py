"""One head's part of W_Q, W_K or W_V as a heat map: what it multiplies each dimension of x by."""

from typing import Any

from attnviz.attention.explained.projection import Letter, weights_step
from attnviz.attention.head import HeadTrace
from attnviz.charts.matrix import matrix_chart
from attnviz.charts.parts.figure import Figure


def projection_chart(
    head: HeadTrace, letter: Letter, dimension: int | None = None, **options: Any
) -> Figure | None:
    """W_Q, W_K or W_V of the head, (d_model, d_head), with the column of a dimension framed.

    Where it is too large to be drawn as it is, in blocks. `options` are those of `matrix_chart`.
    None where the head has no such matrix.
    """
    step = weights_step(head, letter)
    return None if step is None else matrix_chart(head, step, dimension=dimension, **options)
