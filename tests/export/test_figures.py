"""Figures as files: the same picture in every format, its text kept, with its caption."""

import functools
import io
import re
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import attnviz
from attnviz import export
from attnviz.charts.parts.palette import PALETTES
from attnviz.export import figures, fonts
from tests.support import hand_made
from tests.support.hostile import cases, labels, texts
from tests.support.scripts import WORDS

SVG = "{http://www.w3.org/2000/svg}"
SENTENCE = "time flies like an arrow"
CAPTION = "A caption below it."
VIEWS = ("steps", "neurons", "heads", "model")


def texts_of(svg):
    return [" ".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=float)


def labelled(*names):
    """A head whose tokens are called so."""
    n = len(names)
    return hand_made.random_head(n, n, queries=names, keys=names)


@pytest.fixture(scope="module")
def views(sentence_trace):
    return {
        "steps": attnviz.steps_view(sentence_trace.head(0, 8), 2, 5),
        "neurons": attnviz.neuron_view(sentence_trace.head(0, 8), 2, 5),
        "heads": attnviz.head_view(sentence_trace, 2, query=2),
        "model": attnviz.model_view(sentence_trace),
    }


@pytest.fixture(scope="module")
def written(views):
    """What is in the file of a view, made once."""

    @functools.cache
    def of(view, ending, **look):
        made = figures.figure(views[view], ending, caption=CAPTION, **look)
        assert made.notes == ()
        return made.content

    return of


@pytest.fixture(scope="module")
def small():
    """A chart that is quickly written."""
    return attnviz.neuron_view(labelled("a", "b"))


# Text


@pytest.mark.parametrize("view", VIEWS)
def test_the_text_of_an_svg_is_text_in_a_font_that_is_as_wide_as_it_was_measured(view, written):
    svg = written(view, ".svg").decode()
    said = texts_of(svg)
    assert CAPTION in said
    if view in ("steps", "neurons", "heads"):
        assert {"flies", "arrow"} <= {text.split(" ")[-1] for text in said}
    root = ElementTree.fromstring(svg)
    assert root.get("font-family") == "Liberation Sans, Arimo, Arial, Helvetica, sans-serif"
    assert not [element for element in [*root.iter()][1:] if element.get("font-family")]


def test_an_svg_keeps_the_text_of_every_script():
    said = texts_of(export.to_svg(attnviz.neuron_view(labelled(*WORDS)), caption=" ".join(WORDS)))
    assert set(WORDS) <= set(said)
    assert set(" ".join(WORDS)) <= set("".join(said[-3:]))


def test_a_figure_changes_no_xml_of_others_and_keeps_its_own_names(written):
    other = f'<o:svg xmlns:o="{SVG[1:-1]}"><o:text xmlns:x="{XLINK[1:-1]}" x:href="#" /></o:svg>'
    before = ElementTree.tostring(ElementTree.fromstring(other))
    svg = written("model", ".svg")
    assert ElementTree.tostring(ElementTree.fromstring(other)) == before
    assert b"<ns0:svg" in before
    assert svg.startswith(f'<svg xmlns="{SVG[1:-1]}" xmlns:xlink="{XLINK[1:-1]}" '.encode())
    images = list(ElementTree.fromstring(svg).iter(f"{SVG}image"))
    assert images
    assert all(image.get(f"{XLINK}href").startswith("data:image/png") for image in images)


XLINK = "{http://www.w3.org/1999/xlink}"


def test_what_no_font_has_is_named_in_a_warning(monkeypatch):
    monkeypatch.setattr(fonts, "installed", lambda: ())
    fonts.font_of.cache_clear()
    fonts.runs.cache_clear()
    try:
        assert fonts.missing("time ж é 時🍌時") == "時🍌"
        chart = attnviz.neuron_view(labelled("時間", "a"))
        for write in (export.to_svg, export.to_pdf, export.to_png):
            with pytest.warns(figures.FigureWarning, match=r"時 \(U\+6642\), 間 \(U\+9593\): box"):
                made = write(chart)
            assert made[:4] in ("<svg", b"%PDF", b"\x89PNG")
    finally:
        fonts.font_of.cache_clear()
        fonts.runs.cache_clear()


def test_a_long_list_of_missing_characters_is_cut():
    note = figures.note_on_missing("".join(map(chr, range(0x13000, 0x13014))))
    assert note.count("U+") == 8
    assert " and 12 more" in note


# Formats


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_written_in_every_format_in_its_size(view, written):
    root = ElementTree.fromstring(written(view, ".svg"))
    width, height = float(root.get("width")), float(root.get("height"))
    pdf = written(view, ".pdf")
    assert pdf.startswith(b"%PDF")
    assert page_of(pdf) == pytest.approx((0.75 * width, 0.75 * height), abs=0.1)  # in points
    png = Image.open(io.BytesIO(written(view, ".png", scale=1)))
    assert png.size == pytest.approx((width, height), abs=1)


def page_of(pdf):
    """The width and the height of its only page."""
    [box] = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    return tuple(map(float, box))


@pytest.mark.parametrize("scale", figures.PNG_SCALES)
def test_a_png_has_so_many_pixels_for_each_of_the_page_and_says_so(small, scale):
    root = ElementTree.fromstring(export.to_svg(small))
    picture = Image.open(io.BytesIO(export.to_png(small, scale=scale)))
    assert picture.width == pytest.approx(scale * float(root.get("width")), abs=1)
    assert picture.height == pytest.approx(scale * float(root.get("height")), abs=1)
    assert picture.info["dpi"] == pytest.approx((96 * scale, 96 * scale), abs=0.1)


@pytest.mark.parametrize("millimetres", [figures.ONE_COLUMN, figures.TWO_COLUMNS, 120])
@pytest.mark.filterwarnings("ignore::attnviz.export.figures.FigureWarning")
def test_a_figure_is_as_wide_as_the_column_in_every_format(small, millimetres):
    root = ElementTree.fromstring(export.to_svg(small, width_mm=millimetres))
    png = Image.open(io.BytesIO(export.to_png(small, width_mm=millimetres)))
    assert root.get("width") == f"{millimetres:g}mm"
    _, _, width, height = map(float, root.get("viewBox").split())
    assert float(root.get("height")[:-2]) == pytest.approx(millimetres * height / width, rel=1e-3)
    points, _ = page_of(export.to_pdf(small, width_mm=millimetres))
    assert points == pytest.approx(millimetres / 25.4 * 72, rel=1e-3)
    assert png.width / png.info["dpi"][0] * 25.4 == pytest.approx(millimetres, abs=0.2)


def test_text_too_small_for_print_is_said(views):
    with pytest.warns(figures.FigureWarning, match=r"At 40 mm the smallest text is 1\.\d points"):
        export.to_svg(views["heads"], width_mm=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export.to_svg(views["heads"], width_mm=figures.TWO_COLUMNS)


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_the_background_is_that_of_the_display_or_none(display_mode):
    chart = attnviz.neuron_view(labelled("a", "b"), display_mode=display_mode)
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


def test_a_display_can_be_chosen_for_a_chart_that_has_one(small):
    dark = attnviz.neuron_view(labelled("a", "b"), display_mode="dark")
    own, chosen = export.to_svg(dark), export.to_svg(small, "dark")
    assert re.sub(r"gradient_\d+", "", own) == re.sub(r"gradient_\d+", "", chosen)
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        export.to_svg(dark, "blue")


def test_outlines_are_still_a_name_that_may_be_given(small):
    drawn = {outlines: export.to_svg(small, outlines=outlines) for outlines in (True, False)}
    assert texts_of(drawn[True]) == texts_of(drawn[False]) == texts_of(export.to_svg(small))


# Captions


def test_a_caption_stands_below_in_lines_that_fit(small):
    words = f"{SENTENCE}. " * 16
    without = ElementTree.fromstring(export.to_svg(small))
    root = ElementTree.fromstring(export.to_svg(small, caption=words))
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


def test_a_figure_is_saved_by_the_ending_of_its_name(small, tmp_path):
    starts = {".svg": b"<svg", ".pdf": b"%PDF", ".png": b"\x89PNG", ".SVG": b"<svg"}
    for ending, start in starts.items():
        attnviz.save(small, tmp_path / f"figure{ending}")
        assert (tmp_path / f"figure{ending}").read_bytes().startswith(start)
    assert {path.suffix for path in tmp_path.iterdir()} == starts.keys()
    assert len(list(tmp_path.iterdir())) == len(starts)


@pytest.mark.parametrize("name", ["figure", "figure.bmp", ".svg.txt", ""])
def test_another_ending_is_refused_in_a_sentence(small, tmp_path, name):
    with pytest.raises(attnviz.InputError, match=r"must end in\n?.* ?\.svg, \.pdf or \.png"):
        attnviz.save(small, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_sentence(small, tmp_path):
    with pytest.raises(attnviz.InputError, match=r"cannot be written \(.*\)\.\n\nHint: "):
        attnviz.save(small, tmp_path / "nowhere" / "figure.svg")


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 9])
def test_a_scale_that_is_not_possible_is_refused(small, scale):
    with pytest.raises(attnviz.InputError, match="scale is"):
        export.to_png(small, scale=scale)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf"), 9, 2001])
def test_a_width_that_is_not_possible_is_refused(small, width):
    with pytest.raises(attnviz.InputError, match="width_mm is"):
        export.to_svg(small, width_mm=width)


# Hostile


@cases(20, name=labels(), caption=texts())
def test_no_token_and_no_caption_breaks_a_figure(name, caption):
    chart = attnviz.neuron_view(labelled(name, "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", figures.FigureWarning)
        svg = export.to_svg(chart, caption=caption)
        tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {
            *("svg", "g", "path", "rect", "line", "text", "tspan", "defs"),
            *("linearGradient", "stop", "clipPath"),
        }
        export.to_pdf(chart, caption=caption)
        export.to_png(chart, caption=caption, scale=0.2)
