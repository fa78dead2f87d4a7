"""Charts as files: SVG, PDF and PNG, with a caption, in the width of a paper's column."""

import json
import math
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert

from attnviz.charts.palette import PALETTES, DisplayMode, display_mode_of, displayed
from attnviz.errors import InputError, gist
from attnviz.export.fonts import missing, width_of
from attnviz.export.outlines import SVG, outlined
from attnviz.tokens import shown

# Of a figure in one column and across both, as Nature asks for them; most journals are within 2 mm.
ONE_COLUMN, TWO_COLUMNS = 89.0, 183.0  # mm
SMALLEST_TEXT = 5.0  # points, that can be read in print
PNG_SCALES = (2, 4)  # pixels for each pixel of the page
_PX_PER_MM = 96 / 25.4
_POINT = 4 / 3  # px
_MARGIN, _CAPTION_SIZE, _LINE = 8, 12, 16  # px


class FigureWarning(UserWarning):
    """A figure was written, but something about it cannot be read."""


def to_svg(
    chart: alt.TopLevelMixin,
    display_mode: DisplayMode | None = None,
    *,
    caption: str = "",
    width_mm: float | None = None,
    is_transparent: bool = False,
    outlines: bool = True,
) -> str:
    """The chart as an SVG document that looks the same on every machine.

    Its text is drawn as outlines; without `outlines` it stays text, in whatever font the reader
    has. A `caption` stands below. The whole is as wide as `width_mm` says, by default as on
    the page, and has the colours of `display_mode`, "light" or "dark", by default those of the
    chart. `is_transparent` leaves out the background. Raises InputError for a width or a display
    mode that is not possible; warns of characters that no font here has, and of text that is too
    small to be read.
    """
    svg = _drawn(chart, display_mode, caption, width_mm, is_transparent)
    return outlined(svg) if outlines else svg


def to_pdf(
    chart: alt.TopLevelMixin,
    display_mode: DisplayMode | None = None,
    *,
    caption: str = "",
    width_mm: float | None = None,
    is_transparent: bool = False,
) -> bytes:
    """The chart as a PDF document of one page, its fonts in it; otherwise as `to_svg`."""
    svg = _drawn(chart, display_mode, caption, width_mm, is_transparent)
    # Fonts with pictures for letters cannot be put into it, and others it would choose badly.
    svg = outlined(_resized(svg, _width(svg) / _POINT), unless_in=_IN_PDF)
    return vl_convert.svg_to_pdf(svg)  # which takes a pixel for a point


def to_png(
    chart: alt.TopLevelMixin,
    display_mode: DisplayMode | None = None,
    *,
    caption: str = "",
    width_mm: float | None = None,
    is_transparent: bool = False,
    scale: float = 2,
) -> bytes:
    """The chart as a PNG picture, `scale` pixels for each of the page; otherwise as `to_svg`."""
    if not (math.isfinite(scale) and 0 < scale <= _MOST_SCALE):
        raise InputError(
            f"scale is {scale!r}.\n\nHint: pixels for each pixel of the page, 2 or 4; at most "
            f"{_MOST_SCALE}."
        )
    svg = _drawn(chart, display_mode, caption, width_mm, is_transparent)
    svg = outlined(_resized(svg, scale * _width(svg)))
    ppi = 96 * scale  # written into the file, and multiplied by
    return vl_convert.svg_to_png(svg, scale=72 / ppi, ppi=ppi)


_IN_PDF = ("Liberation Sans",)  # what vl-convert brings itself
_MOST_SCALE = 8

WRITERS: dict[str, Callable[..., str | bytes]] = {".svg": to_svg, ".pdf": to_pdf, ".png": to_png}


def save(chart: alt.TopLevelMixin, path: str | os.PathLike, **look: Any) -> None:
    """Write the chart to a file that ends in .svg, .pdf or .png; `look` is that of `to_svg`.

    Raises InputError for another ending, and what `to_svg`, `to_pdf` and `to_png` raise.
    """
    writer = WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise InputError(
            f"No figure can be written to {os.fspath(path)!r}.\n\nHint: its name must end in "
            ".svg, .pdf or .png."
        )
    written = writer(chart, **look)
    write(path, written.encode() if isinstance(written, str) else written)


def write(path: str | os.PathLike, content: bytes) -> None:
    """Put a whole file where it should be, or none."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            beside.write_bytes(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # of a name that no file can have
        raise InputError(
            f"{shown(str(path))} cannot be written ({gist(error)})."
            "\n\nHint: name a file in a folder that is there and that you may write to."
        ) from error


# Drawing


def _drawn(
    chart: alt.TopLevelMixin,
    display_mode: DisplayMode | None,
    caption: str,
    width_mm: float | None,
    is_transparent: bool,
) -> str:
    """The chart and its caption as SVG, its text as text."""
    specification = _displayed(chart, display_mode).to_dict()
    palette = PALETTES[display_mode_of(specification)]
    svg = _converted(specification)
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    background = root.find(f"{{{SVG}}}rect")
    if caption:
        lines = wrapped(caption, width - 2 * _MARGIN)
        for place, line in enumerate(lines):
            text = ElementTree.SubElement(
                root,
                f"{{{SVG}}}text",
                {
                    "transform": f"translate({_MARGIN},{height + _LINE * (place + 1)})",
                    "font-family": "sans-serif",
                    "font-size": f"{_CAPTION_SIZE}px",
                    "fill": palette.text,
                },
            )
            text.text = shown(line.replace("\u00a0", " "))
        height += _LINE * len(lines) + _MARGIN
        root.set("height", f"{height:g}")
        root.set("viewBox", f"0 0 {width:g} {height:g}")
        if background is not None:
            background.set("height", f"{height:g}")
    if is_transparent and background is not None:
        root.remove(background)
    if width_mm is not None:
        if not (math.isfinite(width_mm) and 10 <= width_mm <= 2000):
            raise InputError(
                f"width_mm is {width_mm!r}.\n\nHint: a width in millimetres from 10 to 2,000; a "
                f"column of a paper is {ONE_COLUMN:g} or {TWO_COLUMNS:g} wide."
            )
        root.set("width", f"{width_mm:g}mm")
        root.set("height", f"{width_mm * height / width:.4g}mm")
    svg = ElementTree.tostring(root, encoding="unicode")
    for note in notes_on(svg):
        warnings.warn(note, FigureWarning, stacklevel=3)
    return svg


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


def _width(svg: str) -> float:
    """The width of the drawing, in px."""
    width = ElementTree.fromstring(svg).get("width", "0")
    return float(width[:-2]) * _PX_PER_MM if width.endswith("mm") else float(width)


def _resized(svg: str, width: float) -> str:
    """The same drawing, so many px wide."""
    root = ElementTree.fromstring(svg)
    own_width, own_height = _size(root)
    root.set("width", f"{width:g}")
    root.set("height", f"{width * own_height / own_width:g}")
    return ElementTree.tostring(root, encoding="unicode")


def _size(root: ElementTree.Element) -> tuple[float, float]:
    """Width and height in the drawing's own coordinates."""
    _, _, width, height = map(float, root.get("viewBox", "").split())
    return width, height


def notes_on(svg: str) -> list[str]:
    """What cannot be read in a drawing, a sentence each."""
    root = ElementTree.fromstring(svg)
    texts = [text for text in root.iter(f"{{{SVG}}}text") if "".join(text.itertext()).strip()]
    notes = []
    if lost := missing("".join("".join(text.itertext()) for text in texts)):
        notes.append(note_on_missing(lost))
    sizes = [float(text.get("font-size", "11px").removesuffix("px")) for text in texts]
    width = root.get("width", "")
    if sizes and width.endswith("mm"):
        smallest = min(sizes) * _width(svg) / _size(root)[0] / _POINT
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
