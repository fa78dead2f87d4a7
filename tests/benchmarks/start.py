"""How long the page takes to open, beside what it has to import and load.

    python -m tests.benchmarks.start

Run it where the repository lies, with what tests/requirements.txt installs and Chromium. It takes
three minutes, and more on a machine that does something else as well.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from attnviz.models import bundled
from tests.benchmarks.table import Table
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.places import ROOT
from tests.support.serving import serving
from tests.support.visitors import Shown, run, visiting

N_ROUNDS = 5
PATIENCE = 120_000  # milliseconds
WINDOW = {"width": 1280, "height": 720}

BARE = """
import streamlit, torch, altair
from transformers import AutoModel, AutoTokenizer

options = dict(local_files_only=True)
AutoModel.from_pretrained({folder!r}, attn_implementation="eager", dtype=torch.float32, **options)
AutoTokenizer.from_pretrained({folder!r}, **options)
print("ready", flush=True)
"""

FRAME = "[data-testid=stSidebar] h1"
FIRST_PICTURE = "[class*=st-key-overview] .marks"
# All elements have come once the last one is there; then every chart has its drawing.
EVERY_PICTURE = """() =>
    document.body.innerText.includes("Glossary and sources")
    && [...document.querySelectorAll("[data-testid=stVegaLiteChart]")]
        .every(chart => chart.querySelector("svg.marks, canvas.marks"))
"""

IMPORTED = "bare: the libraries imported, the weights loaded"
ANSWERS, SENT = "the server answers", "everything sent, no browser"
OPENED = ("the frame seen", "the first picture seen", "every picture seen")
OPENED_AGAIN = tuple(f"again: {what}" for what in OPENED)
SENT_AGAIN = f"again: {SENT}"
OF_ANY_PAGE = "again: the picture of a page with one chart seen"
ANY_PAGE, ITS_PICTURE = "tests/benchmarks/one_chart_page.py", ".marks"

NOTE = f"""Medians of {N_ROUNDS} rounds, each in fresh processes. Bare is a Python process that
imports streamlit, torch, altair and transformers' AutoModel and AutoTokenizer and loads the bundled
model and its tokenizer, from its start until it has. The other times begin with the start of
`streamlit run streamlit_app.py`, those of “again” when the next visitor of the same server asks for
the page. A Chromium that is already running, with nothing in its cache, opens the page as soon as
the server answers; a picture is seen when it is drawn. Without a browser the same is asked of a
server of its own. The page with one chart has a sidebar, and nothing else."""


def tables() -> list[Table]:
    times: dict[str, list[float]] = defaultdict(list)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for number in range(1 + N_ROUNDS):
            taken = one_round(browser)
            if number > 0:  # in the first, files come from the disk
                for what, seconds in taken.items():
                    times[what].append(seconds)
        browser.close()
    medians = {what: statistics.median(seconds) for what, seconds in times.items()}
    rows = [[what, seconds, seconds / medians[IMPORTED]] for what, seconds in medians.items()]
    again = medians[OPENED_AGAIN[1]] / medians[OF_ANY_PAGE]
    note = f"{NOTE} Its next visitor sees a first picture in {again:.2f} times the time of that."
    return [Table("How the page opens", ["until", "seconds", "of bare"], rows, note)]


def one_round(browser: Browser) -> dict[str, float]:
    """Seconds until each of these."""
    taken = {IMPORTED: bare()}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with serving(Path(folder)) as server:
            taken[ANSWERS] = time.perf_counter() - start
            taken |= zip(OPENED, seen(browser, server.address, start), strict=True)
        start = time.perf_counter()
        with serving(Path(folder)) as server:
            visit(server.address)
            taken[SENT] = time.perf_counter() - start
            taken[SENT_AGAIN] = visit(server.address).seconds
            again = seen(browser, server.address, time.perf_counter())
            taken |= zip(OPENED_AGAIN, again, strict=True)
        with serving(Path(folder), script=ANY_PAGE) as server:
            visit(server.address)
            taken[OF_ANY_PAGE] = first_seen(browser, server.address)
    return taken


def bare() -> float:
    start = time.perf_counter()
    code = BARE.format(folder=str(bundled.folder()))
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return time.perf_counter() - start


def seen(browser: Browser, address: str, start: float) -> tuple[float, float, float]:
    """When a visitor sees the frame, a first picture and all of them."""
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address, wait_until="commit")
    page.locator(FRAME).wait_for()
    frame = time.perf_counter()
    page.locator(FIRST_PICTURE).first.wait_for()
    first = time.perf_counter()
    page.wait_for_function(EVERY_PICTURE, polling="raf")
    every = time.perf_counter()
    context.close()
    return frame - start, first - start, every - start


def first_seen(browser: Browser, address: str) -> float:
    """When a visitor of another page sees its picture."""
    start = time.perf_counter()
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.locator(ITS_PICTURE).first.wait_for()
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def visit(address: str) -> Shown:
    """What a visitor without a browser is sent."""

    async def visiting_once() -> Shown:
        async with visiting(address) as (_, shown):
            assert not shown.errors
            return shown

    return run(visiting_once())


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
