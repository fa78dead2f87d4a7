"""A script draws what its screen shows, in as few lines as it takes, whatever the texts are."""

import ast
import dataclasses
import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

import attnviz
from attnviz.attention.filters import Filters
from attnviz.attention.what_if import Change
from attnviz.export.code import script
from attnviz.export.four_steps import four_steps
from attnviz.export.options import VIEWS
from attnviz.export.python import LINE, literal
from attnviz.export.screen import NOTHING_MORE, Beside, Finding, More, Screen, drawn
from attnviz.heads import Alignment
from attnviz.models import bundled
from tests.support.hostile import CHARACTER, cases, texts
from tests.support.recorded import Drawing, record
from tests.support.running_code import in_a_process, loaded, run, traced

SENTENCE = "time flies like an arrow"
RUFF = Path(sys.executable).with_name("ruff")
OURS = Screen(bundled.BUNDLED, SENTENCE, 0, 8)


def screen(**changes):
    return dataclasses.replace(OURS, **changes)


@pytest.fixture
def recorded(monkeypatch):
    """Scripts find a model that another has loaded; what views are called with is compared."""
    record(monkeypatch)
    monkeypatch.setattr(attnviz, "load", loaded)
    monkeypatch.setattr(attnviz.heads, "induction", induction)


@functools.cache
def induction(model, tokenizer):
    from attnviz.heads.induction_score import induction

    return induction(model, tokenizer)


def more(one, model):
    """What a screen shows besides, by calls of its own."""
    tokenizer = loaded(one.model)[1]
    if one.view == "find" and one.find.by == "measures":
        is_asked = "induction" in dataclasses.astuple(one.find)  # else it is not computed either
        return More(induction=attnviz.heads.induction(model, tokenizer) if is_asked else None)
    if one.view == "find":
        return More([attnviz.trace(model, tokenizer, text) for text in one.find.texts])
    beside = one.beside
    if one.view != "compare" or not beside.is_of_another_trace:
        return NOTHING_MORE
    model, tokenizer = loaded(beside.model or one.model)
    if beside.text not in (None, one.text):
        return More([attnviz.trace(model, tokenizer, beside.text)])
    return More([attnviz.trace(model, tokenizer, one.text, pair=one.pair, target=one.target)])


def check_script(one):
    """A script draws what its screen shows; gives its names."""
    names = run(script(one, None))
    model, trace = traced(one)
    assert names["chart"] == drawn(one, trace, more(one, model))
    return names


# The same in Python

HIDING = Filters(hidden_keys=(1,), hidden_queries=(3, 4), special=True, renormalise=True)
MERGING = Filters(special=True, words=True, top=2, share=0.5)
PAIRED = {"pair": "fruit flies like a banana"}
OF_ONE_TEXT = Filters(segments=(0, 1), renormalise=True)

OTHER = "fruit flies like a banana"


def finding(by, texts=(), **shown):
    axes = {name: shown.pop(name) for name in ("x", "y", "colour", "size") if name in shown}
    return screen(view="find", query=2, key=5, find=Finding(by, texts, **axes), **shown)


def comparing(
    *, text=None, layer=None, head=None, queries=None, keys=None, query=2, key=3, **shown
):
    beside = Beside(text=text, layer=layer, head=head, queries=queries, keys=keys)
    return screen(view="compare", query=query, key=key, beside=beside, **shown)


SCREENS = {
    "steps": screen(),
    "steps, a pair of tokens": screen(query=2, key=5),
    "steps, a key alone": screen(key=0, layer=3),
    "steps, columns and dark": screen(query=1, convention="columns", display_mode="dark"),
    "steps, in blocks of the mean": screen(text=f"{SENTENCE} " * 9, large="mean"),
    "steps, exact": screen(text=f"{SENTENCE} " * 9, large="window", query=30, key=4),
    "steps, where filters do nothing": screen(filters=HIDING),
    "steps, of a sentence pair": screen(**PAIRED, query=1, key=8),
    "neurons": screen(view="neurons"),
    "neurons, sorted and dark": screen(
        view="neurons", query=2, key=5, is_sorted=True, display_mode="dark"
    ),
    "neurons, asked": screen(view="neurons", key=5, is_asked=True),
    "neurons, collapsed": screen(view="neurons", query=1, is_expanded=False),
    "neurons, later tokens": screen(
        view="neurons", text=f"{SENTENCE} " * 9, query=43, key=42, first_query=5, first_key=6
    ),
    "neurons, without some tokens": screen(view="neurons", query=5, key=2, filters=HIDING),
    "neurons, a query without some": screen(view="neurons", query=5, filters=HIDING),
    "neurons, a key without some": screen(view="neurons", key=2, is_asked=True, filters=HIDING),
    "neurons, words": screen(
        view="neurons", text="unbelievably hyperbolic arrows", query=2, key=6, filters=MERGING
    ),
    "neurons, one text": screen(view="neurons", **PAIRED, query=2, key=9, filters=OF_ONE_TEXT),
    "neurons, fewer lines": screen(view="neurons", query=2, filters=Filters(share=0.8)),
    "heads": screen(view="heads"),
    "heads, another layer": screen(view="heads", layer=3, head=0, display_mode="dark"),
    "heads, some": screen(view="heads", heads=(1, 4, 8)),
    "heads, none": screen(view="heads", heads=()),
    "heads, from a query": screen(view="heads", query=3, key=4, focus="query"),
    "heads, to a key": screen(view="heads", query=3, key=4, focus="key"),
    "heads, of all tokens": screen(view="heads", query=5, key=4, filters=HIDING),
    "heads, without some tokens": screen(view="heads", query=5, focus="query", filters=HIDING),
    "heads, words": screen(
        view="heads", text="unbelievably hyperbolic", key=4, focus="key", filters=MERGING
    ),
    "heads, later tokens": screen(view="heads", text=f"{SENTENCE} " * 9, first_query=4),
    "heads, both texts to one": screen(view="heads", **PAIRED, filters=Filters(segments=(None, 1))),
    "model": screen(view="model"),
    "model, sorted": screen(view="model", measure="distance", is_by_measure=True, layer=2),
    "model, words and dark": screen(view="model", filters=MERGING, display_mode="dark"),
    "model, weighted": screen(view="model", measure="wv_first"),
    "find": screen(view="find", query=2, key=5),
    "find, of no tokens": screen(view="find"),
    "find, another head and dark": screen(
        view="find", query=2, key=5, layer=5, head=11, display_mode="dark"
    ),
    "find, of all tokens": screen(view="find", query=5, key=2, filters=HIDING),
    "find, words": screen(
        view="find", text="unbelievably hyperbolic arrows", query=2, key=6, filters=MERGING
    ),
    "find, one text": screen(view="find", **PAIRED, query=2, key=9, filters=OF_ONE_TEXT),
    "find, in texts": finding("pair", ("an arrow flies", "no such words", "flies, Arrow")),
    "find, in texts without some tokens": finding(
        "pair", ("an arrow flies", "flies like the arrow"), filters=HIDING
    ),
    "find, in texts in words": finding("pair", ("an arrow flies",), filters=MERGING),
    "find, measures": finding("measures"),
    "find, measures of some tokens": finding("measures", filters=HIDING, layer=3, head=1),
    "find, measures of choice": finding(
        "measures", x="self", y="offset", colour="output", size="wv_first", display_mode="dark"
    ),
    "find, induction": finding("measures", y="induction", colour="head"),
    "compare, a text": comparing(text=OTHER),
    "compare, the same text": comparing(text=SENTENCE, head=2, layer=5),
    "compare, a head": comparing(head=2),
    "compare, a layer": comparing(layer=5, display_mode="dark"),
    "compare, no tokens": comparing(text=OTHER, query=None, key=None),
    "compare, a text and a head": comparing(text=OTHER, layer=5, head=11),
    "compare, of a pair": comparing(head=3, **PAIRED),
    "compare, a pair with the same": comparing(text=SENTENCE, head=3, **PAIRED),
    "compare, a pair with a text": comparing(text=OTHER, **PAIRED),
    "compare, by hand": comparing(
        text=OTHER, queries=Alignment(((0, 0), (2, 2))), keys=Alignment(((1, 5), (5, 1)))
    ),
    "compare, queries by hand": comparing(
        text=f"{OTHER} " * 5, queries=Alignment(tuple((n, n + 1) for n in range(1, 6)))
    ),
    "compare, without some tokens": comparing(text=OTHER, query=5, key=2, filters=HIDING),
    "compare, a token that is hidden": comparing(text=OTHER, query=3, filters=HIDING),
    "compare, words": comparing(text="unbelievable arrows", filters=MERGING),
}


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("filters", [Filters(), HIDING, MERGING])
@pytest.mark.parametrize("beside", [{}, {"text": OTHER}, {"layer": 1, "head": 3}])
def test_two_models_are_compared_by_words_in_a_script_too(beside, filters):
    one = screen(text="unbelievably fast flies", view="compare", query=5, key=6, head=2, layer=1)
    beside = Beside(model="bert", **beside)
    check_script(dataclasses.replace(one, beside=beside, filters=filters))


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("name", list(SCREENS))
def test_a_script_draws_what_its_screen_shows(name):
    names = check_script(SCREENS[name])
    assert names["shown"] is names["chart"]


@pytest.mark.parametrize("name", ["neurons, sorted and dark", "find, in texts"])
def test_the_same_call_is_the_same_chart(name, monkeypatch):
    monkeypatch.setattr(attnviz, "load", loaded)
    one = SCREENS[name]
    model, trace = traced(one)
    chart = drawn(one, trace, more(one, model))
    assert run(script(one, None))["chart"].to_dict() == chart.to_dict()


CHANGES = {
    "no scaling": Change(scaling=1.0),
    "temperature": Change(temperature=2.5),
    "causal": Change(is_causal=True),
    "not causal": Change(is_causal=False),
    "keys and dimensions": Change(0.25, hidden_keys=(0, 6), zeroed_dimensions=(0, 31)),
}


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("name", "pair"),
    [("no scaling", {}), *((name, {"query": 3, "key": 2}) for name in CHANGES)],
)
def test_steps_with_a_change_are_drawn_beside_the_changed_head(name, pair, monkeypatch):
    displayed = []
    monkeypatch.setattr(Drawing, "display", lambda drawing: displayed.append(drawing))
    change = CHANGES[name]
    one = screen(change=change, convention="columns", display_mode="dark", **pair)
    names, trace = run(script(one, None)), traced(one)[1]
    assert displayed == [names["chart"]]
    assert names["chart"] == drawn(one, trace)
    head = trace.head(0, 8)
    beside = attnviz.what_if_view(
        head,
        change(head),
        pair.get("query", 0),
        pair.get("key"),
        convention="columns",
        display_mode="dark",
    )
    assert names["shown"] == beside


CROSS = {"kind": "cross", "layer": 1, "head": 3, "target": "the arrow"}
LESS = {"view": "neurons", "filters": Filters(hidden_keys=(0,)), "is_sorted": True}

BY_INDUCTION = Finding("measures", y="induction")

TINY = (
    ("t5", {"kind": "encoder", "layer": 2, "head": 1}),
    ("t5", {"kind": "decoder", "layer": 1, "head": 3, **LESS}),
    ("t5", {**CROSS}),
    ("t5", {**CROSS, **LESS}),
    ("t5", {**CROSS, "view": "heads", "focus": "key", "filters": Filters(words=True)}),
    ("t5", {**CROSS, "view": "model", "filters": Filters(top=1)}),
    ("t5", {**CROSS, "view": "find"}),
    ("t5", {**CROSS, "view": "find", "find": Finding(texts=(f"an {SENTENCE}",)), "key": 2}),
    ("t5", {"kind": "encoder", "layer": 2, "head": 1, "view": "find", "find": BY_INDUCTION}),
    ("t5", {**CROSS, "view": "find", "find": Finding("measures", x="first", y="largest")}),
    ("t5", {**CROSS, "view": "compare", "beside": Beside(head=2)}),
    ("t5", {**CROSS, "view": "compare", "beside": Beside(text=SENTENCE, layer=0)}),
    ("t5", {"kind": "encoder", "layer": 2, "view": "compare", "beside": Beside(text="flies")}),
    ("gpt2", {"layer": 2, "head": 1}),
    ("gpt2", {"layer": 2, "head": 1, "view": "compare", "beside": Beside(layer=0)}),
    ("gpt_oss", {"layer": 2, "head": 1, "view": "compare", "beside": Beside(text="an arrow")}),
    ("gpt2", {"layer": 2, "head": 1, "view": "model", "measure": "first"}),
    ("llama", {"kind": "self", "layer": 1, "head": 2, **LESS}),
    ("gpt_oss", {"layer": 0, "head": 3}),
    ("gpt_oss", {"layer": 0, "head": 3, "view": "heads", "heads": (0, 3)}),
)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(("family", "changes"), TINY)
def test_every_view_of_other_families_is_drawn_again(family, changes):
    check_script(Screen(family, SENTENCE, **{"head": 0, "query": 1, "key": 1} | changes))


def test_a_token_in_filtered_text_is_found_where_the_filter_left_it():
    one = screen(view="neurons", query=5, key=2, filters=HIDING)
    assert "query=queries.place_of(5), key=keys.place_of(2)" in script(one)
    assert "query=5, key=2" in script(dataclasses.replace(one, filters=Filters(top=3)))


def test_a_number_that_numpy_or_a_link_gave_stays_a_number_or_a_text():
    one = screen(layer=np.int64(3), query=np.int64(2), key="5); evil(", view="neurons")
    code = script(dataclasses.replace(one, filters=Filters(words=True)))
    assert "head = trace.head(layer=3, head=8)" in code
    assert 'query=queries.place_of(2), key=keys.place_of("5); evil(")' in code
    assert "temperature=2.5)" in script(screen(change=Change(temperature=np.float64(2.5))))
    assert 'scaling=float("nan")' in script(screen(change=Change(scaling=float("nan"))))


def test_only_what_differs_from_the_defaults_is_written():
    assert script(OURS) == (
        "import attnviz\n\n"
        'model, tokenizer = attnviz.load("sentence-transformers/all-MiniLM-L6-v2")\n'
        'trace = attnviz.trace(model, tokenizer, "time flies like an arrow")\n'
        "head = trace.head(layer=0, head=8)\n"
        "chart = attnviz.steps_view(head)\n"
        'attnviz.save(chart, "figure.svg")\n'
    )
    assert 'load("gpt2", dtype="bfloat16", device="cuda:1")' in script(
        screen(model="gpt2", dtype="bfloat16", device="cuda:1")
    )


def test_a_commit_of_the_hub_is_written_and_a_checksum_is_not():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert f'revision="{commit}"' in script(screen(model="gpt2", revision=commit))
    assert "revision" not in script(screen(revision=f"sha256:{bundled.SHA256[:12]}"))


@pytest.mark.process
def test_a_script_of_its_own_writes_the_figures_that_it_names(tmp_path):
    in_a_process(script(screen(query=2, key=5, change=Change(scaling=1.0))), tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["figure.svg", "figure_what_if.svg"]
    assert all("<svg" in path.read_text() for path in tmp_path.iterdir())


# Any text


@cases(1_000, text=texts())
def test_any_text_is_a_literal_that_gives_it_back(text):
    written = literal(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable() or set(re.sub(r"[\u200c\u200d]", "", written)) <= printable(text)
    hostile = Screen(text, text, 0, 0, pair=text, target=text, kind=text, revision=f"r{text}")
    hostile = dataclasses.replace(
        hostile, find=Finding(texts=(text,)), beside=Beside(f"m{text}", f"t{text}")
    )
    calm = Screen("m", "t", 0, 0, pair="p", target="t", kind="k", revision="r")
    calm = dataclasses.replace(calm, find=Finding(texts=("t",)), beside=Beside("mm", "tt"))
    for view in VIEWS:
        of_hostile, of_calm = (
            ast.parse(script(dataclasses.replace(one, view=view), text if one is hostile else "f"))
            for one in (hostile, calm)
        )
        assert text in strings(of_hostile)
        assert shape(of_hostile) == shape(of_calm)


PYTHON = (
    *('"', "'", '"""', "'''", "\\", "\\\\", '\\"', "\\N{BULLET}", "\\u0041", "\\x41", "\n", "\r"),
    *("\x0c", "\x85", "\u2028", "\ufeff", "{ran()}", "%s", "#", "`ran`", "$(touch ran)", "ran()"),
    *(
        '"); ran(); ("',
        "'); ran(); ('",
        "\n    ran()\n",
        "\u2028ran()",
        "# -*- coding: utf-7 -*-\n",
    ),
)


@cases(
    1_200,
    text=st.one_of(texts(CHARACTER), st.lists(st.sampled_from(PYTHON), min_size=1).map("".join)),
    pair=st.one_of(st.none(), st.sampled_from(PYTHON), texts(CHARACTER)),
    view=st.sampled_from(["steps", "neurons", "heads", "model", "compare"]),
)
def test_a_script_of_any_text_reads_that_text_and_runs_nothing_else(text, pair, view):
    model, tokenizer = own = loaded(bundled.BUNDLED)
    pair = None if view == "compare" else pair
    try:
        expected = attnviz.trace(model, tokenizer, text, pair=pair, max_tokens=64)
    except attnviz.InputError:
        return
    names = []
    one = screen(model=f"m{text}", text=SENTENCE if view == "compare" else text, pair=pair)
    one = dataclasses.replace(one, view=view, beside=Beside(f"b{text}", text))
    code = script(one, None).encode()  # as the bytes of a file
    with pytest.MonkeyPatch.context() as patch:
        record(patch)
        patch.setattr(attnviz, "load", lambda name, **_: names.append(name) or own)
        patch.setattr("builtins.ran", lambda: pytest.fail("it was run"), raising=False)
        left = run(code)
    if view == "compare":
        assert left["other"].source == attnviz.filters.in_words(expected).source
        assert names == [one.model, one.beside.model]
    else:
        assert (left["trace"].source, names) == (expected.source, [one.model])
    assert set(left) == LEFT[view]


_LEFT = {"__builtins__", "attnviz", "model", "tokenizer", "trace", "chart", "shown"}
LEFT = {
    "steps": _LEFT | {"head"},
    "neurons": _LEFT | {"head"},
    "heads": _LEFT,
    "model": _LEFT,
    "compare": _LEFT
    | {"head", "other", "other_head", "other_model", "other_tokenizer", "difference"},
}


def printable(text):
    return (
        {character for character in text if character.isprintable()}
        | set("\\'\"xuU")
        | set("0123456789abcdefntr")
    )


def shape(tree):
    """What a script does, whatever its texts say."""
    return ast.dump(Emptied().visit(tree))


class Emptied(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.Constant("") if isinstance(node.value, str) else node


def strings(tree):
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in constants if isinstance(node.value, str)]


def test_letters_and_emoji_stay_and_what_cannot_be_seen_is_escaped():
    for text in ("时间像箭一样飞逝", "الوقت يطير", "می‌روم", "👨‍👩‍👧", "naïve “€” ½"):
        assert literal(text) == f'"{text}"'
    assert literal("a\u202eb\x00\x1b\n\\\ud800") == r'"a\u202eb\x00\x1b\n\\\ud800"'
    assert literal('say "no"') == "'say \"no\"'"
    assert literal("""it's "it\"""") == "'it\\'s \"it\"'"


@pytest.mark.process
def test_scripts_are_formatted_as_a_formatter_would(tmp_path):
    trace = attnviz.trace(*loaded(OURS.model), SENTENCE)
    longer = (screen(text="flies " * n, model="m" * n, pair='it\'s "it"') for n in (9, 14, 15, 30))
    others = (comparing(text=OTHER), finding("pair", (OTHER,)))
    besides = (
        dataclasses.replace(one, filters=filters, beside=Beside("m" * n, "flies " * n))
        for n in (1, 9, 15)
        for one in others
        for filters in (Filters(), MERGING)
    )
    written = [
        script(one, file)
        for one in (*SCREENS.values(), *longer, *besides)
        for file in ("f.svg", None)
    ]
    written += [script(screen(change=change)) for change in CHANGES.values()]
    written += [four_steps(screen(change=change), trace) for change in CHANGES.values()]
    written += [four_steps(screen(change=Change(zeroed_dimensions=(*range(32),))), trace)]
    written += [four_steps(OURS, trace), four_steps(OURS, trace, loaded(OURS.model)[0])]
    for number, code in enumerate(written):
        (tmp_path / f"{number}.py").write_text(code)
        too_long = [line for line in code.splitlines() if len(line) > LINE]
        assert all(re.fullmatch(r' +(\w+=)?"[^"]+",?', line) for line in too_long), (
            too_long
        )  # a text
    formatted = [RUFF, "format", "--check", "--line-length", str(LINE), "--isolated", tmp_path]
    done = subprocess.run(formatted, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
