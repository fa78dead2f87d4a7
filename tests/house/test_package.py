"""attnviz as others get it: one version, all files and no more, and a page that starts anywhere."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import PurePosixPath

import pytest
import yaml

import attnviz
from attnviz import __main__ as command
from attnviz.page import starting
from tests.support import packaging
from tests.support.places import PAGE, ROOT

LEFT_OUT = {"__pycache__", "left.pyc", "secrets.toml"}


def test_the_version_is_the_same_wherever_it_stands():
    changes = (ROOT / "CHANGELOG.md").read_text()
    cited = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", cited, re.MULTILINE) == [attnviz.__version__]
    assert re.findall(r"^## (.+)$", changes, re.MULTILINE)[0] == attnviz.__version__


# The word "page"


@pytest.fixture
def started(monkeypatch):
    """What Streamlit's own command would be given."""
    given = []
    monkeypatch.setattr("runpy.run_module", lambda *a, **k: given.append((a[0], *sys.argv)))
    return given


def test_the_word_page_alone_starts_the_page_with_streamlits_options(monkeypatch, started):
    monkeypatch.setattr(sys, "argv", ["attnviz", "page", "--server.port", "8502"])
    assert command.main() == 0
    assert started == [("streamlit", "streamlit", "run", str(PAGE), "--server.port", "8502")]


@pytest.mark.parametrize("before", [["--"], ["--head", "2", "--"], ["--layer", "1"]])
def test_the_word_page_behind_anything_else_is_a_text(monkeypatch, started, capsys, before):
    monkeypatch.setattr(sys, "argv", ["attnviz", *before, "page"])
    assert command.main() == 0
    assert "0 [CLS]  1 page  2 [SEP]" in capsys.readouterr().out.replace("\u00a0", " ")
    assert started == []


@pytest.mark.parametrize("missing", ["streamlit", "cachetools"])
def test_without_its_packages_the_page_says_how_they_are_installed(monkeypatch, started, missing):
    monkeypatch.setattr(starting, "find_spec", lambda name: None if name == missing else name)
    monkeypatch.setattr(sys, "argv", ["attnviz", "page"])
    assert command.main() == (
        f"The page needs the package {missing}, which is not installed."
        '\n\nHint: pip install "attnviz[page]"'
    )
    assert started == []


def test_an_interrupt_before_it_serves_has_the_status_that_shells_have_for_it(monkeypatch):
    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("runpy.run_module", interrupted)
    assert starting.start() == starting.INTERRUPTED


# What is built


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return packaging.built(tmp_path_factory.mktemp("built"))


def files_of(*folders):
    """All that lie in these folders of the repository, but caches and secrets."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not LEFT_OUT & {*path.parts} and path.suffix != ".pyc"
    }


@pytest.mark.process
def test_a_wheel_holds_the_package_the_page_and_the_licence_and_no_more(built):
    _, wheel = built
    holds = set(zipfile.ZipFile(wheel).namelist())
    about = f"attnviz-{attnviz.__version__}.dist-info"
    named = {name for name in holds if not name.startswith(f"{about}/")}
    page = {"streamlit_app.py", ".streamlit/config.toml"}
    assert named == files_of("attnviz") | {f"attnviz/page/script/{name}" for name in page}
    assert {"attnviz/py.typed"} <= named
    assert f"{about}/licenses/LICENSE" in holds
    for name in page:
        kept = zipfile.ZipFile(wheel).read(f"attnviz/page/script/{name}")
        assert kept == (ROOT / name).read_bytes()


@pytest.mark.process
def test_a_source_distribution_holds_all_that_builds_and_tests_it_and_no_caches(built):
    source, _ = built
    with tarfile.open(source) as archive:
        paths = [PurePosixPath(name) for name in archive.getnames()]
    holds = {path.relative_to(path.parts[0]).as_posix() for path in paths}
    folders = ("attnviz", "tests", "docs", ".ci", ".github", ".streamlit")
    at_top = {path.name for path in ROOT.iterdir() if path.suffix in (".md", ".txt", ".toml")}
    at_top |= {"LICENSE", "CITATION.cff", "setup.py", "streamlit_app.py", ".gitignore"}
    assert files_of(*folders) | at_top <= holds
    assert not [path for path in paths if LEFT_OUT & {*path.parts}]


# What is installed


@pytest.fixture(scope="module")
def package(built, tmp_path_factory):
    return packaging.installed(built[1], tmp_path_factory.mktemp("installed"))


@pytest.mark.process
def test_an_installed_package_shows_a_sentence_in_a_shell(package, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(package)}
    shown = [sys.executable, "-m", "attnviz", "time flies like an arrow", "--json"]
    done = subprocess.run(shown, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout)["is_exact"] is True
    assert not done.stderr


@pytest.mark.process
def test_the_page_of_an_installed_package_runs_anywhere_and_ends_quietly(package, tmp_path):
    with packaging.serving_page(package, tmp_path) as (server, process):
        page = urllib.request.urlopen(server.address).read()
        assert b"<html" in page
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    said = server.log.read_text()
    assert "Traceback" not in said
    assert server.address.rstrip("/") in said


# What is released


def test_only_what_was_built_and_tried_is_published_and_without_a_password():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert (jobs["test"]["needs"], jobs["publish"]["needs"]) == ("build", "test")
    assert [name for name in jobs if "permissions" in jobs[name]] == ["publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in text
    for name in ("test", "publish"):
        assert not [step for step in jobs[name]["steps"] if "checkout" in step.get("uses", "")]
