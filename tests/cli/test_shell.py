"""The shell: what it prints and writes is the trace's own, and what it cannot do it says."""

import functools
import io
import json
import os
import re
import sys
from contextlib import suppress
from typing import get_args

import numpy as np
import pandas as pd
import pytest

import attnviz
from attnviz.attention import filters
from attnviz.attention.agreement import check_line
from attnviz.attention.what_if import Change
from attnviz.capture import forward_pass
from attnviz.charts.heads import Focus
from attnviz.charts.matrix import Large
from attnviz.cli import contents, options
from attnviz.cli import main as shell
from attnviz.cli.screen import screen_of
from attnviz.cli.summary import MOST_TOKENS, MOST_WEIGHTS
from attnviz.export import code, figures, four_steps, pages
from attnviz.export.captions import caption
from attnviz.export.options import EVERY, VIEWS
from attnviz.export.screen import Beside, Finding, Screen
from attnviz.heads import Alignment
from attnviz.models import loader
from attnviz.text.phrases import fixed
from tests.support import hand_made, tiny_models
from tests.support.recorded import same

SENTENCE = "time flies like an arrow"


@pytest.fixture(scope="module")
def traced():
    """Traces a text once."""
    return functools.cache(forward_pass.trace)


@pytest.fixture
def shell_of(monkeypatch, capsys, minilm, traced):
    """Runs the command on a loaded model: its status, and what it printed."""
    monkeypatch.setattr(forward_pass, "trace", traced)

    def run(*arguments, loaded=minilm):
        monkeypatch.setattr(loader, "load", lambda *given, **options: loaded)
        status = shell.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def screen(sentence_trace):
    """The screen of some options on the sentence."""

    def of(*arguments, trace=sentence_trace):
        return screen_of(options.parsed([SENTENCE, *map(str, arguments)]), trace)

    return of


@pytest.fixture(scope="module")
def small():
    """A chart that is quickly written, too small to be read in one column."""
    return attnviz.neuron_view(hand_made.random_head(2, 2))


@pytest.fixture
def asked_for(monkeypatch, small):
    """What is to be drawn, or written as a page, and is not: each a screen, or what it took."""
    asked = []

    def drawn(screen, trace, more):
        asked.append(screen)
        return small

    def what_if_view(*given, **look):
        asked.append((given, look))
        return small

    def view_page(screen, trace, more):
        asked.append(screen)
        return "<!DOCTYPE html>"

    monkeypatch.setattr(contents, "drawn", drawn)
    monkeypatch.setattr(contents, "what_if_view", what_if_view)
    monkeypatch.setattr(pages, "view_page", view_page)
    return asked


def plain(svg):
    """The drawing without the numbers that the renderer counts on from one to the next."""
    return re.sub(r"(gradient|clip)_?\d+", r"\1", svg)


# The summary


def test_the_summary_gives_the_querys_weights_strongest_first(shell_of, sentence_trace):
    status, printed, said = shell_of(SENTENCE, "--query", "flies")
    assert (status, said) == (0, "")
    head = sentence_trace.head(5, 11)
    assert "all-MiniLM-L6-v2" in printed
    assert ", layer 5, head 11." in printed.replace("\n", " ")
    assert "0 [CLS]  1 time  2 flies  3 like  4 an  5 arrow  6 [SEP]\n" in printed
    assert check_line(head) in printed.replace("\n", " ")
    *_, table = printed.split("Weights from flies to each key:\n")
    order = np.argsort(-head.weights[2])
    assert table.splitlines() == [
        f"  {fixed(head.weights[2, key], 4)}  {key} {head.key_tokens[key]}" for key in order
    ]


def test_json_has_the_same_numbers_in_full(shell_of, sentence_trace):
    status, printed, _ = shell_of(SENTENCE, "--layer", 5, "--head", 11, "--query", 2, "--json")
    said, head = json.loads(printed), sentence_trace.head(5, 11)
    assert status == 0
    assert (said["model"], said["revision"]) == (
        sentence_trace.model_name,
        sentence_trace.revision,
    )
    assert (said["kind"], said["layer"], said["head"], said["text"]) == ("self", 5, 11, SENTENCE)
    assert said["query"] == {"position": 2, "token": "flies"}
    assert [token["token"] for token in said["key_tokens"]] == list(sentence_trace.tokens)
    weights = {key["position"]: key["weight"] for key in said["weights"]}
    assert weights == {key: float(weight) for key, weight in enumerate(head.weights[2])}
    assert list(weights.values()) == sorted(weights.values(), reverse=True)
    assert (said["check"], said["max_error"]) == (check_line(head), head.max_error)
    assert (said["filters"], said["change"], said["left_out"], said["sink"]) == (
        [],
        None,
        None,
        None,
    )


def test_a_summary_is_of_what_filters_leave(shell_of, sentence_trace):
    less = filters.hide_special(sentence_trace).head(5, 11)
    status, printed, _ = shell_of(SENTENCE, "--hide-special", "--query", "flies")
    assert status == 0
    assert "Filters: special tokens hidden." in printed
    assert f"  {fixed(less.left_out[1], 4)}  … keys that filters hide\n" in printed
    assert "[SEP]" not in printed
    said = json.loads(shell_of(SENTENCE, "--hide-special", "--query", "flies", "--json")[1])
    assert said["query"] == {"position": 2, "token": "flies"}
    assert said["left_out"] == pytest.approx(less.left_out[1])
    assert {key["position"]: key["weight"] for key in said["weights"]} == {
        place + 1: float(weight) for place, weight in enumerate(less.weights[1])
    }


def test_a_summary_of_words_names_all_positions_of_a_word(shell_of, minilm):
    text = "embeddings"
    words = filters.in_words(attnviz.trace(*minilm, text)).tokens_of(0)[1]
    places = words[1].positions
    assert len(places) > 1
    printed = shell_of(text, "--words")[1]
    assert f" {places[0]}–{places[-1]} {words.labels[1]}\n" in printed


def test_a_summary_of_a_changed_head_says_what_was_changed(shell_of, sentence_trace):
    status, printed, _ = shell_of(SENTENCE, "--causal", "--temperature", 2, "--query", "flies")
    changed = attnviz.what_if(sentence_trace.head(5, 11), is_causal=True, temperature=2)
    assert status == 0
    assert "Changed: the softmax has a temperature of 2.00; keys that come after" in printed
    assert "flies now gives" in printed
    assert f"  {fixed(changed.weights[2, 1], 4)}  1 time\n" in printed
    assert printed.endswith(
        "  hidden  3 like\n  hidden  4 an\n  hidden  5 arrow\n  hidden  6 [SEP]\n"
    )
    said = json.loads(shell_of(SENTENCE, "--causal", "--query", "flies", "--json")[1])
    assert [key["weight"] for key in said["weights"][3:]] == [None] * 4
    assert said["change"]["is_causal"] is True


def test_a_long_text_is_summed_up(shell_of, minilm):
    text = f"{SENTENCE} " * 40
    trace = attnviz.trace(*minilm, text)
    n, weights = len(trace.tokens), np.sort(trace.head(5, 11).weights[0])[::-1]
    of_head = (text, "--layer", 5, "--head", 11, "--query", 0)
    printed = shell_of(*of_head)[1]
    assert f"… {n - MOST_TOKENS} more\n" in printed
    rest = weights[MOST_WEIGHTS:].sum()
    assert printed.endswith(f"{fixed(rest, 4)}  … {n - MOST_WEIGHTS} other keys together\n")
    assert max(map(len, printed.splitlines())) <= 100
    assert len(json.loads(shell_of(*of_head, "--json")[1])["weights"]) == n


def test_cross_attention_names_the_tokens_of_both_texts(shell_of, minilm):
    tiny_t5 = tiny_models.build("t5", vocab_size=minilm[0].config.vocab_size), minilm[1]
    of_cross = ("time", "--target", "two", "--kind", "cross", "--query", "two")
    status, printed, said = shell_of(*of_cross, loaded=tiny_t5)
    assert (status, said) == (0, "")
    assert "Weights from two to each key" in printed
    assert "Queries: " in printed
    assert "Keys: 0 [CLS]  1 time  2 [SEP]\n" in printed


# What is asked for


def test_every_option_is_a_field_of_the_screen(screen, sentence_trace):
    usual = screen()
    assert usual == Screen(
        model="sentence-transformers/all-MiniLM-L6-v2",
        text=SENTENCE,
        layer=5,
        head=11,
        revision=sentence_trace.revision,
    )
    neurons = screen(
        *("--view", "neurons", "--layer", 3, "--head", 5, "--query", "flies", "--key", 5),
        *("--dark", "--lines-only", "--sort-dimensions", "--asked"),
        *("--first-query", 1, "--first-key", 2, "--kind", "self"),
    )
    assert (neurons.view, neurons.layer, neurons.head, neurons.kind) == ("neurons", 3, 5, "self")
    assert (neurons.query, neurons.key, neurons.display_mode) == (2, 5, "dark")
    assert (neurons.is_expanded, neurons.is_sorted, neurons.is_asked) == (False, True, True)
    assert (neurons.first_query, neurons.first_key) == (1, 2)
    heads = screen("--view", "heads", "--heads", 3, 1, 3, "--focus", "key", "--key", "arrow")
    assert (heads.heads, heads.focus, heads.key) == ((3, 1), "key", 5)
    model = screen("--view", "model", "--measure", "distance", "--sort-heads")
    assert (model.measure, model.is_by_measure) == ("distance", True)
    steps = screen("--columns", "--large", "window")
    assert (steps.convention, steps.large) == ("columns", "window")
    assert screen("--step", "softmax").step == "softmax"


def test_filters_are_those_of_the_page(screen, minilm):
    pair = attnviz.trace(*minilm, SENTENCE, pair="an arrow flies")
    asked = screen(
        *("--hide-special", "--hide", "like", 1, "--renormalise", "--words"),
        *("--segments", "a → B", "--top", 3, "--share", 0.5),
        trace=pair,
    )
    assert asked.view == "neurons"
    assert asked.filters == filters.Filters(
        hidden_keys=(3, 1),
        hidden_queries=(3, 1),
        segments=(0, 1),
        special=True,
        renormalise=True,
        words=True,
        top=3,
        share=0.5,
    )


def test_a_change_is_that_of_what_if(screen):
    change = screen(
        *("--scaling", 1, "--temperature", 2, "--mask-keys", "[SEP]", 0),
        *("--no-causal", "--zero-dimensions", 3, 4),
    ).change
    assert change == Change(1.0, 2.0, (6, 0), False, (3, 4))
    assert screen("--causal").change == Change(is_causal=True)


def test_a_followed_token_is_what_the_head_view_shows(screen):
    assert (screen("--view", "heads").focus, screen("--view", "heads").query) == ("query", 2)
    assert screen("--view", "heads", "--focus", "all").query is None
    assert screen("--view", "heads", "--hide", "flies").focus == "all"
    assert screen("--view", "heads", "--query", 1, "--key", 2).focus == "query"
    assert screen("--view", "heads", "--key", 2).focus == "key"


def test_a_long_texts_window_is_where_the_followed_token_is(screen, minilm):
    trace = attnviz.trace(*minilm, f"{SENTENCE} " * 40)
    asked = screen("--view", "neurons", "--query", 150, "--hide-special", trace=trace)
    assert asked.first_query <= 149 < asked.first_query + 40


def test_the_models_options_reach_the_loader(monkeypatch, capsys, minilm):
    given = []
    monkeypatch.setattr(loader, "load", lambda *a, **options: given.append((a, options)) or minilm)
    monkeypatch.setattr("attnviz.models.local.find", lambda *name: name)
    of_model = ("--model", "m", "--revision", "r", "--device", "cuda", "--dtype", "float64")
    assert shell.main([SENTENCE, *of_model]) == 0
    assert given == [(("m",), {"revision": "r", "device": "cuda", "dtype": "float64"})]


def test_a_tokens_name_is_found_without_its_space_and_case(minilm):
    tokenizer = tiny_models.byte_level_tokenizer(f"{SENTENCE} Flies")
    model = tiny_models.build("gpt2", vocab_size=len(tokenizer))
    trace = attnviz.trace(model, tokenizer, f"{SENTENCE} Flies")
    for name in ("␣flies", " flies", "ARROW", "arrow"):
        place = screen_of(options.parsed(["x", "--query", name]), trace).query
        assert trace.tokens[place].strip("␣") == name.strip(" ␣").lower()
    with pytest.raises(attnviz.InputError, match=r"'flies' 2 times\.\n\n.*: 1 ␣flies, 5 ␣Flies\."):
        screen_of(options.parsed(["x", "--query", "flies"]), trace)


def test_a_token_that_is_a_number_is_named_in_quotation_marks(minilm):
    trace = attnviz.trace(*minilm, 'flies like 2 " 77')
    asked = {"2": 2, '"2"': 3, "3": 3, '"': 4, '"77"': 5, "77": 5}
    assert trace.tokens[2:6] == ("like", "2", '"', "77")
    for name, place in asked.items():
        assert screen_of(options.parsed(["x", "--query", name]), trace).query == place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--query", "fly"], r"no query token 'fly'.*: its tokens are 0 \[CLS\], 1 time, 2"),
        (["--key", "7"], r"no key token '7'"),
        (["--key", "-1"], r"no key token '-1'"),
        (["--hide", "\x1b[2J"], r"no key token '<U\+001B>\[2J'"),
        (["--query", "9" * 5000], r"no query token '9+…'"),
        (["--layer", "6"], "no self attention in layer 6"),
        (["--head", "12"], "no head 12"),
        (["--kind", "cross"], "no attention of kind 'cross'"),
        (["--top", "0"], "at least one line"),
        (["--share", "2"], "share is 2.0"),
        (["--temperature", "0"], "must be a positive number"),
        (["--zero-dimensions", "32"], "no dimension 32"),
        (["--view", "steps", "--words"], "filters were asked for.*--view neurons"),
        (["--view", "heads", "--scaling", "1"], "received the view 'heads'"),
        (["--words", "--scaling", "1"], "the view 'neurons', which filters ask for"),
        (["--hide-special", "--query", "0"], "hides the query token 0"),
        (["--hide", *"0123456"], "No query token is left"),
        (["--segments", "AB"], "No .* token is left"),
        (["--pair", " "], "Enter a second text"),
        (["--view", "model", "--measure", "induction"], "is of a random sequence"),
        (["--view", "find", "--hide", "flies"], "no query token 2, or a filter hides it"),
        (["--view", "find", "--texts", " "], "Enter a text"),
        (["--view", "compare"], "none is named"),
        (["--view", "compare", "--other-layer", "6"], "no self attention in layer 6"),
        (["--view", "compare", "--other-head", "12"], "no head 12"),
        (["--view", "compare", "--other-text", ""], "Enter a text"),
        (["--view", "compare", "--align-keys", "0:0"], "'0:0' is not an alignment"),
        (["--view", "compare", "--align-keys", "\x1b"], r"'<U\+001B>' is not an alignment"),
        (["--view", "compare", "--align-queries", "0-9"], "place 9 of B, which has 7 tokens"),
        (["--view", "find", "-o", "found.npz"], "an NPZ file holds arrays of a head"),
        (["--target", "Ziel"], "takes no target text"),
    ],
)
def test_what_is_not_there_is_a_sentence_and_the_status_1(shell_of, arguments, said):
    status, printed, message = shell_of(SENTENCE, *arguments)
    assert (status, printed) == (1, "")
    assert re.search(said, message, re.S)
    assert re.fullmatch(r"[^\n]+\.\n\nHint: [^\n]+\n", message)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no text is given"),
        ([SENTENCE, "--from", "a.npz"], "a text and --from"),
        (["--from", "a.npz", "--model", "gpt2"], "--model and --from"),
        ([SENTENCE, "more"], "unrecognized arguments: more"),
        ([SENTENCE, "--fancy\x1b[2J"], r"unrecognized arguments: --fancy<U\+001B>\[2J"),
        ([SENTENCE, "--layer", "one"], "'one' is not a whole number from 0 on"),
        ([SENTENCE, "--layer", "9" * 5000], "is not a whole number"),
        ([SENTENCE, "--top", "-1"], "'-1' is not a whole number"),
        ([SENTENCE, "--scaling", "nan"], "'nan' is not a number"),
        ([SENTENCE, "--segments", "AC"], "'AC' is not one of AA, AB, BA, BB"),
        ([SENTENCE, "--view", "all"], "invalid choice: 'all'"),
        ([SENTENCE, "--width", "three"], "'three' is not a number"),
        ([SENTENCE, "--vi", "heads"], "unrecognized arguments"),
        ([SENTENCE, "--x", "beauty"], "invalid choice: 'beauty'"),
        ([SENTENCE, "--find-by", "name"], "invalid choice: 'name'"),
        ([SENTENCE, "--other-head", "-1"], "'-1' is not a whole number"),
    ],
)
def test_a_mistake_in_the_options_is_the_status_2(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        shell.main(arguments)
    assert ended.value.code == 2
    assert re.search(f"\nattnviz: error: .*{said}", capsys.readouterr().err)


def test_the_choices_are_those_that_there_are():
    choices = {option.name: option.choices for option in EVERY}
    assert get_args(Large) == choices["large"]
    assert get_args(Focus) == choices["focus"]
    assert tuple(figures.WRITERS) == options.FIGURES


# Find and Compare


def test_find_prints_the_ten_strongest_heads(shell_of, sentence_trace):
    status, printed, said = shell_of(
        SENTENCE, "--view", "find", "--query", "flies", "--key", "arrow"
    )
    assert (status, said) == (0, "")
    assert "Selected: from flies to arrow." in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("self")]
    found = attnviz.heads.linking(sentence_trace, 2, 5).head(10)
    assert rows == [
        [one.kind, str(one.layer), str(one.head), fixed(one.weight, 4), str(one.rank)]
        for one in found.itertuples()
    ]
    assert rows[0] == ["self", "5", "11", "0.5807", "1"]
    assert printed.endswith("… 62 more rows\n")


OTHER = "fruit flies like a banana"
OF_PAIR = ("find", "--query", "flies", "--key", "arrow")
TEXTS = ("an arrow flies", "nothing of it")
BY_HAND = Alignment.read("0-0 2-2")
ALIGNED = ("--align-keys", BY_HAND, "--align-queries", BY_HAND)


def linking_over(minilm, trace):
    others = [attnviz.trace(*minilm, text) for text in TEXTS]
    pairs = list(attnviz.heads.pairs_called(others, "flies", "arrow"))
    assert len(pairs) == 1
    return attnviz.heads.linking_over([(trace, 2, 5), *pairs])


def difference(*heads, **aligned):
    return attnviz.heads.difference(*heads, **aligned).table()


@pytest.mark.parametrize(
    ("arguments", "of"),
    [
        (OF_PAIR, lambda minilm, trace: attnviz.heads.linking(trace, 2, 5)),
        ((*OF_PAIR, "--texts", *TEXTS), linking_over),
        (
            ("find", "--find-by", "measures", "--x", "self", "--size", "induction"),
            lambda minilm, trace: attnviz.heads.measures(
                trace, induction=attnviz.heads.induction(*minilm)
            ),
        ),
        (
            ("compare", "--layer", 5, "--head", 2, "--other-head", 11, "--other-text", OTHER),
            lambda minilm, trace: difference(
                trace.head(5, 2), attnviz.trace(*minilm, OTHER).head(5, 11)
            ),
        ),
        (
            ("compare", "--layer", 0, "--head", 2, "--other-head", 3, "--other-layer", 1, *ALIGNED),
            lambda minilm, trace: difference(
                trace.head(0, 2), trace.head(1, 3), queries=BY_HAND, keys=BY_HAND
            ),
        ),
    ],
)
def test_files_and_json_of_find_and_compare_are_the_librarys_table(
    shell_of, minilm, sentence_trace, tmp_path, arguments, of
):
    table = of(minilm, sentence_trace)
    csv, parquet, rows = (tmp_path / f"a.{ending}" for ending in ("csv", "parquet", "json"))
    files = ("-o", csv, "-o", parquet, "-o", rows)
    status, printed, said = shell_of(SENTENCE, "--view", *arguments, *files, "--json")
    assert (status, said) == (0, "")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), table, check_dtype=False)
    pd.testing.assert_frame_equal(
        pd.read_csv(csv, keep_default_na=False, na_values=[""]), table, check_dtype=False
    )
    expected = [
        {name: None if value != value else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]
    assert json.loads(rows.read_text()) == expected
    assert json.loads(printed)["rows"] == expected


def test_two_models_are_compared_by_words(monkeypatch, capsys, minilm, tmp_path):
    text = "unbelievably fast"
    folder = tiny_models.save_tiny(tmp_path / "tiny")
    other = attnviz.load(str(folder))
    monkeypatch.setattr(
        loader, "load", lambda name, **more: other if name == str(folder) else minilm
    )
    of_other = ("--other-model", str(folder), "--other-head", "1", "--head", "2", "--json")
    assert shell.main([text, "--view", "compare", *of_other]) == 0
    a, b = (
        filters.in_words(attnviz.trace(*one, text)).head(0, head)
        for one, head in ((minilm, 2), (other, 1))
    )
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows == attnviz.heads.difference(a, b).table().to_dict("records")
    assert {row["query_a_token"] for row in rows} == {"[CLS]", "unbelievably", "fast", "[SEP]"}


def test_what_find_and_compare_are_asked_is_in_the_screen(screen):
    found = screen(
        *("--view", "find", "--find-by", "measures", "--x", "self", "--y", "offset"),
        *("--colour", "output", "--size", "induction", "--texts", "a", "b"),
    )
    assert found.find == Finding("measures", ("a", "b"), "self", "offset", "output", "induction")
    assert (found.query, found.key) == (2, 5)  # those that attnviz opens with
    compared = screen(
        *("--view", "compare", "--other-text", "a", "--other-model", "m", "--other-layer", 1),
        *("--other-head", 2, "--align-queries", "0-1", "--align-keys", "1-0 2-2"),
    )
    aligned = Alignment(((0, 1),)), Alignment(((1, 0), (2, 2)))
    assert compared.beside == Beside("m", "a", 1, 2, *aligned)


def test_arrays_of_a_file_are_found_and_compared_as_far_as_they_go(
    shell_of, sentence_trace, tmp_path
):
    call = sentence_trace.layer(0)
    np.savez(tmp_path / "mine.npz", q=call.q, k=call.k, v=call.v)
    mine = ("--from", tmp_path / "mine.npz", "--view")
    for asked in (
        ("find", "--query", 2, "--key", 5),
        ("find", "--find-by", "measures"),
        ("compare", "--other-head", 3),
    ):
        status, printed, said = shell_of(*mine, *asked)
        assert (status, said) == (0, ""), asked
        assert "… " in printed
    for asked in (
        ("find", "--texts", "a"),
        ("compare", "--other-text", "a"),
        ("compare", "--other-model", "m"),
    ):
        status, printed, said = shell_of(*mine, *asked)
        assert (status, printed) == (1, "")
        assert "there is no model to read another text.\n\nHint: " in said


# Files


def test_a_figure_is_that_of_the_view(shell_of, screen, asked_for, small, sentence_trace, tmp_path):
    file = tmp_path / "figure.svg"
    of_view = ("--view", "neurons", "--query", "flies", "--dark", "--hide-special")
    assert shell_of(SENTENCE, *of_view, "-o", file) == (0, "", "")
    one = screen(*of_view)
    assert asked_for == [one]
    words = caption(one, sentence_trace)
    assert plain(file.read_text()) == plain(figures.to_svg(small, "dark", caption=words))
    assert os.listdir(tmp_path) == ["figure.svg"]


def test_a_figures_look_is_asked_for(shell_of, asked_for, small, tmp_path):
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    look = ("--width", "one", "--transparent", "--no-caption", "--scale", 1)
    status, _, said = shell_of(SENTENCE, "--view", "model", *look, "-o", svg, "-o", png)
    assert (status, said.count("too small to be read")) == (0, 1)  # not once for each file
    with pytest.warns(figures.FigureWarning):
        drawing = figures.to_svg(small, "light", width_mm=89, is_transparent=True)
    assert plain(svg.read_text()) == plain(drawing)
    width = int.from_bytes(png.read_bytes()[16:20], "big")
    assert width == pytest.approx(89 / 25.4 * 96, abs=1)


def test_one_step_is_drawn_for_a_column_with_letters_as_large_as_asked_for(
    shell_of, sentence_trace, tmp_path
):
    file = tmp_path / "a.svg"
    look = ("--width", "one", "--letters", 9, "--no-caption")
    assert shell_of(SENTENCE, "--step", "softmax", *look, "-o", file) == (0, "", "")
    chart = attnviz.steps_view(sentence_trace.head(5, 11), step="weights")
    drawing = figures.to_svg(chart, width_mm=89, letter_size=9)
    assert plain(file.read_text()) == plain(drawing)
    status, _, said = shell_of(SENTENCE, "--step", "sofmax", "-o", file)
    assert (status, "no step 'sofmax'" in said, "softmax, update" in said) == (1, True, True)


def test_the_step_alone_is_that_of_a_changed_head(shell_of, sentence_trace, tmp_path):
    file = tmp_path / "a.svg"
    asked = ("--step", "softmax", "--scaling", 1, "--no-caption")
    assert shell_of(SENTENCE, *asked, "-o", file) == (0, "", "")
    changed = attnviz.what_if(sentence_trace.head(5, 11), scaling=1)
    chart = attnviz.steps_view(changed, step="softmax")
    assert plain(file.read_text()) == plain(figures.to_svg(chart))


@pytest.mark.parametrize("view", [view for view in VIEWS if view != "effect"])
def test_every_view_is_drawn_and_written(shell_of, screen, asked_for, tmp_path, view):
    starts = {"svg": b"<svg", "html": b"<!DOCTYPE html>"}
    if view == "neurons":
        starts |= {"pdf": b"%PDF", "png": b"\x89PNG"}
    names = [tmp_path / f"a.{ending}" for ending in starts]
    files = [argument for name in names for argument in ("-o", name)]
    asked = ["--view", view, *(["--other-head", 3] if view == "compare" else [])]
    assert shell_of(SENTENCE, *asked, *files) == (0, "", "")
    assert asked_for == [screen(*asked)] * len(starts)
    for name, start in zip(names, starts.values(), strict=True):
        assert name.read_bytes().startswith(start), name


def test_a_changed_heads_figure_shows_it_before_and_after(
    shell_of, asked_for, sentence_trace, tmp_path
):
    file = tmp_path / "figure.svg"
    look = ("--columns", "--dark")
    assert shell_of(SENTENCE, "--scaling", 1, "--query", 2, *look, "-o", file) == (0, "", "")
    [((own, changed, query, key), look)] = asked_for
    head = sentence_trace.head(5, 11)
    assert same(own, head)
    assert same(changed, attnviz.what_if(head, scaling=1))
    assert (query, key, look) == (2, None, {"convention": "columns", "display_mode": "dark"})
    assert "multiplied by 1 instead of 1/√32." in file.read_text()


def test_a_page_is_that_of_the_screen(shell_of, screen, sentence_trace, tmp_path):
    file = tmp_path / "PAGE.HTML"
    asked = ("--view", "heads", "--query", 2, "--key", 5)
    assert shell_of(SENTENCE, *asked, "-o", file)[0] == 0
    assert file.read_text() == pages.view_page(screen(*asked), sentence_trace)


def test_code_is_that_of_the_screen(shell_of, screen, minilm, sentence_trace, tmp_path):
    script, drawing = tmp_path / "a.py", tmp_path / "b.svg"
    of_view = ("--view", "heads", "--layer", 2)
    assert shell_of(SENTENCE, *of_view, "-o", script)[0] == 0
    assert script.read_text() == code.script(screen(*of_view))
    assert shell_of(SENTENCE, *of_view, "-o", script, "-o", drawing)[0] == 0
    assert script.read_text() == code.script(screen(*of_view), str(drawing))
    assert shell_of(SENTENCE, "--four-steps", "-o", script)[0] == 0
    assert script.read_text() == four_steps.four_steps(screen(), sentence_trace, minilm[0])


def test_data_are_the_heads_own_arrays(shell_of, sentence_trace, tmp_path):
    data = pytest.importorskip("attnviz.export.data")
    names = [tmp_path / f"a.{ending}" for ending in ("npz", "csv", "parquet", "json")]
    asked = [argument for name in names for argument in ("-o", name)]
    assert shell_of(SENTENCE, *asked) == (0, "", "")
    head = sentence_trace.head(5, 11)
    with np.load(names[0]) as arrays:
        np.testing.assert_array_equal(arrays["weights"], head.weights)
    assert names[1].read_bytes() == _bytes(data.to_csv(head))
    table = tmp_path / "weights.csv"
    assert shell_of(SENTENCE, "--weights", "-o", table) == (0, "", "")
    assert table.read_bytes() == data.weights_to_csv(head)
    assert names[2].read_bytes() == _bytes(data.to_parquet(head))
    about = data.about(sentence_trace, head, text=SENTENCE, pair=None, target=None)
    assert json.loads(names[3].read_text()) == json.loads(data.to_json(about))
    changed = attnviz.what_if(head, scaling=1)
    assert shell_of(SENTENCE, "--scaling", 1, "-o", names[0])[0] == 0
    with np.load(names[0]) as arrays:
        np.testing.assert_array_equal(arrays["weights"], changed.weights)


def _bytes(written):
    return written.encode() if isinstance(written, str) else written


def test_arrays_of_a_file_are_shown_without_a_model(shell_of, asked_for, sentence_trace, tmp_path):
    pytest.importorskip("attnviz.attention.own_arrays")
    head = sentence_trace.head(5, 11)
    file = tmp_path / "mine.npz"
    np.savez(file, q=head.q, k=head.k, v=head.v)
    status, printed, said = shell_of("--from", file, "--query", 2, "--json")
    assert (status, said) == (0, "")
    weights = [key["weight"] for key in json.loads(printed)["weights"]]
    np.testing.assert_allclose(weights, np.sort(head.weights[2])[::-1], atol=1e-6)
    assert shell_of("--from", file, "--view", "neurons", "-o", tmp_path / "a.svg") == (0, "", "")
    assert asked_for == [Screen("mine.npz", "", 0, 0, "neurons")]
    status, _, said = shell_of("--from", file, "-o", tmp_path / "a.py")
    assert status == 1
    assert "there is no model" in said
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("broken.npz", "missing.npz", "", "nul\0", "n" * 5000):
        status, _, said = shell_of("--from", tmp_path / name if name else tmp_path)
        assert status == 1, name
        assert "\n\nHint: " in said


def test_files_and_a_summary_are_had_together(shell_of, tmp_path):
    status, printed, _ = shell_of(SENTENCE, "--json", "-o", tmp_path / "a.py")
    assert status == 0
    assert json.loads(printed)["head"] == 11
    assert (tmp_path / "a.py").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("figure.gif", r"let its name end in one of \.svg, \.pdf, \.png, \.html, \.npz"),
        ("figure", "let its name end in one of"),
        ("\x1b[2J\u202egvs", r"'.*<U\+001B>\[2J<U\+202E>gvs'"),
        ("missing/figure.svg", "there is no folder '.*missing'"),
        ("folder.svg", "it is a folder"),
        ("n" * 5000 + ".svg", "cannot be written"),
        ("nul\0.svg", "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_said_before_a_model_is_loaded(
    monkeypatch, capsys, tmp_path, name, said
):
    monkeypatch.setattr(loader, "load", lambda *a, **o: pytest.fail("the model was loaded"))
    (tmp_path / "folder.svg").mkdir()
    assert shell.main([SENTENCE, "-o", f"{tmp_path}/{name}"]) == 1
    message = capsys.readouterr().err
    assert re.search(said, message)
    assert "\n\nHint: " in message
    assert "\x1b" not in message


def test_a_file_is_replaced_as_a_whole_or_not_at_all(monkeypatch, shell_of, asked_for, tmp_path):
    file = tmp_path / "a.svg"
    file.write_text("before")
    status, _, said = shell_of(SENTENCE, "--query", "fly", "-o", file)
    assert status == 1

    def full(*names):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        status, _, said = shell_of(SENTENCE, "--view", "model", "-o", file)
    assert status == 1
    assert "No space left on device" in said
    assert file.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.svg"]
    assert shell_of(SENTENCE, "--view", "model", "-o", file)[0] == 0
    assert file.read_text().startswith("<svg")


def test_where_one_file_cannot_be_made_none_is_written(shell_of, asked_for, tmp_path):
    good, bad = tmp_path / "a.py", tmp_path / "b.png"
    status, _, said = shell_of(SENTENCE, "--view", "model", "--scale", 99, "-o", good, "-o", bad)
    assert status == 1
    assert "scale is 99" in said
    assert os.listdir(tmp_path) == []


# A terminal


def test_a_text_is_read_from_standard_input(monkeypatch, shell_of):
    def standard_input(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return shell_of("-", "--json")

    said = json.loads(standard_input(f"\ufeff{SENTENCE}\r\n".encode())[1])
    assert said["text"] == SENTENCE
    status, _, message = standard_input(b"caf\xe9")
    assert status == 1
    assert "not UTF-8: byte 4 is 0xE9." in message
    status, _, message = standard_input(b"a" * (shell.LONGEST_TEXT + 1))
    assert status == 1
    assert "longer than 1,000,000 bytes" in message
    status, _, message = standard_input(b"")
    assert status == 1
    assert "Enter a text" in message


@pytest.mark.parametrize("evil", ["\x1b[31mred", "\u202eright", "a\nb", "a\r\x07", "\ud800", "\0"])
def test_no_text_commands_the_terminal(shell_of, evil):
    for arguments in ([evil], [evil, "--json"], [SENTENCE, "--pair", evil], ["a", "--query", evil]):
        _, printed, said = shell_of(*arguments)
        for character in set(printed + said):
            assert character == "\n" or character.isprintable(), (arguments, character)


def test_characters_that_standard_output_lacks_are_spelled_out(monkeypatch, shell_of):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert shell_of("naïve 猫")[0] == 0
    assert r"\u732b" in written.getvalue().decode("ascii")


def test_a_download_is_shown_in_a_terminal_alone(monkeypatch, capsys):
    shell._show_progress(1_000_000, 91_000_000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shell._show_progress(1_000_000, 91_000_000)
    shell._show_progress(91_000_000, 91_000_000)
    first, second = capsys.readouterr().err.split("\r")[1:]
    assert first.rstrip(" ") == "Downloading: 1 MB of 91 MB"
    assert second.split() == ["Downloading:", "91", "MB", "of", "91", "MB"]
    assert second.endswith("\n")


def test_help_names_every_option_and_ending(capsys):
    with pytest.raises(SystemExit) as ended:
        shell.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for action in options._parser()._actions:
        for name in action.option_strings:
            assert name in printed
    for ending in options.ENDINGS:
        assert ending in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_an_interrupt_is_the_status_that_shells_have_for_it(monkeypatch, shell_of):
    class Terminal:
        def read(self, size):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": Terminal()}))
    assert shell_of("-") == (shell.INTERRUPTED, "", "")


def test_a_pipe_that_is_closed_is_the_status_that_shells_have_for_it(monkeypatch, shell_of):
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "w") as output, suppress(BrokenPipeError):
        monkeypatch.setattr(sys, "stdout", output)
        assert shell.main([SENTENCE]) == shell.PIPE_CLOSED
