"""The page from a shell: `attnviz page`, with Streamlit's own options."""

import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from attnviz.text import packages

INTERRUPTED = 130  # as shells count signals: 128 and its number


def start(options: Sequence[str] = ()) -> int | str:
    """Serve the page until it is interrupted; a sentence where its packages are not installed.

    Streamlit ends the process itself, once it is told to stop or for an option it does not know.
    """
    for package in ("streamlit", "cachetools"):
        if find_spec(package) is None:
            return packages.without_extra("page", "The page", package)
    sys.argv = ["streamlit", "run", str(script()), *options]
    try:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before it serves
        return INTERRUPTED
    return 0


def script() -> Path:
    """What Streamlit runs, beside its settings in `.streamlit`: of the wheel, or of the clone."""
    room = Path(__file__).parent
    installed = room / "script" / "streamlit_app.py"
    return installed if installed.exists() else room.parents[1] / "streamlit_app.py"
