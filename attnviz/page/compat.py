"""What the page uses of Streamlit beyond what its reference promises.

Each name has a test in tests/page/test_compat.py that fails where an upgrade takes it away.
"""

from streamlit import runtime
from streamlit.delta_generator import DeltaGenerator as DeltaGenerator  # the type of containers
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


# Where things are in the document, as CSS and scripts find them

CHART = "[data-testid=stVegaLiteChart]"
MAIN = "[data-testid=stMainBlockContainer]"
HEADER = "[data-testid=stHeader]"
TABS, PANEL = "[data-testid=stTabs]", "[data-testid=stTabPanel]"
ELEMENT, COLUMN = "[data-testid=stElementContainer]", "[data-testid=stColumn]"
LAYOUT = "[data-testid=stLayoutWrapper]"
SIDEBAR = "[data-testid=stSidebar]"
SIDEBAR_TOP = "[data-testid=stSidebarHeader]"
ALERT = "[data-testid=stAlert]"
TOOLBAR = "[data-testid=stElementToolbar]"  # of a chart or a table, under the pointer
CAPTION = "[data-testid=stCaptionContainer]"
BUTTON_LABEL = "button [data-testid=stMarkdownContainer]"
CODE_TOOLBAR = "div:has([data-testid=stElementToolbarButton])"  # seen under the pointer alone


def keyed(key: str) -> str:
    """Whatever has this key."""
    return f".st-key-{key}"


def keyed_like(*beginnings: str) -> str:
    """Whatever has a key that begins like one of these."""
    return f":is({', '.join(f'[class*=st-key-{beginning}]' for beginning in beginnings)})"


def layout_of(selector: str) -> str:
    """The wrapper that Streamlit puts around a container."""
    return f"{LAYOUT}:has(> {selector})"
