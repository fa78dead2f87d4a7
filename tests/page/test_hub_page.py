"""What the page shows of a Hub's models, whatever the Hub does; in a process of its own."""

import re

import pytest

from attnviz.text.phrases import size
from tests.hub_faults import CASES, LOADED, hub_with_cases, model_of
from tests.support.hub_page import Page

BEFORE_IT_IS_OFFERED = {  # the page has asked, and offers no download
    *("bad token", "gated", "gone", "disabled", "busy for an hour", "rate limit", "500", "stalled"),
    *("not a Hub", "pickled", "no config"),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What one visitor saw of each model, one after the other."""
    home = tmp_path_factory.mktemp("home")
    models = {title: model_of(title) for title in CASES}
    with (
        hub_with_cases(tmp_path_factory.mktemp("models")) as hub,
        Page(hub.address, home, models.values(), HF_TOKEN="hf_notTheRealOne") as page,
    ):
        seen = {title: page.open(model) for title, model in models.items()}
        seen["paths"] = [str(home), hub.address, "hf_notTheRealOne"]
        return seen


@pytest.mark.parametrize("title", CASES)
def test_the_page_says_one_sentence_or_shows_the_model(seen, title):
    one = seen[title]
    assert one["exceptions"] == []
    if CASES[title].says == LOADED:
        assert one["said"] == ""
        assert one["charts"] >= 10
    else:
        assert re.fullmatch(CASES[title].says, one["said"])
        assert one["hint"].startswith("**What to do:** ")
        assert one["charts"] == 0


@pytest.mark.parametrize("title", CASES)
def test_a_size_is_offered_before_anything_is_downloaded(seen, title):
    offered = seen[title]["offered"]
    assert (offered is None) == (title in BEFORE_IT_IS_OFFERED)
    if title == "cut off once":
        assert offered == f"Download {size(36e6)}"


@pytest.mark.parametrize("title", CASES)
def test_afterwards_the_page_works_and_keeps_what_was_typed(seen, title):
    assert seen[title]["back"] >= 10
    assert seen[title]["text"] == "kept whatever happens"


def test_no_token_and_no_address_is_shown(seen):
    for title in CASES:
        for secret in seen["paths"]:
            assert secret not in seen[title]["said"] + seen[title]["hint"]
