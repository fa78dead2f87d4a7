"""A running page, and a Chromium to visit it with."""

import os

import pytest
from playwright.sync_api import sync_playwright

from tests.support.browsing import WATCH, rest
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


@pytest.fixture(scope="session")
def windows(chromium):
    """Browser windows that were opened and left: to read Streamlit's scripts again takes longest.

    Each has its own context, from which everything but what was read of the server is cleared.
    """
    free = []
    yield free
    for page in free:
        page.context.close()


@pytest.fixture
def visit(chromium, windows, address):
    """Open the page at a link, in a browser window of its own, and wait until it is at rest."""
    opened, errors = [], []

    def open_page(
        query,
        *,
        width=1280,
        height=900,
        scheme="light",
        rests=True,
        on_request=None,
        on_sent=None,
        on_dialog=None,
        at=None,
    ):
        page = windows.pop() if windows else _new_window(chromium)
        listeners = {
            "pageerror": lambda error: errors.append(str(error)),
            "console": lambda said: errors.append(said.text) if _is_error(said) else None,
        }
        if on_request:
            listeners["request"] = on_request
        if on_sent:
            listeners["websocket"] = lambda ws: ws.on("framesent", lambda frame: on_sent(frame))
        if on_dialog:
            listeners["dialog"] = lambda dialog: (on_dialog(dialog.message), dialog.dismiss())
        for event, listener in listeners.items():
            page.on(event, listener)
        opened.append((page, listeners))
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.goto((at or address) + query)
        if rests:
            rest(page)
        return page

    yield open_page
    for page, listeners in opened:
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.context.clear_cookies()
        page.mouse.move(0, 0)
        page.goto("about:blank")
        # Chromium keeps 50 entries at most: after them no test could count one more.
        page.context.new_cdp_session(page).send("Page.resetNavigationHistory")
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        windows.append(page)
    assert errors == []


def _new_window(chromium):
    context = chromium.new_context()
    context.add_init_script(WATCH)
    return context.new_page()


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
