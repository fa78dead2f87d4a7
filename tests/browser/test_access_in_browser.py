"""The page for those who do not see it, have no pointer, or little room."""

from itertools import pairwise

import pytest

from tests.support.browsing import chart, rest

pytestmark = pytest.mark.browser


def test_everything_that_can_be_pressed_has_a_name_of_its_own(visit):
    page = visit("?view=Compare", height=1300)
    names = [
        node["name"]["value"]
        for node in page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        if node.get("role", {}).get("value") in ("button", "textbox", "combobox", "switch", "tab")
    ]
    assert not [name for name in names if not name.strip() or name.endswith(" icon")]
    for control in ("layer", "head", "layer of B", "head of B"):
        for way in ("Previous", "Next"):
            assert names.count(f"{way} {control}") == 1
    button = page.get_by_role("button", name="Previous layer", exact=True)
    box = button.bounding_box()
    assert box["width"] < 50


def test_the_keyboard_skips_the_sidebar(visit):
    page = visit("")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-testid=stMain]') !== null")


# Of each text on a plain ground the contrast with it, where that is too little; cells of pictures
# have grounds of their own, and a test of the palette.
PALE = """() => {
    // Pictures, what cannot be used now, and icons, which are no text.
    const APART = 'svg, style, script, [disabled], [aria-disabled=true], [translate=no]'
    const parse = colour => {
        const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number)
        return {rgb: [r, g, b], a}
    }
    const over = ({rgb, a}, ground) => rgb.map((one, at) => one * a + ground[at] * (1 - a))
    const luminance = rgb => rgb.map(one => one / 255)
        .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0)
    const contrast = (one, another) => {
        const [dark, light] = [one, another].map(luminance).sort((a, b) => a - b)
        return (light + 0.05) / (dark + 0.05)
    }
    const grounds = element => {
        const above = []
        for (let one = element; one; one = one.parentElement) above.unshift(one)
        return above.map(one => parse(getComputedStyle(one).backgroundColor))
            .reduce((ground, colour) => over(colour, ground), [255, 255, 255])
    }
    const opacity = element => {
        let share = 1
        for (let one = element; one; one = one.parentElement)
            share *= getComputedStyle(one).opacity
        return share
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    const pale = []
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement
        const text = walker.currentNode.textContent.trim()
        const {width, height} = element.getBoundingClientRect()
        const isSeen = element.checkVisibility({opacityProperty: true, visibilityProperty: true})
        if (!text || !isSeen || width < 2 || height < 2) continue
        if (element.closest(APART)) continue
        const colour = parse(getComputedStyle(element).color), ground = grounds(element)
        colour.a *= opacity(element)
        const measured = contrast(over(colour, ground), ground)
        if (measured < 4.5) pale.push(`${measured.toFixed(2)} ${text}`)
    }
    return pale
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_sentence_has_contrast_enough(visit, scheme):
    for view in ("Steps", "Neurons", "Heads", "Model", "Find", "Compare"):
        assert visit(f"?view={view}", scheme=scheme).evaluate(PALE) == [], view


def test_numbers_of_an_axis_do_not_run_into_one_another_on_a_phone(visit):
    page = visit("?step=embeddings", width=390)
    labels = chart(page, "matrix_x_query").locator(".mark-text.role-axis-label text")
    shown = [label for label in labels.all() if label.get_attribute("opacity") != "0"]
    boxes = [label.bounding_box() for label in shown if label.text_content().isdigit()]
    row = sorted((box for box in boxes if box), key=lambda box: box["x"])
    assert len(row) > 4
    for one, following in pairwise(row):
        assert one["x"] + one["width"] < following["x"]


def test_a_menu_of_export_shows_its_button_in_a_low_window(visit):
    page = visit("", height=720)
    page.get_by_role("button", name="Export", exact=True).click()
    button = page.get_by_role("button", name="Download SVG")
    button.wait_for()
    rest(page)
    box = page.locator("[data-testid=stPopoverBody]").last.bounding_box()
    of_button = button.bounding_box()
    assert of_button["y"] + of_button["height"] <= box["y"] + box["height"] <= 720
