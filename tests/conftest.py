"""Offline before anything is imported, and shapes checked at run time."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several workers wait for one another

from jaxtyping import install_import_hook

# Every annotated shape of the maths and of the results is held in all tests.
_hook = install_import_hook(
    [
        "attnviz.attention.maths",
        "attnviz.charts.parts.blocks",
        "attnviz.attention.call",
        "attnviz.attention.head",
        "attnviz.attention.replay",
        "attnviz.attention.steps",
        "attnviz.attention.trace",
    ],
    "beartype.beartype",
)
_hook.__enter__()

import functools

import pytest
from hypothesis import settings
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, local_script_runner

import attnviz
from attnviz.charts.parts import figure
from attnviz.models import bundled, loader
from attnviz.page.service import loading
from tests.support import notebooks
from tests.support.places import PAGE

SENTENCE = "time flies like an arrow"
N_ON_GPU = pytest.StashKey[int]()
EVERY_DAY = "not (browser or process or long)"  # as pyproject.toml has it
THE_REST = "bash .ci/run runs everything; CONTRIBUTING.md says how to run a part of it"
# What only the rest needs, which is thus not there every day, whether it is installed or not.
NOT_EVERY_DAY = ("datasets", "ipykernel", "nbclient", "nbconvert", "playwright", "ray")

# An AppTest looks for components in all that is installed, which takes longer than the page, and
# compiles the script for each run.
manifest_scanner.scan_component_manifests = functools.cache(
    manifest_scanner.scan_component_manifests
)
local_script_runner.ScriptCache = functools.cache(ScriptCache)
settings.register_profile("whole")  # with as many drawn cases as `cases` says


@pytest.fixture(scope="session")
def minilm():
    """The bundled model and its tokenizer."""
    return attnviz.load()


@pytest.fixture(scope="session")
def smollm2():
    """The decoder that comes in a package, and its tokenizer."""
    return attnviz.load(bundled.DECODER)


@pytest.fixture(scope="session")
def sentence_trace(minilm):
    """The trace of the sentence that attnviz starts from."""
    return attnviz.trace(*minilm, SENTENCE)


@pytest.fixture(scope="session")
def shown_in_notebook(tmp_path_factory):
    """What a notebook was given to show for that sentence, for each display: MIME type → data."""
    loaded, *shown = notebooks.results(
        tmp_path_factory.mktemp("notebook"),
        "import attnviz; model, tokenizer = attnviz.load()",
        f"attnviz.show(model, tokenizer, {SENTENCE!r}, layer=0, head=8)",
        f"attnviz.show(model, tokenizer, {SENTENCE!r}, layer=0, head=8, display_mode='dark')",
    )
    assert loaded is None
    return dict(zip(("light", "dark"), shown, strict=True))


@pytest.fixture
def page():
    return AppTest.from_file(PAGE, default_timeout=60)


@pytest.fixture
def offering(monkeypatch, page):
    """The page with these models on its list instead of its own."""

    def offer(*names):
        monkeypatch.setenv("ATTNVIZ_MODELS", ",".join(map(str, names)))
        loading.model.cache_clear()
        loading.trace.cache_clear()
        return page

    yield offer
    loading.model.cache_clear()
    loading.trace.cache_clear()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """In the whole run every structure is held to Vega-Lite's schema, which takes seconds each."""
    figure.IS_CHECKED = settings.get_current_profile_name() == "whole"
    if config.option.markexpr == EVERY_DAY:
        sys.modules.update(dict.fromkeys(NOT_EVERY_DAY))


def pytest_ignore_collect(collection_path, config):
    """What drives a browser is not even imported every day: it needs what only the rest needs."""
    is_every_day = config.option.markexpr == EVERY_DAY
    return True if is_every_day and collection_path.name == "browser" else None


def pytest_collection_modifyitems(config, items):
    """Tests that need a GPU are no part of a run where there is none."""
    if loader.devices() != ("cpu",):
        return
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if item not in on_gpu]
        config.stash[N_ON_GPU] = len(on_gpu)


def pytest_terminal_summary(terminalreporter, config):
    if n := config.stash.get(N_ON_GPU, 0):
        terminalreporter.write_line(f"No GPU here: {n} tests that need one were deselected.")
    if config.option.markexpr == EVERY_DAY:
        terminalreporter.write_line(f"These were the tests of every day. {THE_REST}.")
