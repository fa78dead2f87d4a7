"""Which font draws what, in which order, and text as shapes for files that have their fonts."""

import copy
import io
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from PIL import Image

import attnviz
from attnviz import export
from attnviz.export import fonts
from attnviz.export.figures import parsed
from attnviz.export.lettering import SVG, letter
from tests.support import hand_made
from tests.support.scripts import WORDS, needs_fonts


@needs_fonts
@pytest.mark.parametrize("word", WORDS)
def test_every_script_is_drawn_by_a_plain_font_that_has_it(word):
    for run in fonts.runs(word):
        assert run.font is not None, run
        assert run.font.is_upright
        assert run.font.weight == fonts.REGULAR
        assert all(info.codepoint for info, _ in run.glyphs), "a glyph is missing"
        assert run.width > 0


@needs_fonts
def test_letters_of_a_script_that_joins_them_are_joined():
    """Each alone they look otherwise."""
    [run] = fonts.runs("كتاب")
    joined = [info.codepoint for info, _ in run.glyphs]
    alone = [
        fonts.Run(letter, run.font, is_leftwards=True).glyphs[0][0].codepoint
        for letter in reversed("كتاب")
    ]
    assert len(joined) == len(alone) == 4
    assert joined != alone


@needs_fonts
@pytest.mark.parametrize(
    ("before", "leftwards", "after"),
    [
        ("5 ", ("אב גד",), " x"),
        ("x ", ("אב ", "🍌", " גד"), ", y"),
        ("", ("عام ", "2024", " كان"), "."),  # a number is read as everywhere
        ("", ("אב",), " 12"),  # no letter behind it
        ("(", ("אב) ", "5", " (", "גד"), ")"),
    ],
)
def test_words_that_run_to_the_left_stand_in_their_own_order(before, leftwards, after):
    runs = fonts.runs(before + "".join(leftwards) + after)
    drawn = "".join(run.text[::-1] if run.is_leftwards else run.text for run in runs)
    turned = (part if part[0] in "25🍌" else part[::-1] for part in reversed(leftwards))
    assert drawn == before + "".join(turned) + after


def test_a_picture_of_several_characters_is_one():
    assert [run.text for run in fonts.runs("👨‍👩‍👧")] == ["👨‍👩‍👧"]


@pytest.mark.parametrize(
    "content", [b"", b"no font", b"OTTO" + b"\x00" * 40, b"ttcf" + b"\xff" * 99]
)
def test_a_file_that_is_no_font_is_passed_over(content, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(content)
    assert list(fonts._fonts_in(tmp_path / "broken.ttf")) == []
    assert list(fonts._fonts_in(tmp_path / "not there.ttf")) == []


# As shapes


@needs_fonts
def test_what_needs_other_fonts_is_shapes_and_pictures_and_the_rest_stays_text():
    head = hand_made.random_head(len(WORDS), len(WORDS), queries=WORDS, keys=WORDS)
    root = parsed(export.to_svg(attnviz.neuron_view(head)))
    as_text = {"".join(text.itertext()) for text in root.iter("text")}
    letter(root)
    left = {"".join(text.itertext()) for text in root.iter("text")}
    assert as_text - left == set(WORDS) - {"flies", "ж"}
    pictures = [image.get("xlink:href") for image in root.iter("image")]
    assert len(pictures) == 4  # two emoji on either side, each drawn once
    assert len(set(pictures)) == 2
    assert all(address.startswith("data:image/png;base64,") for address in pictures)


@needs_fonts
@pytest.mark.parametrize("anchor", ["start", "middle", "end"])
@pytest.mark.parametrize("word", ["時間", "ภาษา", "시간"])
def test_shapes_stand_where_the_text_does_and_look_the_same(word, anchor):
    """As vl-convert draws a word that it is told the font of, and does not misplace."""
    [font] = {run.font for run in fonts.runs(word[1:])}
    text = parsed(
        f'<svg xmlns="{SVG}" viewBox="0 0 200 80" width="200" height="80">'
        f'<text transform="translate(90,30)" font-size="24px" text-anchor="{anchor}" '
        f'font-family="{font.family}">{word[1:]}<tspan x="5" dy="30">{word}</tspan></text></svg>'
    )
    shapes = copy.deepcopy(text)
    letter(shapes)
    assert not list(shapes.iter("text"))
    drawn, expected = ink_of(shapes), ink_of(text)
    assert expected.mean() > 2
    assert np.abs(drawn - expected).mean() < expected.mean() / 10


def ink_of(root):
    png = vl_convert.svg_to_png(ElementTree.tostring(root, encoding="unicode"), scale=2)
    return np.asarray(Image.open(io.BytesIO(png)), dtype=float)[..., 3]
