"""What is on the screen, set by hand, and the same in a fresh browser at the address it made."""

import re
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from transformers import ByT5Tokenizer

from attnviz.models.bundled import BUNDLED
from attnviz.page import compat
from attnviz.page.controls import links
from tests.support.browsing import rest
from tests.support.serving import serving
from tests.support.tiny_models import save_tiny

pytestmark = pytest.mark.browser

# Everything that can be seen: words, what is in each control, and every mark of every picture.
SEEN = """() => {
    const seen = []
    const add = (kind, value) => seen.push(`${kind}: ${value}`)
    for (const part of document.querySelectorAll(
            '[data-testid=stSidebarContent], [data-testid=stMainBlockContainer]')) {
        for (const one of part.querySelectorAll('[data-testid=stMarkdownContainer], label')) {
            add('words', one.textContent)
        }
        for (const one of part.querySelectorAll('input')) {
            add('input', one.type === 'checkbox' ? one.checked : one.value)
        }
        for (const one of part.querySelectorAll('[aria-selected], [aria-checked]')) {
            if (!one.closest('[data-testid=stDataFrame]')) {  // those come and go
                add('chosen', one.textContent + one.ariaSelected + one.ariaChecked)
            }
        }
        for (const one of part.querySelectorAll('.marks path, .marks text')) {
            const looks = ['d', 'fill', 'stroke', 'opacity', 'transform']
            const drawn = looks.map(name => one.getAttribute(name))
            add('mark', one.textContent + String(drawn).replace(/url\\([^)]*\\)/g, 'a gradient'))
        }
        for (const one of part.querySelectorAll('canvas.marks')) {
            add('canvas', one.toDataURL())
        }
    }
    return seen.sort()  // a drawing that was changed has its marks in another order
}"""


def seen(page):
    """All of it, when the page is at rest."""
    rest(page)
    return page.evaluate(SEEN)


def query_of(page):
    return f"?{urlsplit(page.url).query}"


def asked(page):
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


# What a visitor does


def fill(key, text):
    def act(page):
        field = page.locator(f".st-key-{key} input").first
        field.fill(text)
        field.press("Enter")

    return act


def write(key, text):
    def act(page):
        field = page.locator(f".st-key-{key} textarea")
        field.fill(text)
        field.press("Control+Enter")

    return act


def choose(key, option):
    def act(page):
        page.locator(f".st-key-{key} input").first.press("ArrowDown")
        page.get_by_role("option", name=option, exact=True).click()
        page.keyboard.press("Escape")

    return act


def switch(key):
    return lambda page: page.locator(f".st-key-{key} label").first.click()


def press(key):
    return lambda page: page.locator(f".st-key-{key} button").first.click()


def open_part(key):
    return lambda page: page.locator(f".st-key-{key} summary").first.click()


def pick(key, name):
    return lambda page: page.locator(f".st-key-{key}").get_by_text(name, exact=True).click()


def slide(key):
    return lambda page: page.locator(f".st-key-{key} input[type=range]").press("ArrowLeft")


def inside(popover, acts):
    """The same in a popover, which is opened for the first of them and closed after the last."""
    first, last = next(iter(acts)), [*acts][-1]

    def act_inside(parameter, page):
        button = page.locator(f".st-key-{popover} button").first
        if parameter == first:
            button.click()
            rest(page)
        acts[parameter](page)
        if parameter == last:
            rest(page)
            page.keyboard.press("Escape")
            rest(page)
            if page.locator("[data-testid=stPopoverBody]:visible").count():
                button.click()

    return {parameter: partial(act_inside, parameter) for parameter in acts}


def turn(name):
    return lambda page: page.get_by_role("tab", name=name).click()


LONG = " ".join(["fruit flies like a banana"] * 10)
HIDE = inside("filters", {"hide_special": switch("hide_special")})
# One after the other on one page, so that at the end everything is set at once.
DONE = {
    "Steps": (
        "",
        {
            "layer": press("layer_previous"),
            "head": press("head_previous"),
            "query": choose("query", "4 an"),
            "key": choose("key", "1 time"),
            **inside("steps_options", {"columns": switch("columns")}),
            "step": pick("step", "scale"),
            "why_scale": open_part("why_scale"),
            "what_if": open_part("what_if"),
            "if_causal": choose("if_causal", "on"),
            "if_factor": fill("if_factor", "0.5"),
            "if_temperature": fill("if_temperature", "2.5"),
            "if_hidden": choose("if_hidden", "2 flies"),
            "if_zeroed": choose("if_zeroed", "7"),
            "if_unscaled": switch("if_unscaled"),
        },
    ),
    "all steps": ("", {"all_steps": switch("all_steps")}),
    "a long text": (
        "",
        {
            "text": write("text", LONG),
            **inside("steps_options", {"large": choose("large", "blocks: mean")}),
        },
    ),
    "a talk": (
        "?layer=1",
        {"talk": press("present")},
    ),
    "Neurons": (
        "?text=time+flies+like+an+arrowhead",
        {
            "view": turn("Neurons"),
            "query": choose("query", "4 an"),
            "sorted": switch("sorted"),
            "dimensions": switch("dimensions"),
            "asked": switch("asked"),
            **inside(
                "filters",
                {
                    "hide_special": switch("hide_special"),
                    "hidden": choose("hidden", "4 an"),
                    "renormalise": switch("renormalise"),
                    "top": slide("top"),
                    "share": slide("share"),
                    "words": switch("words"),
                },
            ),
        },
    ),
    "Heads of a pair": (
        "?view=Heads",
        {
            "pair": write("pair", "fruit flies"),
            "lines": pick("lines", "of all tokens"),
            **inside("choose_heads", {"heads": pick("heads", "3")}),
            **inside("filters", {"segments": choose("segments", "A → B")}),
        },
    ),
    "no head": (
        "?view=Heads&heads=3",
        {**inside("choose_heads", {"heads": pick("heads", "3")})},
    ),
    "Model": (
        "",
        {
            "view": turn("Model"),
            "measure": choose("measure", "mean distance"),
            "by_measure": switch("by_measure"),
            **HIDE,
        },
    ),
    "Find by a pair": (
        "?view=Find",
        {
            "key": choose("key", "1 time"),
            **inside("more_texts", {"texts": write("texts", "an arrow\ntime flies")}),
            **HIDE,
        },
    ),
    "Find by measures": (
        "?view=Find",
        {
            "find_by": pick("find_by", "what heads do"),
            "x": choose("x", "share on itself"),
            "y": choose("y", "largest weight"),
            "colour": choose("colour", "head"),
            "size": choose("size", "induction score"),
        },
    ),
    "Compare": (
        "?view=Compare",
        {
            "other_text": write("other_text", "an arrow\n\tflies"),
            "other_layer": press("other_layer_previous"),
            "other_head": press("other_head_previous"),
        },
    ),
}


@pytest.mark.parametrize("what", DONE)
def test_whatever_is_set_by_hand_is_there_in_a_fresh_browser(visit, what):
    query, acts = DONE[what]
    there_and_back(visit, query, acts)


def there_and_back(visit, query, acts, **options):
    page = visit(query, height=3000, **options)
    now = seen(page)
    for parameter, act in acts.items():
        before = now
        act(page)
        page.wait_for_url(re.compile(rf"[?&]{parameter}="), timeout=15_000)
        now = seen(page)
        assert now != before, parameter
    assert acts.keys() <= asked(page).keys()
    again = visit(query_of(page), height=3000, **options)
    assert seen(again) == now
    assert asked(again) == asked(page)


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """The page with a tiny encoder-decoder beside the bundled model."""
    folder = tmp_path_factory.mktemp("t5") / "tiny"
    save_tiny(folder, "t5", ByT5Tokenizer(), vocab_size=384)
    listed = f"sentence-transformers/all-MiniLM-L6-v2,{folder}"
    with serving(tmp_path_factory.mktemp("page"), ATTNVIZ_MODELS=listed) as server:
        yield server.address


def test_model_target_and_kind_are_there_in_a_fresh_browser(visit, translator):
    acts = {
        "model": choose("model", "tiny"),
        "kind": choose("kind", "cross"),  # the steps of which have the target's tokens
        "target": write("target", "Zeit"),
        "query": choose("query", "3 i"),
    }
    there_and_back(visit, "", acts, at=translator)


def test_every_parameter_was_set_by_hand():
    acts = {parameter for _, acts in DONE.values() for parameter in acts}
    # A device needs a GPU, and an area or an alignment is drawn and edited, not set in a control.
    elsewhere = {"model", "target", "kind", "device"}
    elsewhere |= {"other_model", "area", "aligned_queries", "aligned_keys"}
    elsewhere |= {"position", "token", "patch", "all_heads"}  # test_effect_in_browser.py sets them
    assert acts | elsewhere == links.PARAMETERS


def test_what_is_filtered_waits_for_the_next_view_but_not_in_the_address(visit):
    page = visit("?view=Heads&hide_special=true&top=2")
    turn("Steps")(page)
    rest(page)
    assert asked(page).keys() == set()  # what is seen is not filtered
    turn("Neurons")(page)
    rest(page)
    assert asked(page).keys() == {"view", "hide_special", "top"}


def test_what_a_link_asks_of_a_closed_part_waits_for_it(visit):
    page = visit("?view=Heads&heads=1&columns=true&if_factor=0.5")
    turn("Steps")(page)
    rest(page)
    (note,) = page.get_by_test_id("stAlert").all_inner_texts()
    assert "What if?" in note
    open_part("what_if")(page)
    rest(page)
    assert page.locator(".st-key-if_factor input").input_value() == "0.5"
    assert page.get_by_test_id("stAlert").count() == 0
    assert asked(page).keys() == {"columns", "what_if", "if_factor"}


# The theme


COLOURS = {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 17, 23)"}


def colour(page):
    return page.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )


@pytest.mark.parametrize("own", COLOURS)
def test_a_link_opens_light_or_dark_whatever_the_visitors_own_setting(visit, own):
    assert colour(visit("?view=Model", scheme=own)) == COLOURS[own]
    for theme in COLOURS:
        page = visit(f"?embed_options={theme}_theme&view=Neurons&layer=1&query=1", scheme=own)
        assert colour(page) == COLOURS[theme]
        press("layer_next")(page)
        page.get_by_text("Layer 2, head 11", exact=True).wait_for()
        page.reload()
        rest(page)
        assert colour(page) == COLOURS[theme]
        assert asked(page)["embed_options"] == [f"{theme}_theme"]


# A new link


@pytest.mark.parametrize(
    ("theme", "texts"),
    [
        ("light", ["a & b=c?#%+", "</script>\"'\\"]),
        ("dark", ["時は矢の如く飛ぶ", "🏳️‍🌈😀 time  flies\n\tlike", "it " * 400]),
    ],
)
def test_the_link_of_the_menu_brings_text_and_theme_to_another_browser(
    visit, address, theme, texts
):
    page = visit("?layer=3&head=2&view=Neurons", scheme=theme)
    other = next(name for name in COLOURS if name != theme)
    for text in texts:
        write("text", text)(page)
        now = seen(page)
        link = link_of_menu(page, theme)
        assert link.startswith(f"{address}?")
        assert re.fullmatch(r"[\w.:/?&=%+~-]+", link, re.ASCII)
        assert parse_qs(urlsplit(link).query) == {
            "model": [BUNDLED],
            "text": [text],
            "layer": ["3"],
            "head": ["2"],
            "view": ["Neurons"],
            "embed_options": [f"{theme}_theme"],
        }
        again = visit(link.removeprefix(address), scheme=other)
        assert seen(again) == now
        assert colour(again) == COLOURS[theme]
        assert link_of_menu(again, theme) == link
        press("export")(page)  # closes it


def link_of_menu(page, theme=None):
    press("export")(page)
    page.get_by_text("Link", exact=True).click()
    if theme is not None:
        pick("export_theme", theme)(page)
        rest(page)
    copies = page.locator(f"{compat.keyed('export_link')} {compat.CODE_TOOLBAR}")
    copies.first.wait_for()
    assert copies.evaluate_all("all => all.every(one => getComputedStyle(one).opacity === '1')")
    return page.locator("[data-testid=stPopoverBody] code").inner_text()


@pytest.mark.parametrize("text", ["time flies " * 181, "光陰矢の如し" * 334, "😀🏳️‍🌈" * 400])
def test_a_text_of_two_thousand_characters_comes_with_its_link(visit, text):
    text = text[:2000]
    page = visit("?" + urlencode({"text": text, "view": "Neurons"}))
    assert page.get_by_label("Text", exact=True).input_value() == text
    alerts = page.get_by_test_id("stAlert").all_inner_texts()
    assert not alerts or "tokens, and" in alerts[0]


# A step


def test_a_link_to_a_step_opens_it_alone_and_another_head_keeps_it(visit):
    page = visit("?layer=5&head=11&step=output&columns=true&text=" + "a+b+" * 30, height=720)
    for layer in (5, 4):
        assert page.get_by_text(f"Layer {layer}, head 11", exact=True).is_visible()
        (box,) = (one.bounding_box() for one in page.locator(".st-key-step_output").all())
        assert 0 < box["y"] < 720
        assert page.locator(".st-key-step_softmax").count() == 0
        assert asked(page)["step"] == ["output"]
        press("layer_previous")(page)
        rest(page)
