"""Charts as files."""

import json

import altair as alt
import vl_convert

from attnviz.charts.palette import DisplayMode, displayed


def to_svg(chart: alt.TopLevelMixin, display_mode: DisplayMode = "light") -> str:
    """The chart as an SVG document, in the colours of this display."""
    specification = displayed(chart.copy(deep=False), display_mode).to_dict()
    return vl_convert.vegalite_to_svg(json.dumps(specification))
