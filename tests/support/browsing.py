"""What tests in a browser ask of the page, and how they wait for its answer."""

import re

# Runs in each document before its own scripts, and follows what the page and its server owe one
# another: an answer to what was sent, and the end of a run that has begun. The numbers are those of
# BackMsg and ForwardMsg in Streamlit's protocol.
WATCH = """(() => {
    const owed = {answer: true, end: false}
    const RERUN = 0x5a, HASH = 0x0a, METADATA = 0x12, NEW_SESSION = 0x22, FINISHED = 0x30, EARLY = 2
    const begins = message => {
        let at = 0
        while (message[at] === HASH || message[at] === METADATA) {
            let length = 0, shift = 0, byte
            do {
                byte = message[++at]
                length |= (byte & 0x7f) << shift
                shift += 7
            } while (byte & 0x80)
            at += 1 + length
        }
        return [message[at], message[at + 1]]
    }
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given)
            this.addEventListener('message', ({data}) => {
                const [kind, value] = begins(new Uint8Array(data))
                if (kind === NEW_SESSION) Object.assign(owed, {answer: false, end: true})
                if (kind === FINISHED) Object.assign(owed, {answer: value === EARLY, end: false})
            })
        }
        send(message) {
            if (message[0] === RERUN) owed.answer = true
            super.send(message)
        }
    }
    let still = 0  // frames in a row without a change
    const changes = new MutationObserver(() => { still = 0 })
    changes.observe(document, {
        subtree: true, childList: true, attributes: true, characterData: true
    })
    const isDrawn = chart => !chart.checkVisibility() || chart.querySelector('.marks')
    const isMoving = one => one.effect?.getTiming().iterations !== Infinity
        && one.playState === 'running'
    const isIdle = () =>
        document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
        && !owed.answer && !owed.end
        && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(isDrawn)
        && !document.querySelector('[data-testid=stSkeleton], [data-testid=stAppSkeleton]')
        && document.fonts.status === 'loaded'
        && !document.getAnimations().some(isMoving)
    window.isAtRest = isAskedFirst => {
        still = isIdle() && !isAskedFirst ? still + 1 : 0
        return still > 15
    }
})()"""


def rest(page):
    """Wait until the page has answered all that was done, and has drawn and moved all it will."""
    page.evaluate("isAtRest(true)")
    page.wait_for_function("isAtRest(false)", timeout=90_000)


def chart(page, key):
    return page.locator(f"[class*='st-key-{key}'] svg.marks")


def texts(page, key):
    return chart(page, key).locator("text").all_text_contents()


def wait_for_texts(page, key, expected):
    page.wait_for_function(
        """([key, expected]) => {
            const texts = document.querySelectorAll(`[class*='st-key-${key}'] svg.marks text`)
            const shown = [...texts].map(text => text.textContent)
            return expected.every(text => shown.includes(text))
        }""",
        arg=[key, sorted(expected)],
        timeout=30_000,
    )


def address(page, pattern):
    """Wait until the address is like this, and the page at rest."""
    page.wait_for_url(re.compile(pattern), timeout=15_000)
    rest(page)


def cell(page, key, row, column, n_columns):
    """The middle of a cell of a matrix in which no cell is hidden."""
    box = chart(page, key).locator(".mark-rect path").nth(row * n_columns + column).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
