"""What is written can be read: ink on a cell, and names, greys and headings on the ground."""

import re

import pytest

from attnviz.charts.parts.palette import FAINT, GREY, IDENTITY, PALETTES, text_on


def luminance(colour):
    """WCAG 2's relative luminance of three shares of red, green and blue."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, another):
    darker, lighter = sorted(map(luminance, (one, another)))
    return (lighter + 0.05) / (darker + 0.05)


def shares(colour):
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def between(ramp, place):
    """The colour at a place, 0 to 1, of a ramp."""
    at, rest = divmod(place * (len(ramp) - 1), 1)
    first, second = (shares(ramp[min(int(at) + step, len(ramp) - 1)]) for step in (0, 1))
    return [a * (1 - rest) + b * rest for a, b in zip(first, second, strict=True)]


def is_inverted(mode, share):
    """What the expression says of a cell, computed in Python."""
    in_light, in_dark = re.findall(r"abs\(\((.*?)\) ([+-] [\d.]+)\) > ([\d.]+)", text_on("(x)"))
    _, shift, bound = in_light if mode == "light" else in_dark
    return abs(share + float(shift.replace(" ", ""))) > float(bound)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_numbers_in_cells_have_contrast_enough_with_every_tone_of_every_ramp(mode):
    palette, inks = PALETTES[mode], text_on("(x)").partition(" ? ")[2].split(" : (abs")
    for_beyond, for_others = re.findall("#[0-9a-f]{6}", inks[mode == "dark"])
    for thousandth in range(-1000, 1001):
        share = thousandth / 1000
        ink = shares(for_beyond if is_inverted(mode, share) else for_others)
        assert contrast(between(palette.diverging, 0.5 + share / 2), ink) >= 4.5, share
        if share >= 0:
            assert contrast(between(palette.sequential, share), ink) >= 4.5, share


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_colour_of_letters_has_contrast_enough_with_the_ground(mode):
    palette = PALETTES[mode]
    greys = [re.findall("#[0-9a-f]{6}", grey)[mode == "dark"] for grey in (GREY, FAINT)]
    for ink in (palette.text, *greys, *IDENTITY[mode].values()):
        assert contrast(shares(ink), shares(palette.background)) >= 4.5, ink
