"""The timeline, what-if and the talk in a real Chromium, by mouse and by keyboard."""

import numpy as np
import pytest

import attnviz
from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import headline, sentence
from attnviz.attention.what_if import what_if
from attnviz.page import compat
from attnviz.page.beats import BEATS
from attnviz.page.controls.examples import EXAMPLES, MINILM
from attnviz.text.phrases import plain
from tests.support.browsing import address, cell, chart, rest, texts, wait_for_texts

pytestmark = pytest.mark.browser

NOT_HERE = ("rotate", "soft-cap", "bias", "mask")  # what the bundled model does not do
OWN_BEATS = [beat for beat in BEATS.values() if beat not in NOT_HERE]


@pytest.fixture(scope="module")
def head():
    return attnviz.trace(*attnviz.load(), "time flies like an arrow").head(5, 11)


def read(page, key):
    """The numbers printed in a chart."""
    return [text.replace("−", "-") for text in texts(page, key)]


def frames(page, key):
    """The boxes of the frames in a chart: of the row, of the column, or of both."""
    return page.evaluate(
        """key => [...document.querySelectorAll(`[class*='st-key-${key}'] svg.marks path`)]
            .filter(path => path.getAttribute('stroke-width') === '2')
            .map(path => path.getBoundingClientRect().toJSON())""",
        key,
    )


def test_a_click_on_a_cell_follows_its_pair_through_every_step(visit, head):
    page = visit("?all_steps=true", height=5000)
    page.mouse.click(*cell(page, "matrix_scores", 4, 1, 7))
    address(page, r"query=4\+an")
    address(page, r"key=1\+time")
    for step in head.steps:
        if step.name == "masked":  # where nothing is hidden it has no part of its own
            continue
        words = plain(sentence(head, step, 4, 1)).split(". ")[0]
        page.get_by_text(words, exact=False).first.wait_for(timeout=15_000)
        worked_out = arithmetic(head, step, 4, 1)
        if worked_out:
            last = plain(worked_out).split("\n\n")[-1]
            page.get_by_text(last, exact=False).first.wait_for()
    for name in ("scores", "scaled", "weights"):
        row, column = frames(page, f"matrix_{name}")
        x, y = cell(page, f"matrix_{name}", 4, 1, 7)
        assert row["top"] < y < row["bottom"]
        assert column["left"] < x < column["right"]
        assert row["width"] > row["height"]
        assert column["height"] > column["width"]


def test_columns_turn_the_weights_round(visit, head):
    page = visit("")
    page.locator(".st-key-steps_options button").click()
    page.locator(".st-key-columns label").click()
    address(page, "columns=true")
    rest(page)
    assert page.get_by_text("Every column sums to 1", exact=False).count() == 1
    printed = [text for text in read(page, "matrix_weights") if text[:2] in ("0.", "1.")]
    expected = [f"{weight:.3f}" for weight in head.weights.T.ravel()]
    assert [text for text in printed if len(text) == 5] == expected
    page.reload()
    rest(page)
    page.get_by_text("Every column sums to 1", exact=False).wait_for(timeout=30_000)


def test_what_if_shows_before_after_and_difference_and_is_part_of_the_link(visit, head):
    page = visit("", height=3000)
    page.get_by_text("What if?", exact=True).click()
    page.get_by_text("Nothing is changed yet", exact=False).wait_for()
    page.get_by_text("Scaling off", exact=True).click()
    address(page, "if_unscaled=true")
    unscaled = what_if(head, scaling=1)
    expected = {f"{weight:.3f}" for h in (head, unscaled) for weight in h.weights[2]}
    wait_for_texts(page, "what_if_weights", expected | {"before", "after", "after − before"})
    own = {f"{weight:.3f}" for weight in head.weights.ravel()}
    wait_for_texts(page, "matrix_weights", own)  # the baseline stays
    page.reload()
    rest(page)
    wait_for_texts(page, "what_if_weights", expected)


def test_why_scale_opens_and_shows_both_softmaxes(visit, head):
    page = visit("?step=scale", height=3000)
    page.get_by_text("Why scale?", exact=True).click()
    address(page, "why_scale=true")
    unscaled = what_if(head, scaling=1)
    expected = {f"{weight:.3f}" for h in (head, unscaled) for weight in h.weights[2]}
    wait_for_texts(page, "why_scale_weights", expected)
    wait_for_texts(page, "why_scale_curve", {"this head: 1/√32", "no scaling: 1"})


# Talk


def shows(page, beat):
    number = {name: number for number, name in BEATS.items()}[beat]
    page.get_by_role("heading", name=headline(number)).wait_for(timeout=15_000)
    address(page, f"talk={beat}")


def test_a_talk_is_given_by_keyboard_alone(visit):
    page = visit("?layer=1&query=3&key=2&step=project")
    page.get_by_role("button", name="Present").click()
    beats = OWN_BEATS
    shows(page, "project")
    page.wait_for_function(
        "document.querySelector('[data-testid=stSidebar]').getBoundingClientRect().right <= 0"
    )
    for key, beat in [
        *(("ArrowRight", beat) for beat in beats[2:4]),
        *(("PageDown", beat) for beat in beats[4:]),
        ("PageUp", "update"),
        ("ArrowLeft", "softmax"),
    ]:
        page.keyboard.press(key)
        shows(page, beat)
    address(page, r"layer=1.*query=3\+like.*key=2\+flies")
    page.reload()
    rest(page)
    shows(page, "softmax")
    rest(page)
    page.keyboard.press("Escape")
    chart(page, "matrix_weights").wait_for(timeout=30_000)
    page.wait_for_url(lambda url: "talk" not in url)
    page.get_by_text("Layer 1, head 11", exact=True).wait_for()
    page.get_by_role("tab", name="Neurons").click()
    chart(page, "neurons").wait_for()
    assert "talk" not in page.url


@pytest.mark.parametrize("query", ["", "&text=" + "+".join(["time flies like an arrow"] * 6)])
def test_every_beat_fits_a_projector_and_works_embedded(visit, query):
    page = visit(f"?talk=embeddings&embed=true{query}", height=720)
    for beat, before in zip(OWN_BEATS, ["", *OWN_BEATS], strict=False):
        if before:
            page.keyboard.press("ArrowRight")
            shows(page, beat)
            rest(page)
        assert page.locator(".st-key-talk_step .marks").count()
        assert page.locator(".st-key-talk_step").bounding_box()["y"] >= 0
        bottom = page.evaluate(
            "document.querySelector('.st-key-talk_step').getBoundingClientRect().bottom"
        )
        assert bottom <= page.locator(".st-key-talk_line").bounding_box()["y"], beat


# Examples


def test_an_example_opens_and_its_menu_closes(visit):
    page = visit("", height=1200)
    example = next(e for e in EXAMPLES if "sink" in e.title)
    page.get_by_role("button", name="Examples").click()
    page.get_by_role("button", name=example.title).click()
    page.get_by_text("Layer 2, head 7", exact=True).wait_for(timeout=30_000)
    page.get_by_text("tiny: step 4 shows", exact=False).wait_for()
    address(page, "layer=2")
    page.get_by_role("button", name=example.title).wait_for(state="hidden")
    page.reload()
    rest(page)
    page.get_by_text("tiny: step 4 shows", exact=False).wait_for(timeout=30_000)


def test_each_action_is_one_entry_of_the_history_and_every_example_survives_a_reload(visit):
    page = visit("", height=1200)

    def adds_an_entry(act):
        before, n = page.url, page.evaluate("history.length")
        act()
        rest(page)
        after, title = page.url, page.title()
        assert page.evaluate("history.length") == n + 1
        page.go_back()
        rest(page)
        assert page.url == before
        page.go_forward()
        rest(page)
        assert (page.url, page.title()) == (after, title)

    # The first is how the page opens: what follows comes back to it from another.
    first, *others = (one for one in EXAMPLES if one.model == MINILM)
    for example in (others[0], first, *others[1:]):

        def open_it(example=example):
            page.get_by_role("button", name="Examples").click()
            page.get_by_role("button", name=example.title, exact=True).click()

        adds_an_entry(open_it)
        view = example.also.get("view", "Steps")
        title = f"{view} · layer {example.layer}, head {example.head} · attnviz"
        assert page.title() == title
        url = page.url
        page.reload()
        rest(page)
        assert (page.url, page.title()) == (url, title)
        note = page.locator("[data-testid=stAlert]", has_text=example.title)
        assert note.is_visible() == bool(example.see)
        assert page.get_by_text("There is no").count() == 0
    adds_an_entry(lambda: page.locator(".st-key-head_next button").first.click())
    adds_an_entry(lambda: page.get_by_role("tab", name="Neurons").click())


# Every screen


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_page_never_scrolls_sideways_and_nothing_is_wider_than_its_place(visit, width):
    for query in ("?what_if=true", "?view=Neurons"):
        page = visit(query, width=width)
        inner, outer = page.evaluate(
            "(m => [m.scrollWidth, m.clientWidth])(document.querySelector('[data-testid=stMain]'))"
        )
        assert inner <= outer + 1
        if width < 1280:  # where a wide figure scrolls in its place
            wide = page.locator(f"{compat.keyed_like('neurons_', 'heads_')} {compat.CHART}")
            assert all(
                box >= 760 for box in wide.evaluate_all("all => all.map(c => c.offsetWidth)")
            )
            assert wide.count() == ("Neurons" in query)
            continue
        main = page.get_by_test_id("stMainBlockContainer").bounding_box()
        boxes = page.evaluate(
            "[...document.querySelectorAll('svg.marks')].map(s => {"
            "const b = s.getBoundingClientRect(); return [b.left, b.right]})"
        )
        assert boxes
        for left, right in boxes:
            assert left >= main["x"] - 1
            assert right <= main["x"] + main["width"] + 1


def test_the_bands_of_an_update_are_drawn_for_each_key(visit, head):
    page = visit("?step=update")
    shown = texts(page, "shares")
    norms = head.weights[2] * np.linalg.norm(head.v, axis=1)
    order = np.argsort(-norms)
    names = [text.removeprefix("▸ ") for text in shown]
    places = [names.index(head.key_tokens[key]) for key in order]
    assert places == sorted(places)
    for weight in head.weights[2]:
        assert f"{weight:.3f}" in shown
