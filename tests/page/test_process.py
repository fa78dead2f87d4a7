"""What the page sets for its process: its script alone does it, no import of what is behind it."""

import ctypes
import gc
import os
import runpy

import pytest

from attnviz.models import compat
from attnviz.page.service import process

WAITING = "OMP_WAIT_POLICY"


@pytest.fixture
def done(monkeypatch):
    """What is done to the process, in order, instead of doing it."""
    done = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: done.append("garbage"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: done.append("malloc"))
    monkeypatch.setattr(compat, "prepare_process", lambda: done.append("hub"))
    monkeypatch.setenv(WAITING, "as before")  # restored afterwards
    monkeypatch.delenv(WAITING)
    return done


def test_importing_it_and_loading_without_the_page_change_nothing(done):
    imported = runpy.run_path(process.__file__)
    imported["import_torch"]()
    assert done == []
    assert WAITING not in os.environ


def test_the_page_prepares_its_process_once_before_torch(done):
    imported = runpy.run_path(process.__file__)
    for _ in range(2):
        imported["prepare"]()
    assert os.environ[WAITING] == "PASSIVE"
    imported["import_torch"]()
    assert done == ["malloc", "garbage", "hub", "freeze"]
