"""Figures as other programs read them: text that is found, fonts that are there, the same look."""

import os
import shutil
import subprocess

import numpy as np
import pytest

import attnviz
from attnviz import export
from attnviz.export import figures
from tests.export.test_figures import CAPTION, VIEWS, labelled, pixels, texts_of, views, written
from tests.support.scripts import WORDS, needs_fonts

pytestmark = pytest.mark.process
__all__ = ["views", "written"]  # fixtures


def run(*command, given=None):
    if shutil.which(command[0]) is None and not os.environ.get("ATTNVIZ_REQUIRE_BROWSER"):
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


@pytest.mark.parametrize("view", VIEWS)
def test_a_pdf_has_the_text_of_the_view_and_its_fonts(written, view, tmp_path):
    file = tmp_path / "figure.pdf"
    file.write_bytes(written(view, ".pdf"))
    said = " ".join(run("pdftotext", "-layout", str(file), "-").decode().split())
    assert CAPTION in said
    for text in texts_of(written(view, ".svg")):
        if set(text) <= set(map(chr, range(32, 127))):
            assert " ".join(text.split()) in said, text
    listed = run("pdffonts", str(file)).decode().splitlines()[2:]
    assert listed
    assert all(line.split()[-5] == "yes" for line in listed), listed  # embedded


def test_a_pdf_and_an_svg_look_as_the_png_does(written, tmp_path):
    file = tmp_path / "figure.pdf"
    file.write_bytes(written("neurons", ".pdf"))
    pdf = pixels(run("pdftoppm", "-r", "192", "-png", str(file)))
    svg = pixels(run("rsvg-convert", "--zoom", "2", given=written("neurons", ".svg")))
    png = pixels(written("neurons", ".png"))
    for other in (pdf, svg):
        height, width = (min(sizes) for sizes in zip(other.shape[:2], png.shape[:2], strict=True))
        assert abs(other.shape[0] - png.shape[0]) <= 1
        assert np.abs(other[:height, :width, :3] - png[:height, :width, :3]).mean() < 4


@pytest.mark.parametrize("millimetres", [figures.ONE_COLUMN, figures.TWO_COLUMNS])
@pytest.mark.filterwarnings("ignore::attnviz.export.figures.FigureWarning")
def test_a_pdf_is_as_wide_as_the_column(views, millimetres, tmp_path):
    file = tmp_path / "figure.pdf"
    attnviz.save(views["model"], file, width_mm=millimetres)
    said = run("pdfinfo", str(file)).decode()
    points = float(next(line for line in said.splitlines() if "Page size" in line).split()[2])
    assert points == pytest.approx(millimetres / 25.4 * 72, rel=1e-3)


@needs_fonts
def test_a_pdf_with_every_script_and_emoji_is_written():
    pdf = export.to_pdf(attnviz.neuron_view(labelled(*WORDS)), caption=" ".join(WORDS))
    assert run("pdftoppm", "-r", "50", "-png", "-", given=pdf).startswith(b"\x89PNG")
