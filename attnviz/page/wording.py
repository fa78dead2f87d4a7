"""Sentences for the page, as Markdown in which nothing a visitor typed is markup."""

import re
from decimal import ROUND_CEILING, Context

import numpy as np
import streamlit as st

from attnviz.errors import AttnvizError
from attnviz.tokens import shown

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def escaped(text: str) -> str:
    """The text as Markdown that shows exactly this text."""
    return _PUNCTUATION.sub(r"\\\1", shown(text))


def token(label: str) -> str:
    """A token inside a sentence."""
    return f"*{escaped(label)}*"


def number(value: float | np.floating) -> str:
    """A number with five significant digits, enough to follow the arithmetic."""
    return f"{value:.5g}".replace("-", "−")


def percent(weight: float | np.floating) -> str:
    """A weight as a share of the row: "57.5 %", never broken across lines."""
    return f"{100 * weight:.1f}\u00a0%"


def bound(error: float) -> str:
    """An error as a bound with one digit, rounded up: "within 3e-7", or "exactly"."""
    if error == 0:
        return "exactly"
    upwards = Context(prec=1, rounding=ROUND_CEILING).create_decimal_from_float(error)
    digits, exponent = f"{upwards:.0e}".split("e")
    return f"within {digits}e{int(exponent)}"


def show_error(error: AttnvizError) -> None:
    """The error as a sentence, and what to do next below it."""
    statement, _, hint = str(error).partition("\n\nHint: ")
    hint = f"\n\n**What to do:** {escaped(hint)}" if hint else ""
    st.error(escaped(statement) + hint, icon=":material/error:")
