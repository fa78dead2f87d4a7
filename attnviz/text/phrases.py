"""Words and numbers for people, as Markdown in which nothing a visitor typed is markup.

Numbers in sentences are rounded so that what is printed never contradicts itself: terms that
add up are rounded together, and each line of arithmetic has digits enough for the next.
"""

import math
import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, Context

import numpy as np

from attnviz.text.characters import shown

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# What the page's Markdown looks for once more in the text that is left when all markup is read, and
# finds behind any backslash: addresses, icons, emoji, arrows and dashes.
_READ_TWICE = re.compile(r":(?=[\w/+-])|@(?=[\w-])|www(?=\.|$)|[-<>~](?=[-=>])", re.IGNORECASE)
# Draws nothing and parts what would be read together. Typed, it is named, as in `shown`.
_JOINER = "\u2060"


def escaped(text: str) -> str:
    """The text as Markdown that shows exactly this text."""
    parted = _READ_TWICE.sub(rf"\g<0>{_JOINER}", shown(text))
    return _PUNCTUATION.sub(r"\\\1", parted)


def token(label: str) -> str:
    """A token inside a sentence."""
    return f"*{escaped(label)}*"


def token_at(tokens: Sequence[str], position: int) -> str:
    """The token at a position, with its number where the text has it more than once."""
    label = tokens[position]
    return token(label) + (f"\u00a0({position})" if tokens.count(label) > 1 else "")


def plain(markdown: str) -> str:
    """A sentence without its markup, for pictures and files."""
    return re.sub(rf"\\(.)|\*+|{_JOINER}", lambda found: found.group(1) or "", markdown)


def number(value: float | np.floating, digits: int = 3) -> str:
    """A number with so many significant digits; never as a power of ten up to a million."""
    value = float(value)
    text = f"{value:#.{digits}g}".rstrip(".") if value else "0"
    if "e+" in text and abs(value) < 1e6:
        text = f"{float(text):.0f}"
    return text.replace("-", "−")


def fixed(value: float | np.floating, decimals: int) -> str:
    """A number with so many decimals; a zero has no sign."""
    text = f"{float(value):.{decimals}f}"
    return (text[1:] if float(text) == 0 and text.startswith("-") else text).replace("-", "−")


def percent(weight: float | np.floating) -> str:
    """A weight as a share of the row: "57.5 %", never broken across lines."""
    return f"{100 * weight:.1f}\u00a0%"


def size(n_bytes: float) -> str:
    """A number of bytes in decimal units: "548 MB", "1.3 GB"."""
    if n_bytes >= 999.5e6:
        return f"{n_bytes / 1e9:.1f} GB"
    if n_bytes >= 999.5e3:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """How long something takes, as one would say it: "5 seconds", "about 3 minutes"."""
    if seconds < 90:
        steps = 1 if seconds < 10 else 5
        rounded = max(steps, steps * round(seconds / steps))
        return f"{rounded} second{'s' * (rounded > 1)}"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.0f} hours"


def counted(n: int, what: str) -> str:
    """1, "head" → "1 head"; 2 → "2 heads"."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def ordinal(place: int) -> str:
    """1 → "1st", 2 → "2nd", 11 → "11th"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{'th' if place % 100 in (11, 12, 13) else ending}"


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as a reader would say them: "0 to 5", "0 and 1", or "3, 7, 11"."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return (" and " if len(numbers) == 2 else ", ").join(map(str, numbers))


def added(terms: Sequence[str]) -> str:
    """Numbers as a sum: ["2.1", "−0.4"] → "2.1 − 0.4"."""
    first, *others = terms
    return " ".join(
        [first, *(f"− {term[1:]}" if term.startswith("−") else f"+ {term}" for term in others)]
    )


def rounded_together(terms: Sequence[float], decimals: int) -> list[str]:
    """Terms rounded so that what is printed adds up to their rounded sum, none off by a unit.

    Each is rounded down, and the units still missing go to those that lost most.
    """
    units = np.asarray(terms, dtype=np.float64) * 10.0**decimals
    if not np.isfinite(units).all():
        return [fixed(term, decimals) for term in terms]
    floors = np.floor(units)
    n_missing = int(np.rint(units.sum()) - floors.sum())
    floors[np.argsort(floors - units, kind="stable")[:n_missing]] += 1
    return [fixed(value / 10.0**decimals, decimals) for value in floors]


def bound(error: float) -> str:
    """An error as a bound with one digit, rounded up: "to within 3e-7", or "exactly"."""
    if error == 0:
        return "exactly"
    if not math.isfinite(error):
        return "in no way: a number in them is infinite or undefined"
    upwards = Context(prec=1, rounding=ROUND_CEILING).create_decimal_from_float(error)
    digits, exponent = f"{upwards:.0e}".split("e")
    return f"to within {digits}e{int(exponent)}"
