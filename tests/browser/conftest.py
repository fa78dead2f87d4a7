"""A running page, and a Chromium to visit it with."""

import os

import pytest
from playwright.sync_api import sync_playwright

from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.serving import serving


@pytest.fixture(scope="session")
def chromium():
    if not CHROMIUM.exists():
        if os.environ.get("ATTNVIZ_REQUIRE_BROWSER"):
            pytest.fail(f"there is no Chromium at {CHROMIUM}, and the browser tests are required")
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Where the page runs: a server of its own, without network."""
    with serving(tmp_path_factory.mktemp("page")) as server:
        yield server.address


@pytest.fixture
def visit(chromium, address):
    """Open the page at a link, in a browser window of its own, and wait for its pictures."""
    contexts, errors = [], []

    def open_page(
        query,
        *,
        width=1280,
        height=900,
        scheme="light",
        wait_for="matrix_updated",
        on_request=None,
        on_sent=None,
        on_dialog=None,
        at=None,
    ):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if _is_error(said) else None)
        if on_request:
            page.on("request", on_request)
        if on_sent:
            page.on("websocket", lambda ws: ws.on("framesent", lambda frame: on_sent(frame)))
        if on_dialog:
            page.on("dialog", lambda dialog: (on_dialog(dialog.message), dialog.dismiss()))
        page.goto((at or address) + query)
        if wait_for:
            page.locator(f"[class*='st-key-{wait_for}'] .marks").wait_for(timeout=45_000)
        page.wait_for_timeout(500)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def open_document(chromium, tmp_path):
    """Open a document as a file, offline; it may ask for nothing but itself, and never fail."""
    contexts, asked, failed = [], [], []
    file = tmp_path / "document.html"

    def open_it(document, width=1280):
        file.write_text(document, encoding="utf-8")
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.set_offline(True)
        context.on("request", lambda request: asked.append(request.url))
        context.on("console", lambda line: failed.append(line.text) if line.type == "error" else 0)
        context.on("weberror", lambda error: failed.append(str(error.error)))
        context.on("dialog", lambda dialog: (failed.append(dialog.message), dialog.dismiss()))
        page = context.new_page()
        page.goto(file.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert set(asked) == {file.as_uri()}
    assert failed == []


def _is_error(message):
    """What the page itself calls an error; a missing GPU or a file that is not served is none."""
    return message.type == "error" and "ERROR" in message.text
