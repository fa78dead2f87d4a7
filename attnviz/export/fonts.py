"""Which installed font draws a piece of text, and how wide: what a file needs that has its fonts.

Vega's own drawing takes any font that has a character, bold or serif as it comes; here the plainest
is taken. Fonts are looked for once in a process.
"""

import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regex

from attnviz.text import packages

if TYPE_CHECKING:
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
_FIRST_EMOJI = 0x1F000  # from here on most characters are pictures
_FIRST_NOT_BROUGHT = 0x530  # behind Latin, Greek and Cyrillic, for which Vega brings a font
_AS_PICTURE = "\ufe0f"  # asks for the picture of the character before it
_UNDRAWN = str.maketrans("", "", f"{_AS_PICTURE}\ufe0e\u200c\u200d")


@dataclass(frozen=True, eq=False)
class Font:
    """One installed font."""

    family: str
    weight: float
    is_upright: bool
    width: float  # percent
    shapes: "hb.Font"

    def has(self, text: str) -> bool:
        return all(self.shapes.get_nominal_glyph(ord(character)) for character in text)

    @property
    def units(self) -> int:
        """Of its own, in the size of a letter."""
        units: int = self.shapes.face.upem
        return units

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
    def plainness(self) -> tuple[object, ...]:
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
    is_leftwards: bool = False

    @cached_property
    def glyphs(self) -> tuple[tuple["hb.GlyphInfo", "hb.GlyphPosition"], ...]:
        """From left to right, each with its place in the font's units; none without a font."""
        if self.font is None:
            return ()
        hb = _harfbuzz()
        buffer = hb.Buffer()
        buffer.add_str(self.text)
        buffer.guess_segment_properties()
        buffer.direction = "rtl" if self.is_leftwards else "ltr"
        hb.shape(self.font.shapes, buffer)
        return tuple(zip(buffer.glyph_infos, buffer.glyph_positions, strict=True))

    @cached_property
    def width(self) -> float:
        """In the size of its letters."""
        if self.font is None:
            return 0.6 * len(self.text)
        advance: int = sum(place.x_advance for _, place in self.glyphs)
        return advance / self.font.units


@lru_cache(maxsize=10_000)
def runs(text: str, weight: float = REGULAR) -> tuple[Run, ...]:
    """The text, which as a whole runs to the right, in the order in which it is drawn so."""
    drawn: list[Run] = []
    for is_leftwards, part in groupby(_directed(text), key=itemgetter(1)):
        pieces: list[Run] = []
        for cluster, _ in part:
            run = Run(cluster, font_of(cluster, weight), is_leftwards and not _is_number(cluster))
            if pieces and replace(pieces[-1], text="") == replace(run, text=""):
                run = replace(run, text=pieces.pop().text + cluster)
            pieces.append(run)
        drawn += reversed(pieces) if is_leftwards else pieces
    return tuple(drawn)


def _directed(text: str) -> Iterator[tuple[str, bool]]:
    """Letters with what belongs to them, and whether they run to the left.

    What has no direction of its own runs as the letters on both its sides.
    """
    clusters = regex.findall(r"\X", text)
    sides = [_side(cluster) for cluster in clusters]
    before, after = _last_known(sides), _last_known(sides[::-1])[::-1]
    for cluster, *on_both in zip(clusters, before, after, strict=True):
        yield cluster, on_both == ["R", "R"]


def _last_known(sides: list[str]) -> list[str]:
    last = ""
    return [last := side or last for side in sides]


def _side(cluster: str) -> str:
    """To which its letters run: "L" to the right, "R" to the left; "" where they do not say."""
    return {"L": "L", "R": "R", "AL": "R"}.get(unicodedata.bidirectional(cluster[0]), "")


def _is_number(cluster: str) -> bool:
    return unicodedata.bidirectional(cluster[0]) in ("EN", "AN")


def width_of(text: str, size: float) -> float:
    """How wide the text is at a font size, in the unit of the size."""
    return size * sum(run.width for run in runs(text))


def missing(text: str) -> str:
    """The characters, each once, that no font here can draw."""
    lost = "".join(run.text for run in runs(text) if run.font is None)
    return "".join(dict.fromkeys(c for c in lost if ord(c) >= _FIRST_NOT_BROUGHT))


@lru_cache(maxsize=10_000)
def font_of(cluster: str, weight: float = REGULAR) -> Font | None:
    """The plainest installed font that has these characters, as bold as asked for where it can."""
    wants_picture = _AS_PICTURE in cluster or ord(cluster[0]) >= _FIRST_EMOJI
    letters = cluster.translate(_UNDRAWN)
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
    hb = _harfbuzz()
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


def _harfbuzz() -> Any:
    with packages.of_extra("export", "A figure as a file"):
        import uharfbuzz
    return uharfbuzz
