"""How long a hover takes in the neuron view, in attnviz and in BertViz, in one Chromium.

    python -m tests.benchmarks.hover
    python -m tests.benchmarks.hover --sizes 7,32 --scripts folder

Run it where the repository lies, with what tests/requirements.txt installs. BertViz is compared
where it is installed too (`pip install bertviz==1.4.1`); without it attnviz is measured alone.
BertViz's page loads three scripts from a CDN. Without network, give the folder that holds them:
require.min.js (requirejs 2.3.6), d3.min.js (d3 5.7.0) and jquery.min.js (jquery 2).

Both show the same head of the same model and text: layer 0, head 8 of the bundled model, whose
weights BertViz's own BERT is given. Each view is a page of its own, as large as its text makes
it, in a window of 1280 × 900; BertViz's is expanded. The pointer jumps from one query token to
another, the same ones in both.

Two times are measured, each as the median of the hovers or their mean:

- shown: from the pointer event's time stamp, through the view's own work, to the second
  animation frame after it. At 60 frames a second two frames are 17 to 33 ms, the least there is.
- busy: what the page's main thread worked in all of the hovers (TaskDuration of Chromium's
  Performance domain), divided by their number.

Before anything is timed, each of these tokens is hovered once, and what is then drawn is
checked: that the view follows the pointer, that each token has a picture of its own, and that
BertViz's numbers are attnviz's.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Error, Page, sync_playwright

import attnviz
from attnviz.charts.window import MAX_TOKENS
from attnviz.export import to_html
from tests.chromium import CHROMIUM, FLAGS

LAYER, HEAD = 0, 8
TEXT = (
    "time flies like an arrow and fruit flies like a banana but the old man in the boat saw a "
    "light on the hill and the dog ran to the river before the sun went down over the small town"
)
WINDOW = {"width": 1280, "height": 900}
N_VISIBLE = 24  # tokens that both views show without scrolling


@dataclass(frozen=True)
class Measured:
    shown: float  # ms, median
    busy: float  # ms, mean
    n_bytes: int  # of the page with its scripts


# In every page: `hover.shown` is the last hover's promise. A view fills in `settled`, which
# waits for its work, and `query`, the query token that it shows.
HOVER = """
    window.hover = {}
    addEventListener("mousemove", event => {
        const frame = () => new Promise(requestAnimationFrame)
        hover.shown = (async () => {
            if (!hover.settled) return
            await hover.settled()
            await frame()
            await frame()
            return {ms: performance.now() - event.timeStamp, query: hover.query()}
        })()
    })
"""


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
    hover.settled = () => view.runAsync()
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
    page.add_init_script(KEEP_VIEW)
    page.goto(file.as_uri())
    return page.evaluate(VEGA, min(len(head.query_tokens), MAX_TOKENS))


# BertViz


# What its expanded view shows: the marked token, and q · k / √d of every key.
BERTVIZ = """() => {
    const all = what => [...document.querySelectorAll(`#expanded ${what}`)]
    const marked = all("#leftText .highlight")
    hover.settled = () => {}
    hover.query = () => marked.findIndex(token => token.style.opacity == 1)
    hover.picture = () => all("#dotproducts rect").map(product => product.dataset.value)
    return all("#leftText text").map(token => {
        const box = token.getBoundingClientRect()
        return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
    })
}"""


def bertviz_page(model: Any, tokenizer: Any, text: str) -> str:
    """Its neuron view of the same weights, which its own BERT is given."""
    from bertviz.neuron_view import show
    from bertviz.transformers_neuron_view import BertConfig, BertModel

    its_model = BertModel(BertConfig.from_dict(model.config.to_dict()))
    its_model.load_state_dict(model.state_dict())
    page = show(
        its_model,
        "bert",
        tokenizer,
        text,
        display_mode="light",
        layer=LAYER,
        head=HEAD,
        html_action="return",
    )
    return f"<!DOCTYPE html><meta charset='utf-8'>{page.data}"


def open_bertviz(page: Page, file: Path, scripts: Path | None) -> list[tuple[float, float]]:
    """Opens the page and its expanded view, by the plus sign beside a hovered token."""
    if scripts is not None:
        page.route(
            "https://**/*", lambda route: route.fulfill(path=scripts / Path(route.request.url).name)
        )
    page.goto(file.as_uri())
    collapsed = page.locator("#collapsed #leftText > g").first
    collapsed.locator("text").hover()
    collapsed.locator("rect").last.click(force=True)
    assert page.locator("#expanded").get_attribute("visibility") == "visible"
    return page.evaluate(BERTVIZ)


# Hovering


def check(page: Page, places: list[tuple[float, float]], queries: list[int]) -> list[Any]:
    """Hovers each of the query tokens once, which warms up too; what is drawn for each."""
    pictures = []
    for query in queries:
        _hover(page, places, query)
        pictures.append(page.evaluate("hover.picture()"))
    assert len({json.dumps(picture) for picture in pictures}) == len(queries)
    return pictures


def measure(
    page: Page, places: list[tuple[float, float]], queries: list[int], n_hovers: int, n_bytes: int
) -> Measured:
    tasks = page.context.new_cdp_session(page)
    tasks.send("Performance.enable")
    before = _busy_seconds(tasks)
    shown = [_hover(page, places, queries[i % len(queries)]) for i in range(n_hovers)]
    busy = _busy_seconds(tasks) - before
    return Measured(statistics.median(shown), 1000 * busy / n_hovers, n_bytes)


def _hover(page: Page, places: list[tuple[float, float]], query: int) -> float:
    """Moves the pointer to a query token; the ms until it is shown."""
    page.mouse.move(*places[query])
    shown = page.evaluate("hover.shown")
    assert shown["query"] == query, f"query {shown['query']} is shown, {query} is hovered"
    return shown["ms"]


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


def text_of(n_tokens: int) -> str:
    """A text of so many tokens; two of them are the model's own marks."""
    words = itertools.cycle(TEXT.split())
    return " ".join(itertools.islice(words, n_tokens - 2))


def compare(
    browser: Browser, n_tokens: int, n_hovers: int, scripts: Path | None, patience: float
) -> tuple[Measured, Measured | None]:
    model, tokenizer = attnviz.load()
    text = text_of(n_tokens)
    head = attnviz.trace(model, tokenizer, text).head(LAYER, HEAD)
    assert len(head.query_tokens) == n_tokens
    queries = queries_hovered(n_tokens)

    def new_page() -> Page:
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(1000 * patience)
        page.add_init_script(HOVER)
        return page

    with tempfile.TemporaryDirectory() as folder, new_page() as page:
        file = Path(folder) / "attnviz.html"
        file.write_text(attnviz_page(head))
        places = open_attnviz(page, file, head)
        check(page, places, queries)
        ours = measure(page, places, queries, n_hovers, file.stat().st_size)
    if find_spec("bertviz") is None:
        return ours, None
    with tempfile.TemporaryDirectory() as folder, new_page() as page:
        file = Path(folder) / "bertviz.html"
        file.write_text(bertviz_page(model, tokenizer, text))
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
            print(f"BertViz, {n_tokens} tokens: {error.message.splitlines()[0]}", file=sys.stderr)
            theirs = Measured(np.nan, np.nan, n_bytes)
    return ours, theirs


# Columns of the table: what of Measured, and how it is written.
WHAT = {"shown": ("shown", ".0f"), "busy": ("busy", ".0f"), "bytes": ("n_bytes", ",")}


def table(measured: dict[int, tuple[Measured, Measured | None]]) -> str:
    """The comparison in Markdown, a line a size."""
    columns = [f"{whose}, {what}" for what in WHAT for whose in ("attnviz", "BertViz", "ratio")]
    lines = [["tokens", *columns], ["---:"] * (1 + len(columns))]
    for n_tokens, (ours, theirs) in measured.items():
        cells = [str(n_tokens)]
        for field, style in WHAT.values():
            one, other = getattr(ours, field), getattr(theirs, field, np.nan)
            cells += [_written(one, style), _written(other, style), _written(other / one, ".1f")]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _written(number: float, style: str) -> str:
    return "–" if np.isnan(number) else format(number, style)


NOTE = f"""
shown: ms from the pointer's event to the second frame after the view's work, the median of
{{n_hovers}} hovers. busy: ms of the main thread a hover. bytes: of the page with its scripts.
ratio: BertViz to attnviz. attnviz's neuron view shows a window of at most {MAX_TOKENS} tokens,
so that its longer texts are drawn as {MAX_TOKENS}; BertViz draws all tokens, and its page holds
all layers and heads, attnviz's one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="7,32,128,512", help="tokens, separated by commas")
    parser.add_argument("--hovers", type=int, default=20, help="how many are timed")
    parser.add_argument("--scripts", type=Path, help="folder with the scripts of BertViz's page")
    parser.add_argument("--patience", type=float, default=600, help="seconds for a page to answer")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        measured = {
            n_tokens: compare(browser, n_tokens, asked.hovers, asked.scripts, asked.patience)
            for n_tokens in map(int, asked.sizes.split(","))
        }
        browser.close()
    print(table(measured))
    print(NOTE.format(n_hovers=asked.hovers))
    if find_spec("bertviz") is None:
        print("BertViz is not installed: attnviz is measured alone.")


if __name__ == "__main__":
    main()
