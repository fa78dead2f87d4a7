"""Chromium draws as many marks as the other tests count, where it draws SVG and no canvas."""

from urllib.parse import urlencode

import marks
import pytest
from showing import run

from tests.benchmarks.texts import text_of

pytestmark = pytest.mark.browser

DRAWN = """() => [...document.querySelectorAll('svg.marks .role-mark:not(.mark-group)')]
    .reduce((n, group) => n + group.childElementCount, 0)"""


@pytest.mark.parametrize("view", ["Heads", "Model"])
def test_chromium_draws_as_many_marks_as_are_counted(visit, page, view):
    chosen = {"text": text_of(100), "view": view}
    page.query_params.update(chosen)
    (sent,) = run(page).get("vega_lite_chart")
    counted = marks.count(marks.as_sent(sent.proto))
    opened = visit(f"?{urlencode(chosen)}", wait_for=f"{view.lower()}_")
    opened.wait_for_function(f"() => ({DRAWN})() >= {counted}", timeout=30_000)
    assert opened.evaluate(DRAWN) == counted
