"""A bound on what visitors can make this process keep by uploading it.

Streamlit limits the size of a file, not how many a visitor sends to it, whether the page asked for
one or not.
"""

import threading

from attnviz.page import compat

MOST_BYTES = 64 * 10**6  # of all visitors' files together
_lock = threading.Lock()


def bound() -> None:
    """Hold this process to it from now on."""
    manager = compat.uploads()
    if manager is not None and "add_file" not in vars(manager):
        limit(manager)


def limit(manager: compat.MemoryUploadedFileManager, most_bytes: int = MOST_BYTES) -> None:
    """Let each visitor keep one file, their last; where all take too much, the oldest go."""
    add_file = manager.add_file
    kept: dict[str, int] = {}  # the bytes of each visitor's file, the oldest first

    def add_the_last(session_id: str, file: compat.UploadedFileRec) -> None:
        with _lock:
            for gone in [known for known in kept if known not in manager.file_storage]:
                del kept[gone]
            manager.remove_session_files(session_id)
            kept.pop(session_id, None)
            while kept and sum(kept.values()) + len(file.data) > most_bytes:
                oldest = next(iter(kept))
                manager.remove_session_files(oldest)
                del kept[oldest]
            kept[session_id] = len(file.data)
            add_file(session_id, file)

    manager.add_file = add_the_last  # type: ignore[method-assign]
