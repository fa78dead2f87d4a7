"""Which installed font draws a piece of text, and how: what a file needs that is opened elsewhere.

Vega's own drawing takes any font that has a character, bold or serif as it comes; here the plainest
is taken. Fonts are looked for once in a process.
"""

import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import uharfbuzz as hb

FOLDERS: dict[str, tuple[str, ...]] = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": (r"C:\Windows\Fonts", r"~\AppData\Local\Microsoft\Windows\Fonts"),
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
}
ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
# Vega measures text with the first of these, which it brings; the others are as wide.
PLAIN = ("Liberation Sans", "Arimo", "Arial", "Helvetica")
BOLD, REGULAR = 700, 400
FIRST_EMOJI = 0x1F000  # from here on most characters are pictures
AS_PICTURE = "\ufe0f"  # asks for the picture of the character before it


@dataclass(frozen=True, eq=False)
class Font:
    """One installed font."""

    family: str
    weight: float
    is_upright: bool
    width: float  # percent
    shapes: hb.Font

    def has(self, text: str) -> bool:
        return all(self.shapes.get_nominal_glyph(ord(character)) for character in text)

    @property
    def units(self) -> int:
        """Of its own, in the size of a letter."""
        return self.shapes.face.upem

    @cached_property
    def is_coloured(self) -> bool:
        face = self.shapes.face
        return bool(
            face.has_color_png
            or face.has_color_layers
            or face.has_color_paint
            or face.has_color_svg
        )

    @property
    def plainness(self) -> tuple:
        """Orders fonts, the plainest first."""
        kinds = ("Mono", "Serif", "Display", "Looped", "Condensed", "Narrow", "UI", "Math")
        return (
            PLAIN.index(self.family) if self.family in PLAIN else len(PLAIN),
            not self.is_upright,
            self.width != 100,
            sum(kind in self.family for kind in kinds),
            "Sans" not in self.family,
            "CJK" in self.family and "SC" not in self.family,  # one has the letters of all
            self.family,
        )


@dataclass(frozen=True)
class Run:
    """A piece of a text that one font draws; None: no installed font has its characters."""

    text: str
    font: Font | None


def runs(text: str, weight: float = REGULAR) -> list[Run]:
    """The text in the order in which it is drawn from left to right."""
    drawn: list[Run] = []
    for part, is_leftwards in _directions(text):
        pieces: list[Run] = []
        for cluster in _clusters(part):
            font = font_of(cluster, weight)
            if pieces and pieces[-1].font is font:
                pieces[-1] = Run(pieces[-1].text + cluster, font)
            else:
                pieces.append(Run(cluster, font))
        drawn += reversed(pieces) if is_leftwards else pieces
    return drawn


def missing(text: str) -> str:
    """The characters, each once, that no font here can draw."""
    lost = (run.text for run in runs(text) if run.font is None)
    # Vega brings a font of its own for the first alphabets.
    return "".join(dict.fromkeys(c for c in "".join(lost) if ord(c) >= _FIRST_NOT_BROUGHT))


_FIRST_NOT_BROUGHT = 0x530  # behind Latin, Greek and Cyrillic


def width_of(text: str, size: float) -> float:
    """How wide the text is at a font size, in the unit of the size."""
    width = 0.0
    for run in runs(text):
        if run.font is None:
            width += 0.6 * len(run.text)
        else:
            advance = sum(position.x_advance for _, position in shaped(run))
            width += advance / run.font.units
    return width * size


@lru_cache(maxsize=10_000)
def shaped(run: Run) -> tuple[tuple[hb.GlyphInfo, hb.GlyphPosition], ...]:
    """The glyphs of a run that has a font, each with its place, in the font's units."""
    assert run.font is not None
    buffer = hb.Buffer()
    buffer.add_str(run.text)
    buffer.guess_segment_properties()
    hb.shape(run.font.shapes, buffer)
    return tuple(zip(buffer.glyph_infos, buffer.glyph_positions, strict=True))


@lru_cache(maxsize=10_000)
def font_of(cluster: str, weight: float = REGULAR) -> Font | None:
    """The plainest installed font that has these characters, as bold as asked for where it can."""
    wants_picture = AS_PICTURE in cluster or ord(cluster[0]) >= FIRST_EMOJI
    letters = cluster.replace(AS_PICTURE, "")
    for font in sorted(
        installed(),
        key=lambda font: (font.is_coloured != wants_picture, abs(font.weight - weight)),
    ):
        if font.has(letters):
            return font
    return None


@lru_cache(1)
def installed() -> tuple[Font, ...]:
    """All fonts of this machine, the plainest first."""
    fonts = [font for file in _files() for font in _fonts_in(file)]
    return tuple(sorted(fonts, key=lambda font: font.plainness))


def _files() -> Iterator[Path]:
    for folder in FOLDERS.get(sys.platform, FOLDERS["linux"]):
        for parent, _, names in os.walk(Path(folder).expanduser()):
            yield from (Path(parent, name) for name in names if name.lower().endswith(ENDINGS))


def _fonts_in(file: Path) -> Iterator[Font]:
    """The fonts of one file; none where it cannot be read."""
    try:
        blob = hb.Blob.from_file_path(file)
        n_faces = hb.Face(blob).count or 1
    except (OSError, hb.HarfBuzzError):
        return
    for place in range(n_faces):
        face = hb.Face(blob, place)
        family = face.get_name(hb.OTNameIdPredefined.FONT_FAMILY)
        if not family or not face.glyph_count:
            continue
        font = hb.Font(face)
        yield Font(
            family,
            font.get_style_value(hb.StyleTag.WEIGHT),
            font.get_style_value(hb.StyleTag.SLANT_ANGLE) == 0,
            font.get_style_value(hb.StyleTag.WIDTH),
            font,
        )


# Text in parts


def _directions(text: str) -> Iterator[tuple[str, bool]]:
    """Parts of a text that run the same way, and whether that is to the left.

    What has no direction between two letters that run to the left runs with them. (Numbers
    among such letters are not turned; the whole text runs to the right.)
    """
    start = end = 0  # of what is known to run to the left
    for place, character in enumerate(text):
        if unicodedata.bidirectional(character) in ("R", "AL", "NSM") and (
            end > start or unicodedata.bidirectional(character) != "NSM"
        ):
            if end == start:
                yield from _part(text, start, place, False)
                start = place
            end = place + 1
        elif unicodedata.bidirectional(character) in ("L", "EN") and end > start:
            yield from _part(text, start, end, True)
            start = end
    if end > start:
        yield from _part(text, start, end, True)
        start = end
    yield from _part(text, start, len(text), False)


def _part(text: str, start: int, end: int, is_leftwards: bool) -> Iterator[tuple[str, bool]]:
    if end > start:
        yield text[start:end], is_leftwards


def _clusters(text: str) -> Iterator[str]:
    """Letters with the marks that belong to them, which one font has to draw."""
    cluster = ""
    for character in text:
        belongs = unicodedata.category(character) in ("Mn", "Mc", "Me") or character == AS_PICTURE
        is_tone = 0x1F3FB <= ord(character) <= 0x1F3FF
        if cluster and not (belongs or is_tone):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster
