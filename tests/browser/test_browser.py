"""The page in a real Chromium: what a person does, and what they see."""

import re
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

import attnviz
from tests.support.browsing import address, cell, chart, rest, texts, wait_for_texts

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(visit):
    return visit("")


def test_it_opens_without_a_request_to_anywhere_else(visit):
    requests = []
    page = visit("", on_request=lambda request: requests.append(request.url))
    assert page.get_by_text("Layer 5, head 11", exact=True).is_visible()
    assert requests
    for url in requests:
        assert re.match(r"(http|ws)://127\.0\.0\.1:\d+/|data:|blob:", url), url


def test_every_value_of_the_small_matrices_can_be_read_on_the_screen(visit, head):
    opened = visit("?all_steps=true")
    # Three significant digits, and no more than three decimals, as the largest is above 1.
    decimals = 3
    for name in ("scores", "scaled", "weights"):
        shown = [t.replace("−", "-") for t in texts(opened, f"matrix_{name}")]
        for value in getattr(head, name).ravel():
            is_short = name == "weights" or abs(value) < 10.0 ** (2 - decimals)
            expected = format(float(value), f".{decimals}f" if is_short else ".3g")
            assert any(float(t) == float(expected) for t in shown if is_number(t)), (name, expected)


def is_number(text):
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) is not None


def test_text_layer_and_head_change_what_is_shown_and_survive_a_reload(opened):
    text = opened.get_by_label("Text", exact=True)
    text.fill("the cat sat")
    text.press("Control+Enter")
    address(opened, r"text=the\+cat\+sat")
    opened.get_by_role("button", name="Previous layer", exact=True).click()
    address(opened, r"layer=4")
    opened.get_by_role("button", name="Previous head", exact=True).click()
    address(opened, r"head=10")
    weights = attnviz.trace(*attnviz.load(), "the cat sat").head(4, 10).weights
    expected = {"the", "cat", "sat", *(f"{weight:.3f}" for weight in weights.ravel())}
    wait_for_texts(opened, "matrix_weights", expected)
    opened.reload()
    rest(opened)
    opened.get_by_text("Layer 4, head 10", exact=True).wait_for(timeout=30_000)
    wait_for_texts(opened, "matrix_weights", expected)
    expect(opened.get_by_label("Text", exact=True)).to_have_value("the cat sat")


def test_back_returns_to_the_head_before(visit):
    opened = visit("?view=Neurons")
    opened.locator(".st-key-head_previous button").first.click()
    opened.get_by_text("Layer 5, head 10", exact=True).wait_for()
    opened.go_back()
    opened.get_by_text("Layer 5, head 11", exact=True).wait_for(timeout=15_000)


def test_hovering_over_a_cell_gives_its_full_value_without_asking_the_server(visit, head):
    sent = []
    page = visit("?step=score", on_sent=lambda frame: sent.append(frame))
    n_before = len(sent)
    chart(page, "matrix_scores").scroll_into_view_if_needed()
    page.mouse.move(*cell(page, "matrix_scores", 2, 5, 7))
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.get_by_text("flies").wait_for()
    value = float(tooltip.inner_text().split()[-1].replace("−", "-"))
    assert np.float32(value) == pytest.approx(head.scores[2, 5], abs=1e-6)
    assert len(sent) == n_before


def test_a_click_on_a_cell_follows_that_pair(opened):
    chart(opened, "matrix_weights").scroll_into_view_if_needed()
    opened.mouse.click(*cell(opened, "matrix_weights", 1, 3, 7))
    address(opened, r"query=1\+time&key=3\+like")
    opened.get_by_text("time gives like").first.wait_for()


def test_a_click_on_a_keys_band_follows_that_key(visit):
    page = visit("?view=Neurons")
    like = chart(page, "neurons").get_by_text("like", exact=True).first.bounding_box()
    title = chart(page, "neurons").get_by_text("key k", exact=True).bounding_box()
    page.mouse.click(title["x"] + 5, like["y"] + like["height"] / 2)
    address(page, r"key=3\+like")
    page.get_by_text("flies gives like").first.wait_for()


def test_the_shown_pair_is_that_of_the_address_after_a_new_text_and_another_view(opened):
    text = opened.get_by_label("Text", exact=True)
    text.fill("they say that fruit flies like a ripe banana")
    text.press("Control+Enter")
    opened.get_by_text("say gives ripe").first.wait_for()
    opened.get_by_role("tab", name="Neurons").click()
    chart(opened, "neurons").wait_for()
    opened.get_by_text("say gives ripe").first.wait_for()
    opened.get_by_role("tab", name="Steps").click()
    chart(opened, "matrix_weights").wait_for()
    opened.get_by_text("say gives ripe").first.wait_for()
    opened.reload()
    rest(opened)
    opened.get_by_text("say gives ripe").first.wait_for(timeout=30_000)


def test_one_click_opens_the_head_that_links_the_pair_most(visit):
    opened = visit("?view=Neurons&layer=0&head=8")
    opened.get_by_role("button", name="Strongest head for this pair").click()
    opened.get_by_text("Layer 5, head 11", exact=True).wait_for()
    address(opened, r"^((?!layer|head).)*$")  # as it opens


HALVES = ("<img src=x onerror=alert(1)>", '$x$ **b** :red[r] "+alert(2)+"')


def test_markup_and_expressions_in_the_text_stay_text(visit):
    alerts = []
    page = visit("", on_dialog=alerts.append)
    field = page.get_by_label("Text", exact=True)
    for text, tokens in {
        HALVES[0]: {"alert", "<", "##rro"},
        HALVES[1]: {"alert", "$", "*", '"', "red"},
        " ".join(HALVES): set(),  # on a canvas, which has no texts
    }.items():
        field.fill(text)
        field.press("Control+Enter")
        address(page, "text=")
        rest(page)
        assert tokens <= set(texts(page, "matrix_weights"))
        n_canvases = page.locator("[class*='st-key-matrix_weights'] canvas.marks").count()
        assert n_canvases == (not tokens)
        assert alerts == []
        assert page.locator("[data-testid=stMain] img").count() == 0
        assert page.locator("[data-testid=stException]").count() == 0
        assert field.input_value() == text


EVIL = (
    '<img src="http://evil.example/i.png" onerror=alert(1)> <script>alert(2)</script> <b>b</b> '
    "![i](http://evil.example/i.png) [l](javascript:alert(3)) http://evil.example www.evil.example "
    "a@evil.example :streamlit: :material_home: :material/home: :red[r] :smile: $x^2$ -- -> *i* `c`"
)
# What the page itself has none of where it speaks of a link, a text or a token.
MARKUP = "img, a, b, code, script, em em, .katex, [role=img], span[class*=stMarkdownColored]"


@pytest.fixture
def visit_closely(visit):
    """Visit a link, and see that nothing is run and nothing asked for beyond this machine."""
    requests, alerts = [], []

    def open_page(query, **options):
        return visit(
            query,
            on_dialog=alerts.append,
            on_request=lambda request: requests.append(request.url),
            **options,
        )

    yield open_page
    assert alerts == []
    assert requests
    hosts = {urlsplit(url).hostname for url in requests if url.startswith("http")}
    assert hosts == {"127.0.0.1"}


def test_notes_on_a_link_quote_it_letter_for_letter(visit_closely):
    names = ("layer", "query", "view", "columns", "what_if")
    parts = (EVIL[:80], EVIL[80:160], EVIL[160:240], EVIL[240:], EVIL[:80])
    page = visit_closely("?" + urlencode(dict(zip(names, parts, strict=True))))
    notes = page.locator("[data-testid=stAlert] [data-testid=stMarkdownContainer]")
    assert notes.count() == len(names)
    assert notes.locator(MARKUP).count() == 0
    said = [note.text_content().replace("\u2060", "") for note in notes.all()]
    for part in parts:
        assert any(f"“{part}”" in note for note in said), part


@pytest.mark.parametrize("view", ["Steps", "Neurons", "Heads"])
def test_a_hostile_text_in_a_link_is_words_in_every_view(visit_closely, view):
    text = EVIL if view == "Steps" else "<b>*b*</b>"  # longer ones are drawn on a canvas there
    query = urlencode({"text": text, "view": view, "query": "1", "key": "2", "what_if": "true"})
    page = visit_closely(f"?{query}")
    assert page.get_by_label("Text", exact=True).input_value() == text
    assert page.locator("[data-testid=stException]").count() == 0
    said = page.locator("[data-testid=stMain] [data-testid=stMarkdownContainer] p em")
    assert said.count()
    assert said.locator("*").count() == 0
    images = page.locator("[data-testid=stMain] img, [data-testid=stMain] svg image")
    assert images.count() == 0
    assert page.locator("a[href*=evil]").count() == 0


def test_a_refused_text_is_quoted_letter_for_letter(visit_closely):
    unseen = "\u200b\u202e\u2060" * 3
    page = visit_closely("?" + urlencode({"text": unseen}))
    error = page.locator("[data-testid=stAlert]")
    assert "'" + "<U+200B><U+202E><U+2060>" * 3 + "'" in error.text_content()
    assert error.locator(MARKUP).count() == 0


def test_a_link_may_name_tokens_by_number_and_a_model_in_full(visit):
    link = "?query=4&key=1&layer=2&view=Neurons&model=sentence-transformers/all-MiniLM-L6-v2"
    page = visit(link)
    for _ in range(2):
        assert page.get_by_text("Layer 2, head 11", exact=True).is_visible()
        assert page.get_by_text("an gives time", exact=False).first.is_visible()
        assert page.locator("[data-testid=stAlert]").count() == 0
        address(page, r"query=4\+an")
        page.reload()
        rest(page)


def test_a_wrong_link_gets_notes_and_a_working_page(visit):
    page = visit("?layer=99&head=-1&model=nope&view=Model")
    assert page.locator("[data-testid=stAlert]").count() == 3
    assert page.get_by_text("Layer 5, head 11", exact=True).is_visible()


@pytest.fixture(scope="module")
def head():
    return attnviz.trace(*attnviz.load(), "time flies like an arrow").head(5, 11)


# Text of several lines


def test_lines_and_tabs_stay_in_the_text_and_in_its_link(visit):
    page = visit("?view=Neurons")
    text = page.get_by_label("Text", exact=True)
    text.fill("time flies")
    text.press("Enter")
    page.keyboard.insert_text("\tlike an arrow")
    text.press("Control+Enter")
    address(page, r"text=time\+flies%0A%09like\+an\+arrow")
    page.reload()
    rest(page)
    expect(page.get_by_label("Text", exact=True)).to_have_value("time flies\n\tlike an arrow")


def test_two_thousand_words_can_be_pasted_and_read_again(visit):
    page = visit("?view=Neurons")
    words = " ".join(f"word{number % 10}" for number in range(2_000))
    text = page.get_by_label("Text", exact=True)
    text.fill(words)
    text.press("Control+Enter")
    page.get_by_text("has 512 positions for them").wait_for()
    rest(page)
    page.reload()
    rest(page)
    page.get_by_text("has 512 positions for them").wait_for()
    expect(page.get_by_label("Text", exact=True)).to_have_value(words)
