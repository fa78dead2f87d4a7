"""`attnviz page` from an installed package, in a real Chromium."""

import tomllib

import pytest

from tests.support import packaging
from tests.support.places import ROOT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def installed_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    _, wheel = packaging.built(folder)
    package = packaging.installed(wheel, folder / "installed")
    with packaging.serving_page(package, tmp_path_factory.mktemp("elsewhere")) as (server, _):
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_the_first_screen_in_the_colours_of_the_settings(visit, installed_page, scheme):
    page = visit("", scheme=scheme, at=installed_page.address)
    sentence = page.locator("svg.marks").first.locator("text").all_text_contents()
    assert {"time", "flies", "like", "an", "arrow"} <= set(sentence)
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    hexadecimal = settings["theme"][scheme]["backgroundColor"]
    red, green, blue = bytes.fromhex(hexadecimal[1:])
    background = page.get_by_test_id("stApp").evaluate(
        "app => getComputedStyle(app).backgroundColor"
    )
    assert background == f"rgb({red}, {green}, {blue})"
