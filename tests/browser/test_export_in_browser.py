"""What a visitor takes away in a real Chromium, opened by other programs; and brings along."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

import attnviz
from attnviz.export import code
from attnviz.export.screen import Screen
from tests.support.browsing import rest, wait_for_texts

pytestmark = pytest.mark.browser

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SENTENCE = "time flies like an arrow"
LOOK = "?layer=2&head=3&query=2+flies&key=5+arrow"


@pytest.fixture(scope="module")
def trace():
    return attnviz.trace(*attnviz.load(), SENTENCE)


def open_menu(page, part):
    page.get_by_role("button", name="Export").click()
    page.locator(".st-key-export_part").get_by_text(part, exact=True).click()
    rest(page)


def choose(page, label, option):
    page.locator(f".st-key-{label}").get_by_role("combobox").click()
    page.get_by_role("option", name=option).click()
    rest(page)


def downloaded(page, button):
    with page.expect_download(timeout=60_000) as waiting:
        page.get_by_role("button", name=button).click()
    download = waiting.value
    return download.suggested_filename, Path(download.path()).read_bytes()


@pytest.mark.parametrize("view", ["Steps", "Neurons", "Heads", "Model"])
def test_every_view_is_taken_away_as_a_figure_with_its_caption_to_edit(visit, view, trace):
    page = visit(f"{LOOK}&view={view}&all_steps=true")
    open_menu(page, "Figure")
    name, svg = downloaded(page, "Download SVG")
    assert re.fullmatch(r"attnviz-\w+(-layer2)?(-head3)?\.svg", name)
    written = [*ElementTree.fromstring(svg).itertext()]
    caption = " ".join(" ".join(written).split())
    assert MODEL in caption
    assert f"“{SENTENCE}”" in caption
    weights = trace.head(2, 3).weights
    if view in ("Steps", "Neurons"):
        of_view = weights if view == "Steps" else weights[2]
        assert {"flies", *(f"{weight:.3f}" for weight in of_view.ravel())} <= {*written}


def test_a_figure_comes_in_every_format_width_and_background(visit):
    page = visit(f"{LOOK}&view=Neurons", scheme="dark")
    open_menu(page, "Figure")
    for chosen, start in (("PDF", b"%PDF"), ("PNG 2×", b"\x89PNG"), ("PNG 4×", b"\x89PNG")):
        page.locator(".st-key-export_format").get_by_text(chosen, exact=True).click()
        rest(page)
        name, content = downloaded(page, f"Download {chosen}")
        assert content.startswith(start)
        assert name.endswith(chosen[:3].lower())
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    assert picture.getpixel((0, 0)) == (14, 17, 23, 255)  # the dark page
    page.get_by_text("Transparent background").click()
    rest(page)
    choose(page, "export_width", "two columns")
    _, content = downloaded(page, "Download PNG 4×")
    picture = Image.open(io.BytesIO(content))
    assert picture.convert("RGBA").getpixel((0, 0))[3] == 0
    assert picture.width / picture.info["dpi"][0] * 25.4 == pytest.approx(183, abs=0.2)


def test_one_step_of_the_timeline_is_a_figure_of_its_own(visit, trace):
    page = visit(LOOK)
    open_menu(page, "Figure")
    assert page.locator(".st-key-export_figure input").input_value() == "softmax"  # the open step
    name, svg = downloaded(page, "Download SVG")
    assert "softmax" in name
    weights = trace.head(2, 3).weights
    written = {*ElementTree.fromstring(svg).itertext()}
    assert {f"{weight:.3f}" for weight in weights.ravel()} <= written


def test_the_web_page_opens_without_network(visit, chromium, tmp_path):
    page = visit(f"{LOOK}&view=Neurons")
    open_menu(page, "Web page")
    name, content = downloaded(page, "Download HTML")
    file = tmp_path / name
    file.write_bytes(content)
    context = chromium.new_context(offline=True)
    asked = []
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(file.as_uri())
    alone.locator("svg.marks").first.wait_for(timeout=30_000)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    expect(alone.get_by_text(MODEL).first).to_be_visible()
    context.close()


def test_the_data_are_those_of_the_trace(visit, trace):
    page = visit(LOOK)
    open_menu(page, "Data")
    head = trace.head(2, 3)
    name, content = downloaded(page, "NPZ")
    assert name == "attnviz-layer2-head3.npz"
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    for step in head.steps:
        np.testing.assert_array_equal(arrays[step.name], step.array)
    again = attnviz.HeadTrace.from_npz(io.BytesIO(content))
    np.testing.assert_array_equal(again.weights, head.weights)
    _, csv = downloaded(page, "CSV")
    _, parquet = downloaded(page, "Parquet")
    for table in (pd.read_csv(io.BytesIO(csv)), pd.read_parquet(io.BytesIO(parquet))):
        for step in head.steps:
            values = table[table["step"] == step.name].sort_values(["row", "column"])["value"]
            array = step.array.ravel() if step.is_hidden is None else step.array[~step.is_hidden]
            np.testing.assert_allclose(values.dropna().to_numpy(np.float32), array, rtol=1e-6)
    _, described = downloaded(page, "JSON")
    assert MODEL in json.dumps(json.loads(described))


def test_the_code_is_that_of_the_screen(visit, trace):
    page = visit(f"{LOOK}&view=Neurons")
    open_menu(page, "Code")
    shown = page.locator("[data-testid=stCode]").all_inner_texts()
    assert len(shown) == 3
    for line in ('attnviz.load("sentence', "attnviz.neuron_view", "attnviz.save"):
        assert line in shown[0], shown[0]
    assert shown[1].startswith("python -m attnviz")
    for line in ("torch", "softmax"):
        assert line in shown[2], shown[2]
    screen = Screen(MODEL, SENTENCE, 2, 3, "neurons", query=2, key=5, revision=trace.revision)
    assert shown[0].split() == code.script(screen).split()


def test_the_link_opens_the_same_screen(visit, address):
    page = visit(f"{LOOK}&view=Neurons&sorted=true")
    open_menu(page, "Link")
    link = page.locator("[data-testid=stCode]").inner_text().strip()
    assert link.startswith(address.rstrip("/"))
    assert "embed" not in link
    other = visit(link.removeprefix(address.rstrip("/")).removeprefix("/"))
    assert other.url.partition("?")[2] != ""
    other.get_by_role("heading", name="Layer 2, head 3").wait_for(timeout=30_000)


def test_a_link_for_a_slide_is_embedded_in_the_colours_that_are_chosen(visit, address):
    page = visit("?step=score&query=4+an")
    open_menu(page, "Link")
    for part, option in (("for", "a slide"), ("theme", "dark")):
        page.locator(f".st-key-export_{part}").get_by_text(option, exact=True).click()
        rest(page)
    link = page.locator("[data-testid=stCode]").inner_text().strip()
    slide = visit(f"?{link.partition('?')[2]}", width=960, height=540)
    assert slide.locator(".st-key-embed_line").inner_text().startswith("an gives arrow")
    assert slide.locator("[class*=st-key-matrix_scores]").count() == 1
    assert slide.locator("[data-testid=stAlert]").count() == 0
    background = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    assert slide.evaluate(background) == "rgb(14, 17, 23)"


def test_the_menu_shows_the_figure_that_is_saved_in_a_low_window(visit):
    page = visit(f"{LOOK}&step=project", height=720)
    open_menu(page, "Figure")
    for seen in (page.locator(".st-key-export_preview img"), page.get_by_text("Download SVG")):
        assert seen.bounding_box()["height"] > 0
        menu = page.get_by_test_id("stPopoverBody").bounding_box()
        box = seen.bounding_box()
        assert box["y"] + box["height"] <= menu["y"] + menu["height"]


# Own arrays


def test_own_arrays_are_shown_without_a_model(visit, tmp_path):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(4, 8)).astype(np.float32) for _ in range(3))
    mask = np.tri(4, dtype=bool)
    np.savez(tmp_path / "mine.npz", q=q, k=k, v=v, mask=mask, tokens=["a", "b", "c", "d"])
    page = visit("")
    page.get_by_text("Load your own arrays").click()
    page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(
        tmp_path / "mine.npz"
    )
    page.get_by_role("button", name="not compared").wait_for(timeout=30_000)
    head = attnviz.from_arrays(q, k, v, mask=mask).head(0, 0)
    wait_for_texts(page, "matrix_weights", {f"{weight:.3f}" for weight in head.weights[3]})
    page.get_by_role("tab", name="Neurons").click()
    page.locator("[class*='st-key-neurons'] .marks").wait_for(timeout=30_000)
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="matches the model").wait_for(timeout=30_000)
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_enabled()


@pytest.mark.parametrize("content", [b"no npz", b""])
def test_a_file_that_cannot_be_read_is_a_sentence(visit, tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    page = visit("?view=Model")
    page.get_by_text("Load your own arrays").click()
    page.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(
        tmp_path / "mine.npz"
    )
    page.get_by_test_id("stAlert").first.wait_for(timeout=30_000)
    assert "not an NPZ file" in page.get_by_test_id("stAlert").first.inner_text()
    assert "Traceback" not in page.locator("body").inner_text()
