"""What is in each file that a shell asks for, as the ending of its name says."""

import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from attnviz.charts.what_if import what_if_view
from attnviz.errors import InputError
from attnviz.export import code, figures, pages
from attnviz.export.captions import caption
from attnviz.results import Trace
from attnviz.screens import Screen, drawn
from attnviz.sentences import changes
from attnviz.shell.files import ending
from attnviz.shell.options import FIGURES
from attnviz.shell.summary import summary
from attnviz.wording import plain


@dataclass(frozen=True, eq=False)
class Contents:
    """What is to be written, by the name of the file, and what cannot be read in it."""

    files: Mapping[str, bytes]
    notes: tuple[str, ...]  # sentences


def contents(asked: Namespace, screen: Screen, trace: Trace, model: Any) -> Contents:
    """All files that are asked for, made and not written; `model` is None for arrays of a file.

    Raises InputError for what the trace does not have, and for code where there is no model.
    """
    makers = {".html": _page, ".py": _code, **dict.fromkeys(FIGURES, _figure)}
    files = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", figures.FigureWarning)
        for file in asked.files:
            make = makers.get(ending(file), _data)
            made = make(asked, ending(file), screen, trace, model)
            files[file] = made.encode() if isinstance(made, str) else made
    return Contents(files, tuple(dict.fromkeys(str(warning.message) for warning in said)))


def _figure(asked: Namespace, kind: str, screen: Screen, trace: Trace, model: Any) -> str | bytes:
    words = caption(screen, trace)
    if screen.change:
        head = trace.head(screen.layer, screen.head, screen.kind)
        words = f"{words} {plain(changes(head, screen.change))}"
    columns = {"one": figures.ONE_COLUMN, "two": figures.TWO_COLUMNS}
    look: dict[str, Any] = {
        "caption": "" if asked.no_caption else words,
        "width_mm": columns.get(asked.width, asked.width),
        "is_transparent": asked.transparent,
        **({"scale": asked.scale} if kind == ".png" else {}),
        **({"outlines": not asked.as_text} if kind == ".svg" else {}),
    }
    write: Callable[..., str | bytes] = figures.WRITERS[kind]
    return write(_chart(screen, trace), screen.display_mode, **look)


def _chart(screen: Screen, trace: Trace) -> alt.TopLevelMixin:
    """The view; of a changed head the picture of what the change does."""
    if not screen.change:
        return drawn(screen, trace)
    head = trace.head(screen.layer, screen.head, screen.kind)
    return what_if_view(
        head,
        screen.change(head),
        screen.query or 0,
        screen.key,
        convention=screen.convention,
        display_mode=screen.display_mode,
    )


def _page(asked: Namespace, kind: str, screen: Screen, trace: Trace, model: Any) -> str:
    return pages.view_page(screen, trace)


def _data(asked: Namespace, kind: str, screen: Screen, trace: Trace, model: Any) -> str | bytes:
    from attnviz.export import data  # pyarrow, which no picture needs

    head = summary(screen, trace).head
    texts = {"text": screen.text or None, "pair": screen.pair, "target": screen.target}
    if kind == ".csv":
        return data.to_csv(head)
    if kind == ".parquet":
        return data.to_parquet(head)
    about = data.about(trace, head, **texts)
    return data.to_json(about) if kind == ".json" else data.to_npz(head, about)


def _code(asked: Namespace, kind: str, screen: Screen, trace: Trace, model: Any) -> str:
    if model is None:
        raise InputError(
            "The arrays came from a file: there is no model to compute them with in Python."
            "\n\nHint: leave the file that ends in .py out."
        )
    if asked.four_steps:
        return code.four_steps(screen, trace, model)
    drawings = [file for file in asked.files if ending(file) in FIGURES]
    return code.script(screen, drawings[0]) if drawings else code.script(screen)
