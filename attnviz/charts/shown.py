"""Altair charts that a notebook shows without network.

Altair's own output loads its scripts from one; that is a setting of the whole process, which is
not ours to change.
"""

from typing import Any, TypeVar

import altair as alt


class _BringsAll:
    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The chart as an HTML page of its own, in a frame."""
        from attnviz.notebook import of_chart  # only a notebook asks, and files are a floor above

        shown = of_chart(self)  # type: ignore[arg-type] # it is one of those below
        return {"text/html": shown._repr_html_(), "text/plain": repr(shown)}


class Chart(_BringsAll, alt.Chart):
    pass


class LayerChart(_BringsAll, alt.LayerChart):
    pass


class HConcatChart(_BringsAll, alt.HConcatChart):
    pass


class VConcatChart(_BringsAll, alt.VConcatChart):
    pass


_KINDS: dict[type, type] = {
    alt.Chart: Chart,
    alt.LayerChart: LayerChart,
    alt.HConcatChart: HConcatChart,
    alt.VConcatChart: VConcatChart,
}
ChartT = TypeVar("ChartT", bound=alt.TopLevelMixin)


def shown_in_notebooks(chart: ChartT) -> ChartT:
    """The same chart, which is then shown as said above and is otherwise what it was."""
    # Not as any other attribute: Altair would take it for a part of the specification.
    object.__setattr__(chart, "__class__", _KINDS.get(type(chart), type(chart)))
    return chart
