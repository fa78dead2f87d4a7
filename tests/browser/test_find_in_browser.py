"""Find and Compare in Chromium: every click and every brush, and where they lead."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.browsing import rest

pytestmark = pytest.mark.browser


def asked(page):
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


def wait_for(page, **parameters):
    """Until the address says so."""
    for name, value in parameters.items():
        page.wait_for_url(re.compile(rf"[?&]{name}={value}(&|$)"), timeout=20_000)
    rest(page)


def chart(page, name):
    return page.locator(f"[class*='st-key-{name}_'] .marks").first


def marks(page, name, said):
    """The marks of a chart whose labels begin so."""
    return chart(page, name).locator(f"[aria-label^='{said}']")


def test_a_click_on_the_head_that_links_two_tokens_opens_it_in_every_view(visit):
    page = visit("?view=Find&query=2+flies&key=5+arrow&layer=0&head=8", height=1300)
    page.get_by_text(": 0.581").wait_for()
    marks(page, "find", "self, layer 5, head 11").click()
    page.get_by_text("It is the selected head").wait_for()
    page.get_by_role("tab", name="Neurons").click()
    page.get_by_text("Layer 5, head 11", exact=True).wait_for()


def test_the_list_of_the_strongest_opens_heads_too(visit):
    page = visit("?view=Find&query=2+flies&key=5+arrow&layer=0&head=8", height=1300)
    table = page.get_by_test_id("stDataFrame").locator("canvas").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 35 + 17)  # the box of its first row
    page.get_by_text("It is the selected head").wait_for()


def test_the_same_two_tokens_are_found_in_more_texts(visit):
    page = visit("?view=Find&query=2+flies&key=5+arrow&layer=0&head=8", height=1300)
    page.locator(".st-key-more_texts button").click()
    field = page.locator(".st-key-texts textarea")
    field.fill("fruit flies like an arrow\nno such words\nan arrow flies")
    field.press("Control+Enter")
    page.get_by_text("3 of 4 texts are counted").wait_for(timeout=30_000)
    page.keyboard.press("Escape")
    rest(page)
    assert marks(page, "find", "self, layer 5").count() == 12
    assert len(asked(page)["texts"][0].splitlines()) == 3


def test_an_area_of_the_scatter_shows_its_heads_and_is_in_the_link(visit):
    page = visit("?view=Find&find_by=what+heads+do", height=1500)
    box = chart(page, "find").bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 115)
    page.mouse.down()
    page.mouse.move(box["x"] + 330, box["y"] + 320, steps=8)
    page.mouse.up()
    page.wait_for_url(re.compile(r"[?&]area="), timeout=20_000)
    found = page.get_by_text(re.compile(r"^\d+ heads? in that area"))
    found.wait_for(timeout=20_000)
    rest(page)
    n_heads = int(found.inner_text().split()[0])
    thumbnails = marks(page, "find_brushed", "layer ")
    assert thumbnails.count() == min(n_heads, 48) > 0
    again = visit(f"?{urlsplit(page.url).query}", height=1500)
    assert again.get_by_text(re.compile(rf"^{n_heads} heads? in that area")).is_visible()
    assert asked(again) == asked(page)


def test_a_click_on_a_point_of_the_scatter_opens_its_head(visit):
    page = visit("?view=Find&find_by=what+heads+do&x=entropy&y=share+on+itself", height=1500)
    point = chart(page, "find").locator("path[aria-label*='layer 3, head 7']").first
    point.click()
    wait_for(page, layer=3, head=7)


def test_a_click_on_a_cell_is_marked_in_both_heads_and_in_their_difference(visit):
    page = visit("?view=Compare&layer=5&head=2", height=1300)
    page.get_by_text("0.694").first.wait_for()
    cells = marks(page, "compare", "like, time")
    assert cells.count() > 0
    cells.first.click()
    wait_for(page, query=r"3\+like", key=r"1\+time")


def test_the_largest_difference_is_a_click_away(visit):
    page = visit("?view=Compare&layer=5&head=2&query=3+like", height=1300)
    page.get_by_role("button", name="Select the largest difference").click()
    wait_for(page, key="1\\+time")
    page.get_by_text(re.compile("From flies to time / fruit A gives 0.694 and B 0.047")).wait_for()
