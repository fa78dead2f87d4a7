"""How long the page takes to draw: when it opens, under the pointer, another head, another view.

    python -m tests.benchmarks.pages
    python -m tests.benchmarks.pages --sizes 7,128 --views Steps,Neurons --rounds 3
    python -m tests.benchmarks.pages --scripts folder

Run it where the repository lies, with what tests/requirements.txt installs and Chromium. BertViz
is compared where it is installed too (`pip install bertviz==1.4.1`) and `--scripts` names the
folder with the scripts of its page, as hover.py says. All of it takes a quarter of an hour.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.benchmarks import hover
from tests.benchmarks.sizes import SIZES, at, model_for, served
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.views import BY_MEASURES, choices
from tests.benchmarks.watching import PATIENCE, drawn, opened, said, watched
from tests.support.chromium import CHROMIUM, FLAGS

N_ROUNDS, N_OPENED, N_HOVERED = 5, 2, 8
FIXED = ("tests.benchmarks.fixed_charts",)
DRAWING = ".marks"
NEXT_HEAD = ".st-key-head_next button >> nth=0"


# The chart of each view that is pointed at, and the marks: what their labels begin with.
VIEWS = {
    "Steps": ("matrix_weights", ""),  # its cells
    "Neurons": ("neurons_", "query token "),
    "Heads": ("heads_", "query token "),
    "Model": ("model_", "layer "),  # a thumbnail is called by its layer and head
    "Find": ("find_", "self, layer "),  # a cell by its kind of attention too
    BY_MEASURES: ("find_", "layer "),
    "Compare": ("compare_", ""),
}

# Of BertViz's neuron view: a token, and the list of heads.
ITS_TOKEN, ITS_HEADS = "#collapsed #leftText text", "#att_head"

# Brings a drawing to the top of the window; where in the window its marks can be pointed at. Cells
# are in the middle of a drawing of matrices. On a canvas query tokens are the leftmost column of
# texts.
PLACES = """(drawing, label) => {
    drawing.scrollIntoView({block: "start", behavior: "instant"})
    const {left, top, width, height} = drawing.getBoundingClientRect()
    const seen = Math.min(height, innerHeight - top)
    const middle = box => [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
    const places = () => {
        if (!label)
            return [...Array(64).keys()].map(n =>
                [left + width * 0.55, top + seen * (0.42 + 0.005 * n)])
        if (!drawing.getContext)
            return [...drawing.querySelectorAll(`[aria-label^="${label}"]`)]
                .map(mark => middle(mark.getBoundingClientRect()))
        const scale = width / drawing.width
        const tokens = [...watch.written.get(drawing)]
            .filter(([text, {align}]) => align === "right" && /^(\\d+ )?\\S+$/.test(text))
            .map(([_, {x, y}]) => [left + scale * x, top + scale * y])
        const column = ([x]) => tokens.filter(token => Math.abs(token[0] - x) < 1)
        const columns = tokens.map(column).filter(column => column.length >= 5)
        const [leftmost] = columns.sort(([a], [b]) => a[0] - b[0])
        return leftmost.map(([x, y]) => [x - 6, y - 4])
    }
    return places().filter(([x, y]) => y > top && y < top + seen)
}"""

# Whether a drawing or what is said of its marks is another one than the last time.
IS_NEW = """drawing => {
    const before = window.pictured
    const tooltip = document.querySelector("#vg-tooltip-element")
    window.pictured = [tooltip?.className, tooltip?.textContent,
        drawing.toDataURL ? drawing.toDataURL() : drawing.outerHTML].join()
    return window.pictured !== before
}"""

COLUMNS = [
    *("tokens", "view", "opened", "hover"),
    *("another head", "fixed charts", "ratio"),
    *("another view", "fixed charts", "ratio"),
]
OF_BERTVIZ = ["tokens", "opened", "hover", "another head", "bytes"]

NOTE = f"""Milliseconds, medians: of {N_OPENED} visits, {N_HOVERED} hovers, and {{n_rounds}} changes
of head and of view, each after one that is not counted. Opened: from the navigation of a Chromium
with nothing in its cache until everything is drawn, from a server that has shown the same before.
The other times begin with the time stamp of the pointer's event and end with the frame after the
last change on the screen. Hover: a cell of the weights until its tooltip is there, a query token in
Neurons and Heads, a thumbnail in Model, a head in Find, a cell in Compare. Another head: the button
“Next head”. Another view: a click on the view's tab, from the one before it; by measures, from
Model. Fixed charts: the same clicks, in turns with ours, on the same page whose charts stay as they
were when they were first shown, which is what Streamlit needs. Compare has another text that is as
long. Texts of more than 512 tokens are read by a random model with the shape of the bundled one."""

NOTE_OF_BERTVIZ = f"""The same of BertViz's neuron view, as the file that it makes of the same text
and weights, with the scripts of its page at hand; its head is changed by its own list. Bytes are
those of the file. Where making it or a step takes more than {PATIENCE:.0f} seconds or
{hover.MOST_MEMORY / 1e9:.0f} GB, there is no number."""


@dataclass
class Attempts:
    """What could not be measured, and why."""

    failures: list[str]

    def __call__(self, what: str, measure: Callable[..., Any], *given: Any) -> Any:
        """What is measured; None, and a failure to be told, where it cannot be."""
        try:
            return measure(*given)
        except Error as error:
            self.fail(f"{what}: {said(error)}.")
            return None

    def fail(self, failure: str) -> None:
        self.failures.append(failure)
        print(failure, file=sys.stderr, flush=True)


def tables(
    scripts: Path | None = None,
    sizes: Sequence[int] = SIZES,
    views: Sequence[str] = tuple(VIEWS),
    n_rounds: int = N_ROUNDS,
) -> list[Table]:
    rows: list[list[Cell]] = []
    of_bertviz: list[list[Cell]] = []
    attempt = Attempts([])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for n_tokens in sizes:
            with model_for(n_tokens) as model:
                rows += rows_of(attempt, browser, n_tokens, model, views, n_rounds)
                of_bertviz.append(row_of_bertviz(attempt, browser, n_tokens, model, scripts))
        browser.close()
    note = " ".join([NOTE.format(n_rounds=n_rounds), *attempt.failures])
    return [
        Table("How long the page takes to draw", COLUMNS, rows, note),
        Table("How long BertViz's neuron view takes", OF_BERTVIZ, of_bertviz, NOTE_OF_BERTVIZ),
    ]


# Our page


def rows_of(
    attempt: Attempts,
    browser: Browser,
    n_tokens: int,
    model: Path | None,
    views: Sequence[str],
    n_rounds: int,
) -> list[list[Cell]]:
    """A row for each view of a text of so many tokens."""
    with served(n_tokens, model) as ours, served(n_tokens, model, FIXED) as fixed:
        links = {
            view: [at(to, **choices(view, n_tokens), head=0) for to in (ours, fixed)]
            for view in VIEWS
        }
        changed: dict[str, list[float]] = {}
        for tour in tours_of(views):
            what = f"Another view, {n_tokens} tokens"
            link = links[tour[-1]]
            changed = (attempt(what, views_changed, browser, link, tour, n_rounds) or {}) | changed
        rows: list[list[Cell]] = []
        for view in views:
            what = f"{view}, {n_tokens} tokens"
            link = links[view][0]
            first = attempt(f"{what}, opened", first_picture, browser, link)
            hovered = attempt(f"{what}, hover", hovers, browser, link, view)
            headed = attempt(f"{what}, another head", heads_changed, browser, links[view], n_rounds)
            row = [n_tokens, view, whole(first), whole(hovered)]
            rows.append([*row, *compared(headed), *compared(changed.get(view))])
    return rows


def tours_of(views: Sequence[str]) -> list[list[str]]:
    """Views in the order in which they are opened; in one tour Find finds in one way."""
    tours = []
    if others := [view for view in views if view != BY_MEASURES]:
        tours.append(list(dict.fromkeys([*others, *VIEWS]))[: max(2, len(others))])
    if BY_MEASURES in views:
        tours.append(["Model", BY_MEASURES])
    return tours


def first_picture(browser: Browser, link: str, first: str = DRAWING) -> float:
    def once() -> float:
        with watched(browser) as page:
            return opened(page, link, first)

    return median_of(once, N_OPENED)


def hovers(browser: Browser, link: str, view: str) -> float:
    chart, label = VIEWS[view]
    with watched(browser) as page:
        opened(page, link, DRAWING)
        drawing = page.locator(f"[class*='st-key-{chart}'] {DRAWING}").first
        places = spread(drawing.evaluate(PLACES, label), 1 + N_HOVERED)

        def once() -> float:
            page.mouse.move(*places.pop())
            ms = drawn(page)
            if not drawing.evaluate(IS_NEW):
                raise Error("the same is drawn for another place")
            return ms

        return median_of(once, N_HOVERED)


def spread(places: list[Any], n: int) -> list[Any]:
    """So many of them, each far from the one before."""
    return [places[round(0.382 * number * len(places)) % len(places)] for number in range(n)]


def heads_changed(browser: Browser, links: Sequence[str], n_rounds: int) -> list[float]:
    """The ms at each of the links, clicked in turns."""

    def next_head(page: Page) -> float:
        page.mouse.down()
        page.mouse.up()
        return drawn(page)

    with all_opened(browser, links) as pages:
        for page in pages:
            page.locator(NEXT_HEAD).hover()
        return in_turns([partial(next_head, page) for page in pages], n_rounds)


def views_changed(
    browser: Browser, links: Sequence[str], tour: Sequence[str], n_rounds: int
) -> dict[str, list[float]]:
    """The ms at each of the links until each view of a tour is drawn, which ends where it began."""

    def open_tab(page: Page, view: str) -> float:
        page.get_by_role("tab", name="Find" if view == BY_MEASURES else view).click()
        return drawn(page)

    with all_opened(browser, links) as pages:
        clicks = [partial(open_tab, page, view) for view in tour for page in pages]
        medians = iter(in_turns(clicks, n_rounds))
        return {view: [next(medians) for _ in pages] for view in tour}


@contextmanager
def all_opened(browser: Browser, links: Sequence[str]) -> Iterator[list[Page]]:
    with ExitStack() as stack:
        pages = [stack.enter_context(watched(browser)) for _ in links]
        for page, link in zip(pages, links, strict=True):
            opened(page, link, DRAWING)
        yield pages


# BertViz's


def row_of_bertviz(
    attempt: Attempts, browser: Browser, n_tokens: int, model: Path | None, scripts: Path | None
) -> list[Cell]:
    nothing = [n_tokens, *(None for _ in OF_BERTVIZ[1:])]
    if scripts is None or find_spec("bertviz") is None:
        return nothing
    what = f"BertViz, {n_tokens} tokens"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bertviz.html"
        if not hover.bertviz_file(file, "neuron_view", n_tokens, model, PATIENCE):
            attempt.fail(f"{what}: its page could not be made within these limits.")
            return nothing
        first = attempt(f"{what}, opened", its_first_picture, browser, file, scripts)
        if first is None:
            return [*nothing[:-1], file.stat().st_size]
        hovered = attempt(f"{what}, hover", its_hovers, browser, file, scripts, n_tokens)
        headed = attempt(f"{what}, another head", its_heads_changed, browser, file, scripts)
        times = [whole(ms) for ms in (first, hovered, headed)]
        return [n_tokens, *times, file.stat().st_size]


def its_first_picture(browser: Browser, file: Path, scripts: Path) -> float:
    def once() -> float:
        with watched(browser) as page:
            hover.give_scripts(page, scripts)
            return opened(page, file.as_uri(), ITS_TOKEN)

    return median_of(once, N_OPENED)


def its_hovers(browser: Browser, file: Path, scripts: Path, n_tokens: int) -> float:
    queries = hover.queries_hovered(n_tokens)
    with watched(browser) as page:
        places = hover.open_bertviz(page, file, scripts)
        numbers = iter([*queries, *queries])
        return median_of(lambda: hover.hover(page, places, next(numbers)), len(queries))


def its_heads_changed(browser: Browser, file: Path, scripts: Path) -> float:
    with watched(browser) as page:
        hover.open_bertviz(page, file, scripts)
        heads = page.locator(ITS_HEADS)
        heads.select_option("0")
        heads.focus()

        def next_head() -> float:
            page.keyboard.press("ArrowDown")
            return drawn(page)

        return median_of(next_head, N_ROUNDS)


# Numbers


def median_of(measure: Callable[[], float], n: int) -> float:
    """Of so many, after one that is not counted, or of those for which there is patience."""
    measure()
    end = time.monotonic() + PATIENCE
    measured = [measure()]
    while len(measured) < n and time.monotonic() < end:
        measured.append(measure())
    return statistics.median(measured)


def in_turns(calls: Sequence[Callable[[], float]], n_rounds: int) -> list[float]:
    """The median of what each returns; a round calls each once, the first is not counted."""
    rounds = [[call() for call in calls] for _ in range(1 + n_rounds)]
    return [statistics.median(measured) for measured in zip(*rounds[1:], strict=True)]


def whole(ms: float | None) -> int | None:
    return None if ms is None else round(ms)


def compared(measured: Sequence[float] | None) -> list[Cell]:
    """Ours, that with fixed charts, and their ratio."""
    if measured is None:
        return [None, None, None]
    ours, fixed = measured
    return [round(ours), round(fixed), ours / fixed]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="tokens, with commas")
    parser.add_argument("--views", default=",".join(VIEWS), help="separated by commas")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS, help="of clicks, at most 10")
    parser.add_argument("--scripts", type=Path, help="folder with the scripts of BertViz's page")
    asked = parser.parse_args()
    sizes = [int(n_tokens) for n_tokens in asked.sizes.split(",")]
    for table in tables(asked.scripts, sizes, asked.views.split(","), asked.rounds):
        print(table.markdown())


if __name__ == "__main__":
    main()
