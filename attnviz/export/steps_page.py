"""Steps as a part of a page: every step with its formula, sentences, arithmetic and matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import altair as alt

from attnviz.attention.agreement import check_of_output
from attnviz.attention.explained.arithmetic import arithmetic, products
from attnviz.attention.explained.sentences import (
    LOOK_FOR_IN_SHARES,
    about_row,
    changes,
    effect,
    explanation,
    given_to,
    headline,
    look_for,
    nearest_values,
    no_output,
    sentence,
)
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, step_called, steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.matrix import is_in_blocks, matrix_chart
from attnviz.charts.parts.axes import is_of_pairs, matrix_title
from attnviz.charts.parts.blocks import MAX_DIMENSIONS
from attnviz.charts.parts.document import Picture
from attnviz.charts.parts.figure import Figure, structure_of
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.palette import IDENTITY, DisplayMode, configuration
from attnviz.charts.parts.tables import step_table
from attnviz.charts.parts.window import strongest_outside, window_around
from attnviz.charts.row import row_chart
from attnviz.charts.shares import shares_chart
from attnviz.charts.what_if import TITLES, compared
from attnviz.export.markup import formula, paragraphs, table, words
from attnviz.export.screen import Screen
from attnviz.text.phrases import plain, token_at

NARROW, FIGURE = 280, 480  # px, below which a matrix in a narrow place or any other figure scrolls

Pieces = Iterator[str | Picture]


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of a screen's head, with one pair of tokens followed through."""

    screen: Screen
    trace: Trace
    head: HeadTrace
    query: int
    key: int

    def pieces(self) -> Pieces:
        """HTML and pictures, a section for the steps of each number and one for the change."""
        in_order = steps_of(self.head, self.screen.convention)
        if self.screen.step is not None:
            yield from self._group([step_called(self.screen.step, in_order)])
            return
        for number, steps in groupby(in_order, key=lambda step: step.number):
            yield f"<section><h2>{headline(number)}</h2>"
            yield paragraphs(explanation(self.head, number, self.screen.convention))
            yield from self._group(list(steps))
            yield "</section>"
        if self.head.output is None:
            why = paragraphs(no_output(self.head))
            yield f"<section><h2>{headline('beyond')}</h2>{why}</section>"
        if self.screen.change:
            yield from self._what_if()

    def _group(self, steps: list[Step]) -> Pieces:
        """The steps that share a number, laid out as on the page of attnviz."""
        first = steps[0]
        if len(steps) > 1 and not is_of_pairs(first):
            yield '<div class="beside">'
            for step in steps:
                yield f"<div>{_titled(step, self.screen.display_mode)}"
                yield self._matrix(step, NARROW)
                yield f"{self._sentence(step)}{_table(self.head, step)}</div>"
            yield "</div>"
            for step in steps:
                yield self._arithmetic(step)
            yield self._look_for(first)
            return
        for step in steps:
            yield from self._step(step)
        if first.name == "updated":
            name = "What each value adds to the update of the query token"
            yield self._picture(shares_chart(self.head, self.query, self.key), name)
            yield paragraphs(f"**Look for** {LOOK_FOR_IN_SHARES}")
            yield paragraphs(nearest_values(self.head, self.query))

    def _step(self, step: Step) -> Pieces:
        """A step's words beside its matrix."""
        head, query, key = self.head, self.query, self.key
        yield f'<div class="step"><div>{_titled(step, self.screen.display_mode)}'
        yield self._sentence(step)
        yield self._arithmetic(step)
        if step.name == "output":
            yield paragraphs(check_of_output(self.trace, head, query))
        yield self._look_for(step)
        if step.name == "scores":
            numbers = products(head, query, key)
            names = {"product": "q × k", "sum": "sum so far"}
            yield table(numbers.rename(columns=names), f"All {len(numbers)} products")
        yield f"{_table(head, step)}</div><div>"
        yield self._matrix(step, FIGURE)
        if step.name == "weights" and self.screen.large == "window":
            yield self._outside()
        yield "</div></div>"
        if not is_of_pairs(step) and step.array.shape[1] > MAX_DIMENSIONS:
            side, row = ("key", key) if step.axes[0] == "key_pos" else ("query", query)
            yield paragraphs(about_row(head, step, row))
            yield self._picture(row_chart(head, step, row), f"{step.title} of the {side} token")

    def _sentence(self, step: Step) -> str:
        return paragraphs(sentence(self.head, step, self.query, self.key))

    def _arithmetic(self, step: Step) -> str:
        return paragraphs(arithmetic(self.head, step, self.query, self.key) or "")

    def _look_for(self, step: Step) -> str:
        return paragraphs(f"**Look for** {look_for(self.head, step, self.screen.convention)}")

    def _outside(self) -> str:
        """What the query gives to keys that its window does not show, if there are any."""
        n_queries, n_keys = len(self.head.query_tokens), len(self.head.key_tokens)
        shown = window_around(self.query, self.key, n_queries, n_keys)
        outside = strongest_outside(self.head.weights[self.query], shown)
        return paragraphs(f"{given_to(self.head, self.query, outside)}.") if outside else ""

    def _what_if(self) -> Pieces:
        head, query = self.head, self.query
        changed = self.screen.change(head)
        pictures = compared(head, changed, query, self.key, self.screen.convention)
        name = plain(token_at(head.query_tokens, query))
        yield "<section><h2>What if?</h2>"
        yield paragraphs(changes(head, self.screen.change)) + paragraphs(
            effect(head, changed, query)
        )
        yield '<div class="beside">'
        for label, matrix in zip(TITLES, pictures.matrices, strict=True):
            yield f"<div><h3>Weights {label}</h3>"
            yield self._picture(matrix, f"weights {label}", NARROW)
            yield "</div>"
        yield "</div>"
        strips = {"The weights of": pictures.weights, "The update x′ of": pictures.update}
        for label, strip in strips.items():
            yield f"<div><h3>{label} {words(name)}</h3>"
            yield self._picture(strip, f"{label} {name} before and after")
            yield "</div>"
        yield "</section>"

    def _matrix(self, step: Step, least_width: int) -> Picture:
        pair, large = Pair(self.query, self.key), self.screen.large
        is_narrow = least_width == NARROW
        figure = matrix_chart(self.head, step, pair, large=large, is_narrow=is_narrow)
        return self._picture(figure, matrix_title(step), least_width)

    def _picture(
        self, figure: Figure | alt.LayerChart, name: str, least_width: int = FIGURE
    ) -> Picture:
        """A figure as wide as its place, and called by what is to be seen on it."""
        specification: dict[str, Any] = (
            figure.to_dict() if isinstance(figure, Figure) else structure_of(figure)
        )
        specification["description"] = name
        specification["config"] = configuration(self.screen.display_mode)
        if "layer" not in specification:
            return Picture(specification)
        return Picture(specification | {"width": "container"}, least_width)


def _titled(step: Step, display_mode: DisplayMode) -> str:
    letter = step.name.partition("_")[0]
    tone = IDENTITY[display_mode].get(letter)
    colour = f' style="color: {tone}"' if tone else ""
    return f"<h3><span{colour}>{words(step.title)}</span> {formula(step.formula)}</h3>"


def _table(head: HeadTrace, step: Step) -> str:
    """Every value, where the picture has them all too."""
    return "" if is_in_blocks(step) else table(step_table(head, step), "As a table")
