"""Charts as files: SVG, PDF and PNG, with a caption, in the width of a paper's column."""

import json
import math
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import altair as alt
import vl_convert

from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import PALETTES, DisplayMode, display_mode_of
from attnviz.export.column import can_be_laid_out, laid_out
from attnviz.export.fonts import PLAIN, missing, width_of
from attnviz.export.lettering import letter
from attnviz.text.characters import shown
from attnviz.text.errors import InputError
from attnviz.text.files import write

# Of a figure in one column and across both, as Nature asks for them; most journals are within 2 mm.
ONE_COLUMN, TWO_COLUMNS = 89.0, 183.0  # mm
LETTER_SIZES = (7, 8, 9, 10)  # points, to choose from
SMALLEST_LETTERS, LARGEST_LETTERS = 7.0, 16.0
SMALLEST_TEXT = 5.0  # points, that can be read in print
PNG_SCALES = (2, 4)  # pixels for each pixel of the page
_PX_PER_MM = 96 / 25.4
_POINT = 4 / 3  # px
_MARGIN, _CAPTION_SIZE, _LINE = 8, 12, 16  # px


class FigureWarning(UserWarning):
    """A figure was written, but something about it cannot be read."""


@dataclass(frozen=True)
class Written:
    """What is in a file, and what cannot be read in it, a sentence each."""

    content: bytes
    notes: tuple[str, ...] = ()


def figure(
    chart: alt.TopLevelMixin,
    ending: str,
    display_mode: DisplayMode | None = None,
    *,
    caption: str = "",
    width_mm: float | None = None,
    letter_size: float = 8,
    is_transparent: bool = False,
    scale: float = 2,
    outlines: bool | None = None,
) -> Written:
    """The chart as a file that ends in ".svg", ".pdf" or ".png".

    The text of an SVG is text, in whatever font the reader has. A PDF has its fonts in it and looks
    alike everywhere. A PNG has `scale` pixels for each of the page. A `caption` stands below. The
    whole is as wide as `width_mm` says, by default as on the page. Steps, their matrices and what
    if are laid out anew for it, with letters of `letter_size` points; other views are made smaller
    as a whole. It has the colours of `display_mode`, "light" or "dark", by default those of the
    chart. `is_transparent` leaves out the background. (`outlines`, which once drew the text of an
    SVG as shapes, does nothing now.) Raises InputError for a width, a size of letters, a scale or a
    display mode that is not possible; notes characters that no font here has, and text too small
    to read.
    """
    if not (math.isfinite(scale) and 0 < scale <= _MOST_SCALE):
        raise InputError(
            f"scale is {scale!r}.\n\nHint: pixels for each pixel of the page, 2 or 4; at most "
            f"{_MOST_SCALE}."
        )
    root = _drawn(chart, display_mode, caption, width_mm, letter_size, is_transparent)
    notes = tuple(_notes_on(root))
    return Written(WRITERS[ending](root, scale), notes)


def to_svg(chart: alt.TopLevelMixin, display_mode: DisplayMode | None = None, **look: Any) -> str:
    """The chart as an SVG document; `look` is that of `figure`, whose notes are warnings."""
    return _told(figure(chart, ".svg", display_mode, **look)).decode()


def to_pdf(chart: alt.TopLevelMixin, display_mode: DisplayMode | None = None, **look: Any) -> bytes:
    """The chart as a PDF document of one page; otherwise as `to_svg`."""
    return _told(figure(chart, ".pdf", display_mode, **look))


def to_png(chart: alt.TopLevelMixin, display_mode: DisplayMode | None = None, **look: Any) -> bytes:
    """The chart as a PNG picture; otherwise as `to_svg`."""
    return _told(figure(chart, ".png", display_mode, **look))


def save(chart: alt.TopLevelMixin, path: str | os.PathLike[str], **look: Any) -> None:
    """Write the chart to a file that ends in .svg, .pdf or .png; `look` is that of `to_svg`.

    Raises InputError for another ending, and for a file that cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise InputError(
            f"No figure can be written to {os.fspath(path)!r}.\n\nHint: its name must end in "
            ".svg, .pdf or .png."
        )
    write(path, _told(figure(chart, ending, **look)))


def _told(made: Written) -> bytes:
    for note in made.notes:
        warnings.warn(note, FigureWarning, stacklevel=3)
    return made.content


# Formats


def _svg(root: Element, scale: float) -> bytes:
    for text in root.iter("text"):
        if text.get("font-family") == "sans-serif":
            del text.attrib["font-family"]
    root.set("font-family", ", ".join((*PLAIN, "sans-serif")))  # as wide as it was measured
    return _text_of(root).encode()


def _pdf(root: Element, scale: float) -> bytes:
    _resize(root, _width(root) / _POINT)  # a pixel is taken for a point
    letter(root)
    return vl_convert.svg_to_pdf(_text_of(root))


def _png(root: Element, scale: float) -> bytes:
    _resize(root, scale * _width(root))
    letter(root)
    ppi = 96 * scale  # written into the file, and multiplied by
    return vl_convert.svg_to_png(_text_of(root), scale=72 / ppi, ppi=ppi)


def _text_of(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")


_MOST_SCALE = 8

WRITERS: dict[str, Callable[[Element, float], bytes]] = {
    ".svg": _svg,
    ".pdf": _pdf,
    ".png": _png,
}


# Drawing


def _drawn(
    chart: alt.TopLevelMixin,
    display_mode: DisplayMode | None,
    caption: str,
    width_mm: float | None,
    letter_size: float,
    is_transparent: bool,
) -> Element:
    """The chart and its caption as SVG, its text as text."""
    specification = _displayed(chart, display_mode).to_dict()
    palette = PALETTES[display_mode_of(specification)]
    caption_size = float(_CAPTION_SIZE)
    if width_mm is not None:
        _check_size(width_mm, letter_size)
    if width_mm is not None and can_be_laid_out(specification):
        caption_size = letter_size * _POINT
        root = laid_out(specification, width_mm * _PX_PER_MM, caption_size, _svg_of)
    else:
        root = _svg_of(specification)
    line_height = _LINE / _CAPTION_SIZE * caption_size
    _remove_unseen(root)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    background = root.find("rect")
    if caption:
        lines = wrapped(caption, width - 2 * _MARGIN, caption_size)
        for place, line in enumerate(lines):
            text = ElementTree.SubElement(
                root,
                "text",
                {
                    "transform": f"translate({_MARGIN},{height + line_height * (place + 1):g})",
                    "font-family": "sans-serif",
                    "font-size": f"{caption_size:g}px",
                    "fill": palette.text,
                },
            )
            text.text = shown(line.replace("\u00a0", " "))
        height += line_height * len(lines) + _MARGIN
        root.set("height", f"{height:g}")
        root.set("viewBox", f"0 0 {width:g} {height:g}")
        if background is not None:
            background.set("height", f"{height:g}")
    if is_transparent and background is not None:
        root.remove(background)
    if width_mm is not None:
        root.set("width", f"{width_mm:g}mm")
        root.set("height", f"{width_mm * height / width:.4g}mm")
    return root


def _remove_unseen(root: Element) -> None:
    """Take away numbers that do not fit their cells, which Vega draws in the size 0."""
    for parent in root.iter():
        for text in parent.findall("text"):
            if text.get("font-size") == "0px":
                parent.remove(text)


def _check_size(width_mm: float, letter_size: float) -> None:
    if not (math.isfinite(width_mm) and 10 <= width_mm <= 2000):
        raise InputError(
            f"width_mm is {width_mm!r}.\n\nHint: a width in millimetres from 10 to 2,000; a "
            f"column of a paper is {ONE_COLUMN:g} or {TWO_COLUMNS:g} wide."
        )
    if not SMALLEST_LETTERS <= letter_size <= LARGEST_LETTERS:
        raise InputError(
            f"letter_size is {letter_size!r}.\n\nHint: points, from {SMALLEST_LETTERS:g} to "
            f"{LARGEST_LETTERS:g}; journals ask for 7 or more."
        )


def _svg_of(specification: dict[str, Any]) -> Element:
    return parsed(_converted(specification))


def parsed(svg: str) -> Element:
    """The elements of a drawing by their names as they are written, and so they are written again.

    ElementTree's own parser puts namespaces for prefixes, which it gives back as it likes or as
    somebody registered them for the whole process.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(svg, True)
    return builder.close()


def _converted(specification: dict[str, Any]) -> str:
    """The SVG that Vega draws.

    Where it has no room for a text it cuts it, and may cut a character in half that is two in
    JavaScript. Those are then told to it as others, and put back.
    """
    try:
        return vl_convert.vegalite_to_svg(specification)
    except ValueError:
        written = json.dumps(specification, ensure_ascii=False)
        wide = sorted({character for character in written if ord(character) > 0xFFFF})
        unused = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in written)
        told, put_back = "", ""
        for character, other in zip(wide, unused, strict=False):
            told, put_back = told + character, put_back + other
        if not told:
            raise
        svg = vl_convert.vegalite_to_svg(
            json.loads(written.translate(str.maketrans(told, put_back)))
        )
        return svg.translate(str.maketrans(put_back, told))


def _displayed(chart: alt.TopLevelMixin, display_mode: DisplayMode | None) -> alt.TopLevelMixin:
    if display_mode is None and getattr(chart, "config", alt.Undefined) is not alt.Undefined:
        return chart
    return displayed(chart, display_mode or "light")


def wrapped(text: str, width: float, size: float = _CAPTION_SIZE) -> list[str]:
    """The text in lines of at most this width; what is too long without a space is cut anywhere."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for piece in re.findall(r"\S+\s*|\s+", paragraph):
            if line and width_of((line + piece).rstrip(), size) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
            while width_of(line.rstrip(), size) > width and len(line) > 1:
                n = _n_fitting(line, width, size)
                lines.append(line[:n])
                line = line[n:]
        lines.append(line.rstrip())
    return lines


def _n_fitting(line: str, width: float, size: float) -> int:
    """How many characters of it fit; at least one."""
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_of(line[:middle], size) <= width else (low, middle - 1)
    return low


# Sizes


def _width(root: Element) -> float:
    """The width of the drawing, in px."""
    width = root.get("width", "0")
    return float(width[:-2]) * _PX_PER_MM if width.endswith("mm") else float(width)


def _resize(root: Element, width: float) -> None:
    """Make the drawing so many px wide."""
    own_width, own_height = _size(root)
    root.set("width", f"{width:g}")
    root.set("height", f"{width * own_height / own_width:g}")


def _size(root: Element) -> tuple[float, float]:
    """Width and height in the drawing's own coordinates."""
    _, _, width, height = map(float, root.get("viewBox", "").split())
    return width, height


def _notes_on(root: Element) -> list[str]:
    """What cannot be read in a drawing, a sentence each."""
    texts = [text for text in root.iter("text") if "".join(text.itertext()).strip()]
    notes = []
    if lost := missing("".join("".join(text.itertext()) for text in texts)):
        notes.append(note_on_missing(lost))
    sizes = [float(text.get("font-size", "11px").removesuffix("px")) for text in texts]
    width = root.get("width", "")
    if sizes and width.endswith("mm"):
        smallest = min(sizes) * _width(root) / _size(root)[0] / _POINT
        if smallest < SMALLEST_TEXT:
            notes.append(
                f"At {width.removesuffix('mm')} mm the smallest text is {smallest:.1f} points "
                f"high, too small to be read in print.\n\nHint: choose a wider figure, or fewer "
                "tokens."
            )
    return notes


def note_on_missing(lost: str) -> str:
    """Which characters no font here has, and what to do."""
    named = ", ".join(f"{character} (U+{ord(character):04X})" for character in lost[:8])
    more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
    return (
        f"No font on this machine has {named}{more}: boxes stand in their place, in an SVG the "
        "reader's own font.\n\nHint: install fonts for them, for example Noto."
    )
