"""Where things lie in this repository."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
PAGE = ROOT / "streamlit_app.py"
