"""Every kind of figure, of a trace and one of its heads."""

import attnviz
from attnviz.charts.alignment import alignment_figure
from attnviz.charts.dimensions import dimensions_chart
from attnviz.charts.row import row_chart
from attnviz.charts.scaling import entropy_chart
from attnviz.heads.aligning import aligned

FIGURES = {
    "steps": lambda trace, head: attnviz.steps_view(head, 2, 5),
    "neurons": lambda trace, head: attnviz.neuron_view(head, 2, 5),
    "neurons, collapsed": lambda trace, head: attnviz.neuron_view(head, 2, expanded=False),
    "heads": lambda trace, head: attnviz.head_view(trace, 0, query=2),
    "model": lambda trace, head: attnviz.model_view(trace, is_sorted=True),
    "find": lambda trace, head: attnviz.find_view(attnviz.heads.linking(trace, 2, 5)),
    "scatter": lambda trace, head: attnviz.scatter_view(attnviz.heads.measures(trace)),
    "compare": lambda trace, head: attnviz.compare_view(
        attnviz.heads.difference(head, trace.head(5, 11)), query=2, key=5
    ),
    "what if": lambda trace, head: attnviz.what_if_view(head, attnviz.what_if(head, scaling=1), 2),
    "a row of a step": lambda trace, head: row_chart(head, head.steps[0], 2).chart(),
    "dimensions": lambda trace, head: dimensions_chart(head, 2, 5).chart(),
    "entropy": lambda trace, head: entropy_chart(head, 2),
    "alignment": lambda trace, head: alignment_figure(
        trace.tokens, trace.tokens, aligned(trace.tokens, trace.tokens)
    ).chart(),
}
