"""Offline before anything is imported, and shapes checked at run time."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

from jaxtyping import install_import_hook

# Every annotated shape of the maths and of the results is held in all tests.
_hook = install_import_hook(
    ["attnviz.attention", "attnviz.charts.blocks", "attnviz.results", "attnviz.steps"],
    "beartype.beartype",
)
_hook.__enter__()

import pytest

import attnviz

SENTENCE = "time flies like an arrow"


@pytest.fixture(scope="session")
def minilm():
    """The bundled model and its tokenizer."""
    return attnviz.load()


@pytest.fixture(scope="session")
def sentence_trace(minilm):
    """The trace of the sentence that attnviz starts from."""
    return attnviz.trace(*minilm, SENTENCE)
