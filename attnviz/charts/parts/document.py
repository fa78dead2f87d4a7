"""One HTML file with charts in it that needs nothing else."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from attnviz.charts.parts.palette import PALETTES, DisplayMode


@dataclass(frozen=True, eq=False)
class Picture:
    """A chart's place in a document: its Vega-Lite specification, and how narrow it may become."""

    specification: dict[str, Any]
    least_width: int = 0  # px; where there is less room it scrolls


def document(
    title: str, display_mode: DisplayMode, body: Iterable[str | Picture], style: str = ""
) -> str:
    """An HTML page of pieces of HTML and of charts that answer the pointer.

    The page holds all that it needs: its own policy forbids it the network and `eval`. In a
    frame of the same origin it gives the frame its own height.
    """
    import vl_convert  # a page that is served never needs it

    pieces: list[str] = []
    calls: list[str] = []
    for piece in body:
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        name = f"chart{len(calls) or ''}"
        least = f' style="min-width: {piece.least_width}px"' if piece.least_width else ""
        pieces.append(f'<figure><div id="{name}" class="chart"{least}></div></figure>')
        specification = json.dumps(piece.specification).replace("<", r"\u003c")  # "</script>"
        calls.append(f'vegaEmbed("#{name}", {specification}, options);')
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
        style=style,
        body="\n".join(pieces),
        options=json.dumps(options),
        calls="\n".join(calls),
    )


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>$title</title>
<style>
:root { color-scheme: $display_mode; background: $background; }
body { display: flow-root; margin: 0; font: 14px/1.5 system-ui, sans-serif; }
figure { margin: 0; overflow-x: auto; }
.chart.vega-embed { display: block; width: 100%; }
$style
</style>
<script>$vega</script>
</head>
<body>
$body
<script>
const options = $options;
$calls
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
