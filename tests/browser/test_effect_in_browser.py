"""Effect in Chromium: the bars, the sweep by its button, and a click on a head."""

import re

import pytest
from transformers import AutoTokenizer

import attnviz
from attnviz import effect
from attnviz.models import bundled
from tests.browser.test_links_in_browser import choose, query_of, write
from tests.support.browsing import rest
from tests.support.saying import saying
from tests.support.serving import serving

pytestmark = pytest.mark.browser
TEXT = "time flies like an arrow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    saying("gpt2").save_pretrained(folder)
    AutoTokenizer.from_pretrained(bundled.folder()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def speaking(folder, tmp_path_factory):
    """A page that offers a small model which says something."""
    with serving(tmp_path_factory.mktemp("speaking"), ATTNVIZ_MODELS=str(folder)) as server:
        yield server.address


def test_the_button_switches_off_every_head_and_a_click_opens_one(visit, speaking, folder):
    page = visit("?view=Effect&layer=0&head=0", height=1500, at=speaking)
    loaded = attnviz.load(str(folder))
    found = effect.without(*loaded, TEXT, [(0, 0)])
    bars = page.locator("[class*='st-key-effect_bars'] .marks [aria-label]")
    labels = bars.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    first = found.both.iloc[0]
    assert f"{first['token']}, with the head: {first['before']:.1%}" in labels
    assert f"{first['token']}, without it: {first['after']:.1%}" in labels
    page.get_by_role("button", name="Switch off every head in turn").click()
    page.get_by_text("Heads that push").first.wait_for(timeout=60_000)
    rest(page)
    assert "all_heads=true" in page.url
    table = effect.sweep(*loaded, TEXT)
    row = table.loc[table["change"].idxmin()]
    place = f"self, layer {int(row['layer'])}, head {int(row['head'])}"
    mark = page.locator(f"[class*='st-key-effect_'] .marks [aria-label^='{place}:']")
    mark.click()
    page.get_by_text(
        re.compile(f"Layer {int(row['layer'])}, head {int(row['head'])}$")
    ).first.wait_for(timeout=20_000)
    rest(page)
    assert page.get_by_text(f"Without layer {int(row['layer'])}, head {int(row['head'])},").count()


def test_what_is_asked_of_a_model_is_there_in_a_fresh_browser(visit, speaking, folder):
    second = effect.prediction(*attnviz.load(str(folder)), TEXT, position=3)["token"][1]
    acts = {
        "position": choose("position", "3 like"),
        "token": choose("token", second),
        "patch": write("patch", "time flew like an arrow"),
    }
    page = visit("?view=Effect&layer=0&head=0", at=speaking)
    for parameter, act in acts.items():
        act(page)
        page.wait_for_url(re.compile(rf"[?&]{parameter}="), timeout=15_000)
        rest(page)
    again = visit(query_of(page), at=speaking)
    rest(again)
    words, words_again = (one.locator(".st-key-words_effect").inner_text() for one in (page, again))
    assert words == words_again
    assert "time flew like an arrow" in words
    assert f"{second} " in words
