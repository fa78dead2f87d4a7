"""What the page uses of Streamlit beyond what its reference promises.

Each name has a test in tests/page that says what breaks where an upgrade takes it away.
"""

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import (
    MemoryUploadedFileManager as MemoryUploadedFileManager,
)
from streamlit.runtime.uploaded_file_manager import UploadedFileRec as UploadedFileRec

# What visitors upload


def uploads() -> MemoryUploadedFileManager | None:
    """Where this process keeps what is uploaded; None in a test of the page without a server.

    It has `add_file(session_id, file)`, `remove_session_files(session_id)` and, of those who have
    a file, `file_storage`.
    """
    manager = runtime.get_instance().uploaded_file_mgr if runtime.exists() else None
    return manager if isinstance(manager, MemoryUploadedFileManager) else None
