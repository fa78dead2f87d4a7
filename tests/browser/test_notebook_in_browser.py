"""What an executed notebook shows in a real Chromium, without network."""

import subprocess
import sys
from html import escape

import altair as alt
import pytest

import attnviz
from attnviz import export
from attnviz.charts.parts.palette import PALETTES
from tests.support import hand_made, notebooks

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def head():
    return attnviz.trace(*attnviz.load(), "time flies like an arrow").head(0, 8)


@pytest.fixture
def opened(open_document):
    return open_document


def document_of(output):
    return f'<!DOCTYPE html><meta charset="utf-8"><body>{output}</body>'


def texts(frame):
    return set(frame.locator("svg.marks text").all_text_contents())


def wait_for_texts(frame, expected):
    for text in expected:
        frame.locator("svg.marks").get_by_text(text, exact=True).first.wait_for()


def printed(weights):
    return {f"{weight:.3f}" for weight in weights}


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_an_executed_cell_shows_the_head_and_answers_the_pointer(
    opened, shown_in_notebook, head, display_mode
):
    page = opened(document_of(shown_in_notebook[display_mode]["text/html"]))
    frame = page.frame_locator("iframe")
    wait_for_texts(frame, {*head.query_tokens, *printed(head.weights[0])})
    assert not printed(head.weights[5]) <= texts(frame)
    arrow = frame.locator("svg.marks").get_by_text("arrow", exact=True).first.bounding_box()
    page.mouse.move(arrow["x"] + arrow["width"] / 2, arrow["y"] + arrow["height"] / 2)
    wait_for_texts(frame, printed(head.weights[5]))
    background = frame.locator(":root").evaluate("root => getComputedStyle(root).backgroundColor")
    red, green, blue = bytes.fromhex(PALETTES[display_mode].background[1:])
    assert background == f"rgb({red}, {green}, {blue})"


@pytest.mark.parametrize("width", [1280, 400])
def test_the_frame_is_as_high_as_its_chart_and_controls(opened, shown_in_notebook, width):
    page = opened(document_of(shown_in_notebook["light"]["text/html"]), width)
    frame = page.frame_locator("iframe")
    frame.locator("svg.marks").wait_for()
    page.wait_for_function("""() => {
        const frame = document.querySelector('iframe')
        const chart = frame.contentDocument.querySelector('#chart')
        const beyond = frame.getBoundingClientRect().height - chart.getBoundingClientRect().height
        return 0 <= beyond && beyond < 30
    }""")
    box = page.locator("iframe").bounding_box()
    content = frame.locator(":root").evaluate("root => [root.scrollHeight, root.scrollWidth]")
    assert content == [box["height"], box["width"]]


def test_a_token_that_looks_like_a_script_is_a_token(opened):
    evil = "</script><script>alert(1)</script>"
    head = hand_made.random_head(queries=(evil, *"bcde"), keys=("<!--", *"wxyz"))
    page = opened(export.to_html(attnviz.neuron_view(head), title=evil))
    wait_for_texts(page, {*"bcde", "<!--", *"wxyz", *printed(head.weights[0])})
    assert any(text.startswith("</script>") for text in texts(page))
    assert page.title() == evil


def test_a_chart_that_asks_for_the_width_of_its_container_has_that_of_the_page(opened):
    chart = alt.Chart(alt.sequence(3)).mark_tick().encode(x="data:Q").properties(width="container")
    page = opened(export.to_html(chart))
    page.locator("svg.marks").wait_for()
    assert page.locator("svg.marks").bounding_box()["width"] > 1200


def test_the_keyboard_moves_the_selection_and_a_box_collapses_the_dimensions(
    opened, shown_in_notebook, head
):
    page = opened(document_of(shown_in_notebook["light"]["text/html"]))
    frame = page.frame_locator("iframe")
    frame.locator("svg.marks").wait_for()
    frame.locator("select").focus()
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    wait_for_texts(frame, printed(head.weights[5]))
    assert "query q" in texts(frame)
    frame.locator("input[type=checkbox]").uncheck()
    frame.locator("svg.marks").get_by_text("query q", exact=True).wait_for(state="detached")
    assert printed(head.weights[5]) <= texts(frame)


@pytest.mark.parametrize("view", ["steps", "heads", "model"])
def test_every_view_shows_in_a_frame(opened, minilm, view):
    shown = attnviz.show(*minilm, "time flies like an arrow", view=view)
    frame = opened(document_of(shown._repr_html_())).frame_locator("iframe")
    frame.locator(".marks").last.wait_for()
    assert frame.locator(".marks").count() == (13 if view == "steps" else 1)


def test_a_chart_by_itself_shows_in_a_frame_and_answers_the_pointer(opened, head):
    chart = attnviz.neuron_view(head)
    page = opened(document_of(chart._repr_mimebundle_()["text/html"]))
    frame = page.frame_locator("iframe")
    wait_for_texts(frame, printed(head.weights[0]))
    arrow = frame.locator("svg.marks").get_by_text("arrow", exact=True).first.bounding_box()
    page.mouse.move(arrow["x"] + arrow["width"] / 2, arrow["y"] + arrow["height"] / 2)
    wait_for_texts(frame, printed(head.weights[5]))


# Frames that front ends put around an output

# Of VS Code, as src/vs/workbench/contrib/notebook/browser/view/renderers/backLayerWebView.ts has it
# for `notebook.experimental.enableCsp`; its own scripts come from elsewhere.
POLICY_OF_VS_CODE = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src https: http: data:; font-src https:; connect-src https:; child-src https: data:;"
)


def under_a_policy(output):
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY_OF_VS_CODE}">'
    return policy + document_of(output)


def in_a_frame(permissions):
    """As Colab and others do it: each output in a frame that may do no more than this."""
    return lambda output: document_of(
        f'<iframe id="outer" sandbox="{permissions}" srcdoc="{escape(document_of(output))}"'
        ' style="width: 100%; height: 800px"></iframe>'
    )


@pytest.mark.parametrize(
    "around",
    [under_a_policy, in_a_frame("allow-scripts allow-same-origin"), in_a_frame("allow-scripts")],
    ids=["policy", "frame", "frame of no origin"],
)
def test_in_a_front_ends_own_frame_a_figure_is_drawn_and_answers_a_click(
    opened, shown_in_notebook, head, around
):
    page = opened(around(shown_in_notebook["light"]["text/html"]))
    outer = page if around is under_a_policy else page.frame_locator("#outer")
    frame = outer.frame_locator("iframe")
    wait_for_texts(frame, {*head.query_tokens, *printed(head.weights[0])})
    frame.locator("svg.marks").get_by_text("arrow", exact=True).first.click(force=True)
    page.mouse.move(1, 1)
    wait_for_texts(frame, printed(head.weights[5]))


def test_two_figures_beside_one_another_answer_each_for_itself(opened, shown_in_notebook, head):
    twice = 2 * shown_in_notebook["light"]["text/html"]
    page = opened(document_of(twice))
    first, second = (page.frame_locator("iframe").nth(place) for place in range(2))
    for frame in (first, second):
        wait_for_texts(frame, printed(head.weights[0]))
    second.locator("svg.marks").get_by_text("arrow", exact=True).first.click(force=True)
    page.mouse.move(1, 1)
    wait_for_texts(second, printed(head.weights[5]))
    assert printed(head.weights[0]) <= texts(first)
    assert not printed(head.weights[5]) <= texts(first)


def test_a_notebook_as_a_page_shows_its_figures_without_network(chromium, tmp_path, head):
    """nbconvert's own scripts, for formulas and widgets, are on a network; no figure waits."""
    notebooks.results(
        tmp_path,
        "import attnviz; model, tokenizer = attnviz.load()",
        "attnviz.show(model, tokenizer, 'time flies like an arrow', layer=0, head=8)",
        "attnviz.neuron_view(attnviz.trace(model, tokenizer, 'fruit flies').head(0, 8))",
    )
    notebook = tmp_path / "notebook.ipynb"
    convert = [sys.executable, "-m", "nbconvert", "--to", "html", notebook]
    subprocess.run(convert, check=True, capture_output=True)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_offline(True)
    page = context.new_page()
    page.goto(notebook.with_suffix(".html").as_uri(), wait_until="commit")
    first, second = (page.frame_locator("iframe").nth(place) for place in range(2))
    wait_for_texts(first, printed(head.weights[0]))
    wait_for_texts(second, {"fruit", "flies"})
    first.locator("svg.marks").get_by_text("arrow", exact=True).first.click(force=True)
    page.mouse.move(1, 1)
    wait_for_texts(first, printed(head.weights[5]))
    assert not page.get_by_text("Trust this notebook").is_visible()
    context.close()
