"""Figures for a column of a paper: laid out anew for its width, with letters that can be read."""

import functools
import re

import numpy as np
import pytest

import attnviz
from attnviz import export
from attnviz.charts.matrix import matrix_chart
from attnviz.charts.parts.figure import standing_alone
from attnviz.charts.row import row_chart
from attnviz.export import figures, fonts

TEXTS = {
    7: "time flies like an arrow",
    14: "the animal did not cross the street because it was too tired",
}
STEPS = ("x_query", "q", "k", "v", "scores", "scaled", "masked", "weights", "updated", "output")
COLUMN = figures.ONE_COLUMN


@pytest.fixture(scope="module")
def head(minilm):
    @functools.cache
    def of(n):
        trace = attnviz.trace(*minilm, TEXTS[n])
        assert len(trace.tokens) == n
        return trace.head(5, 11)

    return of


class Drawn:
    """The texts of an SVG: where each stands, in px of the figure, and how high it is in points."""

    def __init__(self, svg):
        root = figures.parsed(svg)
        self.width_mm = float(root.get("width").removesuffix("mm"))
        _, _, self.width, self.height = map(float, root.get("viewBox").split())
        self.points_per_px = self.width_mm / 25.4 * 72 / self.width
        self.texts = list(self._within(root, 0.0, 0.0))

    def _within(self, element, x, y):
        for child in element:
            own = child.get("transform", "")
            place = re.match(r"translate\(([-\d.e]+),([-\d.e]+)\)", own)
            left, top = (x + float(place[1]), y + float(place[2])) if place else (x, y)
            said = "".join(child.itertext()).strip()
            if child.tag == "text" and said and child.get("opacity") != "0":
                for at, line in enumerate(child.findall("tspan") or [child]):
                    turned = re.search(r"rotate\((-?\d+)", own)
                    size = float(child.get("font-size").removesuffix("px"))
                    yield Text(
                        "".join(line.itertext()).strip(),
                        size,
                        size * self.points_per_px,
                        *self._box(child, line, left, top + at * size * 1.2, size, turned),
                    )
            yield from self._within(child, left, top)

    @staticmethod
    def _box(text, line, x, y, size, turned):
        weight = fonts.BOLD if text.get("font-weight") == "bold" else fonts.REGULAR
        runs = fonts.runs("".join(line.itertext()).strip(), weight)
        width = size * sum(run.width for run in runs)
        before = {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")] * width
        box = (-before, -0.72 * size, width - before, 0.05 * size)
        if turned and abs(int(turned[1])) in (90, 270):
            return x + box[1], y - box[2], x + box[3], y - box[0]
        return x + box[0], y + box[1], x + box[2], y + box[3]


class Text:
    def __init__(self, said, size, points, left, top, right, bottom):
        self.said, self.size, self.points = said, size, points
        self.left, self.top, self.right, self.bottom = left, top, right, bottom

    def overlaps(self, other):
        return (
            min(self.right, other.right) - max(self.left, other.left) > 0.5
            and min(self.bottom, other.bottom) - max(self.top, other.top) > 0.5
        )

    def __repr__(self):
        return f"{self.said!r} at {self.left:.0f} to {self.right:.0f}, {self.top:.0f}"


def in_a_column(chart, width_mm=COLUMN, **look):
    return Drawn(export.to_svg(chart, width_mm=width_mm, **look))


def check(drawn, points, width_mm=COLUMN):
    assert drawn.width_mm == width_mm
    assert drawn.width == pytest.approx(width_mm / 25.4 * 96, rel=0.02)
    assert drawn.texts
    for text in drawn.texts:
        assert text.points == pytest.approx(points, rel=0.02), text
        assert text.left >= -0.5, text
        assert text.right <= drawn.width + 0.5, text
        assert text.top >= -0.5, text
        assert text.bottom <= drawn.height + 0.5, text
    pairs = [
        (one, other)
        for place, one in enumerate(drawn.texts)
        for other in drawn.texts[place + 1 :]
        if one.overlaps(other)
    ]
    assert not pairs


@pytest.mark.parametrize("n", TEXTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_in_a_column_has_letters_that_can_be_read_and_none_overlap(head, n, step):
    drawn = in_a_column(attnviz.steps_view(head(n), 2, 5, step=step), caption="A caption.")
    check(drawn, points=8)
    said = [text.said for text in drawn.texts]
    for token in {*head(n).query_tokens}:
        assert said.count(token) >= 1, said


@pytest.mark.parametrize(
    ("n", "width_mm"), [(7, COLUMN), (14, COLUMN), pytest.param(14, 183, marks=pytest.mark.long)]
)
def test_all_steps_in_a_column_do_too(head, n, width_mm):
    chart = attnviz.steps_view(head(n), 2, 5)
    check(in_a_column(chart, width_mm, caption="A caption. " * 9), points=8, width_mm=width_mm)


@pytest.mark.parametrize(("points", "is_printed"), [(7, True), (10, False)])
def test_the_size_of_letters_can_be_chosen_and_numbers_stay_away_where_they_do_not_fit(
    head, points, is_printed
):
    drawn = in_a_column(attnviz.steps_view(head(7), 2, 5, step="softmax"), letter_size=points)
    check(drawn, points)
    assert ("0.581" in [text.said for text in drawn.texts]) == is_printed


def test_numbers_in_narrow_cells_have_two_digits(head):
    drawn = in_a_column(attnviz.steps_view(head(14), 2, 5), width_mm=105, letter_size=7)
    said = {text.said for text in drawn.texts}
    assert {f"{weight:.2f}"[1:] for weight in head(14).weights.ravel() if weight < 0.99} <= said


def test_what_if_and_a_row_are_laid_out_too(head):
    changed = attnviz.what_if(head(7), scaling=1)
    check(in_a_column(attnviz.what_if_view(head(7), changed, 2)), points=8)
    check(in_a_column(standing_alone(row_chart(head(7), head(7).steps[0], 2))), points=8)
    check(in_a_column(standing_alone(matrix_chart(head(7), head(7).steps[0]))), points=8)


def test_every_word_of_a_step_is_still_there(head):
    chart = attnviz.steps_view(head(7), 2, 5)
    whole = Drawn(export.to_svg(chart, width_mm=400, letter_size=7))
    words = sorted(" ".join(text.said for text in whole.texts if " " in text.said).split())
    narrow = " ".join(text.said for text in in_a_column(chart).texts).split()
    assert not [word for word in words if word.isalpha() and word not in narrow]


@pytest.mark.parametrize("points", [6.9, 17, float("nan")])
def test_letters_that_cannot_be_read_are_refused(head, points):
    chart = attnviz.steps_view(head(7), step="q")
    with pytest.raises(attnviz.InputError, match=r"letter_size is .*\n\nHint: points, from 7"):
        export.to_svg(chart, width_mm=COLUMN, letter_size=points)


def test_a_step_that_is_not_there_is_refused_by_name(head):
    with pytest.raises(attnviz.InputError, match=r"no step 'sofmax'.*\n\nHint: .*softmax, update"):
        attnviz.steps_view(head(7), step="sofmax")


def test_a_step_alone_has_its_numbers(head):
    by_title, by_name = (
        attnviz.steps_view(head(7), 2, 5, step=step).to_dict() for step in ("softmax", "weights")
    )
    assert by_title == by_name
    sent = {one["name"]: one.get("value") for one in by_title["params"]}
    np.testing.assert_array_equal(np.float32(sent["weights"]), head(7).weights)
    assert len(by_title["vconcat"]) == 1
