"""A model that is not here yet: its size, its way here, and everybody who waits for it."""

import re

import pytest

from attnviz.models.bundled import BUNDLED
from tests.support.hub_processes import Hub, loading_from
from tests.support.serving import serving
from tests.support.tiny_models import save_tiny

pytestmark = pytest.mark.browser

MODEL = "someone/larger"
SPEED = 1_000_000  # bytes a second; its 36 MB take 36


@pytest.fixture
def hub(tmp_path):
    root = tmp_path / "models"
    save_tiny(root / MODEL, hidden_size=256)
    with Hub(root) as hub:
        hub.control(MODEL, bytes_per_second=SPEED)
        yield hub


def at(hub, tmp_path):
    offered = {"ATTNVIZ_MODELS": f"{BUNDLED},{MODEL}"}
    return serving(tmp_path, **loading_from(hub.address, tmp_path / "home", 1) | offered)


def progress(page):
    """The bytes that have come, as the bar says: (MB so far, MB in all, what else it says)."""
    line = page.get_by_test_id("stProgress").inner_text()
    so_far, unit, in_all, rest = re.fullmatch(
        r"(\d+)\s(kB|MB) of (\d+)\sMB(?:; (.*))?", line
    ).groups()
    return int(so_far) / (1000 if unit == "kB" else 1), int(in_all), rest or ""


def model_list(page):
    return page.locator(".st-key-model input")


def weights_sent(hub):
    return [
        r for r in hub.requests(MODEL) if r["path"].startswith("/storage/") and r["method"] == "GET"
    ]


def test_a_download_is_seen_shared_and_left(visit, hub, tmp_path):
    with at(hub, tmp_path) as server:
        first = visit("", at=server.address)
        model_list(first).click()
        first.get_by_role("option", name="larger ↓").click()
        first.get_by_text("It is downloaded from the Hugging Face Hub once").wait_for()
        assert not weights_sent(hub)
        first.get_by_role("button", name="Download 36 MB").click()
        first.get_by_test_id("stProgress").wait_for()

        # A second visitor meets the same download.
        second = visit(f"?model={MODEL}", at=server.address, wait_for=None)
        second.get_by_test_id("stProgress").wait_for()
        moments = []
        for _ in range(6):
            moments.append(progress(second))
            second.wait_for_timeout(700)
        bytes_seen = [so_far for so_far, _, _ in moments]
        assert bytes_seen == sorted(bytes_seen)
        assert len(set(bytes_seen)) >= 4, bytes_seen
        assert {in_all for _, in_all, _ in moments} == {36}
        assert any(re.fullmatch(r"\d+ seconds? left", rest) for _, _, rest in moments), moments

        # The first one leaves it and works on.
        model_list(first).click()
        first.get_by_role("option", name="all-MiniLM-L6-v2").click()
        first.locator("[class*='st-key-matrix_updated'] .marks").wait_for(timeout=20_000)
        assert second.get_by_test_id("stProgress").count() == 1

        # It comes for the second all the same, and was sent once.
        second.locator("[class*='st-key-matrix_updated'] .marks").wait_for(timeout=60_000)
        assert second.get_by_text("On this machine, no download.").count() == 1
        assert second.url.endswith("?model=larger")
        assert len(weights_sent(hub)) == 1

        # From now on no Hub is needed.
        hub.process.kill()
        third = visit("?model=larger+↓&layer=1&head=2", at=server.address)
        assert third.get_by_role("heading", name="Layer 1, head 2").count() == 1
        assert third.get_by_test_id("stAlert").count() == 0
        model_list(third).click()
        assert third.get_by_role("option", name="larger", exact=True).count() == 1


def test_a_failed_download_can_be_tried_again(visit, hub, tmp_path):
    hub.control(MODEL, fault="wrong checksum", bytes_per_second=10**9)
    with at(hub, tmp_path) as server:
        page = visit(f"?model={MODEL}", at=server.address, wait_for=None)
        page.get_by_role("button", name="Download 36 MB").click()
        page.get_by_text("arrived damaged").wait_for(timeout=30_000)
        hub.control(MODEL, fault=None)
        page.get_by_role("button", name="Try again").click()
        page.get_by_role("button", name="Download 35 MB").click()  # the rest of it is here
        page.locator("[class*='st-key-matrix_updated'] .marks").wait_for(timeout=60_000)
