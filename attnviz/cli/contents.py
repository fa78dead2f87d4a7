"""What is in each file that a shell asks for, as the ending of its name says."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from attnviz.attention.trace import Trace
from attnviz.charts.steps import steps_view
from attnviz.charts.what_if import what_if_view
from attnviz.cli.options import FIGURES
from attnviz.cli.output_files import ending
from attnviz.cli.summary import summary
from attnviz.export import code, figures, four_steps, pages
from attnviz.export.captions import caption
from attnviz.export.figures import Written
from attnviz.export.screen import OF_TABLES, More, Screen, drawn, tabulated, view_options
from attnviz.text.errors import InputError


@dataclass(frozen=True, eq=False)
class Contents:
    """What is to be written, by the name of the file, and what cannot be read in it."""

    files: Mapping[str, bytes]
    notes: tuple[str, ...]  # sentences


def contents(asked: Namespace, screen: Screen, trace: Trace, more: More, model: Any) -> Contents:
    """All files that are asked for, made and not written; `model` is None for arrays of a file.

    Raises InputError for what the trace does not have, and for code where there is no model.
    """
    makers = {".html": _page, ".py": _code, **dict.fromkeys(FIGURES, _figure)}
    made = {
        file: makers.get(ending(file), _data)(asked, ending(file), screen, trace, more, model)
        for file in asked.files
    }
    notes = (note for one in made.values() for note in one.notes)
    return Contents({file: one.content for file, one in made.items()}, tuple(dict.fromkeys(notes)))


def _figure(
    asked: Namespace, kind: str, screen: Screen, trace: Trace, more: More, model: Any
) -> Written:
    words = caption(screen, trace, is_changed=True)
    columns = {"one": figures.ONE_COLUMN, "two": figures.TWO_COLUMNS}
    return figures.figure(
        _chart(screen, trace, more),
        kind,
        screen.display_mode,
        caption="" if asked.no_caption else words,
        width_mm=columns.get(asked.width, asked.width),
        letter_size=asked.letters,
        is_transparent=asked.transparent,
        scale=asked.scale,
    )


def _chart(screen: Screen, trace: Trace, more: More) -> alt.TopLevelMixin:
    """The view; of a changed head the picture of what the change does, or a step of it alone."""
    if not screen.change:
        return drawn(screen, trace, more)
    head = trace.head(screen.layer, screen.head, screen.kind)
    if screen.step is not None:
        return steps_view(
            screen.change(head),
            screen.query,
            screen.key,
            **view_options(screen),
            display_mode=screen.display_mode,
        )
    return what_if_view(
        head,
        screen.change(head),
        screen.query or 0,
        screen.key,
        convention=screen.convention,
        display_mode=screen.display_mode,
    )


def _page(
    asked: Namespace, kind: str, screen: Screen, trace: Trace, more: More, model: Any
) -> Written:
    return Written(pages.view_page(screen, trace, more).encode())


def _data(
    asked: Namespace, kind: str, screen: Screen, trace: Trace, more: More, model: Any
) -> Written:
    from attnviz.export import data  # pyarrow, which no picture needs

    if screen.view in OF_TABLES:
        if kind == ".npz":
            raise InputError(
                f"The numbers of {screen.view} are a table, and an NPZ file holds arrays of a head."
                "\n\nHint: let the name end in .csv, .parquet or .json."
            )
        return Written(data.written_table(kind, tabulated(screen, trace, more)))
    head = summary(screen, trace).head
    if asked.weights and kind == ".csv":
        return Written(data.weights_to_csv(head))
    texts = {"text": screen.text or None, "pair": screen.pair, "target": screen.target}
    return Written(data.written(kind, trace, head, **texts))


def _code(
    asked: Namespace, kind: str, screen: Screen, trace: Trace, more: More, model: Any
) -> Written:
    if model is None:
        raise InputError(
            "The arrays came from a file: there is no model to compute them with in Python."
            "\n\nHint: leave the file that ends in .py out."
        )
    drawings = [file for file in asked.files if ending(file) in FIGURES]
    if asked.four_steps:
        script = four_steps.four_steps(screen, trace, model)
    else:
        script = code.script(screen, *drawings[:1])
    return Written(script.encode())
