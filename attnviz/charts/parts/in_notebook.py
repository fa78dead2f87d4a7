"""Charts of attnviz in a notebook: each as an HTML page of its own, which needs no network.

Altair's own output loads its scripts from one; that is a setting of the whole process, which is
not ours to change. A page is packed, as a notebook is saved with all that it shows: in a frame of
its own it unpacks and writes itself.
"""

import gzip
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any, TypeVar

import altair as alt

from attnviz.charts.parts.document import Picture, document
from attnviz.charts.parts.palette import DisplayMode, configuration, display_mode_of

START_HEIGHT = 480  # pixels, until the page in the frame has set its own, where it may

# Where a notebook is not trusted, frames are left out, and the sentence remains. Else the frame
# covers it, and takes it away where it may.
_OUTPUT = Template("""\
<div style="display: grid">
<p style="grid-area: 1 / 1; margin: 0">Trust this notebook, or run this cell again, to see the
figure: $description</p>
<iframe title="$description" srcdoc="$page" style="grid-area: 1 / 1; display: block; width: 100%;
 height: ${height}px; border: 0; background: Canvas; position: relative"></iframe>
</div>
""")
_UNPACKING = Template("""\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>$description</title>
<noscript>The figure needs JavaScript: $description</noscript>
<script>
window.frameElement?.previousElementSibling?.remove();
(async () => {
  const packed = Uint8Array.from(atob("$packed"), (letter) => letter.charCodeAt(0));
  const unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const page = await new Response(unpacking).text();
  document.open();
  document.write(page);
  document.close();
})();
</script>
</html>
""")


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """What a notebook shows: `page`, an HTML page that needs no network, in a frame of its own.

    `description` says in one line what is on it.
    """

    description: str
    page: str

    def __repr__(self) -> str:
        return self.description

    def _repr_html_(self) -> str:
        description = escape(self.description)
        packed = b64encode(gzip.compress(self.page.encode(), 4, mtime=0)).decode()
        page = _UNPACKING.substitute(description=description, packed=packed)
        return _OUTPUT.substitute(description=description, page=escape(page), height=START_HEIGHT)


def of_chart(chart: alt.TopLevelMixin, description: str = "") -> Shown:
    """A chart as it is, which is described by itself unless something else describes it."""
    specification = chart.to_dict()
    description = description or specification.get("description") or "A chart of attnviz"
    page = document(description, display_mode_of(specification), [Picture(specification)])
    return Shown(description, page)


class _BringsAll:
    def to_dict(self, validate: bool = False, **more: Any) -> dict[str, Any]:
        """The specification, as Altair's; its kind is known to follow Vega-Lite's schema."""
        specification: dict[str, Any] = super().to_dict(validate, **more)  # type: ignore[misc]
        return specification

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The chart as an HTML page of its own, in a frame."""
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


def displayed(chart: ChartT, display_mode: DisplayMode) -> ChartT:
    """The chart with the colours of this display, shown as said above, for notebooks and files."""
    chart = chart.configure(**configuration(display_mode))
    # Not as any other attribute: Altair would take it for a part of the specification.
    object.__setattr__(chart, "__class__", _KINDS.get(type(chart), type(chart)))
    return chart
