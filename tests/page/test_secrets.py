"""Settings in Streamlit's secrets file are the settings of the page."""

import pytest

from tests.page.conftest import MOST_TOKENS
from tests.support.visitors import run, visiting

pytestmark = pytest.mark.process


def test_a_secrets_file_sets_what_the_environment_does(server):
    async def look():
        async with visiting(server.address) as (visitor, first):
            return (
                first,
                await visitor.choose(text="word " * MOST_TOKENS),
                await visitor.choose(model="someone/else"),
            )

    first, longer, other = run(look())
    assert first.errors == []
    assert f"The text has {MOST_TOKENS + 2} tokens, and at most {MOST_TOKENS} are" in plain(longer)
    assert "someone/else is not on this machine" in plain(other)


def plain(shown):
    (error,) = shown.errors
    return error.replace("\\", "").replace("\u2060", "")
