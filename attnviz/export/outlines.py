"""An SVG's text as what its letters look like, so that it needs no font where it is opened."""

import base64
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from xml.etree import ElementTree

import vl_convert

from attnviz.export.fonts import BOLD, REGULAR, Font, Run, runs, shaped

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
_EMOJI_SCALE = 8  # pixels of a picture for a pixel of its text
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}


def outline(root: ElementTree.Element, *, unless_in: Container[str] = ()) -> None:
    """Draw the text of an SVG as outlines, named for those who do not see it.

    A letter is drawn once and used again. Emoji are small pictures. What is in fonts of the
    families `unless_in` alone stays text, and so does a text with a character that no font has.
    """
    letters: dict[str, str] = {}
    for parent, place, text in list(_texts(root)):
        drawn = _drawn(text, letters, unless_in)
        if drawn is not None:
            parent[place] = drawn
    if letters:
        definitions = ElementTree.Element(f"{{{SVG}}}defs")
        for name, shape in letters.items():
            ElementTree.SubElement(definitions, f"{{{SVG}}}path", id=name, d=shape)
        root.insert(0, definitions)


@dataclass(frozen=True)
class _Line:
    text: str
    x: float
    y: float


def _texts(
    root: ElementTree.Element,
) -> Iterator[tuple[ElementTree.Element, int, ElementTree.Element]]:
    for parent in root.iter():
        for place, element in enumerate(parent):
            if element.tag == f"{{{SVG}}}text":
                yield parent, place, element


def _lines(text: ElementTree.Element) -> Iterator[_Line]:
    """The lines of a text, from its own place."""
    if text.text:
        yield _Line(text.text, 0, 0)
    x = y = 0.0
    for span in text:
        x = float(span.get("x", x))
        y += float(span.get("dy", 0))
        yield _Line("".join(span.itertext()), x, y)


def _weight(text: ElementTree.Element) -> float:
    weight = text.get("font-weight", "normal")
    return BOLD if weight == "bold" or (weight.isdigit() and int(weight) >= 600) else REGULAR


def _drawn(
    text: ElementTree.Element, letters: dict[str, str], unless_in: Container[str]
) -> ElementTree.Element | None:
    """A text as a group of shapes, their letters added to those known; None where it stays text."""
    size = float(text.get("font-size", "11px").removesuffix("px"))
    lines = list(_lines(text))
    runs_of = [runs(line.text, _weight(text)) for line in lines]
    fonts = {run.font for line in runs_of for run in line}
    if None in fonts or (lines and all(font and font.family in unless_in for font in fonts)):
        return None
    kept = {
        name: value
        for name, value in text.attrib.items()
        if not name.startswith("font") and name != "text-anchor"
    }
    kept.setdefault("aria-label", " ".join(line.text for line in lines))
    kept.setdefault("role", "img")
    group = ElementTree.Element(f"{{{SVG}}}g", kept)
    for line, drawn in zip(lines, runs_of, strict=True):
        width = sum(_advance(run, size) for run in drawn)
        x = line.x - _ANCHORS[text.get("text-anchor", "start")] * width
        for run in drawn:
            _draw(group, run, x, line.y, size, letters)
            x += _advance(run, size)
    return group


def _advance(run: Run, size: float) -> float:
    assert run.font is not None
    return sum(place.x_advance for _, place in shaped(run)) * size / run.font.units


def _draw(
    group: ElementTree.Element,
    run: Run,
    x: float,
    y: float,
    size: float,
    letters: dict[str, str],
) -> None:
    font = run.font
    assert font is not None
    if font.is_coloured:
        _draw_picture(group, run, x, y, size)
        return
    scale = size / font.units
    words = ElementTree.SubElement(
        group,
        f"{{{SVG}}}g",
        transform=f"translate({x:.2f},{y:.2f}) scale({scale:.6f},{-scale:.6f})",
    )
    at = 0
    for glyph, place in shaped(run):
        shape = _shape(font, glyph.codepoint)
        if shape:
            left, up = at + place.x_offset, place.y_offset
            name = f"{font.family}-{font.weight:.0f}-{glyph.codepoint}".replace(" ", "-")
            letters[name] = shape
            where = {f"{{{XLINK}}}href": f"#{name}", "x": str(left), "y": str(up)}
            ElementTree.SubElement(words, f"{{{SVG}}}use", where)
        at += place.x_advance


def _draw_picture(group: ElementTree.Element, run: Run, x: float, y: float, size: float) -> None:
    assert run.font is not None
    width, height = _advance(run, 1), 1.4
    ElementTree.SubElement(
        group,
        f"{{{SVG}}}image",
        {
            "x": f"{x:.2f}",
            "y": f"{y - size * 1.1:.2f}",
            "width": f"{width * size:.2f}",
            "height": f"{height * size:.2f}",
            f"{{{XLINK}}}href": _picture(run.text, run.font.family, width, height),
        },
    )


@lru_cache(maxsize=100)
def _picture(text: str, family: str, width: float, height: float) -> str:
    """Emoji as a picture of its own, as an address."""
    size = 16
    svg = (
        f'<svg xmlns="{SVG}" width="{width * size}" height="{height * size}">'
        f'<text x="0" y="{1.1 * size}" font-size="{size}px" font-family="{escape(family)}">'
        f"{escape(text)}</text></svg>"
    )
    png = vl_convert.svg_to_png(svg, scale=_EMOJI_SCALE)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@lru_cache(maxsize=10_000)
def _shape(font: Font, glyph: int) -> str:
    pen = _Pen()
    font.shapes.draw_glyph_with_pen(glyph, pen)
    return "".join(pen.path)


class _Pen:
    """Writes what a font draws as an SVG path."""

    def __init__(self) -> None:
        self.path: list[str] = []

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
        numbers = (f"{value:g}" for point in points for value in point)
        self.path.append(command + " ".join(numbers))
