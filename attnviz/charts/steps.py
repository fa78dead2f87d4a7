"""All steps of one head, one under the other: a figure for notebooks and files."""

import textwrap

import altair as alt

from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import look_for, sentence
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention, Step, steps_of
from attnviz.charts.matrix import Large, matrix_chart
from attnviz.charts.parts.figure import MOST_MARKS_IN_SVG, ON_CANVAS, Figure
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.pair import Pair, pair_of
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.shares import shares_chart
from attnviz.text.phrases import plain

LINE = 100  # characters of a sentence in one line


def steps_view(
    head: HeadTrace,
    query: int | None = None,
    key: int | None = None,
    *,
    convention: Convention = "rows",
    large: Large = "maximum",
    display_mode: DisplayMode | None = None,
) -> alt.VConcatChart:
    """Every step of the head with its formula and matrix; the pair's row and column framed.

    With a query and a key, each step says in a sentence what it means for the two, with the
    arithmetic, and the values that make up the query's update follow. `convention` is "rows" (a
    query's row of weights sums to 1, weights[i, j]) or "columns" (wⱼᵢ, a query's column sums to
    1). A matrix that is too large for a screen is drawn in blocks, each the "maximum" or the
    "mean" of its cells, or as the "window" around the pair, as `large` says. `display_mode` is
    "light" (default) or "dark". Raises InputError for a position that the text does not have.
    """
    pair = pair_of(head, query, key)
    charts: list[alt.LayerChart | alt.HConcatChart] = []
    n_marks = 0
    for step in steps_of(head, convention):
        matrix = matrix_chart(head, step, pair, large=large)
        n_marks += matrix.n_marks
        charts.append(_titled(matrix, head, step, pair, convention))
        if step.name == "updated" and query is not None:
            charts.append(shares_chart(head, query, key).part())
    figure = alt.vconcat(*charts, spacing=28).resolve_scale(color="independent")
    if n_marks > MOST_MARKS_IN_SVG:
        figure.usermeta = ON_CANVAS
    chart: alt.VConcatChart = displayed(figure, display_mode or "light")
    return chart


def _titled(
    figure: Figure, head: HeadTrace, step: Step, pair: Pair, convention: Convention
) -> alt.LayerChart:
    place = f"{step.number}  " if step.number[0].isdigit() else ""
    block_note = figure.constants.get(f"{step.name}_note", "")
    words = [step.formula_text]
    if pair.query is not None and pair.key is not None:
        words.append(plain(sentence(head, step, pair.query, pair.key)))
        worked_out = arithmetic(head, step, pair.query, pair.key)
        words += plain(worked_out).split("\n\n") if worked_out else []
    words += [f"Look for {look_for(head, step, convention)}", block_note]
    lines = [line for text in words for line in textwrap.wrap(text, LINE)]
    title = alt.TitleParams(f"{place}{step.title}", subtitle=lines, anchor="start")
    chart: alt.LayerChart = figure.part().properties(title=title, width=figure.width)
    return chart
