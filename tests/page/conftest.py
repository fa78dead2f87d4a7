"""The page on a server of its own, for all tests that visit it without a browser."""

import pytest

from tests import load
from tests.support.serving import serving
from tests.support.watched_page import Diary

MOST_TOKENS = 40  # of a text there


@pytest.fixture(scope="session")
def diary(tmp_path_factory):
    """What that server writes down of what it computes."""
    return Diary(tmp_path_factory.mktemp("diary") / "diary")


@pytest.fixture(scope="session")
def server(tmp_path_factory, diary):
    """That server; what it allows is set in Streamlit's secrets file."""
    home = tmp_path_factory.mktemp("home")
    secrets = home / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text(f"ATTNVIZ_MAX_TOKENS = {MOST_TOKENS}\nATTNVIZ_ANY_HUB_MODEL = 1\n")
    settings = {"HOME": str(home), "ATTNVIZ_DIARY": str(diary.path)}
    with serving(home, program=load.WATCHED, **settings) as running:
        yield running
