"""When what is on the screen has stopped changing, in any page: ours, a plain one, BertViz's."""

from playwright.sync_api import Page

QUIET = 400  # ms without a change, after which a page counts as drawn

# `watch.changed`: when the page's content last changed, or a canvas was drawn on.
# `watch.asked`: the time stamp of the pointer's or the keys' last event.
WATCH = """
    window.watch = {changed: 0, asked: 0}
    const changed = () => { watch.changed = performance.now() }
    const isShown = ({target}) =>
        (target.nodeType === 1 ? target : target.parentElement)?.closest("main, svg, body > div")
    new MutationObserver(changes => changes.some(isShown) && changed()).observe(
        document, {subtree: true, childList: true, characterData: true, attributes: true})
    for (const way of ["clearRect", "fillRect", "fill", "stroke", "fillText", "drawImage"]) {
        const draw = CanvasRenderingContext2D.prototype[way]
        CanvasRenderingContext2D.prototype[way] = function (...given) {
            changed()
            return draw.apply(this, given)
        }
    }
    for (const event of ["pointermove", "pointerdown", "keydown"])
        addEventListener(event, e => { watch.asked = e.timeStamp }, {capture: true})
"""

# Waits until nothing has changed for a while, and no script of Streamlit runs.
SETTLED = """quiet => new Promise(resolve => {
    const look = () => {
        const app = document.querySelector("[data-testid=stApp]")
        const isRunning = app && app.dataset.testScriptState !== "notRunning"
        const since = Math.max(watch.changed, watch.asked)
        if (!isRunning && performance.now() - since > quiet) resolve(watch.changed)
        else setTimeout(look, 20)
    }
    look()
})"""


def opened(page: Page, address: str) -> float:
    """Opens a page; the ms from the navigation until everything is drawn."""
    page.goto(address)
    page.evaluate("() => document.fonts.ready")
    return page.evaluate(SETTLED, QUIET)


def drawn(page: Page) -> float:
    """The ms from the last event of pointer or keys until everything is drawn."""
    return page.evaluate(SETTLED, QUIET) - page.evaluate("watch.asked")
