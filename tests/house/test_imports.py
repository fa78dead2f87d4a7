"""Who may import what, and that the page's colours are the charts' own."""

import subprocess
import sys
import tomllib

import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import attnviz
from attnviz.charts.parts.palette import PALETTES
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("torch", "transformers", "streamlit", "IPython")


def test_the_import_contracts_hold(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True, no_logo=True) == 0, capsys.readouterr().out


def test_there_are_at_most_twelve_entries_and_each_room_has_its_contract():
    entries = {path.name for path in (ROOT / "attnviz").iterdir()} - {"__pycache__", "py.typed"}
    assert len(entries) <= 12
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {room.strip() for layer in layers for room in layer.split("|")}
    assert {name.removesuffix(".py") for name in entries} - {"__init__"} == rooms


def test_importing_attnviz_loads_nothing_heavy_until_a_name_is_used():
    asked = [
        "import attnviz, attnviz.filters, attnviz.heads; from attnviz.filters import Filters",
        "attnviz.steps_view; attnviz.neuron_view; attnviz.show; attnviz.what_if; attnviz.HeadTrace",
        "attnviz.heads.Survey; attnviz.from_arrays([[1, 2]], [[3, 4]], [[5]]).head(0, 0).steps",
        "import attnviz.page.service.loading, attnviz.export.screen, attnviz.export.pages",
        "attnviz.trace",
    ]
    loaded = f"print(*[m for m in {HEAVY} if m in sys.modules])"
    code = "\n".join(["import sys", *(f"{statement}\n{loaded}" for statement in asked)])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *until_then, at_last = done.stdout.split("\n")[:-1]
    assert until_then == ["", "", "", ""]
    assert set(at_last.split()) == {"torch", "transformers"}


def test_the_page_imports_only_streamlit_and_attnviz():
    lines = (ROOT / "streamlit_app.py").read_text().splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert imports
    for line in imports:
        assert line.split()[1].split(".")[0] in ("streamlit", "attnviz"), line


def test_every_public_name_is_there():
    for name in attnviz.__all__:
        assert getattr(attnviz, name).__doc__, name
    assert set(attnviz.__all__) <= set(dir(attnviz))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = attnviz.nothing


@pytest.mark.parametrize("display", ["light", "dark"])
def test_the_pages_colours_are_those_of_charts_in_notebooks_and_files(display):
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    theme, palette = config["theme"][display], PALETTES[display]
    assert theme["backgroundColor"] == palette.background
    assert theme["textColor"] == palette.text
    assert tuple(theme["chartDivergingColors"]) == palette.diverging
    assert tuple(theme["chartSequentialColors"]) == palette.sequential


def test_the_pages_exact_versions_are_within_the_ranges_of_the_project():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))
    exact = dict(line.split("==") for line in lines if "==" in line)
    exact = {canonicalize_name(name): version for name, version in exact.items()}
    extras = PROJECT["project"]["optional-dependencies"]
    ranges = [*PROJECT["project"]["dependencies"], *extras["bundled"]]
    ranges += [one for name in ("page", "data", "export") for one in extras[name]]
    for wanted in map(Requirement, ranges):
        if wanted.name != "attnviz":
            assert exact[canonicalize_name(wanted.name)] in wanted.specifier, wanted


def test_the_lowest_environment_has_the_lower_bounds():
    extras = PROJECT["project"]["optional-dependencies"]
    bounds = [*PROJECT["project"]["dependencies"], *extras["export"], *extras["large"]]
    lowest = (ROOT / "tests" / "environments" / "lowest.txt").read_text().split()
    assert {one.replace("==", ">=") for one in lowest} == {*bounds} - {"torch>=2.6"}
