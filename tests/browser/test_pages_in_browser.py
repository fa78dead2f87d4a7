"""The pages of every view in a real Chromium, from a file and without network."""

import dataclasses

import pytest

import attnviz
from attnviz.attention.what_if import Change
from attnviz.charts.parts.palette import PALETTES
from attnviz.export.options import VIEWS
from attnviz.export.pages import view_page
from attnviz.export.screen import Beside, More, Screen
from attnviz.text.characters import shown
from tests.support.saying import both_of

pytestmark = pytest.mark.browser

SENTENCE = "time flies like an arrow"
LONG = f"{SENTENCE} " * 20
N_CHARTS = {
    "steps": 13,
    **dict.fromkeys(("neurons", "heads", "model", "find", "compare", "effect"), 1),
}
OTHER = Beside(layer=5, head=11)  # what Compare shows beside the head
HOSTILE = (
    *("</script><script>alert(1)</script>", "<img␣src=x␣onerror=alert(2)>", "$x$", "``b``"),
    *(shown("\u202ebidi"), "**שלום**", "'\\\"<!--"),
)


@pytest.fixture(scope="module")
def traces():
    loaded = attnviz.load()
    return {text: attnviz.trace(*loaded, text) for text in (SENTENCE, LONG)}


@pytest.fixture
def opened(open_document):
    """Open the page of a screen as a file, offline."""

    def open_page(screen, trace, width=1280):
        page = open_document(view_page(screen, trace, More(effect=both_of())), width)
        n_charts = N_CHARTS[screen.view] + (5 if screen.change else 0)
        page.wait_for_function(f"document.querySelectorAll('.marks').length >= {n_charts}")
        assert page.locator(".marks").count() == page.locator(".chart").count() == n_charts
        return page

    return open_page


def screen_of(view, text=SENTENCE, **changes):
    chosen = {} if view == "model" else {"query": 2, "key": 5}
    return Screen("all-MiniLM-L6-v2", text, 0, 8, view, beside=OTHER, **(chosen | changes))


def has_no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def middle_of(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("text", [SENTENCE, LONG], ids=["7 tokens", "102 tokens"])
def test_a_page_opens_from_a_file_without_network(opened, traces, view, text):
    page = opened(screen_of(view, text, display_mode="dark"), traces[text], width=1920)
    assert has_no_sideways_scroll(page)
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    red, green, blue = bytes.fromhex(PALETTES["dark"].background[1:])
    assert background == f"rgb({red}, {green}, {blue})"


@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_the_chart_scrolls_and_the_page_does_not(opened, traces, view):
    page = opened(screen_of(view), traces[SENTENCE], width=390)
    assert has_no_sideways_scroll(page)
    widths = page.evaluate(
        "Array.from(document.querySelectorAll('figure')).map(f => [f.scrollWidth, f.clientWidth])"
    )
    assert all(shown <= 390 for _, shown in widths)
    assert any(whole > shown for whole, shown in widths)


def test_the_cells_of_a_matrix_are_the_traces_and_say_so_to_the_pointer(opened, traces):
    page, head = opened(screen_of("steps"), traces[SENTENCE]), traces[SENTENCE].head(0, 8)
    cells = page.locator(".chart[aria-label^='softmax'] .mark-rect path[aria-label*=', ']")
    said = cells.evaluate_all("cells => cells.map(cell => cell.getAttribute('aria-label'))")
    expected = {
        (head.query_tokens[i], head.key_tokens[j]): head.weights[i, j]
        for i in range(7)
        for j in range(7)
    }
    assert len(said) == 49
    for label in said:
        names, value = label.rsplit(": ", 1)
        assert float(value) == pytest.approx(expected.pop(tuple(names.split(", "))), abs=1e-5)
    cell = page.locator(".chart[aria-label^='softmax'] [aria-label^='like, an: ']")
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    page.mouse.move(box["x"] + 6, box["y"] + 6)  # beside the number
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.wait_for()
    value = tooltip.locator("tr", has_text="weights").locator("td.value").text_content()
    assert float(value) == pytest.approx(head.weights[3, 4], abs=1e-6)


def test_the_neuron_view_answers_the_pointer_and_its_list_the_keyboard(opened, traces):
    page, head = opened(screen_of("neurons"), traces[SENTENCE]), traces[SENTENCE].head(0, 8)

    def wait_for_weights_of(query):
        for weight in head.weights[query]:
            texts = page.locator("svg.marks").get_by_text(f"{weight:.3f}", exact=True)
            texts.first.wait_for()

    wait_for_weights_of(2)
    arrow = page.locator("svg.marks").get_by_text("arrow", exact=True).first
    page.mouse.move(*middle_of(arrow))
    wait_for_weights_of(5)
    page.mouse.move(0, 0)
    page.locator("select").focus()
    page.keyboard.press("ArrowDown")
    wait_for_weights_of(3)


def test_the_head_view_switches_heads(opened, traces):
    page = opened(screen_of("heads"), traces[SENTENCE])
    before = page.locator("svg.marks").inner_html()
    page.mouse.click(*middle_of(page.locator("svg.marks").get_by_text("2", exact=True).first))
    page.wait_for_function(
        "before => document.querySelector('svg.marks').innerHTML !== before", arg=before
    )


def test_formulas_are_drawn_and_a_table_opens(opened, traces):
    page = opened(screen_of("steps"), traces[SENTENCE])
    for box in page.locator("math").evaluate_all("all => all.map(one => one.clientHeight)"):
        assert box > 10
    page.locator("summary", has_text="All 32 products").click()
    assert page.locator("details[open] tbody tr").count() == 32


def test_each_chart_has_a_name_for_those_who_do_not_see_it(opened, traces):
    page = opened(screen_of("steps"), traces[SENTENCE])
    names = page.locator(".chart").evaluate_all("all => all.map(a => a.getAttribute('aria-label'))")
    assert all(names)
    assert "softmax: query token by key token" in names


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_tokens_are_text(opened, traces, view):
    trace = traces[SENTENCE]
    tokens = trace.source.relabelled(HOSTILE)
    calls = {
        key: dataclasses.replace(call, query_tokens=tokens, key_tokens=tokens)
        for key, call in trace.calls.items()
    }
    trace = dataclasses.replace(trace, source=tokens, calls=calls, model_name=HOSTILE[1])
    chosen = {} if view == "model" else {"query": 0, "key": 6}
    change = Change(hidden_keys=(1,)) if view == "steps" else Change()
    screen = Screen("", "".join(HOSTILE), 0, 8, view, change=change, beside=OTHER, **chosen)
    page = opened(screen, trace)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert HOSTILE[0] in page.locator("main").text_content()
    assert HOSTILE[1] in page.locator("h1").text_content()


def test_no_chart_is_cut_by_the_end_of_a_printed_page(opened, traces):
    page = opened(screen_of("steps"), traces[SENTENCE])
    page.emulate_media(media="print")
    figures = page.locator("figure")
    for rule, whole, shown_part in figures.evaluate_all(
        "all => all.map(a => [getComputedStyle(a).breakInside, a.scrollWidth, a.clientWidth])"
    ):
        assert rule == "avoid"
        assert whole <= shown_part + 1
    assert page.pdf(format="A4").startswith(b"%PDF")
