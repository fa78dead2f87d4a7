"""Who may import what, and that the page's colours are the charts' own."""

import subprocess
import sys
import tomllib

import pytest

from attnviz.charts.parts.palette import PALETTES
from tests.support.places import ROOT

HEAVY = ("torch", "transformers", "streamlit", "IPython")
ROOMS_WITH_TORCH = (
    *(
        "inputs",
        "recording",
        "attending",
        "observing",
        "rotating",
        "origins",
        "products",
        "tracing",
    ),
    *("projecting", "offloading", "capture", "models"),
    *("heads.batching", "heads.on_ray", "heads.repeating"),
)
WITH_TORCH = {f"attnviz.{room}" for room in ROOMS_WITH_TORCH}


def modules():
    for path in sorted((ROOT / "attnviz").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__")


def imported_by(statement):
    """Which of the heavy packages a fresh process has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", list(modules()))
def test_only_the_rooms_that_may_import_torch_or_streamlit_do(module):
    allowed = set()
    if module in WITH_TORCH:
        allowed = {"torch", "transformers"}
    if module.startswith("attnviz.page"):
        allowed = {"streamlit"}
    assert imported_by(f"import {module}") <= allowed


def test_importing_attnviz_loads_nothing_heavy_until_a_name_is_used():
    assert imported_by("import attnviz") == set()
    assert imported_by("import attnviz; attnviz.trace") >= {"torch", "transformers"}
    views = "attnviz.steps_view; attnviz.neuron_view; attnviz.show"
    assert imported_by(f"import attnviz; {views}") == set()


def test_the_page_imports_only_streamlit_and_attnviz():
    lines = (ROOT / "streamlit_app.py").read_text().splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert imports
    for line in imports:
        assert line.split()[1].split(".")[0] in ("streamlit", "attnviz"), line


def test_every_public_name_is_there():
    import attnviz

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


def test_the_project_takes_its_dependencies_from_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {
        "file": ["requirements.txt"]
    }
    pinned = [
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all("==" in line for line in pinned)
