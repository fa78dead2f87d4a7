"""When what is on the screen has stopped changing, in any page: ours, a plain one, BertViz's.

It is drawn with the last change of the page's content, or the last stroke on a canvas, in the
frame that paints it. All is drawn once nothing has changed for a while.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Error, Page

WINDOW = {"width": 1280, "height": 900}
EVERY, QUIET = 40, 400  # ms between two looks; ms without a change, after which all is drawn
MOST = 10_000  # ms until something must have changed
PATIENCE = 120.0  # seconds for a page to open, or to answer

# `watch.changed`: when the page's content last changed, or a canvas was drawn on.
# `watch.painted`: the end of the first frame after that.
# `watch.asked`: the time stamp of the pointer's or the keys' last event.
# `watch.written`: for each canvas its texts, and where on it and how they are aligned.
WATCH = """
    window.watch = {changed: 0, painted: 0, asked: 0, written: new WeakMap()}
    const afterFrame = new MessageChannel()
    afterFrame.port1.onmessage = () => { watch.painted = performance.now() }
    let isAwaited = false
    const changed = () => {
        watch.changed = performance.now()
        if (isAwaited) return
        isAwaited = true
        requestAnimationFrame(() => {
            isAwaited = false
            afterFrame.port2.postMessage(null)
        })
    }
    const content = "[data-testid=stMain], svg, body > div:not(#root)"
    const isContent = ({target}) =>
        (target.nodeType === 1 ? target : target.parentElement)?.closest(content)
    new MutationObserver(changes => changes.some(isContent) && changed()).observe(
        document, {subtree: true, childList: true, characterData: true, attributes: true})
    const write = (context, text, x, y) => {
        const {canvas} = context
        const texts = watch.written.get(canvas) || new Map()
        const at = context.getTransform().transformPoint({x, y})
        watch.written.set(canvas, texts.set(text, {x: at.x, y: at.y, align: context.textAlign}))
    }
    for (const way of ["clearRect", "fillRect", "fill", "stroke", "fillText", "drawImage"]) {
        const draw = CanvasRenderingContext2D.prototype[way]
        CanvasRenderingContext2D.prototype[way] = function (...given) {
            if (this.canvas.isConnected) changed()
            if (way === "fillText") write(this, ...given)
            return draw.apply(this, given)
        }
    }
    for (const event of ["pointermove", "pointerdown", "keydown"])
        addEventListener(event, e => { watch.asked = e.timeStamp }, {capture: true})
"""

# Waits until something has changed, then nothing for a while, no script of Streamlit runs, and
# each of its charts has its drawing. A long task is one look, however long it takes.
SETTLED = """([every, quiet, most]) => new Promise((resolve, reject) => {
    const start = performance.now()
    let seen, nLooks = 0
    const isDrawn = chart => chart.querySelector(".marks")
    const look = () => {
        const app = document.querySelector("[data-testid=stApp]")
        const isRunning = app && app.dataset.testScriptState !== "notRunning"
        const isDone = !isRunning && watch.changed >= watch.asked
            && [...document.querySelectorAll("[data-testid=stVegaLiteChart]")].every(isDrawn)
        nLooks = isDone && watch.changed === seen ? nLooks + 1 : 0
        seen = watch.changed
        if (nLooks * every >= quiet) resolve(watch.painted - watch.asked)
        else if (watch.changed < watch.asked && performance.now() - start > most)
            reject(new Error("nothing was drawn"))
        else setTimeout(look, every)
    }
    look()
})"""


@contextmanager
def watched(browser: Browser, patience: float = PATIENCE) -> Iterator[Page]:
    """A page in a context of its own, with nothing in its cache."""
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(1000 * patience)
    page.add_init_script(WATCH)
    yield page
    context.close()


def opened(page: Page, address: str, first: str) -> float:
    """Opens a page; the ms from the navigation until everything is drawn.

    `first` is a selector of something that the page shows.
    """
    page.goto(address, wait_until="commit")
    page.locator(first).first.wait_for(state="attached")
    page.evaluate("() => document.fonts.ready")
    return drawn(page)


def drawn(page: Page) -> float:
    """The ms from the last event of pointer or keys until everything is drawn.

    Raises an Error where nothing is drawn.
    """
    return page.evaluate(SETTLED, [EVERY, QUIET, MOST])


def said(error: Error) -> str:
    """The first line of what went wrong."""
    return error.message.splitlines()[0]
