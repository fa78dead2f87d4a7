"""A view as one HTML file: the trace's own numbers, in words and tables too, and nothing else."""

import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import attnviz
from attnviz.attention.agreement import check_line, check_of_output
from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import (
    explanation,
    headline,
    look_for,
    nearest_values,
    sentence,
)
from attnviz.attention.filters import Filters
from attnviz.attention.steps import steps_of
from attnviz.attention.what_if import Change
from attnviz.charts.parts.palette import PALETTES
from attnviz.export.markup import formula, paragraphs
from attnviz.export.options import VIEWS
from attnviz.export.pages import view_page
from attnviz.export.screen import Asking, Beside, More, Screen, drawn, following
from attnviz.heads.comparing import where_largest
from attnviz.text.characters import shown
from attnviz.text.phrases import escaped, fixed, plain, token
from tests.support import hand_made, tiny_models
from tests.support.saying import both_of, sweep_of

SENTENCE = "time flies like an arrow"
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
HOSTILE = tuple(
    shown(label)
    for label in (
        *("</script><script>alert(1)</script>", '<img␣src="x"␣onerror=alert(1)>', "$x$", "``b``"),
        *("\u202ereversed", "**שלום**", "\\'&lt;[x](http://evil)<!--"),
    )
)
# What a page is made of; nothing here loads or runs anything but the two scripts.
TAGS = {
    *("html", "head", "meta", "title", "style", "script", "body", "main", "header", "section"),
    *("h1", "h2", "h3", "p", "em", "strong", "span", "div", "figure", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "math", "mrow", "mi", "mn", "mo", "mtext"),
    *("msub", "msup", "msubsup", "mfrac", "msqrt", "mspace", "mstyle", "mover"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "http-equiv", "id", "class", "style", "scope"),
    *("tabindex", "xmlns", "display", "width", "stretchy", "displaystyle", "scriptlevel"),
}


class Page(HTMLParser):
    """A page taken apart: its tags, the text of each kind of element, its tables and charts."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes, self.texts, self.rows, self._open = [], [], {}, [], []
        self.feed(document)
        self.close()
        self.charts = [
            json.JSONDecoder().raw_decode(call)[0]
            for call in re.split(r'vegaEmbed\("#chart\d*", ', self.texts["script"][-1])[1:]
        ]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        if tag == "meta":
            return
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if "tbody" in self._open and tag == "tr":
            self.rows.append([])
        elif "tbody" in self._open and tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"th", "td"} & set(self._open) and "tbody" in self._open:
            self.rows[-1][-1] += data

    @property
    def text(self):
        return self.texts["main"][0]

    def constants(self):
        """Every chart's, by name; the last chart's where several have one."""
        return {
            parameter["name"]: parameter["value"]
            for chart in self.charts
            for parameter in chart["params"]
            if "value" in parameter
        }


def screen_of(view, **changes):
    chosen = {} if view == "model" else {"query": 2, "key": 5}
    return Screen("all-MiniLM-L6-v2", SENTENCE, 0, 8, view, **(chosen | changes))


def more_of(view, tokens=("Mary", "the", "John")):
    """What only a model tells."""
    return More(effect=both_of(tokens)) if view == "effect" else More()


def page_of(trace, view, **changes):
    return Page(view_page(screen_of(view, **changes), trace, more_of(view)))


def renamed(trace, labels, **changes):
    """The trace of tokens with other names."""
    tokens = trace.source.relabelled(labels)
    calls = {
        key: dataclasses.replace(call, query_tokens=tokens, key_tokens=tokens)
        for key, call in trace.calls.items()
    }
    return dataclasses.replace(trace, source=tokens, calls=calls, **changes)


def text_of(markdown):
    """Markdown as the page says it."""
    return html.unescape(re.sub(r"<[^>]+>", "", paragraphs(markdown))).strip()


@pytest.fixture(scope="module")
def documents(sentence_trace):
    """The page of every view, made once, and that of two in dark colours."""
    looks = [(view, "light") for view in VIEWS] + [("steps", "dark"), ("neurons", "dark")]
    return {
        (view, mode): view_page(screen_of(view, display_mode=mode), sentence_trace, more_of(view))
        for view, mode in looks
    }


@pytest.fixture(scope="module")
def pages(documents):
    return {view: Page(documents[view, "light"]) for view in VIEWS}


# Every view


def test_a_page_loads_nothing_has_one_copy_of_vega_and_the_colours_of_its_display(documents):
    for (_, display_mode), document in documents.items():
        assert f'http-equiv="Content-Security-Policy"\n content="{POLICY}"' in document
        page = Page(document)
        assert set(page.tags) <= TAGS
        assert set(page.attributes) <= ATTRIBUTES
        style = re.search("<style>(.*?)</style>", document, re.S)[1]
        assert not re.search(r"url\(|@import", style)
        assert document.count("<script>") == document.count("</script>") == 2
        palette = PALETTES[display_mode]
        assert f"color-scheme: {display_mode}; background: {palette.background};" in document
        assert f"body {{ color: {palette.text};" in document
        for chart in page.charts:
            assert chart["config"]["background"] == palette.background
        assert len(document.encode()) < 1_150_000


@pytest.mark.parametrize("view", VIEWS)
def test_headings_are_in_order_and_every_chart_says_what_is_on_it(pages, view):
    page = pages[view]
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.charts
    for chart in page.charts:
        assert chart["description"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_says_what_it_is_of_and_how_closely_the_replay_agrees(pages, view, sentence_trace):
    page = pages[view]
    assert f"“{SENTENCE}”" in page.text
    assert page.texts["title"] == page.texts["h1"]
    assert "sentence-transformers/all-MiniLM-L6-v2, revision sha256:" in page.text
    assert check_line(sentence_trace.head(0, 8)) in page.text
    if view in ("steps", "neurons"):
        assert page.texts["h1"][0].startswith("Layer 0, head 8: ")
        assert "Selected: from flies to arrow." in page.text


def test_a_replay_that_is_off_is_said_to_be(sentence_trace, monkeypatch):
    monkeypatch.setattr("attnviz.attention.maths.scale", lambda scores, scaling: scores)
    page = page_of(sentence_trace, "neurons")
    assert "⚠ Recomputed weights differ from the model's own by up to" in page.text
    assert "are the model's own. The steps before them are recomputed" in page.text


@pytest.mark.parametrize("view", VIEWS[1:])
def test_a_view_is_its_chart_in_a_page_with_its_takeaway(pages, view, sentence_trace):
    [chart] = pages[view].charts
    expected = drawn(screen_of(view), sentence_trace, more_of(view)).to_dict()
    if view in ("neurons", "heads"):
        expected["width"] = "container"
    assert chart == json.loads(json.dumps(expected))
    assert expected["description"] in pages[view].text


def test_effect_says_what_becomes_of_the_token_and_has_bars_and_all_heads(sentence_trace):
    more = More(effect=both_of(position=3), sweep=sweep_of())
    screen = screen_of("effect", effect=Asking(all_heads=True))
    page = Page(view_page(screen, sentence_trace, more))
    assert "After like the model says Mary first, with 50.0\u00a0%." in page.text
    assert "Without layer 0, head 8, Mary falls from 50.0\u00a0% to 10.0\u00a0%." in page.text
    assert "This is the total effect" in page.text
    assert [len(chart["layer"]) for chart in page.charts]
    assert page.constants()["tile_change"] == more.sweep["change"].tolist()
    assert len(page.rows) == 3 + 12


def test_filters_are_said_and_applied(sentence_trace):
    filters = Filters(special=True)
    page = page_of(sentence_trace, "neurons", filters=filters)
    assert "Filters: " in page.text
    assert page.constants()["key_names"] == ["time", "flies", "like", "an", "arrow"]
    assert [row[0] for row in page.rows] == ["time", "flies", "like", "an", "arrow"]
    assert "exactly" not in page.text  # what is left of the weights is not what was replayed


# Tables


def test_the_table_of_neurons_has_the_traces_own_numbers(pages, sentence_trace):
    head = sentence_trace.head(0, 8)
    for key, (name, score, scaled, _, hidden, weight, norm) in enumerate(pages["neurons"].rows):
        assert name == head.key_tokens[key]
        assert score == fixed(head.scores[2, key], 4)
        assert scaled == fixed(head.scaled[2, key], 4)
        assert hidden == "no"
        assert weight == fixed(head.weights[2, key], 4)
        assert norm == fixed(np.linalg.norm(head.weights[2, key] * head.v[key]), 4)
    assert len(pages["neurons"].rows) == 7


def test_the_table_of_heads_has_what_each_head_gives_to_each_key(pages, sentence_trace):
    weights = sentence_trace.layer(0).own_weights[:, 2]
    for key, (_, *given) in enumerate(pages["heads"].rows):
        assert given == [fixed(weight, 4) for weight in weights[:, key]]


def test_the_table_of_the_model_has_a_row_a_head(pages, sentence_trace):
    measured = attnviz.heads.measures(sentence_trace)
    rows = pages["model"].rows
    assert len(rows) == 72
    assert [row[:4] for row in rows] == [
        ["self", str(int(one.layer)), str(int(one.head)), fixed(one.entropy, 4)]
        for one in measured.itertuples()
    ]


def test_the_table_of_find_has_every_head_by_its_rank(pages, sentence_trace):
    found = attnviz.heads.linking(sentence_trace, 2, 5)
    assert pages["find"].rows == [
        [one.kind, str(one.layer), str(one.head), fixed(one.weight, 4), str(one.rank)]
        for one in found.itertuples()
    ]
    assert "Which head links two tokens: " in pages["find"].text


def test_a_page_of_two_texts_has_both_checks_one_sentence_and_every_pair(minilm, sentence_trace):
    other = attnviz.trace(*minilm, "fruit flies like a banana")
    beside = Beside(text="fruit flies like a banana", layer=5, head=2)
    page = Page(view_page(screen_of("compare", beside=beside), sentence_trace, More([other])))
    a, b = sentence_trace.head(0, 8), other.head(5, 2)
    assert f"A: {check_line(a)}" in page.text
    assert f"B: {check_line(b)}" in page.text
    differs = attnviz.heads.difference(a, b)
    assert page.text.count(plain(where_largest(differs))) == 1
    assert "Compared with B: layer 5, head 2, “fruit flies like a banana”." in page.text
    assert [row[-3:] for row in page.rows] == [
        [fixed(one.weight_a, 4), fixed(one.weight_b, 4), fixed(one.difference, 4)]
        for one in differs.table().itertuples()
    ]


def test_hidden_cells_of_a_table_are_empty(minilm):
    model = tiny_models.build("gpt2", vocab_size=minilm[0].config.vocab_size)
    trace = attnviz.trace(model, minilm[1], "one two")
    page = Page(view_page(Screen("", "one two", 0, 0, "neurons", query=1), trace))
    assert [row[3:5] for row in page.rows][2:] == [["", "yes"], ["", "yes"]]


# Steps


def test_steps_has_every_matrix_with_the_traces_own_values(pages, sentence_trace):
    head, drawn_values = sentence_trace.head(0, 8), pages["steps"].constants()
    for name in ("q", "k", "v", "scores", "scaled", "masked", "weights", "updated"):
        np.testing.assert_allclose(np.float32(drawn_values[name]), getattr(head, name), atol=1e-5)
    for name in ("x_query", "output"):
        row = [value for line in drawn_values[f"{name}_row"] for value in line]
        np.testing.assert_allclose(np.float32(row), getattr(head, name)[2], atol=1e-5)
    assert drawn_values["share_tokens"] == list(head.key_tokens)


def test_steps_reads_like_the_page(pages, sentence_trace):
    page, head = pages["steps"], sentence_trace.head(0, 8)
    assert page.texts["h2"] == list(dict.fromkeys(headline(step.number) for step in head.steps))
    for step in head.steps:
        for words in (
            explanation(head, step.number),
            sentence(head, step, 2, 5),
            *(arithmetic(head, step, 2, 5) or "").split("\n\n"),
        ):
            assert text_of(words) in page.text
        assert any(title.startswith(step.title) for title in page.texts["h3"])
        if step.name != "k" and step.name != "v":  # one for the three
            assert look_for(head, step) in page.text
    assert text_of(check_of_output(sentence_trace, head, 2)) in page.text
    assert text_of(nearest_values(head, 2)) in page.text
    assert page.tags.count("math") == len(head.steps)


def test_steps_follows_the_tokens_that_attnviz_opens_with_where_none_are_named(sentence_trace):
    opened = following(screen_of("steps", query=None, key=None), sentence_trace)
    assert (opened.query, opened.key) == (2, 5)
    page = page_of(sentence_trace, "steps", query=0, key=None)
    assert "Selected: from [CLS] to arrow." in page.text


def test_a_long_text_says_what_each_block_is_and_what_a_window_leaves_out(minilm):
    text = f"{SENTENCE} " * 12
    trace = attnviz.trace(*minilm, text)
    page = Page(view_page(Screen("", text, 0, 8, "steps", query=2, key=5), trace))
    assert page.constants()["scores_note"] == "each cell: the maximum of 4 values"
    page = Page(view_page(Screen("", text, 0, 8, "steps", query=2, key=5, large="window"), trace))
    assert page.constants()["scores_note"] == "queries 0 to 39 of 62, keys 0 to 39 of 62"
    head = trace.head(0, 8)
    outside = 40 + int(head.weights[2, 40:].argmax())
    given = fixed(100 * head.weights[2, outside], 1)
    name = head.key_tokens[outside]
    assert re.search(
        rf"Of the keys not shown, flies.\(2\) gives most to {re.escape(name)}.*?{given}", page.text
    )


def test_the_book_s_convention_is_kept(sentence_trace):
    page = page_of(sentence_trace, "steps", convention="columns")
    weights = np.float32(page.constants()["weights"])
    np.testing.assert_allclose(weights, sentence_trace.head(0, 8).weights.T, atol=1e-5)
    assert "Columns sum to 1." in page.text


def test_a_change_follows_with_its_own_numbers(sentence_trace):
    change = Change(scaling=1.0, temperature=2.0, hidden_keys=(1,), zeroed_dimensions=(0, 3))
    page, head = page_of(sentence_trace, "steps", change=change), sentence_trace.head(0, 8)
    assert page.texts["h2"][-1] == "What if?"
    assert (
        "Changed: scores are multiplied by 1 instead of 1/√32; the softmax has a temperature "
        "of 2.00; hidden from every query: time; left out of every score: dimension 0 and 3."
    ) in page.text
    difference = np.float64(
        [
            [np.nan if value is None else value for value in row]
            for row in page.constants()["difference"]
        ]
    )
    expected = change(head).weights - head.weights
    np.testing.assert_allclose(difference, expected, atol=1e-5)
    assert "What if?" not in page_of(sentence_trace, "steps").text


def test_a_head_without_a_share_of_the_output_says_why(sentence_trace):
    calls = {
        key: dataclasses.replace(call, projection="<b>a norm</b> stands before W_O")
        for key, call in sentence_trace.calls.items()
    }
    page = page_of(dataclasses.replace(sentence_trace, calls=calls), "steps")
    assert "cannot be shown: <b>a norm</b> stands before W_O" in page.text
    assert "b" not in page.tags


def test_every_formula_is_drawn():
    heads = [
        hand_made.random_head(),
        hand_made.random_head(causal=True, softcap=30.0, bias=np.ones((5, 5), np.float32)),
        hand_made.random_head(sink_logit=0.5),
        hand_made.random_head(4, 5),
        attnviz.what_if(hand_made.random_head(), temperature=2),
        hand_made.random_head(
            q_before_rotary=np.ones((5, 4), np.float32), k_before_rotary=np.ones((5, 4), np.float32)
        ),
    ]
    for head in heads:
        for convention in ("rows", "columns"):
            for step in steps_of(head, convention):
                drawn_formula = formula(step.formula)
                assert "\\" not in drawn_formula
                assert drawn_formula.startswith("<math ")
                assert set(re.findall(r"<([a-z0-9]+)", drawn_formula)) <= TAGS


# What a visitor typed


@pytest.mark.parametrize(
    ("view", "query", "key"),
    [
        *((view, 0, 1) for view in VIEWS),
        *(pytest.param("steps", n, n + 1, marks=pytest.mark.long) for n in (2, 4, 5)),
    ],
)
def test_hostile_tokens_texts_and_names_are_text_everywhere(sentence_trace, view, query, key):
    hostile = "".join(HOSTILE[:2]) + '" onload="alert(1)'
    trace = renamed(
        sentence_trace, HOSTILE, model_name=hostile, revision="<b>", not_shown=("<i>x</i>",)
    )
    chosen = {} if view == "model" else {"query": query, "key": key}
    change = Change(hidden_keys=(0, 1)) if view == "steps" else Change()
    screen = Screen(hostile, hostile, 0, 8, view, change=change, **chosen)
    document = view_page(screen, trace, more_of(view, HOSTILE))
    page = Page(document)
    assert set(page.tags) <= TAGS
    assert set(page.attributes) <= ATTRIBUTES
    assert document.count("<script>") == document.count("</script>") == 2
    assert hostile in page.text
    assert hostile in page.texts["title"][0]
    assert "\u2060" not in document.replace(page.texts["script"][0], "")
    if view == "steps":
        assert f"{HOSTILE[query]} scores" in page.text
        assert page.constants()["scores_rows"] == list(HOSTILE)
    elif view == "compare":
        assert {row[n] for row in page.rows for n in (1, 3, 5, 7)} == set(HOSTILE)
    elif view in ("neurons", "heads"):
        assert {row[0] for row in page.rows} <= set(HOSTILE)


@pytest.mark.parametrize("label", [*HOSTILE, ":smile:", "www.evil.example", "a -> b", "__x__"])
def test_a_token_in_a_sentence_reads_as_it_is(label):
    written = paragraphs(token(label))
    assert re.fullmatch(r"<p><em>[^<>]*</em></p>\n", written)
    assert text_of(token(label)) == label
    assert plain(token(label)) == label
    assert text_of(escaped(label)) == label


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"view": "<b>"}, "no view '<b>'"),
        ({"view": "steps", "display_mode": "blue"}, "no display mode 'blue'"),
        ({"view": "steps", "query": 7}, "no query token 7"),
        ({"view": "steps", "key": -1}, "no key token -1"),
        ({"view": "neurons", "query": 7}, "no query token 7"),
        ({"view": "heads", "key": 99}, "no key token 99"),
        ({"view": "model", "measure": "beauty"}, "no measure 'beauty'"),
        ({"view": "model", "layer": 6}, "no self attention in layer 6"),
        ({"view": "heads", "head": 12}, "no head 12"),
        ({"view": "steps", "kind": "cross"}, "no attention of kind 'cross'"),
        ({"view": "steps", "change": Change(hidden_keys=(9,))}, "no key 9"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(sentence_trace, changes, said):
    screen = dataclasses.replace(screen_of("model"), **changes)
    with pytest.raises(attnviz.InputError, match=rf"{said}.*\.\n\nHint: "):
        view_page(screen, sentence_trace)
