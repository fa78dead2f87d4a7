"""All steps of one head, one under the other: a figure for notebooks and files."""

import textwrap

import altair as alt

from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import look_for, sentence
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention, Step, step_called, steps_of
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
    step: str | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.VConcatChart:
    """Every step of the head with its formula and matrix; the pair's row and column framed.

    With a query and a key, each step says in a sentence what it means for the two, with the
    arithmetic, and the values that make up the query's update follow. `convention` is "rows" (a
    query's row of weights sums to 1, weights[i, j]) or "columns" (wⱼᵢ, a query's column sums to
    1). A matrix that is too large for a screen is drawn in blocks, each the "maximum" or the
    "mean" of its cells, or as the "window" around the pair, as `large` says. `step` names one to
    stand alone, without sentences: "softmax" or "weights", "query" or "q". `display_mode` is
    "light" (default) or "dark". Raises InputError for a position that the text does not have, and
    for a step that the head does not have.
    """
    pair = pair_of(head, query, key)
    if step is not None:
        return _alone(head, step, pair, convention, large, display_mode or "light")
    charts: list[alt.LayerChart | alt.HConcatChart] = []
    n_marks = 0
    for one in steps_of(head, convention):
        matrix = matrix_chart(head, one, pair, large=large)
        n_marks += matrix.n_marks
        charts.append(_titled(matrix, head, one, pair, convention))
        if one.name == "updated" and query is not None:
            charts.append(shares_chart(head, query, key).part())
    figure = alt.vconcat(*charts, spacing=28).resolve_scale(color="independent")
    if n_marks > MOST_MARKS_IN_SVG:
        figure.usermeta = ON_CANVAS
    chart: alt.VConcatChart = displayed(figure, display_mode or "light")
    return chart


def _alone(
    head: HeadTrace,
    name: str,
    pair: Pair,
    convention: Convention,
    large: Large,
    display_mode: DisplayMode,
) -> alt.VConcatChart:
    step = step_called(name, steps_of(head, convention))
    matrix = matrix_chart(head, step, pair, large=large)
    lines = [step.formula_text, matrix.constants.get(f"{step.name}_note", "")]
    title = alt.TitleParams(_title(step), subtitle=[*filter(None, lines)], anchor="start")
    part = matrix.part().properties(title=title, width=matrix.width)
    figure = alt.vconcat(part)
    if matrix.n_marks > MOST_MARKS_IN_SVG:
        figure.usermeta = ON_CANVAS
    chart: alt.VConcatChart = displayed(figure, display_mode)
    return chart


def _title(step: Step) -> str:
    return f"{step.number}  {step.title}" if step.number[0].isdigit() else step.title


def _titled(
    figure: Figure, head: HeadTrace, step: Step, pair: Pair, convention: Convention
) -> alt.LayerChart:
    block_note = figure.constants.get(f"{step.name}_note", "")
    words = [step.formula_text]
    if pair.query is not None and pair.key is not None:
        words.append(plain(sentence(head, step, pair.query, pair.key)))
        worked_out = arithmetic(head, step, pair.query, pair.key)
        words += plain(worked_out).split("\n\n") if worked_out else []
    words += [f"Look for {look_for(head, step, convention)}", block_note]
    lines = [line for text in words for line in textwrap.wrap(text, LINE)]
    title = alt.TitleParams(_title(step), subtitle=lines, anchor="start")
    chart: alt.LayerChart = figure.part().properties(title=title, width=figure.width)
    return chart
