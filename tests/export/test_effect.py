"""Effect in files, code, notebooks and the shell: the same numbers as those of the model asked."""

import json
import shlex

import pandas as pd
import pytest

import attnviz
from attnviz import effect
from attnviz.cli import main as shell
from attnviz.cli import options
from attnviz.cli.screen import screen_of
from attnviz.export import code
from attnviz.export.asking import asked
from attnviz.export.captions import caption
from attnviz.export.screen import Asking, Screen, drawn
from attnviz.export.shell import command
from attnviz.models import loader
from tests.support.saying import both_of, saying, tokenizer

TEXT = "time flies like an arrow"
PATCH = "time flew like an arrow"
QUESTIONS = [
    Asking(),
    Asking(token="arrow", position=3),
    Asking(patch=PATCH),
    Asking(all_heads=True, token="arrow"),
]


@pytest.fixture(scope="module")
def loaded():
    return saying("gpt2"), tokenizer()


@pytest.fixture(scope="module")
def trace(loaded):
    return attnviz.trace(*loaded, TEXT)


@pytest.fixture
def run(monkeypatch, capsys, loaded):
    """Runs the command on that model: its status, and what it printed."""
    monkeypatch.setattr(loader, "load", lambda *given, **options: loaded)

    def ran(*arguments):
        return shell.main([TEXT, *map(str, arguments)]), *capsys.readouterr()

    return ran


def screen(asking, **changes):
    return Screen("m", TEXT, 1, 2, "effect", effect=asking, **changes)


@pytest.mark.parametrize("asking", QUESTIONS)
def test_generated_code_draws_what_the_screen_shows(asking, loaded, trace, monkeypatch):
    monkeypatch.setattr(attnviz, "load", lambda *given: loaded, raising=False)
    of = screen(asking)
    names = {}
    exec(code.script(of, None).rpartition("\n")[0].rpartition("\nchart")[0], names)
    chart = names["chart"].to_dict()
    assert chart == drawn(of, trace, asked(of, *loaded)).to_dict()


@pytest.mark.parametrize("asking", QUESTIONS)
def test_the_shells_command_asks_the_same(asking, trace):
    _, _, _, *words = shlex.split(command(screen(asking), trace))
    given = options.parsed(words)
    again = screen_of(given, trace)
    assert again.effect == asking
    assert (again.view, again.layer, again.head) == ("effect", 1, 2)


def test_a_notebook_shows_the_same(loaded, monkeypatch):
    small = attnviz.effect_view(both_of())
    given = []
    monkeypatch.setattr("attnviz.export.notebook.drawn", lambda *of: given.append(of) or small)
    attnviz.show(*loaded, TEXT, 1, 2, view="effect", token="arrow", position=3)
    [(of, _, more)] = given
    found = effect.without(*loaded, TEXT, [(1, 2)], token="arrow", position=3)
    assert of.effect == Asking(token="arrow", position=3)
    pd.testing.assert_frame_equal(more.effect, found.both)


def test_the_shell_says_what_becomes_of_the_token_and_prints_both_probabilities(run, loaded):
    found = effect.without(*loaded, TEXT, [(1, 2)])
    status, said, told = run("--view", "effect", "--layer", 1, "--head", 2)
    assert (status, told) == (0, "")
    assert f"Without layer 1, head 2, {found.token} " in said
    assert "This is the total effect" in " ".join(said.split())
    assert f"{found.both['after'][1]:.4f}" in said


def test_the_shell_gives_all_of_it_as_json_and_every_head_as_a_table(run, loaded, tmp_path):
    file = tmp_path / "heads.csv"
    asked = ("--view", "effect", "--layer", 1, "--head", 2, "--token", "arrow")
    status, said, _ = run(*asked, "--json")
    found = effect.without(*loaded, TEXT, [(1, 2)], token="arrow")
    document = json.loads(said)
    assert status == 0
    assert document["answer"]["change"] == pytest.approx(found.change, abs=1e-6)
    assert document["rows"][0]["after"] == pytest.approx(found.both["after"][0], abs=1e-6)
    assert run(*asked, "--all-heads", "-o", file, "-o", tmp_path / "a.html")[0] == 0
    table = effect.sweep(*loaded, TEXT, token="arrow")
    written = pd.read_csv(file)
    assert written["change"].to_list() == pytest.approx(table["change"].to_list(), abs=1e-5)
    assert (tmp_path / "a.html").read_text().count('class="chart"') >= 2


def test_filters_are_refused_and_the_caption_says_what_was_done(run, trace):
    status, _, told = run("--view", "effect", "--hide-special")
    assert status == 1
    assert "Effect runs the whole model" in told
    words = caption(screen(Asking(patch=PATCH, token="arrow", position=3)), trace)
    assert f"The head is patched with “{PATCH}” (total effect)." in words
    assert "Position 3 answers." in words
    assert "Followed: arrow." in words
    assert "head 2" not in caption(screen(Asking(all_heads=True)), trace)
