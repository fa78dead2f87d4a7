"""Colours, for both displays. On the page they come from `.streamlit/config.toml`, which a test
holds equal to these; in notebooks and files a chart carries them itself.

In every signed matrix hue is the sign (blue +, orange −) and intensity the size, with the
background at zero. Weights run from the background (0) to blue (1). A hidden cell is grey and
crossed out. q, k, v and the update each have one colour, for headings, never for data.
"""

from dataclasses import dataclass
from typing import Any, Literal

from attnviz.text.errors import InputError

DisplayMode = Literal["light", "dark"]


@dataclass(frozen=True)
class Palette:
    background: str
    text: str
    diverging: tuple[str, ...]  # ten, from the most negative to the most positive
    sequential: tuple[str, ...]  # ten, from 0 to 1


PALETTES: dict[str, Palette] = {
    "light": Palette(
        background="#ffffff",
        text="#1f2328",
        diverging=(
            *("#c2500a", "#d07740", "#dd9e77", "#ebc5ad", "#fefaf8"),
            *("#f8fafe", "#aec4e6", "#779dd5", "#4176c4", "#0b4fb3"),
        ),
        sequential=(
            *("#ffffff", "#e4ebf7", "#c9d8ee", "#aec4e6", "#93b1dd"),
            *("#779dd5", "#5c8acc", "#4176c4", "#2663bb", "#0b4fb3"),
        ),
    ),
    "dark": Palette(
        background="#0e1117",
        text="#e6edf3",
        diverging=(
            *("#ff8a3d", "#c96f35", "#94542c", "#5e3924", "#151419"),
            *("#0f151d", "#234264", "#316298", "#3f83cb", "#4da3ff"),
        ),
        sequential=(
            *("#0e1117", "#152131", "#1c314b", "#234264", "#2a527e"),
            *("#316298", "#3872b2", "#3f83cb", "#4693e5", "#4da3ff"),
        ),
    ),
}

BLACK, WHITE = "#000000", "#ffffff"  # of numbers in cells

# For headings, which have to be read: no one tone has contrast enough with both backgrounds.
IDENTITY: dict[DisplayMode, dict[str, str]] = {
    "light": {"q": "#7440f0", "k": "#127a54", "v": "#c4326a", "updated": "#85590f"},
    "dark": {"q": "#9a78fa", "k": "#22a877", "v": "#e5608f", "updated": "#bd8726"},
}

# Vega knows the colour of the page it is drawn on as the signal `background`.
IS_LIGHT = "(luminance(background) > 0.5)"
ACCENT = f"({IS_LIGHT} ? '#0f766e' : '#2aa198')"  # of what is chosen; the page's own
TEXT = f"({IS_LIGHT} ? '{PALETTES['light'].text}' : '{PALETTES['dark'].text}')"
GREY = f"({IS_LIGHT} ? '#6a7079' : '#9aa4af')"
FAINT = f"({IS_LIGHT} ? '#6f7680' : '#7f8994')"  # what has no meaning of its own
HIDDEN = f"({IS_LIGHT} ? '#d5d8dc' : '#3a4048')"
LINE = f"({IS_LIGHT} ? '{PALETTES['light'].sequential[-1]}' : '{PALETTES['dark'].sequential[-1]}')"
NEGATIVE = f"({IS_LIGHT} ? '{PALETTES['light'].diverging[0]}' : '{PALETTES['dark'].diverging[0]}')"


def identity(letter: str) -> str:
    """The Vega expression for the colour of q, k, v or the update."""
    return f"({IS_LIGHT} ? '{IDENTITY['light'][letter]}' : '{IDENTITY['dark'][letter]}')"


def text_on(share: str) -> str:
    """The Vega expression for a readable text colour on a cell.

    `share` is an expression for the cell's value relative to the end of its scale, −1 to 1.
    White as far as it has a contrast of 4.5 : 1 with the ramp, then black, which has it there; no
    softer pair of inks has it with every tone.
    """
    return (
        f"{IS_LIGHT}"
        f" ? (abs({share} + 0.0985) > 0.872 ? '{WHITE}' : '{BLACK}')"
        f" : (abs({share} - 0.0195) > 0.693 ? '{BLACK}' : '{WHITE}')"
    )


def configuration(display_mode: DisplayMode) -> dict[str, Any]:
    """The colours of this display, and its fonts, as Vega-Lite's `config`."""
    if display_mode not in PALETTES:
        raise InputError(
            f"There is no display mode {display_mode!r}.\n\nHint: choose 'light' or 'dark'."
        )
    palette = PALETTES[display_mode]
    axis_text = {"labelColor": palette.text, "titleColor": palette.text}
    return {
        "background": palette.background,
        "font": "sans-serif",
        "range": {
            "diverging": list(palette.diverging),
            "heatmap": list(palette.sequential),
            "ramp": list(palette.sequential),
        },
        "view": {"stroke": "transparent"},
        "axis": axis_text | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
        "legend": axis_text | {"labelFontSize": 12, "titleFontSize": 12},
        "title": {"color": palette.text, "fontSize": 14, "subtitleColor": palette.text},
        "text": {"color": palette.text},
    }


def display_mode_of(specification: dict[str, Any]) -> DisplayMode:
    """The display whose background a chart has; "light" where it has another."""
    background = specification.get("config", {}).get("background")
    return "dark" if background == PALETTES["dark"].background else "light"
