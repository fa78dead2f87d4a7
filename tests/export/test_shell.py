"""The shell command of a screen, which draws the same screen."""

import shlex
from dataclasses import replace

import pytest

import attnviz
from attnviz.attention.filters import Filters
from attnviz.attention.what_if import Change
from attnviz.cli import options
from attnviz.cli.screen import screen_of
from attnviz.export.screen import Beside, Finding, Screen, opened
from attnviz.export.shell import command
from attnviz.heads.aligning import Alignment
from tests.conftest import SENTENCE

NAME = "sentence-transformers/all-MiniLM-L6-v2"
BY_HAND = Alignment(((0, 0), (5, 1)))


def shell_screen(written, trace):
    """The screen that the shell would draw."""
    program, *words = shlex.split(written)
    assert (program, *words[:2]) == ("python", "-m", "attnviz")
    asked = options.parsed(words[2:])
    assert asked.files == ["figure.svg"]
    return screen_of(asked, trace)


def of(view, **given):
    return Screen(NAME, SENTENCE, 5, 11, view, **given)


SCREENS = [
    of("steps", query=2, key=5),
    of("steps", query=2, key=5, convention="columns", large="window", display_mode="dark"),
    of(
        "steps",
        query=2,
        key=5,
        change=Change(temperature=2.0, hidden_keys=(1, 3), is_causal=False, scaling=0.5),
    ),
    of("neurons", query=4, key=1, is_expanded=False, is_asked=True),
    of(
        "neurons",
        query=2,
        key=5,
        filters=Filters(special=True, hidden_keys=(3,), hidden_queries=(3,), renormalise=True),
    ),
    of("heads", query=2, key=5, heads=(3, 5)),
    of("heads", query=2, key=5, focus="key"),
    of("model", measure="distance", is_by_measure=True, filters=Filters(words=True)),
    of("find", query=2, key=5, find=Finding(texts=("an arrow flies", "it's time"))),
    of("find", query=2, key=5, find=Finding("measures", x="self", size="entropy")),
    of("compare", query=2, key=5, beside=Beside(text="fruit flies", layer=0)),
    of("compare", query=2, key=5, beside=Beside(head=3, queries=BY_HAND, keys=BY_HAND)),
]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda one: one.view)
def test_it_draws_the_screen_that_it_was_made_of(sentence_trace, screen):
    screen = replace(screen, revision=sentence_trace.revision)
    drawn = shell_screen(command(screen, sentence_trace), sentence_trace)
    assert drawn == (screen if screen.view == "heads" else replace(screen, focus=drawn.focus))


@pytest.mark.parametrize(
    "text", ["--dark", "-1", 'it\'s "quoted"', "a\n\tb $HOME `ls`", "光陰矢の如し"]
)
def test_any_text_is_one_word_of_the_command(minilm, text):
    trace = attnviz.trace(*minilm, text)
    screen = Screen(NAME, text, 0, 8, revision=trace.revision)
    assert shell_screen(command(screen, trace), trace) == screen


def test_a_dash_alone_is_a_text_and_not_standard_input(minilm):
    screen = Screen(NAME, "-", 0, 8)
    written = command(screen, attnviz.trace(*minilm, "-"))
    assert written == "printf %s - | python -m attnviz - --layer 0 --head 8 -o figure.svg"


def test_the_part_of_a_long_text_that_is_shown_is_named(minilm):
    text = f"{SENTENCE} " * 20
    trace = attnviz.trace(*minilm, text)
    given = {"model": NAME, "text": text, "view": "neurons", "query": 45, "key": 3}
    screen = replace(opened(given, trace), revision=trace.revision)
    assert "--first" not in command(screen, trace)
    moved = replace(screen, first_query=20)
    assert shell_screen(command(moved, trace), trace) == moved


def test_it_says_no_more_than_it_has_to(sentence_trace):
    screen = of("steps", query=2, revision=sentence_trace.revision)
    assert command(screen, sentence_trace) == (
        f"python -m attnviz '{SENTENCE}' --layer 5 --head 11 --query 2 -o figure.svg"
    )
