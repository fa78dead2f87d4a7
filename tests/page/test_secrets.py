"""Settings in Streamlit's secrets file are the settings of the page."""

from tests.support.serving import serving
from tests.support.visitors import run, visiting


def test_a_secrets_file_sets_what_the_environment_does(tmp_path):
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text("ATTNVIZ_MAX_TOKENS = 6\nATTNVIZ_ANY_HUB_MODEL = 1\n")

    async def look():
        async with visiting(server.address) as (visitor, first):
            return first, await visitor.choose(model="someone/else")

    with serving(tmp_path, HOME=str(tmp_path)) as server:
        first, other = run(look())
    assert len(first.errors) == 1
    assert "The text has 7 tokens, and at most 6 are shown here" in plain(first)
    assert "someone/else is not on this machine" in plain(other)


def plain(shown):
    return shown.errors[0].replace("\\", "").replace("\u2060", "")
