"""What the page uses of Streamlit beyond its reference is still there."""

import inspect
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit import runtime
from streamlit.runtime import Runtime

from attnviz.page import compat


@cache
def scripts():
    """All that Streamlit runs in a browser."""
    folder = Path(st.__file__).parent / "static" / "static" / "js"
    return "".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.js")))


@pytest.mark.parametrize(
    ("used", "name"),
    [
        (compat.CHART, "stVegaLiteChart"),
        (compat.ALERT, "stAlert"),
        (compat.CAPTION, "stCaptionContainer"),
        (compat.COLUMN, "stColumn"),
        (compat.ELEMENT, "stElementContainer"),
        (compat.HEADER, "stHeader"),
        (compat.LAYOUT, "stLayoutWrapper"),
        (compat.MAIN, "stMainBlockContainer"),
        (compat.SIDEBAR, "stSidebar"),
        (compat.SIDEBAR_TOP, "stSidebarHeader"),
        (compat.TABS, "stTabs"),
        (compat.TOOLBAR, "stElementToolbar"),
        (compat.BUTTON_LABEL, "stMarkdownContainer"),
        (compat.CODE_TOOLBAR, "stElementToolbarButton"),
        (compat.keyed("a"), "st-key-"),
        (compat.keyed_like("a"), "st-key-"),
    ],
)
def test_the_document_has_the_names_that_styles_and_scripts_look_for(used, name):
    assert name in used
    assert f"`{name}" in scripts()


def test_the_address_is_written_by_what_is_replaced_for_one_entry_an_action():
    for name in ("pushState", "replaceState"):
        assert f"window.history.{name}(" in scripts()


def test_one_style_is_of_all_keys_that_begin_alike():
    assert compat.keyed_like("a_", "b_") == ":is([class*=st-key-a_], [class*=st-key-b_])"


def test_a_container_is_what_places_on_the_page_are_said_to_be():
    assert isinstance(st.container(), compat.DeltaGenerator)


def test_there_is_one_place_for_uploads_with_the_names_that_are_used(monkeypatch):
    manager = compat.MemoryUploadedFileManager("upload")
    assert isinstance(Runtime.uploaded_file_mgr, property)
    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime, "get_instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    assert compat.uploads() is manager
    parameters = inspect.signature(compat.MemoryUploadedFileManager.add_file).parameters
    assert [*parameters] == ["self", "session_id", "file"]
    assert [*inspect.signature(manager.remove_session_files).parameters] == ["session_id"]
    assert manager.file_storage == {}
    assert "data" in compat.UploadedFileRec.__annotations__
