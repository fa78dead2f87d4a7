"""Using attnviz changes nothing for anybody else in the process."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch

import attnviz
from tests.support.places import ROOT
from tests.support.process_state import state

SENTENCE = "time flies like an arrow"


@pytest.mark.process
def test_a_tour_of_all_that_is_public_leaves_a_process_as_it_was(tmp_path):
    command = [sys.executable, "-m", "tests.support.tour", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".pdf", ".png", ".npz"}


def state_here():
    """The state of the tests' process, where checks of shapes draw random numbers."""
    return {name: value for name, value in state().items() if name != "random numbers"}


def test_a_trace_leaves_a_process_as_it_was(minilm):
    attnviz.trace(*minilm, SENTENCE)  # whatever it imports
    before = state_here()
    assert attnviz.trace(*minilm, SENTENCE).head(0, 8).steps
    assert state_here() == before


def test_a_trace_that_fails_leaves_a_process_as_it_was(minilm):
    before = state_here()
    inputs = minilm[1](SENTENCE, return_tensors="pt")
    inputs["token_type_ids"] = inputs["token_type_ids"][:, :2]
    with pytest.raises(attnviz.UnsupportedModelError, match="stopped with"):
        attnviz.trace_inputs(minilm[0], inputs)
    assert state_here() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(torch.nn.Module, "__call__", lambda self: None),
        lambda patch: patch.setitem(ElementTree._namespace_map, "urn:a", "a"),
        lambda patch: patch.setenv("ATTNVIZ_ANYTHING", "1"),
        lambda patch: patch.setitem(torch.nn.modules.module._global_forward_hooks, 0, print),
    ],
)
def test_a_change_would_be_noticed(change, monkeypatch):
    before = state_here()
    change(monkeypatch)
    assert state_here() != before
