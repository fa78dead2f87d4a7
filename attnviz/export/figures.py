"""Charts as files: SVG, PDF and PNG."""

import altair as alt
import vl_convert

from attnviz.charts.palette import DisplayMode, displayed


def to_svg(chart: alt.TopLevelMixin, display_mode: DisplayMode = "light") -> str:
    """The chart as an SVG document, in the colours of this display."""
    return vl_convert.vegalite_to_svg(displayed(chart, display_mode).to_json(indent=None))
