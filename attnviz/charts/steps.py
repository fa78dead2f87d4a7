"""All steps of one head, one matrix under the other: a figure for notebooks and files."""

import altair as alt

from attnviz.charts.matrix import matrix_chart
from attnviz.charts.pair import pair_of
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.results import HeadTrace
from attnviz.steps import Step


def steps_view(
    head: HeadTrace,
    query: int | None = None,
    key: int | None = None,
    *,
    display_mode: DisplayMode | None = None,
) -> alt.VConcatChart:
    """Every matrix of the head, in the order of its steps; the pair's row and column framed.

    `display_mode` is "light" (default) or "dark". Raises InputError for a position that the
    text does not have.
    """
    pair = pair_of(head, query, key)
    charts = [_titled(matrix_chart(head, step, pair), step) for step in head.steps]
    figure = alt.vconcat(*charts, spacing=24).resolve_scale(color="independent")
    return displayed(figure, display_mode or "light")


def _titled(chart: alt.LayerChart, step: Step) -> alt.LayerChart:
    place = "" if step.number == "in" else f"{step.number}  "
    block_note = chart.title.text
    title = alt.TitleParams(f"{place}{step.title}", subtitle=block_note, anchor="start")
    return chart.properties(title=title, width=_width(step.array.shape[1]))


def _width(n_columns: int) -> int:
    return 56 * n_columns if n_columns <= 12 else 640
