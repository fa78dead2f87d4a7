"""What visitors can make the process keep by uploading."""

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from attnviz.page.service import uploads


@pytest.fixture
def manager():
    made = MemoryUploadedFileManager("/_stcore/upload_file")
    uploads.limit(made, most_bytes=100)
    return made


def upload(manager, session, name, n_bytes):
    manager.add_file(session, UploadedFileRec(name, f"{name}.npz", "", b"x" * n_bytes))


def kept(manager):
    return {
        session: {name: len(file.data) for name, file in files.items()}
        for session, files in manager.file_storage.items()
        if files
    }


def test_a_visitor_keeps_their_last_file_alone(manager):
    for place in range(20):
        upload(manager, "a", f"file{place}", 10)
    assert kept(manager) == {"a": {"file19": 10}}
    assert manager.get_files("a", ["file19"])[0].data == b"x" * 10
    assert manager.get_files("a", ["file0"]) == []


def test_all_visitors_together_keep_so_many_bytes_the_oldest_go(manager):
    for session in "abc":
        upload(manager, session, "f", 40)
    assert kept(manager) == {"b": {"f": 40}, "c": {"f": 40}}
    upload(manager, "b", "g", 10)  # the newest again
    upload(manager, "d", "f", 60)
    assert kept(manager) == {"b": {"g": 10}, "d": {"f": 60}}


def test_visitors_who_left_take_no_room(manager):
    upload(manager, "a", "f", 60)
    manager.remove_session_files("a")
    upload(manager, "b", "f", 40)
    upload(manager, "c", "f", 60)
    assert kept(manager) == {"b": {"f": 40}, "c": {"f": 60}}


def test_a_page_without_a_server_has_nothing_to_bound():
    uploads.bound()
