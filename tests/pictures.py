"""The README's pictures, made from the page itself.

    python -m tests.pictures --write

Without `--write` they are made anew and compared with those that are kept: it fails, with a
sentence for each, where one shows something else. Fonts may differ from machine to machine: what
is compared is each picture at a quarter of its size.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from PIL import Image

from tests.support.browsing import WATCH, rest
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.places import ROOT
from tests.support.serving import serving

FOLDER = ROOT / "docs" / "pictures"
WIDTH = 1280  # px
MAX_BYTES = 200_000
# Of 255, the mean over all pixels. Measured: 0 for the same page drawn again, and with letters
# hinted otherwise; 0.04 with them smoothed otherwise; 0.6 where another key token is followed and
# 2.9 in another head.
MAX_DIFFERENCE = 0.5
_REDUCED = 4
_SAME_COLOURS = ("--force-color-profile=srgb",)


@dataclass(frozen=True)
class Picture:
    """A state of the page, from its top down to a height."""

    name: str  # of its file
    link: str
    scheme: Literal["light", "dark"]
    height: int  # px


_FLIES = "?layer=5&head=11&query=2+flies&key=5+arrow"
PICTURES = (
    Picture("steps.png", _FLIES, "light", 720),
    Picture("neurons.png", f"{_FLIES}&view=Neurons", "dark", 770),
)


def made(picture: Picture, browser: Any, address: str) -> bytes:
    """The picture as PNG, in at most 256 colours."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": picture.height},
        color_scheme=picture.scheme,
        reduced_motion="reduce",
    )
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(address + picture.link)
    rest(page)
    drawn = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
    context.close()
    reduced = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    png = io.BytesIO()
    reduced.save(png, "PNG", optimize=True)
    return png.getvalue()


def difference(kept: bytes, anew: bytes) -> str | None:
    """What tells two pictures apart, as a clause; None where they show the same."""
    one, other = (Image.open(io.BytesIO(png)).convert("RGB") for png in (kept, anew))
    if one.size != other.size:
        return (
            f"is {one.width} × {one.height} pixels, and the page's {other.width} × {other.height}"
        )
    apart = distance(one, other)
    if apart > MAX_DIFFERENCE:
        return f"is {apart:.2f} of 255 away from the page; {MAX_DIFFERENCE} is allowed"
    return None


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures of the same size, of 255."""
    reduced = [np.asarray(each.reduce(_REDUCED), np.float32) for each in (one, other)]
    return float(np.abs(reduced[0] - reduced[1]).mean())


@contextmanager
def looking() -> Iterator[tuple[Any, str]]:
    """A browser, and the address of a page that it can open."""
    from playwright.sync_api import sync_playwright  # what is tested of the pictures needs none

    with (
        TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *_SAME_COLOURS]
        )
        yield browser, server.address
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="keep them as they are now")
    is_written = parser.parse_args().write
    with looking() as (browser, address):
        anew = {picture.name: made(picture, browser, address) for picture in PICTURES}
    said = []
    for name, png in anew.items():
        path = FOLDER / name
        if len(png) > MAX_BYTES:
            said.append(f"{name} takes {len(png):,} bytes; {MAX_BYTES:,} are allowed.")
        elif is_written:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
            print(f"{name}: {len(png):,} bytes")
        elif not path.exists():
            said.append(f"{name} is not there.")
        elif because := difference(path.read_bytes(), png):
            said.append(f"{name} {because}.")
    if said:
        print(*said, "\nHint: look at the page, then python -m tests.pictures --write", sep="\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
