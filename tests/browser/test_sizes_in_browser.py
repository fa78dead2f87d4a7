"""Chromium draws as many marks as the other tests count, where it draws SVG and no canvas."""

from urllib.parse import urlencode

import pytest

from tests.benchmarks.texts import text_of
from tests.support import marks
from tests.support.showing import run

pytestmark = pytest.mark.browser

DRAWN = """() => [...document.querySelectorAll('svg.marks .role-mark:not(.mark-group)')]
    .reduce((n, group) => n + group.childElementCount, 0)"""


@pytest.mark.parametrize(("view", "n_tokens"), [("Heads", 12), ("Heads", 100), ("Model", 100)])
def test_chromium_draws_as_many_marks_as_are_counted(visit, page, view, n_tokens):
    chosen = {"text": text_of(n_tokens), "view": view}
    page.query_params.update(chosen)
    (sent,) = run(page).get("vega_lite_chart")
    counted = marks.count(marks.as_sent(sent.proto))
    opened = visit(f"?{urlencode(chosen)}")
    opened.wait_for_function(f"() => ({DRAWN})() >= {counted}", timeout=30_000)
    assert opened.evaluate(DRAWN) == counted


@pytest.mark.parametrize(
    ("view", "key", "n_tokens"), [("Neurons", "neurons_", 100), ("Steps", "matrix_weights", 25)]
)
def test_more_marks_than_svg_is_good_for_are_drawn_on_a_canvas(visit, view, key, n_tokens):
    opened = visit(f"?{urlencode({'text': text_of(n_tokens), 'view': view})}")
    drawing = opened.locator(f"[class*='st-key-{key}']")
    assert drawing.locator("canvas.marks").count() == 1
    assert drawing.locator("svg.marks").count() == 0
