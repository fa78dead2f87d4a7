"""Offline before anything is imported, and shapes checked at run time."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

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

import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.charts.parts import figure
from attnviz.models import loader
from attnviz.page.service import loading
from tests.support import notebooks
from tests.support.places import PAGE

figure.IS_CHECKED = True

SENTENCE = "time flies like an arrow"
N_ON_GPU = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def minilm():
    """The bundled model and its tokenizer."""
    return attnviz.load()


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
        f"attnviz.show(model, tokenizer, {SENTENCE!r})",
        f"attnviz.show(model, tokenizer, {SENTENCE!r}, display_mode='dark')",
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
    if "hostile" in sys.modules and (counts := sys.modules["hostile"].COUNTS):
        whole = sum(n for name, n in counts.items() if "page" in name)
        terminalreporter.write_line(
            f"Hostile input: {sum(counts.values()):,} cases, {whole:,} of them the whole page."
        )
