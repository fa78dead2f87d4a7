"""What tests in a browser ask of the page."""

import re


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
    page.wait_for_url(re.compile(pattern), timeout=15_000)


def cell(page, key, row, column, n_columns):
    """The middle of a cell of a matrix in which no cell is hidden."""
    box = chart(page, key).locator(".mark-rect path").nth(row * n_columns + column).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
