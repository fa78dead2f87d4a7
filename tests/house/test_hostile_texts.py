"""Hostile texts, labels and links: nothing fails, nothing becomes markup or an expression."""

import dataclasses
import functools
import json
import re
from xml.etree import ElementTree

import pytest
import vl_convert
from hypothesis import strategies as st

import attnviz
from attnviz.attention import filters
from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import effect, sentence
from attnviz.attention.steps import steps_of
from attnviz.charts.dimensions import dimensions_chart
from attnviz.charts.heads import heads_figure, takeaway
from attnviz.charts.matrix import matrix_chart
from attnviz.charts.neurons import neurons_figure
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import window
from attnviz.charts.row import row_chart
from attnviz.charts.scaling import entropy_chart
from attnviz.charts.shares import shares_chart
from attnviz.charts.strips import strips_chart
from attnviz.page.controls import links
from attnviz.page.views import heads, one_step, what_if, why_scale
from attnviz.text.characters import shown
from attnviz.text.errors import AttnvizError
from attnviz.text.phrases import escaped, plain, token, token_at
from attnviz.text.tokenizing import encode
from tests.support import hand_made
from tests.support.hostile import (
    DECLARED,
    JOINER,
    SNIPPETS,
    bundled,
    cases,
    labels,
    markup_of,
    text_of,
    texts,
)
from tests.support.tiny_models import byte_level_tokenizer

N = 4  # tokens of the heads below
NAMES = st.lists(labels(), min_size=N, max_size=N).map(tuple)


def harmless(names):
    """Other names, as long as these and as often alike, in which there is nothing to read."""
    letters = {name: letter for letter, name in zip("abcd", dict.fromkeys(names), strict=False)}
    return tuple(letters[name] * len(name) for name in names)


# Words


@cases(2_000, text=texts())
def test_any_text_is_shown_as_it_was_typed(text):
    markdown = f"“{escaped(text)}”"
    assert text_of(markdown) == f"“{shown(text)}”"
    assert markup_of(markdown) == set()
    assert plain(escaped(text)) == shown(text)


@cases(1_300, names=st.lists(labels(), min_size=2, max_size=3))
def test_a_token_is_italic_and_nothing_else(names):
    one, other = names[:2]
    for markdown, said in (
        (f"{token(one)} gives {token(other)} **3**", f"{one} gives {other} 3"),
        (f"**The weights of {token(one)}**", f"The weights of {one}"),
        (f"From {token_at(names, 0)}; to {token(other)}: x, {token(one)}.", None),
    ):
        if said is not None:
            assert text_of(markdown) == said
            assert plain(markdown) == said
        pieces = markup_of(markdown) - {("strong_open", ""), ("strong_close", "")}
        assert pieces <= {("italic", name) for name in names}
        assert ("italic", one) in pieces


@cases(
    1_000, asked=texts(), options=st.lists(labels(), min_size=1, max_size=10), place=st.integers(0)
)
def test_a_note_on_a_link_quotes_what_it_asked_for(asked, options, place):
    chosen = options[place % len(options)]
    assert links.note_on(chosen, "token", options, chosen) is None
    note = links.note_on(asked, "token", options, chosen)
    if asked in options:
        assert note is None
        return
    assert markup_of(note) == set()
    assert f"“{shown(asked[:80])}”" in text_of(note)
    assert f"Shown instead: {chosen}." in text_of(note)


@cases(
    500,
    asked=st.one_of(texts(), st.floats().map(repr), st.integers().map(str)),
    ends=st.sampled_from([what_if.FACTORS, what_if.TEMPERATURES]),
)
def test_a_number_in_a_link_is_one_that_can_be_computed_with(asked, ends):
    if links.is_between(asked, *ends):
        assert ends[0] <= float(asked) <= ends[1]


# Tokens


@functools.cache
def byte_level():
    """A tokenizer that keeps every byte of a text."""
    return byte_level_tokenizer("time flies like an arrow -- <b>")


SIGNS = str.maketrans("␣↵⇥", " \n\t")


def as_bytes(label):
    """A label with every character spelled as its bytes, however it was written."""
    named = re.sub(r"<U\+([0-9A-F]{4,6})>", lambda found: chr(int(found[1], 16)), label)
    spelled = re.split(r"<0x([0-9A-F]{2})>", named.translate(SIGNS))
    return b"".join(
        bytes.fromhex(part) if place % 2 else part.encode() for place, part in enumerate(spelled)
    )


@cases(500, text=texts(st.characters(exclude_categories=("Cs",))))
def test_the_tokens_joined_are_the_text(text):
    if not text.strip() or re.search("<0x|<U|<end>|[␣↵⇥]", text):
        return
    _, read = encode(byte_level(), text)
    assert as_bytes("".join(read.labels)) == text.encode()


def outcome(function):
    """What a function gives, or the sentence with which it refuses."""
    try:
        return function(), None
    except AttnvizError as error:
        return None, str(error)


@cases(500, text=texts(), pair=st.one_of(st.none(), texts()))
def test_a_text_is_read_or_refused_in_a_sentence(text, pair):
    read, refusal = outcome(lambda: encode(bundled()[1], text, pair)[1])
    if read is None:
        assert len(refusal) < 1_200
        assert markup_of(escaped(refusal)) == set()
        return
    for name in (*read.labels, *read.in_words().labels):
        assert name == shown(name) != ""
        assert name == name.strip()
    assert " " not in "".join(read.labels)


@cases(30, text=texts())
def test_a_text_is_traced_or_refused_in_a_sentence(text):
    trace, refusal = outcome(lambda: attnviz.trace(*bundled()[:2], text, max_tokens=64))
    if trace is None:
        assert "\n\nHint: " in refusal
        return
    assert trace.head(0, 8).is_exact
    assert trace.tokens == encode(bundled()[1], text)[1].labels


# Sentences about tokens


def sentences_of(names, seed):
    head = hand_made.random_head(N, N, seed=seed, causal=True, queries=names, keys=names)
    for step in steps_of(head):
        yield sentence(head, step, 2, 1)
        yield arithmetic(head, step, 2, 1) or ""
    changed = attnviz.what_if(head, hidden_keys=[1])
    yield effect(head, changed, 2)
    yield why_scale.without_scaling(head, 2)
    yield one_step.nearest_values(head, 2)


@cases(100, names=NAMES, seed=st.integers(0, 5))
def test_sentences_say_the_same_of_any_token(names, seed):
    others = harmless(names)
    for said, harmlessly in zip(sentences_of(names, seed), sentences_of(others, seed), strict=True):
        renamed = {("italic", others[names.index(name)]) for name in names}
        own = markup_of(harmlessly) - renamed
        assert markup_of(said) - own <= {("italic", name) for name in names}
        assert len(text_of(said)) == len(text_of(harmlessly))


# Charts

# Where a chart keeps what is typed: constants, data, and what is written as it stands.
LITERAL = {"value", "values", "text", "subtitle", "description", "labels"}


def structure_of(part, key=""):
    """A specification without what is only shown; all else may be an expression."""
    if key == "datasets":
        return {}
    if key in LITERAL and not (isinstance(part, dict) and {"expr", "signal"} & part.keys()):
        return type(part).__name__ if key != "text" or isinstance(part, (str, list)) else "text"
    if isinstance(part, dict):
        return {name: structure_of(value, name) for name, value in part.items() if name != "name"}
    if isinstance(part, list) and key == "domain":
        return ["…" if isinstance(value, str) else structure_of(value) for value in part]
    if isinstance(part, list):
        return [structure_of(value) for value in part]
    return part


def expressions_of(part):
    """Every string of a specification that Vega evaluates."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in EVALUATED and isinstance(value, str):
                yield value
            yield from expressions_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from expressions_of(value)


EVALUATED = ("expr", "calculate", "test", "labelExpr", "signal", "filter", "toggle", "on", "clear")


def figures_of(names, seed):
    head = hand_made.random_head(
        *(N, N), seed=seed, causal=seed == 0, queries=names, keys=names, sink_logit=0.5
    )
    for step in steps_of(head):
        yield matrix_chart(head, step, Pair(2, 1), reports_clicks=True)
        yield row_chart(head, step, 2)
    yield shares_chart(head, 2, 1)
    yield dimensions_chart(head, 2, 1)
    yield neurons_figure(head, window(N, N), 2, 1)


def charts_of(names):
    """Those that Altair builds anew each time, which takes it a while."""
    head = hand_made.random_head(N, N, queries=names, keys=names)
    yield entropy_chart(head, 2)
    rows = {"before": head.weights[2], "after": head.weights[1]}
    yield strips_chart(rows, names, column_title="key token", value_title="weight")


def holds_the_same_expressions(chart, harmlessly):
    specification, other = chart.to_dict(), harmlessly.to_dict()
    json.dumps(specification, allow_nan=False)
    are_the_same = list(expressions_of(specification)) == list(expressions_of(other))
    return are_the_same and structure_of(specification) == structure_of(other)


@cases(120, names=NAMES, seed=st.integers(0, 1))
def test_a_token_is_never_part_of_an_expression(names, seed):
    others = harmless(names)
    for pair in zip(figures_of(names, seed), figures_of(others, seed), strict=True):
        assert holds_the_same_expressions(*pair)


@cases(8, names=NAMES)
def test_a_token_is_never_part_of_an_expression_of_a_chart(names):
    for pair in zip(charts_of(names), charts_of(harmless(names)), strict=True):
        assert holds_the_same_expressions(*pair)


def renamed(trace, names):
    """A trace whose tokens are called otherwise."""
    return dataclasses.replace(
        trace,
        calls={
            key: dataclasses.replace(
                call,
                query_tokens=call.query_tokens.relabelled(names),
                key_tokens=call.key_tokens.relabelled(names),
            )
            for key, call in trace.calls.items()
        },
    )


@cases(100, names=st.lists(labels(), min_size=7, max_size=7).map(tuple), is_in_words=st.booleans())
def test_a_token_is_never_part_of_an_expression_of_a_trace(names, is_in_words):
    letters = {name: letter for letter, name in zip("abcdefg", dict.fromkeys(names), strict=False)}
    figures = []
    for called in (names, tuple(letters[name] * len(name) for name in names)):
        trace = filters.hide_tokens(renamed(bundled()[2], called), [2])
        call = (filters.in_words(trace) if is_in_words else trace).layer(2)
        shown_all = window(len(call.query_tokens), len(call.key_tokens))
        figures.append(heads_figure(call, 2, shown_all, None, "query", 1, 2))
    assert holds_the_same_expressions(*figures)
    call = renamed(bundled()[2], names).layer(2)
    assert names[1] in takeaway(call, 2, 1, 2)
    said = markup_of(heads.who_links(call, 2, 1, 2, [0, 3]))
    assert {text for kind, text in said if kind == "italic"} == {names[1], names[2]}


@cases(6, names=NAMES)
def test_a_picture_draws_tokens_as_text_alone(names):
    names = tuple(name[:8] for name in names)
    drawings = []
    for called in (names, harmless(names)):
        head = hand_made.random_head(N, N, queries=called, keys=called)
        figure = neurons_figure(head, window(N, N), 2, 1).to_dict() | {"width": 960}
        drawings.append(ElementTree.fromstring(vl_convert.vegalite_to_svg(figure)))
    drawn, harmlessly = drawings
    for what in (lambda part: [part.tag], lambda part: part.attrib):
        assert {name for part in drawn.iter() for name in what(part)} == {
            name for part in harmlessly.iter() for name in what(part)
        }
    said = [part.text or "" for part in drawn.iter() if part.tag.endswith("text")]
    for name in names:
        assert any(name == text or name.startswith(text.removesuffix("…")) for text in said if text)


def test_what_a_token_is_called_would_be_found_in_an_expression():
    head = hand_made.random_head(2, 2, queries=("a", "b"), keys=("a", "b"))
    specification = shares_chart(head, 0).to_dict()
    careless = json.loads(
        json.dumps(specification).replace("share_tokens[share_rows", "'evil'[share_rows")
    )
    assert list(expressions_of(careless)) != list(expressions_of(specification))
    assert structure_of(careless) != structure_of(specification)


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if markup_of(f"x {s} y")])
def test_a_snippet_that_is_not_escaped_is_markup(snippet):
    assert markup_of(f"x {escaped(snippet)} y") == set()


def test_the_parser_finds_each_kind_of_markup():
    found = {kind for snippet in SNIPPETS for kind, _ in markup_of(f"x {snippet} y")}
    assert found >= {
        *("html_inline", "link_open", "image", "italic", "strong_open", "code_inline"),
        *("math", "directive", "read twice"),
    }
    assert JOINER not in "".join(text_of(f"x {escaped(s)}") for s in SNIPPETS)


def test_these_are_five_thousand_cases():
    assert sum(DECLARED.values()) >= 5_000
