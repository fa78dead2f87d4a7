"""Sentences, formulas and tables as HTML in which nothing a visitor typed is markup."""

import math
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from latex2mathml.converter import convert
from markdown_it import MarkdownIt

from attnviz.text.characters import shown
from attnviz.text.phrases import fixed, number

_JOINER = "\u2060"  # of `phrases.escaped`: it parts what only the page would read twice
DECIMALS = 4
LARGEST_FIXED = 1e6  # beyond it digits after the point say nothing


def paragraphs(markdown: str) -> str:
    """Markdown as the sentences of attnviz have it, in HTML."""
    written: str = _reader().render(markdown)
    return written.replace(_JOINER, "")


def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).disable(["link", "image", "autolink"])


def formula(latex: str) -> str:
    """A step's formula as MathML, which browsers draw by themselves."""
    return convert(latex.replace(" : ", r"\;{:}\;"))


def words(text: str) -> str:
    """Plain text as it is shown; what does not break across lines still does not."""
    return escape("\u00a0".join(map(shown, text.split("\u00a0"))))


def table(numbers: pd.DataFrame, caption: str) -> str:
    """A table that is closed until somebody opens it; its first column names the rows.

    Numbers have four decimals; one that is not there is an empty cell.
    """
    head = "".join(f'<th scope="col">{words(str(name))}</th>' for name in numbers)
    return (
        f"<details><summary>{caption}</summary><div class='scrolled' tabindex='0'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(_rows(numbers))}</tbody>"
        "</table></div></details>"
    )


def _rows(numbers: pd.DataFrame) -> Iterator[str]:
    for name, *values in numbers.itertuples(index=False, name=None):
        cells = "".join(f"<td>{_printed(value)}</td>" for value in values)
        yield f'<tr><th scope="row">{words(str(name))}</th>{cells}</tr>'


def _printed(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        value = float(value)
        if not math.isfinite(value):
            return ""
        return fixed(value, DECIMALS) if abs(value) < LARGEST_FIXED else number(value)
    return words(str(value))
