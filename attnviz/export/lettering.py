"""The text of a drawing as shapes, where what draws a PDF or a PNG has no font for it or errs.

vl-convert has a font for the first alphabets. For others it takes bold or serif ones as they come,
lays letters that are put together over one another, and puts no emoji into a PDF.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from xml.etree.ElementTree import Element, SubElement

import vl_convert

from attnviz.export.fonts import BOLD, PLAIN, REGULAR, Run, runs

SVG = "http://www.w3.org/2000/svg"
_EMOJI_SCALE = 8  # pixels of a picture for a pixel of its text
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True)
class _Line:
    text: str
    x: float
    y: float


def letter(root: Element) -> None:
    """Draw those texts of an SVG as shapes that need other fonts than vl-convert's own.

    Emoji are small pictures. A text with a character that no font has stays as it is.
    """
    for parent in list(root.iter()):
        for place, text in enumerate(parent):
            if text.tag == "text":
                parent[place] = _lettered(text)


def _lettered(text: Element) -> Element:
    lines = [(line, runs(line.text, _weight(text))) for line in _lines(text)]
    fonts = {run.font for _, of_line in lines for run in of_line}
    if None in fonts or all(font and font.family == PLAIN[0] for font in fonts):
        return text
    size = float(text.get("font-size", "11px").removesuffix("px"))
    look = {name: value for name, value in text.items() if not name.startswith("font")}
    anchor = _ANCHORS[look.pop("text-anchor", "start")]
    group = Element("g", look)
    for line, of_line in lines:
        x = line.x - anchor * size * sum(run.width for run in of_line)
        for run in of_line:
            _draw(group, run, x, line.y, size)
            x += run.width * size
    return group


def _lines(text: Element) -> Iterator[_Line]:
    """The lines of a text, from its own place."""
    if text.text:
        yield _Line(text.text, 0, 0)
    x = y = 0.0
    for span in text:
        x = float(span.get("x", x))
        y += float(span.get("dy", 0))
        yield _Line("".join(span.itertext()), x, y)


def _weight(text: Element) -> float:
    weight = text.get("font-weight", "normal")
    return BOLD if weight == "bold" or (weight.isdigit() and int(weight) >= 600) else REGULAR


def _draw(group: Element, run: Run, x: float, y: float, size: float) -> None:
    font = run.font
    assert font is not None
    if font.is_coloured:
        box = {"x": x, "y": y - 1.1 * size, "width": run.width * size, "height": 1.4 * size}
        at = {name: f"{value:.2f}" for name, value in box.items()}
        SubElement(group, "image", {**at, "xlink:href": _picture(run)})
        return
    scale = size / font.units
    place = f"translate({x:.2f},{y:.2f}) scale({scale:.6f},{-scale:.6f})"
    SubElement(group, "path", d=_shape(run), transform=place)


@lru_cache(maxsize=100)
def _picture(run: Run) -> str:
    """Emoji as a picture of its own, as an address."""
    assert run.font is not None
    size = 16
    svg = (
        f'<svg xmlns="{SVG}" width="{run.width * size}" height="{1.4 * size}">'
        f'<text x="0" y="{1.1 * size}" font-size="{size}px" '
        f'font-family="{escape(run.font.family)}">{escape(run.text)}</text></svg>'
    )
    png = vl_convert.svg_to_png(svg, scale=_EMOJI_SCALE)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@lru_cache(maxsize=10_000)
def _shape(run: Run) -> str:
    """The run as an SVG path, in the font's units and upwards."""
    assert run.font is not None
    pen = _Pen()
    for glyph, place in run.glyphs:
        pen.at = pen.next + place.x_offset, place.y_offset
        run.font.shapes.draw_glyph_with_pen(glyph.codepoint, pen)
        pen.next += place.x_advance
    return "".join(pen.path)


class _Pen:
    """Writes what a font draws as an SVG path."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.at, self.next = (0, 0), 0  # where a glyph stands, and the next one

    def moveTo(self, to: tuple[float, float]) -> None:  # the names are HarfBuzz's
        self._write("M", to)

    def lineTo(self, to: tuple[float, float]) -> None:
        self._write("L", to)

    def qCurveTo(self, *points: tuple[float, float]) -> None:
        self._write("Q", *points)

    def curveTo(self, *points: tuple[float, float]) -> None:
        self._write("C", *points)

    def closePath(self) -> None:
        self.path.append("Z")

    def _write(self, command: str, *points: tuple[float, float]) -> None:
        right, up = self.at
        self.path.append(command + " ".join(f"{x + right:g} {y + up:g}" for x, y in points))
