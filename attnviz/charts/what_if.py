"""The same head before and after a change: its weights, one query's weights, and its update."""

import dataclasses
from dataclasses import dataclass

import altair as alt
import numpy as np

from attnviz.attention.explained.sentences import effect
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention, Step, steps_of
from attnviz.charts.matrix import matrix_chart
from attnviz.charts.parts.figure import Figure
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.pair import Pair, pair_of
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.values import ScaleEnd, scale_end
from attnviz.charts.strips import strips_chart
from attnviz.text.phrases import fixed, plain, token_at

TITLES = ("before", "after", "after − before")
_CALLED = ("before", "after", "difference")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The pictures of a change: three matrices of weights, called as in TITLES, and two strips."""

    matrices: tuple[Figure, Figure, Figure]
    weights: alt.LayerChart  # of one query
    update: alt.LayerChart  # of the same


def what_if_view(
    head: HeadTrace,
    changed: HeadTrace,
    query: int,
    key: int | None = None,
    *,
    convention: Convention = "rows",
    display_mode: DisplayMode | None = None,
) -> alt.VConcatChart:
    """A head beside what `attnviz.what_if` made of it: weights, and one query's weights and update.

    `convention` and `display_mode` are those of `attnviz.steps_view`. Raises InputError for a
    position that the text does not have.
    """
    pair_of(head, query, key)
    drawn = compared(head, changed, query, key, convention)
    matrices = alt.hconcat(
        *(
            matrix.part().properties(title=f"weights {title}", width=260)
            for title, matrix in zip(TITLES, drawn.matrices, strict=True)
        )
    ).resolve_scale(color="independent")
    name = plain(token_at(head.query_tokens, query))
    title = alt.TitleParams(plain(effect(head, changed, query)), anchor="start", fontSize=13)
    figure = alt.vconcat(
        matrices,
        drawn.weights.properties(title=f"the weights of {name}", width=860),
        drawn.update.properties(title=f"the update x′ of {name}", width=860),
        spacing=28,
    ).properties(title=title)
    chart: alt.VConcatChart = displayed(
        figure.resolve_scale(color="independent"), display_mode or "light"
    )
    return chart


def compared(
    head: HeadTrace, changed: HeadTrace, query: int, key: int | None, convention: Convention
) -> Comparison:
    """The pictures, on scales that are the same before and after."""
    before, after = (_weights(one, convention) for one in (head, changed))
    difference = dataclasses.replace(after, name="difference", array=after.array - before.array)
    if before.hidden_because is not None and after.hidden_because is not None:
        codes = np.minimum(before.hidden_because, after.hidden_because)  # 0: one of them sees it
        difference = dataclasses.replace(difference, hidden_because=codes)
    if before.sink is not None and after.sink is not None:
        difference = dataclasses.replace(difference, sink=after.sink - before.sink)
    matrices = tuple(
        matrix_chart(head, step, Pair(query, key), is_narrow=True, limit=1.0, called=called)
        for called, step in zip(_CALLED, (before, after, difference), strict=True)
    )
    updates = _rows(head.updated[query], changed.updated[query])
    return Comparison(
        (matrices[0], matrices[1], matrices[2]),
        _strip_of_weights(head, changed, query),
        strips_chart(
            updates,
            head.v.shape[1],
            column_title="dimension (d_value)",
            value_title="x′",
            end=scale_end(np.stack(list(updates.values()))),
            called="update_strip",
        ),
    )


def _strip_of_weights(head: HeadTrace, changed: HeadTrace, query: int) -> alt.LayerChart:
    weights = [np.where(one.is_masked[query], 0, one.weights[query]) for one in (head, changed)]
    sinks: list[float] = []
    printed = [np.round(row, 3) for row in weights]
    if head.sink_logits is not None:
        both = [float(one.sink[query]) for one in (head, changed)]
        sinks = [*both, both[1] - both[0]]
        printed = [np.append(row, round(sink, 3)) for row, sink in zip(printed, both, strict=True)]
    return strips_chart(
        _rows(*weights),
        head.key_tokens,
        column_title="key token",
        value_title="weight",
        end=ScaleEnd(1.0, is_cut=False),
        # Of rounded weights, so that the printed rows agree.
        printed=[[fixed(value, 3) for value in row] for row in _rows(*printed).values()],
        sinks=sinks,
    )


def _rows(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(TITLES, (before, after, after - before), strict=True))


def _weights(head: HeadTrace, convention: Convention) -> Step:
    return next(step for step in steps_of(head, convention) if step.name == "weights")
