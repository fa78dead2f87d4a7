"""A model that is not here yet: its size, its way here, and everybody who waits for it."""

import re

import pytest

from attnviz.models.bundled import BUNDLED
from tests.support.hub import Hub
from tests.support.hub_processes import loading_from
from tests.support.serving import serving
from tests.support.tiny_models import save_tiny
from tests.support.visitors import run, visiting

pytestmark = pytest.mark.browser

MODEL, DAMAGED = "someone/larger", "someone/damaged"  # 36 MB each
SLOWLY = 10**6  # bytes a second


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for model in (MODEL, DAMAGED):
        save_tiny(root / model, hidden_size=256)
    with Hub(root) as hub:
        yield hub


@pytest.fixture(scope="module")
def page_of_hub(tmp_path_factory, hub):
    """The page, offering that Hub's models; somebody was there before, for whom torch came."""
    home = tmp_path_factory.mktemp("home")
    offered = {"ATTNVIZ_MODELS": f"{BUNDLED},{MODEL},{DAMAGED}"}
    with serving(home, **loading_from(hub.address, home), **offered) as server:
        run(come_and_go(server.address))
        yield server.address


async def come_and_go(address):
    async with visiting(address) as (_, shown):
        assert shown.errors == []


def progress(page):
    """The bytes that have come, as the bar says: MB so far, MB in all."""
    line = page.get_by_test_id("stProgress").inner_text()
    so_far, unit, in_all = re.match(r"(\d+)\s(kB|MB) of (\d+)\sMB", line).groups()
    return int(so_far) / (1000 if unit == "kB" else 1), int(in_all)


def model_list(page):
    return page.locator(".st-key-model input")


def wait_until_shown(page):
    """Until the model is there and drawn, however busy the machine is."""
    page.locator("[class*='st-key-matrix_weights'] .marks").wait_for(timeout=120_000)


def moments(page, n):
    """The bar's next so many lines, each another than the one before it."""
    seen = []
    for _ in range(n):
        seen.append(progress(page))
        page.wait_for_function(
            "before => document.querySelector('[data-testid=stProgress]').innerText !== before",
            arg=page.get_by_test_id("stProgress").inner_text(),
        )
    return seen


def test_a_download_is_seen_shared_and_left(visit, hub, page_of_hub):
    hub.control(MODEL, bytes_per_second=SLOWLY)
    first = visit("", at=page_of_hub)
    model_list(first).click()
    first.get_by_role("option", name="larger ↓").click()
    first.get_by_text("It is downloaded from the Hugging Face Hub once").wait_for()
    assert hub.weights_asked_for(MODEL) == []
    first.get_by_role("button", name="Download 36 MB").click()
    first.get_by_test_id("stProgress").wait_for()

    # A second visitor meets the same download.
    second = visit(f"?model={MODEL}", at=page_of_hub, rests=False)
    second.get_by_test_id("stProgress").wait_for()
    so_far, in_all = zip(*moments(second, 4), strict=True)
    assert list(so_far) == sorted(so_far)
    assert set(in_all) == {36}
    left = re.compile(r"MB; \d+ seconds? left$")
    second.get_by_test_id("stProgress").filter(has_text=left).wait_for()

    # The first one leaves it and works on.
    model_list(first).click()
    first.get_by_role("option", name="all-MiniLM-L6-v2").click()
    wait_until_shown(first)
    assert second.get_by_test_id("stProgress").count() == 1

    # It comes for the second all the same, and was sent once.
    hub.control(MODEL, bytes_per_second=None)
    wait_until_shown(second)
    assert second.get_by_text("On this machine, no download.").count() == 1
    assert second.url.endswith("?model=larger")
    assert hub.weights_asked_for(MODEL) == [None]

    # From now on nothing is asked of the Hub.
    asked = hub.requests(MODEL)
    third = visit("?model=larger+↓&layer=1&head=2", at=page_of_hub)
    assert third.get_by_role("heading", name="Layer 1, head 2").count() == 1
    assert third.get_by_test_id("stAlert").count() == 0
    model_list(third).click()
    assert third.get_by_role("option", name="larger", exact=True).count() == 1
    assert hub.requests(MODEL) == asked


def test_a_failed_download_can_be_tried_again(visit, hub, page_of_hub):
    hub.control(DAMAGED, fault="wrong checksum")
    page = visit(f"?model={DAMAGED}", at=page_of_hub)
    page.get_by_role("button", name="Download 36 MB").click()
    page.get_by_text("arrived damaged").wait_for()
    hub.control(DAMAGED, fault=None)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Download 35 MB").click()  # the rest of it is here
    wait_until_shown(page)
