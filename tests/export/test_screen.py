"""What a screen is drawn as: each option where its view's function has it, and nothing else."""

import dataclasses
import inspect

import pytest

import attnviz
from attnviz.attention.filters import Filters
from attnviz.attention.what_if import Change
from attnviz.export.options import EVERY, OPTIONS
from attnviz.export.screen import (
    Asking,
    Beside,
    Finding,
    More,
    Screen,
    default_of,
    drawn,
    opened,
)
from attnviz.heads import Alignment
from tests.support.recorded import Drawing, record, same
from tests.support.saying import both_of, sweep_of

SENTENCE = "time flies like an arrow"
LOOK = {"layer": 3, "head": 5, "display_mode": "dark"}
FIRSTS = {"first_query": 1, "first_key": 2}
ALIGNED = {"queries": Alignment(((2, 3), (3, 4))), "keys": Alignment(((5, 1), (1, 5)))}
LESS = Filters(hidden_keys=(1,), hidden_queries=(0,))

# What is chosen of a view, and what its function is given beside the trace or its head.
CHOSEN = {
    "steps": ({"query": 2, "key": 5, "convention": "columns", "large": "window"}, {}),
    "neurons": (
        {"query": 2, "key": 5, "is_expanded": False, "is_sorted": True, "is_asked": True, **FIRSTS},
        {"query": 2, "key": 5, "expanded": False, "sort_dimensions": True, "asked": True, **FIRSTS},
    ),
    "heads": (
        {"query": 2, "key": 5, "heads": (1, 4), "focus": "key", "kind": "self", **FIRSTS},
        {
            "query": None,
            "key": 5,
            "heads": (1, 4),
            "framed": 5,
            "kind": "self",
            "layer": 3,
            **FIRSTS,
        },
    ),
    "model": (
        {"measure": "distance", "is_by_measure": True, "kind": "self"},
        {"measure": "distance", "is_sorted": True, "kind": "self", "layer": 3, "head": 5},
    ),
    "find": ({"query": 2, "key": 5}, {"kind": None, "layer": 3, "head": 5}),
    "compare": (
        {"query": 2, "key": 5, "beside": Beside(layer=1, head=2, **ALIGNED)},
        {"query": 0, "key": 0, "names": ("A", "B")},
    ),
}


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    record(monkeypatch)


@pytest.mark.parametrize("view", CHOSEN)
def test_a_view_is_given_what_the_screen_has(sentence_trace, view):
    chosen, given = CHOSEN[view]
    made = drawn(Screen("m", SENTENCE, view=view, **LOOK, **chosen), sentence_trace)
    head = sentence_trace.head(3, 5)
    other = sentence_trace.head(1, 2)
    of = {
        "steps": {"head": head, "step": None, **chosen},
        "neurons": {"head": head, **given},
        "heads": {"trace": sentence_trace, **given},
        "model": {"trace": sentence_trace, **given},
        "find": {"table": attnviz.heads.linking(sentence_trace, 2, 5), **given},
        "compare": {"difference": attnviz.heads.difference(head, other, **ALIGNED), **given},
    }[view]
    name = {"neurons": "neuron", "heads": "head"}.get(view, view)
    assert made == Drawing(f"{name}_view", {**of, "display_mode": "dark"})


def test_find_by_measures_is_given_its_axes(sentence_trace):
    find = Finding("measures", x="self", y="offset", colour="output", size="wv_first")
    made = drawn(Screen("m", SENTENCE, view="find", find=find, **LOOK), sentence_trace)
    axes = {"x": "self", "y": "offset", "colour": "output", "size": "wv_first"}
    table = attnviz.heads.measures(sentence_trace)
    assert made == Drawing("scatter_view", {"table": table, **axes, **LOOK})


def test_effect_is_given_what_the_model_says_or_the_table_of_all_heads(sentence_trace):
    more = More(effect=both_of(), sweep=sweep_of())
    one = Screen("m", SENTENCE, view="effect", **LOOK)
    assert drawn(one, sentence_trace, more) == Drawing(
        "effect_view", {"table": more.effect, "display_mode": "dark"}
    )
    every = dataclasses.replace(one, effect=Asking(all_heads=True))
    assert drawn(every, sentence_trace, more) == Drawing(
        "sweep_view", {"table": more.sweep, "kind": None, **LOOK}
    )
    with pytest.raises(attnviz.InputError, match="these arrays came from a file"):
        drawn(one, sentence_trace)


def test_the_lines_of_heads_are_all_of_a_query_or_of_a_key(sentence_trace):
    for focus, ends in (("all", (None, None)), ("query", (2, None)), ("key", (None, 5))):
        one = Screen("m", SENTENCE, 0, 8, "heads", query=2, key=5, focus=focus)
        given = drawn(one, sentence_trace).arguments
        assert (given["query"], given["key"]) == ends


@pytest.mark.parametrize("view", ["neurons", "heads", "model", "find"])
def test_filters_are_applied_and_tokens_found_where_they_left_them(sentence_trace, view):
    one = Screen("m", SENTENCE, 0, 8, view, query=2, key=5, focus="query", filters=LESS)
    given, less = drawn(one, sentence_trace).arguments, LESS(sentence_trace)
    if view == "neurons":
        assert same(given["head"], less.head(0, 8))
        assert (given["query"], given["key"]) == (1, 4)
    elif view == "find":
        assert same(given["table"], attnviz.heads.linking(less, 1, 4))
    else:
        assert same(given["trace"], less)
        assert given.get("query", 1) == 1
    for hidden in ({"query": 0}, {"query": 2, "key": 1, "focus": "key"}):
        if view != "model":
            with pytest.raises(attnviz.InputError, match="or a filter hides it"):
                drawn(dataclasses.replace(one, **hidden), sentence_trace)


def test_more_texts_and_another_trace_are_looked_at(minilm, sentence_trace):
    other = attnviz.trace(*minilm, "an arrow flies")
    one = Screen("m", SENTENCE, 0, 8, "find", query=2, key=5)
    over = attnviz.heads.linking_over([(sentence_trace, 2, 5), (other, 3, 2)])
    assert same(drawn(one, sentence_trace, More([other])).arguments["table"], over)
    compared = dataclasses.replace(one, view="compare", beside=Beside(text="an arrow flies"))
    made = drawn(compared, sentence_trace, More([other])).arguments["difference"]
    differs = attnviz.heads.difference(sentence_trace.head(0, 8), other.head(0, 8))
    assert same(made, differs)


# The table of options


def test_every_field_of_a_screen_is_an_option_and_has_a_default():
    parts = {
        "": Screen,
        "filters.": Filters,
        "change.": Change,
        "find.": Finding,
        "beside.": Beside,
        "effect.": Asking,
    }
    fields = {
        f"{part}{field.name}" for part, of in parts.items() for field in dataclasses.fields(of)
    }
    options = {option.name for option in EVERY if not option.name.startswith("page.")}
    assert fields - {part.rstrip(".") for part in parts} == options | {"filters.hidden_queries"}
    assert default_of("is_expanded") is True
    assert default_of("find.x") == "entropy"
    assert default_of("change.hidden_keys") == ()


def test_no_two_options_are_spelled_alike():
    for spellings in (
        [option.name for option in EVERY],
        [option.link for option in EVERY if option.link],
        [option.flag.partition(" ")[0] for option in EVERY if option.flag],
    ):
        assert len(spellings) == len(set(spellings))
    assert all(option.flag.startswith("--") for group in OPTIONS.values() for option in group)


def test_the_notebooks_arguments_are_options_with_the_defaults_of_a_screen():
    called = {option.link or option.name: option for option in EVERY}
    for name, parameter in inspect.signature(attnviz.show).parameters.items():
        if name not in ("model", "tokenizer", "text", "layer", "head", "view"):
            assert parameter.default == default_of(called[name].name), name


# What is opened where nothing is named


def test_what_is_not_named_is_as_attnviz_opens(sentence_trace, minilm):
    usual = opened({"model": "m", "text": SENTENCE, "query": None}, sentence_trace)
    assert usual == Screen("m", SENTENCE, 5, 11)
    named = {"model": "m", "text": SENTENCE, "find.x": "self", "filters.top": 2, "beside.head": 3}
    assert opened(named, sentence_trace) == Screen(
        "m", SENTENCE, 5, 11, find=Finding(x="self"), filters=Filters(top=2), beside=Beside(head=3)
    )
    found = opened({"model": "m", "text": SENTENCE, "view": "find", "key": 1}, sentence_trace)
    assert (found.query, found.key) == (2, 1)
    for end in ("query", "key"):
        assert opened({"model": "m", "text": SENTENCE, end: 2}, sentence_trace).focus == end
    for wrong in ({"layer": 6}, {"head": 12}, {"kind": "cross"}):
        with pytest.raises(attnviz.InputError):
            opened({"model": "m", "text": SENTENCE, **wrong}, sentence_trace)


@pytest.mark.parametrize("view", ["neurons", "heads"])
def test_of_a_long_text_the_part_around_the_named_tokens_is_shown(minilm, view):
    text = f"{SENTENCE} " * 10
    trace = attnviz.trace(*minilm, text)
    given = {"model": "m", "text": text, "view": view, "query": 45, "filters.special": True}
    screen = opened(given, trace)
    assert screen.first_query <= 44 < screen.first_query + 40
    assert screen.first_key == 0
    drawn(screen, trace)
    assert opened({**given, "first_query": 7, "first_key": 3}, trace).first_query == 7
    assert opened({**given, "first_query": 7, "first_key": 3}, trace).first_key == 3
