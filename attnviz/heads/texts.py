"""A stream of texts, out of any iterable: its rows' texts, a few hundred at a time."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pandas as pd

from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

BUFFER = 256  # texts that are held at once, so that those of one length can share a pass
BUFFER_CHARACTERS = 4_000_000  # of them together, at most, unless one alone has more


def texts_of(texts: Iterable[Any], column: str) -> Iterator[Any]:
    """Each text. Raises InputError for what holds none, and for rows without this column."""
    is_text = isinstance(texts, str | bytes)
    if is_text or isinstance(texts, Mapping | pd.DataFrame) or not isinstance(texts, Iterable):
        raise InputError(
            f"The texts are an iterable of strings, or a dataset's rows; received "
            f"{type(texts).__name__}.\n\nHint: "
            + (
                "[text]"
                if is_text
                else "name one of its parts, as dataset['train'] or table['text']"
            )
            + "."
        )
    names = getattr(texts, "column_names", None)  # of a dataset, where it knows them
    if names and hasattr(texts, "select_columns"):
        check_column(names, column)
        texts = texts.select_columns([column])
    return (_text_in(row, column) if isinstance(row, Mapping) else row for row in texts)


def _text_in(row: Mapping[Any, Any], column: str) -> Any:
    check_column(row, column)
    return row[column]


def check_column(names: Collection[Any], column: str) -> None:
    """Raise InputError for a column that is not among these."""
    if column not in names:
        others = ", ".join(quoted(str(name)) for name in islice(names, 10))
        raise InputError(
            f"The texts' rows have no column {quoted(str(column))}."
            f"\n\nHint: column=…, one of {others or 'none'}."
        )


def buffers(texts: Iterator[Any]) -> Iterator[list[Any]]:
    """A few hundred texts at a time, fewer of long ones."""
    buffer: list[Any] = []
    n_characters = 0
    for text in texts:
        buffer.append(text)
        n_characters += len(text) if isinstance(text, str) else 0
        if len(buffer) == BUFFER or n_characters >= BUFFER_CHARACTERS:
            yield buffer
            buffer, n_characters = [], 0
    if buffer:
        yield buffer
