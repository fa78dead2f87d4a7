"""Steps in a real Chromium: what a click on the strip does, and that each step is seen whole."""

from urllib.parse import urlencode

import pytest

import attnviz
from attnviz.charts.overview_layout import (
    CHIP_HEIGHT,
    MATRIX_HEIGHT,
    SENTENCE_HEIGHT,
    TITLES_HEIGHT,
    TOTAL,
    chips_of,
    panels_of,
)
from attnviz.text.phrases import percent
from tests.support.browsing import address, rest

pytestmark = pytest.mark.browser

TEXTS = {
    7: "time flies like an arrow",
    14: "the animal did not cross the street because it was too tired",
    20: "the quick brown fox jumps over the lazy dog and runs far away into the very dark forest",
}
BEATS = ("embeddings", "project", "score", "scale", "softmax", "update", "output")


@pytest.fixture(scope="module")
def head():
    return attnviz.trace(*attnviz.load(), TEXTS[7]).head(5, 11)


def click(page, x, y):
    """In the strip, at a place in the units of its layout."""
    box = page.locator("[class*='st-key-overview_'] .marks").bounding_box()
    page.mouse.click(box["x"] + x * box["width"] / TOTAL, box["y"] + y)


def click_token(page, head, position):
    chips = chips_of(head, 2, 5)
    place = chips.positions.index(position)
    click(page, (chips.left[place] + chips.right[place]) / 2, CHIP_HEIGHT / 2)


def click_matrix(page, head, name):
    panel = next(panel for panel in panels_of(head) if panel.step.name == name)
    middle = SENTENCE_HEIGHT + TITLES_HEIGHT + MATRIX_HEIGHT / 2
    click(page, (panel.left + panel.right) / 2, middle)


def opens(page, beat):
    page.locator(f".st-key-step_{beat}").wait_for()
    rest(page)


def test_a_click_on_a_token_of_the_strip_makes_it_the_query(visit, head):
    page = visit("")
    click_token(page, head, 4)
    address(page, r"query=4\+an")
    page.get_by_text("an gives arrow").first.wait_for()
    click_token(page, head, 1)
    address(page, r"query=1\+time")
    click_token(page, head, 4)
    address(page, r"query=4\+an")


def test_a_click_on_a_matrix_of_the_strip_opens_its_step_each_time(visit, head):
    page = visit("")
    click_matrix(page, head, "k")
    opens(page, "project")
    page.locator(".st-key-step_right button").click()
    opens(page, "score")
    click_matrix(page, head, "k")
    opens(page, "project")
    click_matrix(page, head, "output")
    opens(page, "output")
    address(page, "step=output")


def test_keys_and_buttons_go_on_from_the_step_of_a_link(visit):
    page = visit("?step=embeddings")
    page.locator(".st-key-step_right button").click()
    opens(page, "project")
    page.keyboard.press("ArrowRight")
    opens(page, "score")
    page.keyboard.press("ArrowLeft")
    opens(page, "project")


BOTTOM = "all => Math.max(...all.map(one => one.getBoundingClientRect().bottom))"


@pytest.mark.parametrize("n_tokens", TEXTS)
def test_each_step_is_seen_whole_on_a_screen_of_a_laptop(visit, n_tokens):
    query = urlencode({"text": TEXTS[n_tokens], "layer": 5, "head": 11, "step": BEATS[0]})
    page = visit(f"?{query}", height=720)
    for beat in BEATS:
        if beat != BEATS[0]:
            page.locator(".st-key-step_right button").click()
            opens(page, beat)
        # Behind the question of the scale step there is more, to be scrolled to.
        parts = "[data-testid=stColumn]" if beat == "scale" else ""
        assert page.locator(f".st-key-step_{beat} {parts}").evaluate_all(BOTTOM) <= 720, beat


@pytest.mark.parametrize(
    ("step", "opens", "shows"),
    [
        ("scale", ".st-key-why_scale summary", "Without scaling, large scores"),
        ("softmax", ".st-key-what_if summary", "Nothing is changed yet"),
        ("softmax", ".st-key-to_what_if_mask button", "Nothing is changed yet"),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_what_opens_below_the_fold_is_scrolled_to(visit, step, opens, shows, width, height):
    page = visit(f"?step={step}", width=width, height=height)
    assert page.get_by_text(shows).count() == 0
    page.locator(opens).click()
    rest(page)
    key = "why_scale" if step == "scale" else "what_if"
    page.wait_for_function(
        """([key, covered, shows]) => {
            const place = document.querySelector(`.st-key-${key}`).getBoundingClientRect()
            const words = [...document.querySelectorAll('p')].find(p =>
                p.textContent.includes(shows)).getBoundingClientRect()
            return place.top >= covered && place.top < 400 && words.top < innerHeight
        }""",
        arg=[key, 200 if width > 800 else 50, shows],
        timeout=5_000,
    )


def test_each_array_of_a_projection_is_chosen_above_its_picture(visit, head):
    page = visit("?step=project", height=720)
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        page.locator(".st-key-array_1").get_by_text(name, exact=True).click()
        rest(page)
        drawn = page.locator("[class*='st-key-matrix_'] .marks")
        assert drawn.count() == 2
        assert page.locator(f"[class*='st-key-matrix_w_{letter}'] .marks").count() == 1
        assert page.locator(".st-key-step_project").evaluate_all(BOTTOM) <= 720


@pytest.mark.parametrize(
    "shown",
    [
        *({"step": beat} for beat in BEATS),
        *({"view": view} for view in ("Neurons", "Heads", "Model", "Find", "Compare")),
    ],
    ids=lambda shown: next(iter(shown.values())),
)
def test_each_view_is_seen_whole_in_a_slide(visit, shown):
    query = urlencode({"text": TEXTS[14], "layer": 5, "head": 11, "embed": "true"} | shown)
    page = visit(f"?{query}", width=960, height=540)
    assert page.locator(".marks:visible").count()
    assert page.locator(".st-key-embed_line").inner_text().endswith("layer 5, head 11")
    assert smallest_letters(page) > 10.9
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollHeight") <= 540


# px on the screen, of all letters of charts that are drawn as letters; a crossed-out cell has none.
LETTERS = """all => Math.min(...all.filter(one => /[^╲]/.test(one.textContent)).map(one => {
    const {a, b} = one.getScreenCTM()
    return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(a, b)
}))"""


def smallest_letters(page):
    return page.locator(".marks:visible text").evaluate_all(LETTERS)


@pytest.mark.parametrize("beat", BEATS)
def test_a_back_row_can_read_the_letters_of_a_talk(visit, beat):
    query = urlencode({"text": TEXTS[14], "layer": 5, "head": 11, "talk": beat})
    assert smallest_letters(visit(f"?{query}", height=720)) > 15.9


def test_a_slide_says_what_its_pair_shows(visit, head):
    page = visit("?embed=true&step=scale", width=960, height=540)
    assert page.locator(".st-key-embed_line").inner_text() == (
        f"flies gives arrow {percent(head.weights[2, 5])} of its attention · all-MiniLM-L6-v2, "
        "layer 5, head 11"
    )


def test_a_slide_of_an_example_leaves_its_hint_out(visit):
    example = "layer=5&head=2&query=2&key=1"
    assert "Resolve an ambiguity" in visit(f"?{example}").get_by_test_id("stAlert").inner_text()
    page = visit(f"?embed=true&{example}", width=960, height=540)
    assert page.get_by_test_id("stAlert").count() == 0


def test_a_slide_says_what_it_cannot_show(visit):
    page = visit("?embed=true&query=99", width=960, height=540)
    assert page.locator("[data-testid=stAlert]", has_text="“99”").is_visible()
    assert page.locator(".marks:visible").count() == 2


def test_what_moves_a_talk_is_seen_when_the_pointer_moves_and_goes_again(visit):
    page = visit("?talk=softmax", height=720)
    bar, line = (page.locator(f".st-key-talk_{part}") for part in ("bar", "line"))
    words = ["Previous", "Next", "Leave", "Esc", "5 of 7"]
    assert [word for word in words if word in bar.inner_text()] == words
    assert "Page" not in bar.inner_text()
    assert bar.bounding_box()["y"] <= line.bounding_box()["y"]  # the one covers the other

    def has_opacity(expected):
        page.wait_for_function(
            "expected => getComputedStyle(document.querySelector('.st-key-talk_bar')).opacity"
            " === expected",
            arg=expected,
            timeout=10_000,
        )

    has_opacity("0")
    page.mouse.move(300, 300)
    page.mouse.move(320, 310)
    has_opacity("1")
    has_opacity("0")
