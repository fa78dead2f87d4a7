"""How long a hover takes in the neuron view alone, in attnviz and in BertViz, in one Chromium.

    python -m tests.benchmarks.hover
    python -m tests.benchmarks.hover --sizes 7,32 --scripts folder

Run it where the repository lies, with what tests/requirements.txt installs and Chromium. BertViz is
compared where it is installed too (`pip install bertviz==1.4.1`) and `--scripts` names a folder
with the three scripts that its page loads from a CDN: require.min.js (requirejs 2.3.6), d3.min.js
(d3 5.7.0) and jquery.min.js (jquery 2). Otherwise attnviz is measured alone.

Both show the same head of the same model and text: layer 0, head 8 of the bundled model, whose
weights BertViz's own BERT is given. Each view is a page of its own, as large as its text makes
it; BertViz's is expanded. The pointer jumps from one query token to another, the same ones in both.
Before anything is timed, each of these tokens is hovered once, and what is then drawn is
checked: that the view follows the pointer, that each token has a picture of its own, and that
BertViz's numbers are attnviz's.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Error, Page, sync_playwright

import attnviz
from attnviz.charts.parts.window import MAX_TOKENS
from attnviz.export import to_html
from tests.benchmarks.models import of_bertviz
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import text_of
from tests.benchmarks.watching import PATIENCE, drawn, said, watched
from tests.support.chromium import CHROMIUM, FLAGS

SIZES, N_HOVERS = (7, 32, 128, 512), 20
LAYER, HEAD = 0, 8
MOST_MEMORY = 3_000_000_000  # bytes, to make a page of BertViz with
N_VISIBLE = 24  # tokens that both views show without scrolling

COLUMNS = [
    *("tokens", "attnviz", "BertViz", "ratio"),
    *("attnviz, busy", "BertViz, busy", "ratio"),
    *("attnviz, bytes", "BertViz, bytes", "ratio"),
]
NOTE = f"""Milliseconds from the pointer's event to the frame after the last change on the screen,
the median of {N_HOVERS} hovers; busy is what the page's main thread worked in all of them
(TaskDuration of Chromium's Performance domain), divided by their number. Bytes are those of the
page with its scripts. The ratio is BertViz to attnviz. attnviz's neuron view shows a window of at
most {MAX_TOKENS} tokens, so that its longer texts are drawn as {MAX_TOKENS}; BertViz draws all
tokens, and its page holds all layers and heads, attnviz's one."""


@dataclass(frozen=True)
class Measured:
    ms: float | None  # median
    busy: float | None  # ms, mean
    n_bytes: int  # of the page with its scripts


def tables(
    scripts: Path | None = None,
    sizes: Sequence[int] = SIZES,
    n_hovers: int = N_HOVERS,
    patience: float = PATIENCE,
) -> list[Table]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        rows = [compare(browser, n_tokens, n_hovers, scripts, patience) for n_tokens in sizes]
        browser.close()
    return [Table("Hovering in the neuron view alone", COLUMNS, rows, NOTE)]


# In every page: a view fills in `query`, the query token that it shows, and `picture`.
HOVER = "window.hover = {}\n"


# attnviz


# Keeps the view that vegaEmbed makes.
KEEP_VIEW = """
    let embed
    const keep = {
        apply: (embed, self, args) =>
            (hover.embedded = Reflect.apply(embed, self, args).then(({view}) => view))
    }
    Object.defineProperty(window, "vegaEmbed", {
        get: () => embed, set: made => { embed = new Proxy(made, keep) }
    })
"""

# Where the query tokens are: the texts of the leftmost mark that has one for each.
VEGA = """async n => {
    const view = await hover.embedded
    const marks = []
    const visit = (group, x, y) => {
        for (const mark of group.items) {
            if (mark.marktype === "group")
                mark.items.forEach(inner => visit(inner, x + (inner.x || 0), y + (inner.y || 0)))
            else if (mark.marktype === "text" && mark.items.length === n)
                marks.push(mark.items.map(({bounds}) =>
                    [x + (bounds.x1 + bounds.x2) / 2, y + (bounds.y1 + bounds.y2) / 2]))
        }
    }
    const root = view.scenegraph().root.items[0]
    visit(root, root.x || 0, root.y || 0)
    const [left, top] = view.origin()
    const {left: pad, top: padTop} = view.padding()
    const drawn = view.container().querySelector(".marks")
    const box = drawn.getBoundingClientRect()
    hover.query = () => view.signal("selected_query")
    hover.picture = () => drawn.toDataURL
        ? drawn.toDataURL()
        : [...drawn.querySelectorAll("text")].map(text => text.textContent)
    return marks
        .sort((a, b) => a[0][0] - b[0][0])[0]
        .map(([x, y]) => [box.left + pad + left + x, box.top + padTop + top + y])
}"""


def attnviz_page(head: attnviz.HeadTrace) -> str:
    """As the page shows it: SVG up to 2,000 marks, a canvas beyond, expressions interpreted."""
    return to_html(attnviz.neuron_view(head, query=0))


def open_attnviz(page: Page, file: Path, head: attnviz.HeadTrace) -> list[tuple[float, float]]:
    """Opens the page; where its query tokens are."""
    page.add_init_script(HOVER + KEEP_VIEW)
    page.goto(file.as_uri())
    return page.evaluate(VEGA, min(len(head.query_tokens), MAX_TOKENS))


# BertViz


# What its expanded view shows: the marked token, and q · k / √d of every key.
BERTVIZ = """() => {
    const all = what => [...document.querySelectorAll(`#expanded ${what}`)]
    const marked = all("#leftText .highlight")
    hover.query = () => marked.findIndex(token => token.style.opacity == 1)
    hover.picture = () => all("#dotproducts rect").map(product => product.dataset.value)
    return all("#leftText text").map(token => {
        const box = token.getBoundingClientRect()
        return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
    })
}"""


def bertviz_file(file: Path, view: str, n_tokens: int, model: Path | None, patience: float) -> bool:
    """Writes the HTML of one of its views; whether it could, in so many seconds and MOST_MEMORY."""
    making = multiprocessing.get_context("spawn").Process(
        target=_write_bertviz, args=(file, view, n_tokens, model)
    )
    making.start()
    making.join(patience)
    if making.is_alive():
        making.kill()
        making.join()
    return making.exitcode == 0


def _write_bertviz(file: Path, view: str, n_tokens: int, folder: Path | None) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    try:
        model, tokenizer = attnviz.load() if folder is None else attnviz.load(str(folder))
        html = bertviz_page(view, model, tokenizer, text_of(n_tokens))
        file.write_text(html)
    except (MemoryError, RuntimeError):  # torch has an error of its own where memory ends
        sys.exit(1)


def bertviz_page(view: str, model: Any, tokenizer: Any, text: str) -> str:
    """Its neuron_view, head_view or model_view of a text."""
    make = _neuron_view if view == "neuron_view" else partial(_view_of_weights, view)
    page = make(model, tokenizer, text)
    return f"<!DOCTYPE html><meta charset='utf-8'>{page.data}"


def _neuron_view(model: Any, tokenizer: Any, text: str) -> Any:
    """Of the same weights, which its own BERT is given."""
    from bertviz.neuron_view import show

    return show(
        of_bertviz(model),
        "bert",
        tokenizer,
        text,
        display_mode="light",
        layer=LAYER,
        head=HEAD,
        html_action="return",
    )


def _view_of_weights(view: str, model: Any, tokenizer: Any, text: str) -> Any:
    import bertviz

    inputs = tokenizer(text, return_tensors="pt")
    weights = model(**inputs, output_attentions=True).attentions
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    return getattr(bertviz, view)(weights, tokens, html_action="return")


def give_scripts(page: Page, scripts: Path) -> None:
    """Lets a page have its scripts from a folder."""
    page.route(
        "https://**/*", lambda route: route.fulfill(path=scripts / Path(route.request.url).name)
    )


def open_bertviz(page: Page, file: Path, scripts: Path) -> list[tuple[float, float]]:
    """Opens the page and its expanded view, by the plus sign beside a hovered token."""
    page.add_init_script(HOVER)
    give_scripts(page, scripts)
    page.goto(file.as_uri())
    collapsed = page.locator("#collapsed #leftText > g").first
    collapsed.locator("text").hover()
    collapsed.locator("rect").last.click(force=True)
    assert page.locator("#expanded").get_attribute("visibility") == "visible"
    drawn(page)
    return page.evaluate(BERTVIZ)


# Hovering


def check(page: Page, places: list[tuple[float, float]], queries: list[int]) -> list[Any]:
    """Hovers each of the query tokens once, which warms up too; what is drawn for each."""
    pictures = []
    for query in queries:
        hover(page, places, query)
        pictures.append(page.evaluate("hover.picture()"))
    assert len({json.dumps(picture) for picture in pictures}) == len(queries)
    return pictures


def measure(
    page: Page, places: list[tuple[float, float]], queries: list[int], n_hovers: int, n_bytes: int
) -> Measured:
    tasks = page.context.new_cdp_session(page)
    tasks.send("Performance.enable")
    before = _busy_seconds(tasks)
    shown = [hover(page, places, queries[i % len(queries)]) for i in range(n_hovers)]
    busy = _busy_seconds(tasks) - before
    return Measured(statistics.median(shown), 1000 * busy / n_hovers, n_bytes)


def hover(page: Page, places: list[tuple[float, float]], query: int) -> float:
    """Moves the pointer to a query token; the ms until it is drawn."""
    page.mouse.move(*places[query])
    ms = drawn(page)
    shown = page.evaluate("hover.query()")
    assert shown == query, f"query {shown} is shown, {query} is hovered"
    return ms


def _busy_seconds(tasks: Any) -> float:
    metrics = tasks.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def queries_hovered(n_tokens: int) -> list[int]:
    """Ten query tokens, or all of fewer, each far from the one before; all are in the window."""
    last = min(n_tokens, N_VISIBLE) - 1
    n = min(10, last + 1)
    spread = [i * last // (n - 1) for i in range(n)]
    return [*spread[::2], *spread[1::2]]


# The comparison


def compare(
    browser: Browser, n_tokens: int, n_hovers: int, scripts: Path | None, patience: float
) -> list[Cell]:
    """A row of the table."""
    model, tokenizer = attnviz.load()
    text = text_of(n_tokens)
    head = attnviz.trace(model, tokenizer, text).head(LAYER, HEAD)
    assert len(head.query_tokens) == n_tokens
    queries = queries_hovered(n_tokens)
    with tempfile.TemporaryDirectory() as folder, watched(browser, patience) as page:
        file = Path(folder) / "attnviz.html"
        file.write_text(attnviz_page(head))
        places = open_attnviz(page, file, head)
        check(page, places, queries)
        ours = measure(page, places, queries, n_hovers, file.stat().st_size)
    if scripts is None or find_spec("bertviz") is None:
        return row(n_tokens, ours, None)
    with tempfile.TemporaryDirectory() as folder, watched(browser, patience) as page:
        file = Path(folder) / "bertviz.html"
        if not bertviz_file(file, "neuron_view", n_tokens, None, patience):
            return row(n_tokens, ours, None)
        loaded = []
        page.on("response", lambda response: loaded.append(response))
        n_bytes = file.stat().st_size
        try:
            places = open_bertviz(page, file, scripts)
            for query, picture in zip(queries, check(page, places, queries), strict=True):
                np.testing.assert_allclose(
                    np.array(picture, float), head.masked[query], atol=1e-4, rtol=1e-4
                )
            n_bytes += sum(len(got.body()) for got in loaded if got.url.startswith("https:"))
            theirs = measure(page, places, queries, n_hovers, n_bytes)
        except Error as error:
            print(f"BertViz, {n_tokens} tokens: {said(error)}", file=sys.stderr)
            theirs = Measured(None, None, n_bytes)
    return row(n_tokens, ours, theirs)


def row(n_tokens: int, ours: Measured, theirs: Measured | None) -> list[Cell]:
    cells: list[Cell] = [n_tokens]
    for field in ("ms", "busy", "n_bytes"):
        one, other = getattr(ours, field), getattr(theirs, field, None)
        cells += [one, other, None if other is None else other / one]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="tokens, with commas")
    parser.add_argument("--hovers", type=int, default=N_HOVERS, help="how many are timed")
    parser.add_argument("--scripts", type=Path, help="folder with the scripts of BertViz's page")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds, of a page")
    asked = parser.parse_args()
    sizes = [int(n_tokens) for n_tokens in asked.sizes.split(",")]
    for table in tables(asked.scripts, sizes, asked.hovers, asked.patience):
        print(table.markdown())


if __name__ == "__main__":
    main()
