"""Neurons, Heads and Model in a real Chromium: what the pointer, a click and the keys do."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import attnviz
from tests.support.browsing import address, rest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def trace():
    return attnviz.trace(*attnviz.load(), "time flies like an arrow")


def chart(page, view):
    return page.locator(f"[class*='st-key-{view}_'] svg.marks")


def labels(page, view, pattern):
    """The labels of all marks that match, as those who cannot see them have them read out."""
    found = (
        chart(page, view)
        .locator("[aria-label]")
        .evaluate_all("marks => marks.map(mark => mark.getAttribute('aria-label'))")
    )
    return [label for label in found if re.fullmatch(pattern, label)]


def wait_until(page, view, pattern, n):
    """Until so many marks have a label that matches."""
    page.wait_for_function(
        """([view, pattern, n]) => {
            const marks = document.querySelectorAll(
                `[class*='st-key-${view}_'] svg.marks [aria-label]`)
            const labels = [...marks].map(mark => mark.getAttribute('aria-label'))
            return labels.filter(label => new RegExp(`^${pattern}$`).test(label)).length === n
        }""",
        arg=[view, pattern, n],
        timeout=30_000,
    )


def mark(page, view, label):
    return chart(page, view).locator(f"[aria-label='{label}']").first


def middle(page, view, label):
    box = mark(page, view, label).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def remember(page, view):
    """Mark the drawing, so that another one in its place is noticed."""
    chart(page, view).evaluate("drawing => drawing.dataset.remembered = 'yes'")


def is_the_same(page, view):
    return chart(page, view).evaluate("drawing => drawing.dataset.remembered === 'yes'")


def wait_for_weights(page, view, weights):
    """Until the numbers beside the keys are these."""
    page.wait_for_function(
        """([view, expected]) => {
            const texts = document.querySelectorAll(`[class*='st-key-${view}_'] svg.marks text`)
            const numbers = [...texts].map(t => t.textContent).filter(t => /^0\\.\\d{3}$/.test(t))
            return expected.every((text, place) => numbers[place] === text)
        }""",
        arg=[view, [f"{weight:.3f}" for weight in weights]],
        timeout=30_000,
    )


# Neurons


def test_a_hovered_query_stays_on_the_way_to_another_column(visit, trace):
    sent = []
    page = visit("?view=Neurons", on_sent=lambda frame: sent.append(frame))
    weights = trace.head(5, 11).weights
    wait_for_weights(page, "neurons", weights[2])
    n_before = len(sent)
    x, y = middle(page, "neurons", "query token an")
    page.mouse.move(x, y)
    wait_for_weights(page, "neurons", weights[4])
    right = chart(page, "neurons").bounding_box()
    page.mouse.move(right["x"] + right["width"] - 60, y, steps=12)
    rest(page)
    wait_for_weights(page, "neurons", weights[4])
    page.mouse.move(5, 5)
    wait_for_weights(page, "neurons", weights[2])
    assert len(sent) == n_before


def test_a_hovered_key_shows_who_attends_to_it(visit, trace):
    page = visit("?view=Neurons")
    page.mouse.move(*middle(page, "neurons", "key token time"))
    wait_until(page, "neurons", r".* to time: .*", 7 + 1)  # lines, and the bar of flies
    weights = trace.head(5, 11).weights[:, 1]
    texts = chart(page, "neurons").locator("text").all_text_contents()
    assert {f"{weight:.3f}" for weight in weights} <= set(texts)


def test_a_click_is_marked_at_once_reported_and_brought_back_by_the_link(visit, trace):
    page = visit("?view=Neurons")
    remember(page, "neurons")
    page.mouse.click(*middle(page, "neurons", "query token arrow"))
    page.mouse.click(*middle(page, "neurons", "key token time"))
    address(page, r"query=5\+arrow.*key=1\+time|key=1\+time.*query=5\+arrow")
    page.get_by_text("arrow gives time").first.wait_for()
    page.mouse.move(5, 5)
    weights = trace.head(5, 11).weights[5]
    wait_for_weights(page, "neurons", weights)
    assert is_the_same(page, "neurons")
    page.reload()
    rest(page)
    chart(page, "neurons").wait_for(timeout=30_000)
    wait_for_weights(page, "neurons", weights)


def test_a_clicked_key_keeps_who_attends_to_it(visit, trace):
    page = visit("?view=Neurons")
    remember(page, "neurons")
    page.mouse.click(*middle(page, "neurons", "key token time"))
    address(page, "asked=true")
    page.mouse.move(5, 5)
    texts = {f"{weight:.3f}" for weight in trace.head(5, 11).weights[:, 1]}
    rest(page)
    assert texts <= set(chart(page, "neurons").locator("text").all_text_contents())
    assert is_the_same(page, "neurons")
    page.reload()
    rest(page)
    chart(page, "neurons").get_by_text("who attends").wait_for(timeout=30_000)
    page.mouse.click(*middle(page, "neurons", "query token an"))
    page.mouse.move(5, 5)
    chart(page, "neurons").get_by_text("weights", exact=True).wait_for()
    page.wait_for_url(lambda url: "asked=" not in url, timeout=15_000)


def test_a_click_survives_another_view(visit, trace):
    page = visit("?view=Neurons")
    page.mouse.click(*middle(page, "neurons", "query token arrow"))
    address(page, r"query=5\+arrow")
    page.get_by_role("tab", name="Heads").click()
    chart(page, "heads").wait_for()
    page.get_by_role("tab", name="Neurons").click()
    chart(page, "neurons").wait_for()
    wait_for_weights(page, "neurons", trace.head(5, 11).weights[5])


def test_a_locked_token_stays_locked_in_another_head(visit, trace):
    page = visit("?view=Neurons")
    page.mouse.click(*middle(page, "neurons", "query token arrow"))
    address(page, r"query=5\+arrow")
    page.mouse.move(5, 5)
    page.locator(".st-key-head_previous button").first.click()
    page.get_by_text("Layer 5, head 10", exact=True).wait_for()
    wait_for_weights(page, "neurons", trace.head(5, 10).weights[5])


def test_the_keyboard_moves_the_selection(visit, trace):
    page = visit("?view=Neurons")
    control = page.locator(".st-key-query input")
    control.focus()
    page.keyboard.type("4 an")
    page.keyboard.press("Enter")
    address(page, r"query=4\+an")
    wait_for_weights(page, "neurons", trace.head(5, 11).weights[4])
    expect(control).to_have_value("4 an")


def test_dimensions_are_collapsed_and_sorted_by_visible_switches(visit):
    page = visit("?view=Neurons")
    cells = chart(page, "neurons").locator(".q_marks path")
    expect(cells).to_have_count(7 * 32)
    page.get_by_text("Sort by share of q · k").click()
    page.locator("[class*='st-key-dimension_shares'] svg.marks").wait_for()
    address(page, "sorted=true")
    page.get_by_text("Dimensions", exact=True).click()
    expect(cells).to_have_count(0, timeout=30_000)
    wait_until(page, "neurons", r".* to .*: .*", 7 * 7 + 7)  # all lines, and the query's bars
    address(page, "dimensions=false")


def test_the_cell_under_the_pointer_says_its_exact_value(visit, trace):
    page = visit("?view=Neurons")
    box = chart(page, "neurons").locator(".product_marks path").nth(3 * 32 + 7).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y - 1)
    rest(page)
    page.mouse.move(x, y)
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.get_by_text("like").wait_for()
    head = trace.head(5, 11)
    value = float(tooltip.inner_text().split()[-1].replace("−", "-"))
    assert value == pytest.approx(float(head.q[2, 7]) * float(head.k[3, 7]), rel=1e-6)


# Heads


def test_a_head_is_switched_and_isolated_in_the_browser_and_the_link_keeps_it(visit):
    page = visit("?view=Heads&layer=2")
    remember(page, "heads")
    assert len(labels(page, "heads", r"head \d+, on")) == 12
    page.mouse.click(*middle(page, "heads", "head 3, on"))
    wait_until(page, "heads", r"head 3, .* to .*", 0)
    address(page, r"heads=")
    page.mouse.dblclick(*middle(page, "heads", "head 5, on"))
    wait_until(page, "heads", r"head \d+, on", 1)
    assert labels(page, "heads", r"head \d+, on") == ["head 5, on"]
    page.get_by_text("Heads (1 of 12)").wait_for()
    assert is_the_same(page, "heads")
    page.reload()
    rest(page)
    chart(page, "heads").wait_for(timeout=30_000)
    wait_until(page, "heads", r"head \d+, on", 1)
    assert labels(page, "heads", r"head \d+, on") == ["head 5, on"]


def test_a_second_double_click_brings_the_other_heads_back(visit):
    page = visit("?view=Heads")
    page.mouse.dblclick(*middle(page, "heads", "head 7, on"))
    wait_until(page, "heads", r"head \d+, on", 1)
    page.mouse.dblclick(*middle(page, "heads", "head 7, on"))
    wait_until(page, "heads", r"head \d+, on", 12)


def test_either_side_answers_the_pointer(visit, trace):
    page = visit("?view=Heads&layer=2")
    own = trace.layer(2).own_weights
    page.mouse.move(*middle(page, "heads", "query token flies"))
    wait_until(page, "heads", r"head \d+, flies to .*", 2 * 12 * 7)  # lines and stripes
    shown = labels(page, "heads", r"head 11, flies to time: .*")
    assert np.float32(shown[0].split(": ")[1]) == own[11, 2, 1]
    page.mouse.move(*middle(page, "heads", "key token time"))
    wait_until(page, "heads", r"head \d+, .* to time: .*", 2 * 12 * 7)
    wait_until(page, "heads", r"head \d+, .* to flies: .*", 0)


def test_a_clicked_token_keeps_its_lines_and_a_second_click_frees_them(visit):
    page = visit("?view=Heads&layer=2")
    wait_until(page, "heads", r"head \d+, flies to .*", 2 * 12 * 7)
    page.mouse.click(*middle(page, "heads", "query token arrow"))
    address(page, r"query=5\+arrow")
    page.mouse.move(5, 5)
    wait_until(page, "heads", r"head \d+, arrow to .*", 2 * 12 * 7)
    page.reload()
    rest(page)
    chart(page, "heads").wait_for(timeout=30_000)
    wait_until(page, "heads", r"head \d+, arrow to .*", 2 * 12 * 7)
    page.mouse.click(*middle(page, "heads", "query token arrow"))
    page.mouse.move(5, 5)
    page.wait_for_url(lambda url: "lines=of+all+tokens" in url, timeout=15_000)


def test_tokens_are_locked_one_after_another_and_heads_stay_off(visit):
    page = visit("?view=Heads&layer=2&lines=query")
    for name, place in (("arrow", 5), ("flies", 2), ("arrow", 5)):
        page.mouse.click(*middle(page, "heads", f"query token {name}"))
        if name == "arrow":
            address(page, rf"query={place}\+{name}")
        page.mouse.move(5, 5)
        wait_until(page, "heads", rf"head \d+, {name} to .*", 2 * 12 * 7)
    page.mouse.click(*middle(page, "heads", "head 3, on"))
    wait_until(page, "heads", r"head \d+, arrow to .*", 2 * 11 * 7)
    address(page, "heads=")
    page.get_by_text("Heads (11 of 12)").wait_for()
    wait_until(page, "heads", r"head \d+, arrow to .*", 2 * 11 * 7)


def test_a_click_on_the_followed_token_is_heard_at_once_after_one_on_a_head(visit):
    page = visit("?view=Heads&layer=2&query=5+arrow")
    page.mouse.click(*middle(page, "heads", "head 3, on"))
    address(page, "heads=")
    page.mouse.click(*middle(page, "heads", "query token arrow"))
    address(page, "lines=of\\+all\\+tokens")
    page.get_by_text("Heads (11 of 12)").wait_for()


# Model


def test_a_click_on_a_thumbnail_opens_that_head_everywhere(visit):
    page = visit("?view=Model")
    remember(page, "model")
    page.mouse.click(*middle(page, "model", "layer 3, head 7"))
    page.get_by_text("Layer 3, head 7", exact=True).wait_for()
    address(page, r"layer=3.*head=7|head=7.*layer=3")
    assert is_the_same(page, "model")
    page.get_by_role("tab", name="Neurons").click()
    chart(page, "neurons").wait_for()
    page.get_by_text("Layer 3, head 7", exact=True).wait_for()


def test_thumbnails_are_sorted_by_what_is_chosen(visit, trace):
    page = visit("?view=Model&by_measure=true")
    shown = labels(page, "model", r"entropy .*")
    numbers = [float(label.removeprefix("entropy ")) for label in shown]
    assert numbers == sorted(numbers, reverse=True)
    table = attnviz.heads.measures(trace).sort_values("entropy", ascending=False)
    first = table.iloc[0]
    tiles = labels(page, "model", r"layer \d+, head \d+")
    assert tiles[0] == f"layer {first['layer']}, head {first['head']}"


# Filters


@pytest.mark.parametrize(
    ("view", "name"), [("Neurons", "neurons"), ("Heads", "heads"), ("Model", "model")]
)
def test_filters_are_one_popover_and_in_the_address(visit, view, name):
    page = visit(f"?view={view}")
    page.locator(".st-key-filters button").first.click()
    page.get_by_text("Hide special tokens").click()
    address(page, "hide_special=true")
    page.keyboard.press("Escape")
    page.get_by_text("special tokens hidden").first.wait_for()
    page.get_by_text("Filters (1)").wait_for()
    if name != "model":
        wait_until(page, name, r"query token .*", 5)
    page.reload()
    rest(page)
    chart(page, name).wait_for(timeout=30_000)
    page.get_by_text("special tokens hidden").first.wait_for()
