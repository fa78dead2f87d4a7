"""Figures as files: the same picture in every format, on every machine, with its caption."""

import io
import os
import re
import shutil
import subprocess
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from PIL import Image

import attnviz
from attnviz import export
from attnviz.charts.parts.palette import PALETTES
from attnviz.export import figures, fonts, outlines
from tests.support import hand_made
from tests.support.hostile import cases, labels, texts

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
SENTENCE = "time flies like an arrow"
# A word each in scripts that the fonts of packages.txt have, and pictures.
WORDS = ("flies", "ж", "時間", "バナナ", "시간", "كتاب", "שלום", "हिन्दी", "ภาษา", "wᵢⱼ⊙", "🍌", "❤️")

needs_fonts = pytest.mark.skipif(
    bool(fonts.missing("".join(WORDS))) and not os.environ.get("ATTNVIZ_REQUIRE_BROWSER"),
    reason="needs the fonts that packages.txt names",
)


def texts_of(svg):
    return [" ".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=float)


def run(*command, given=None):
    if shutil.which(command[0]) is None and not os.environ.get("ATTNVIZ_REQUIRE_BROWSER"):
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def labelled(*names):
    """A head whose tokens are called so."""
    n = len(names)
    return hand_made.random_head(n, n, queries=names, keys=names)


@pytest.fixture(scope="module")
def head(sentence_trace):
    return sentence_trace.head(0, 8)


@pytest.fixture(scope="module")
def views(sentence_trace, head):
    return {
        "steps": attnviz.steps_view(head, 2, 5),
        "neurons": attnviz.neuron_view(head, 2, 5),
        "heads": attnviz.head_view(sentence_trace, 2, query=2),
        "model": attnviz.model_view(sentence_trace),
    }


# Outlines


@pytest.mark.parametrize("view", ["steps", "neurons", "heads", "model"])
def test_no_text_of_an_svg_needs_a_font(views, view):
    as_text = export.to_svg(views[view], outlines=False)
    root = ElementTree.fromstring(export.to_svg(views[view]))
    assert texts_of(as_text)
    assert not list(root.iter(f"{SVG}text"))
    named = [group.get("aria-label") for group in root.iter(f"{SVG}g")]
    for text in ElementTree.fromstring(as_text).iter(f"{SVG}text"):
        assert text.get("aria-label", " ".join(text.itertext())) in named


def test_outlines_look_as_the_text_does(views):
    """Drawn by Vega's own renderer, which has a font for it."""
    if fonts.font_of("a") is None or fonts.font_of("a").family != "Liberation Sans":
        pytest.skip("needs the font that Vega draws with")
    for view in ("neurons", "heads"):
        drawn = [
            pixels(
                vl_convert.svg_to_png(export.to_svg(views[view], outlines=are_outlines), scale=2)
            )
            for are_outlines in (True, False)
        ]
        assert drawn[0].shape == drawn[1].shape
        assert (
            np.abs(drawn[0] - drawn[1]).mean() < 0.6
        )  # of 255; without text it is more than twice that
        blank = pixels(vl_convert.svg_to_png(_without_text(views[view]), scale=2))
        assert np.abs(blank - drawn[1]).mean() > 1.5


def _without_text(chart):
    root = ElementTree.fromstring(export.to_svg(chart, outlines=False))
    for parent in list(root.iter()):
        for text in [child for child in parent if child.tag == f"{SVG}text"]:
            parent.remove(text)
    return ElementTree.tostring(root, encoding="unicode")


def test_a_letter_is_drawn_once_and_used_again(views):
    root = ElementTree.fromstring(export.to_svg(views["heads"]))
    defined = [path.get("id") for path in root.find(f"{SVG}defs")]
    used = [use.get(HREF)[1:] for use in root.iter(f"{SVG}use")]
    assert len(defined) == len(set(defined)) == len(set(used))
    assert set(defined) == set(used)
    assert len(used) > 2 * len(defined)


@needs_fonts
@pytest.mark.parametrize("word", WORDS)
def test_every_script_is_drawn_by_a_font_that_has_it(word):
    for run_of in fonts.runs(word):
        assert run_of.font is not None, run_of
        assert run_of.font.is_upright
        assert run_of.font.weight == fonts.REGULAR
        assert all(info.codepoint for info, _ in fonts.shaped(run_of)), "a glyph is missing"


@needs_fonts
def test_tokens_in_all_scripts_are_outlines_and_emoji_pictures():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = export.to_svg(attnviz.neuron_view(labelled(*WORDS)))
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}text"))
    images = {
        group.get("aria-label"): group.find(f"{SVG}image").get(HREF)
        for group in root.iter(f"{SVG}g")
        if group.find(f"{SVG}image") is not None
    }
    assert len(images) >= 2
    assert all(address.startswith("data:image/png;base64,") for address in images.values())


@needs_fonts
def test_letters_of_a_script_that_joins_them_are_joined():
    """Each alone they look otherwise."""
    [run_of] = fonts.runs("كتاب")
    joined = [info.codepoint for info, _ in fonts.shaped(run_of)]
    alone = [
        info.codepoint
        for letter in reversed("كتاب")
        for info, _ in fonts.shaped(fonts.Run(letter, run_of.font))
    ]
    assert len(joined) == len(alone) == 4
    assert joined != alone


@needs_fonts
def test_words_that_run_to_the_left_stand_in_their_own_order():
    drawn = fonts.runs("5 אב גד x")
    assert "".join(run_of.text for run_of in drawn if "א" in run_of.text or "ג" in run_of.text)
    places = {run_of.text.strip(): place for place, run_of in enumerate(drawn)}
    hebrew = [place for text, place in places.items() if "א" in text or "ג" in text]
    assert places["5"] < min(hebrew)
    assert max(hebrew) < places["x"]
    first = next(place for text, place in places.items() if "א" in text)
    second = next(place for text, place in places.items() if "ג" in text)
    assert second <= first  # read from the right


def test_what_no_font_has_is_named_in_a_warning(monkeypatch):
    monkeypatch.setattr(fonts, "installed", lambda: ())
    fonts.font_of.cache_clear()
    try:
        assert fonts.missing("time ж é 時🍌時") == "時🍌"
        with pytest.warns(figures.FigureWarning, match=r"時 \(U\+6642\), 間 \(U\+9593\): boxes"):
            svg = export.to_svg(attnviz.neuron_view(labelled("時間", "a")))
        assert "時間" in texts_of(svg)  # it stays text, and a reader may have a font
    finally:
        fonts.font_of.cache_clear()


def test_a_long_list_of_missing_characters_is_cut():
    note = figures.note_on_missing("".join(map(chr, range(0x13000, 0x13014))))
    assert note.count("U+") == 8
    assert " and 12 more" in note


@pytest.mark.parametrize(
    "content", [b"", b"no font", b"OTTO" + b"\x00" * 40, b"ttcf" + b"\xff" * 99]
)
def test_a_file_that_is_no_font_is_passed_over(content, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(content)
    assert list(fonts._fonts_in(tmp_path / "broken.ttf")) == []
    assert list(fonts._fonts_in(tmp_path / "not there.ttf")) == []


# Formats


@pytest.mark.parametrize("view", ["steps", "neurons", "heads", "model"])
def test_a_pdf_has_the_text_of_the_view_and_its_fonts(views, view, tmp_path):
    file = tmp_path / "figure.pdf"
    attnviz.save(views[view], file, caption="A caption below it.")
    said = " ".join(run("pdftotext", "-layout", str(file), "-").decode().split())
    for text in texts_of(export.to_svg(views[view], outlines=False, caption="A caption below it.")):
        if set(text) <= set(map(chr, range(32, 127))):
            assert " ".join(text.split()) in said, text
    listed = run("pdffonts", str(file)).decode().splitlines()[2:]
    assert listed
    assert all(line.split()[-5] == "yes" for line in listed), listed  # embedded


def test_a_pdf_looks_as_the_png_does(views, tmp_path):
    file = tmp_path / "figure.pdf"
    attnviz.save(views["neurons"], file)
    pdf = pixels(run("pdftoppm", "-r", "192", "-png", str(file)))
    png = pixels(export.to_png(views["neurons"], scale=2))
    height, width = (min(sizes) for sizes in zip(pdf.shape[:2], png.shape[:2], strict=True))
    assert abs(pdf.shape[0] - png.shape[0]) <= 1
    assert np.abs(pdf[:height, :width, :3] - png[:height, :width, :3]).mean() < 4


def test_another_program_draws_the_svg_as_the_png(views, tmp_path):
    svg = export.to_svg(views["neurons"]).encode()
    other = pixels(run("rsvg-convert", "--zoom", "2", given=svg))
    png = pixels(export.to_png(views["neurons"], scale=2))
    height, width = (min(sizes) for sizes in zip(other.shape[:2], png.shape[:2], strict=True))
    assert abs(other.shape[0] - png.shape[0]) <= 1
    assert np.abs(other[:height, :width, :3] - png[:height, :width, :3]).mean() < 4


@needs_fonts
def test_a_pdf_with_every_script_and_emoji_is_written(tmp_path):
    file = tmp_path / "figure.pdf"
    attnviz.save(attnviz.neuron_view(labelled(*WORDS)), file, caption=" ".join(WORDS))
    assert run("pdftoppm", "-r", "50", "-png", str(file)).startswith(b"\x89PNG")


@pytest.mark.parametrize("scale", figures.PNG_SCALES)
def test_a_png_has_so_many_pixels_for_each_of_the_page_and_says_so(views, scale):
    root = ElementTree.fromstring(export.to_svg(views["heads"]))
    picture = Image.open(io.BytesIO(export.to_png(views["heads"], scale=scale)))
    assert picture.width == pytest.approx(scale * float(root.get("width")), abs=1)
    assert picture.height == pytest.approx(scale * float(root.get("height")), abs=1)
    assert picture.info["dpi"] == pytest.approx((96 * scale, 96 * scale), abs=0.1)


@pytest.mark.parametrize("millimetres", [figures.ONE_COLUMN, figures.TWO_COLUMNS, 120])
def test_a_figure_is_as_wide_as_the_column_in_every_format(views, millimetres, tmp_path):
    chart = views["model"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", figures.FigureWarning)
        root = ElementTree.fromstring(export.to_svg(chart, width_mm=millimetres))
        attnviz.save(chart, tmp_path / "figure.pdf", width_mm=millimetres)
        png = Image.open(io.BytesIO(export.to_png(chart, width_mm=millimetres)))
    assert root.get("width") == f"{millimetres:g}mm"
    _, _, width, height = map(float, root.get("viewBox").split())
    assert float(root.get("height")[:-2]) == pytest.approx(millimetres * height / width, rel=1e-3)
    said = run("pdfinfo", str(tmp_path / "figure.pdf")).decode()
    points = float(next(line for line in said.splitlines() if "Page size" in line).split()[2])
    assert points == pytest.approx(millimetres / 25.4 * 72, rel=1e-3)
    assert png.width / png.info["dpi"][0] * 25.4 == pytest.approx(millimetres, abs=0.2)


def test_text_too_small_for_print_is_said(views):
    with pytest.warns(figures.FigureWarning, match=r"At 40 mm the smallest text is 1\.\d points"):
        export.to_svg(views["heads"], width_mm=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export.to_svg(views["heads"], width_mm=figures.TWO_COLUMNS)


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_the_background_is_that_of_the_display_or_none(head, display_mode):
    chart = attnviz.neuron_view(head, display_mode=display_mode)
    colour = tuple(
        int(PALETTES[display_mode].background[place : place + 2], 16) for place in (1, 3, 5)
    )
    plain, transparent = (
        pixels(export.to_png(chart, is_transparent=is_transparent, scale=1))
        for is_transparent in (False, True)
    )
    assert tuple(plain[0, 0]) == (*colour, 255)
    assert transparent[0, 0, 3] == 0
    assert plain.shape == transparent.shape


def test_a_display_can_be_chosen_for_a_chart_that_has_one(head):
    dark = attnviz.neuron_view(head, display_mode="dark")
    own, chosen = export.to_svg(dark), export.to_svg(attnviz.neuron_view(head), "dark")
    assert re.sub(r"gradient_\d+", "", own) == re.sub(r"gradient_\d+", "", chosen)
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        export.to_svg(dark, "blue")


# Captions


def test_a_caption_stands_below_in_lines_that_fit(views):
    words = f"{SENTENCE}. " * 12
    without = ElementTree.fromstring(export.to_svg(views["heads"]))
    svg = export.to_svg(views["heads"], caption=words, outlines=False)
    root = ElementTree.fromstring(svg)
    height = float(without.get("height"))
    below = [
        text
        for text in root.findall(f"{SVG}text")
        if float(text.get("transform").split(",")[1][:-1]) > height
    ]
    assert len(below) > 1
    assert " ".join(text.text for text in below) == words.strip()
    width = float(root.get("width"))
    assert all(fonts.width_of(text.text, 12) <= width - 16 for text in below)
    assert float(root.get("height")) >= height + 16 * len(below)


def test_a_line_without_spaces_is_cut_where_it_is_full():
    lines = figures.wrapped("時" * 100 + " a", 240)
    assert "".join(lines).replace(" ", "") == "時" * 100 + "a"
    assert all(fonts.width_of(line, 12) <= 240 for line in lines)
    assert figures.wrapped("one\ntwo", 500) == ["one", "two"]
    assert figures.wrapped("", 500) == []


# Files


def test_a_figure_is_saved_by_the_ending_of_its_name(views, tmp_path):
    for ending, start in (
        (".svg", b"<svg"),
        (".pdf", b"%PDF"),
        (".png", b"\x89PNG"),
        (".SVG", b"<svg"),
    ):
        file = tmp_path / f"figure{ending}"
        attnviz.save(views["model"], file)
        assert file.read_bytes().startswith(start)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["figure.SVG", "figure.pdf", "figure.png", "figure.svg"]
    )


@pytest.mark.parametrize("name", ["figure", "figure.bmp", ".svg.txt", ""])
def test_another_ending_is_refused_in_a_sentence(views, tmp_path, name):
    with pytest.raises(attnviz.InputError, match=r"must end in\n?.* ?\.svg, \.pdf or \.png"):
        attnviz.save(views["model"], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_sentence(views, tmp_path):
    with pytest.raises(attnviz.InputError, match=r"cannot be written \(.*\)\.\n\nHint: "):
        attnviz.save(views["model"], tmp_path / "nowhere" / "figure.svg")


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 9])
def test_a_scale_that_is_not_possible_is_refused(views, scale):
    with pytest.raises(attnviz.InputError, match="scale is"):
        export.to_png(views["model"], scale=scale)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf"), 9, 2001])
def test_a_width_that_is_not_possible_is_refused(views, width):
    with pytest.raises(attnviz.InputError, match="width_mm is"):
        export.to_svg(views["model"], width_mm=width)


# Hostile


@cases(20, name=labels(), caption=texts())
def test_no_token_and_no_caption_breaks_a_figure(name, caption):
    chart = attnviz.neuron_view(labelled(name, "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", figures.FigureWarning)
        for svg in (
            export.to_svg(chart, caption=caption),
            export.to_svg(chart, caption=caption, outlines=False),
        ):
            tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
            assert tags <= {
                *("svg", "g", "path", "rect", "line", "text", "tspan", "defs", "use", "image"),
                *("linearGradient", "stop", "clipPath"),
            }
        export.to_pdf(chart, caption=caption)
        export.to_png(chart, caption=caption, scale=0.2)


def test_pictures_of_emoji_are_drawn_once():
    outlines._picture.cache_clear()
    if fonts.missing("🍌"):
        pytest.skip("needs a font with emoji")
    export.to_svg(attnviz.neuron_view(labelled("🍌", "🍌", "a")))
    assert outlines._picture.cache_info().misses == 1
