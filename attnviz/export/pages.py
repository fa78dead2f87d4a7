"""A view as an HTML page that needs nothing else."""

import json
from html import escape
from string import Template

import altair as alt
import vl_convert

from attnviz.charts.palette import PALETTES, DisplayMode, displayed


def to_html(
    chart: alt.TopLevelMixin, display_mode: DisplayMode = "light", title: str = "attnviz"
) -> str:
    """The chart as an HTML page that answers the pointer, in the colours of this display.

    The page holds all that it needs: its own policy forbids it the network and `eval`. In a
    frame of the same origin it gives the frame its own height. Raises InputError for a display
    mode that is not there.
    """
    specification = displayed(chart, display_mode).to_json(indent=None)
    options = {
        "mode": "vega-lite",
        "renderer": "svg",
        "actions": False,  # one of them opens an editor on the network
        "ast": True,  # expressions are interpreted, not compiled with eval
        "tooltip": {"theme": display_mode},
    }
    return _PAGE.substitute(
        title=escape(title),
        display_mode=display_mode,
        background=PALETTES[display_mode].background,
        vega=vl_convert.javascript_bundle(),  # type: ignore[call-arg] # the stub lacks a default
        specification=specification.replace("<", r"\u003c"),  # a token may be "</script>"
        options=json.dumps(options),
    )


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>$title</title>
<style>
:root { color-scheme: $display_mode; background: $background; }
body { display: flow-root; margin: 0; }
#chart.vega-embed { display: block; width: 100%; overflow-x: auto; }
</style>
<script>$vega</script>
</head>
<body>
<div id="chart"></div>
<script>
vegaEmbed("#chart", $specification, $options);
if (window.frameElement) {
  const fit = () => {
    const { height } = document.body.getBoundingClientRect();
    window.frameElement.style.height = Math.ceil(height) + "px";
  };
  new ResizeObserver(fit).observe(document.body);
}
</script>
</body>
</html>
""")
