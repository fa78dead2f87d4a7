"""What the page shows of a Hub's models; all that a Hub can do: tests/models/test_hub.py."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from attnviz.page.service import downloading, loading
from attnviz.text.phrases import size
from tests.hub_faults import CASES, hub_with_cases, model_of
from tests.support.hub_page import offered, visit
from tests.support.hub_processes import hub_at, hurrying
from tests.support.places import PAGE

TOKEN = "hf_notTheRealOneButAsLongAsThose"
TEXT = "kept whatever happens"
REFUSED = ("gated", "wrong checksum", "own code")  # when it asks, when it downloads, when it loads
SHOWN = ("cut off once", "nothing wrong")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What one visitor saw of each model, one after the other."""
    home = tmp_path_factory.mktemp("home")
    cases = {title: CASES[title] for title in (*REFUSED, *SHOWN)}
    with (
        pytest.MonkeyPatch.context() as patch,
        hub_with_cases(tmp_path_factory.mktemp("models"), cases) as hub,
        hub_at(hub.address, home, TOKEN),
        hurrying(),
    ):
        patch.setenv(*offered(*map(model_of, cases)))
        page = AppTest.from_file(str(PAGE), default_timeout=60).run()
        page.text_area(key="text").set_value(TEXT).run()
        seen = {title: visit(page, model_of(title)) for title in cases}
        seen["secrets"] = [str(home), hub.address, TOKEN]
    loading.model.cache_clear()
    loading.trace.cache_clear()
    downloading._downloads.clear()
    return seen


@pytest.mark.parametrize("title", REFUSED)
def test_the_page_says_one_sentence_and_what_to_do(seen, title):
    one = seen[title]
    assert re.fullmatch(CASES[title].says, one["said"])
    assert one["hint"].startswith("**What to do:** ")
    assert one["charts"] == 0
    for secret in seen["secrets"]:
        assert secret not in one["said"] + one["hint"]


@pytest.mark.parametrize("title", SHOWN)
def test_the_page_shows_a_model_that_has_come(seen, title):
    assert seen[title]["said"] == ""
    assert seen[title]["charts"] >= 2


def test_a_size_is_offered_before_anything_is_downloaded(seen):
    offered = {title: seen[title]["offered"] for title in (*REFUSED, *SHOWN)}
    assert offered.pop("gated") is None
    assert offered.pop("cut off once") == f"Download {size(36e6)}"
    assert set(offered.values()) == {f"Download {size(5e6)}"}


@pytest.mark.parametrize("title", [*REFUSED, *SHOWN])
def test_afterwards_the_page_works_and_keeps_what_was_typed(seen, title):
    assert seen[title]["exceptions"] == []
    assert seen[title]["back"] >= 2
    assert seen[title]["text"] == TEXT
