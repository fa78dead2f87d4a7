"""What the page does before a visitor sees it, counted in a fresh process."""

import json
import subprocess
import sys

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.process

# What the page imports beyond streamlit, torch, transformers, altair and what those import.
ITS_OWN = {"array_api_compat", "attnviz", "cachetools", "jaxtyping", "pandas", "vl_convert"}
OF_PANDAS = {"cloudpickle", "dateutil", "pyarrow"}
BARE = """
import json, sys
import altair, streamlit, torch
from transformers import AutoModel, AutoTokenizer, BertModel
print(json.dumps(list(sys.modules)))
"""


@pytest.fixture(scope="module")
def opened_and_bare():
    """What the page does when it opens, and what is imported by the libraries alone."""
    given = dict(cwd=ROOT, stdout=subprocess.PIPE, text=True)
    processes = [
        subprocess.Popen([sys.executable, *arguments], **given)
        for arguments in (("-m", "tests.support.opening"), ("-c", BARE))
    ]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(line) for line in printed]


@pytest.fixture(scope="module")
def first(opened_and_bare):
    return opened_and_bare[0]["first"]


@pytest.fixture(scope="module")
def again(opened_and_bare):
    return opened_and_bare[0]["again"]


@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_the_frame_is_sent_before_torch_is_imported(first, module):
    sent = first["events"][: first["events"].index(f"import {module}")]
    for element in ("heading attnviz", "text_area Text", "selectbox Model", "button Reset"):
        assert element in sent


def test_imports_are_not_interrupted_to_look_for_garbage(first):
    assert first["counts"]["searches"] < 50  # 1,190 as Python does it by itself


def test_no_chart_is_checked_while_a_visitor_waits(first):
    assert first["counts"]["parts of charts built"] > 0
    assert first["counts"]["charts checked"] == 0


def test_nothing_is_imported_that_the_first_picture_does_without(first, opened_and_bare):
    _, bare = opened_and_bare
    known = {module.partition(".")[0] for module in bare} | sys.stdlib_module_names
    imported = {module.partition(".")[0] for module in first["modules"]}
    assert {name for name in imported - known if name[0] != "_"} <= {*ITS_OWN, *OF_PANDAS, "tests"}
    later = (
        "attnviz.export.notebook",
        "IPython",
        "sklearn",
        "matplotlib",
        "datasets",
        "torchvision",
    )
    assert not {*later} & {*first["modules"]}


def test_the_next_visitor_waits_for_no_import_no_load_no_model_and_no_chart(first, again):
    assert again["counts"] == {}
    assert not [event for event in again["events"] if event.startswith("import ")]
    assert again["modules"] == first["modules"]
    assert len(again["events"]) > 45
