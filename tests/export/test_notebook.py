"""One call shows a head in a notebook: what it is given, refuses, and hands to the notebook."""

import copy
import dataclasses
import json
import re
from html.parser import HTMLParser

import altair as alt
import pytest

import attnviz
from attnviz import export
from attnviz.charts.parts.palette import PALETTES
from attnviz.export.pages import view_page
from attnviz.export.screen import Screen
from tests.support import hand_made, notebooks, tiny_models

SENTENCE = "time flies like an arrow"
EVIL = "</script><script>alert(1)</script><!--"
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Elements(HTMLParser):
    """The elements of a document, and the text of its scripts."""

    def __init__(self, document):
        super().__init__()
        self.found, self.scripts, self.title, self._open = [], [], "", None
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "script":
            self.scripts.append(data)
        if self._open == "title":
            self.title += data

    def attributes(self, tag):
        return next(attributes for name, attributes in self.found if name == tag)


def specification(document):
    call = Elements(document).scripts[-1].split('vegaEmbed("#chart", ')[1]
    return json.JSONDecoder().raw_decode(call)[0]


@pytest.fixture(scope="module")
def shown(minilm):
    return attnviz.show(*minilm, SENTENCE)


# The page


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_a_page_holds_the_chart_in_the_colours_of_its_display(display_mode):
    chart = attnviz.neuron_view(hand_made.random_head(), 2, display_mode=display_mode)
    document = export.to_html(chart, display_mode)
    assert specification(document) == json.loads(chart.to_json())
    background = PALETTES[display_mode].background
    assert f":root {{ color-scheme: {display_mode}; background: {background}; }}" in document
    assert document.startswith('<!DOCTYPE html>\n<html lang="en">')
    document.encode()


def test_a_page_loads_nothing_and_forbids_itself_the_network_and_eval():
    document = export.to_html(attnviz.neuron_view(hand_made.random_head()))
    elements = Elements(document)
    for tag, attributes in elements.found:
        assert tag not in ("link", "iframe", "base", "img", "object", "a"), tag
        assert not LOADING & set(attributes), (tag, attributes)
    assert not re.search(r"url\(|@import", re.search("<style>(.*?)</style>", document, re.S)[1])
    policies = [a["content"] for t, a in elements.found if t == "meta" and "http-equiv" in a]
    assert policies == [
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    ]
    assert '"actions": false' in document


def test_no_token_and_no_title_ends_the_page_or_its_script():
    head = hand_made.random_head(queries=(EVIL, "b", "c", "d", "e"), keys=(EVIL, *"vwxy"))
    document = export.to_html(attnviz.neuron_view(head), title=EVIL)
    elements = Elements(document)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert len(elements.scripts) == 2
    assert elements.title == EVIL
    assert EVIL not in document
    assert EVIL in json.dumps(specification(document))


def test_a_display_that_is_not_there_makes_no_page():
    chart = attnviz.neuron_view(hand_made.random_head())
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        export.to_html(chart, "blue")


# The call


def test_it_shows_the_head_that_is_asked_for(minilm, sentence_trace):
    shown = attnviz.show(*minilm, SENTENCE, 3, 5, "dark")
    chart = attnviz.neuron_view(sentence_trace.head(3, 5), display_mode="dark")
    assert specification(shown.page) == json.loads(chart.to_json())


def test_it_says_what_it_shows_in_one_line(shown, minilm):
    assert repr(shown) == str(shown) == Elements(shown.page).title
    assert repr(shown) == (
        "sentence-transformers/all-MiniLM-L6-v2, layer 0, head 8: "
        "[CLS] time flies like an arrow [SEP]"
    )
    long = repr(attnviz.show(*minilm, f"{SENTENCE} " * 20))
    assert long.endswith(" …")
    assert len(long) <= 120


def test_the_notebook_is_given_the_page_in_a_frame_of_its_own(shown):
    [(tag, attributes)] = Elements(shown._repr_html_()).found
    assert tag == "iframe"
    assert attributes["srcdoc"] == shown.page
    assert attributes["title"] == repr(shown)
    assert "width: 100%" in attributes["style"]
    assert not LOADING & set(attributes)


def test_what_is_shown_does_not_change(shown):
    with pytest.raises(dataclasses.FrozenInstanceError):
        shown.page = ""


def test_a_pair_and_a_target_are_shown_as_they_are_traced(minilm):
    assert repr(attnviz.show(*minilm, "one", pair="two")).endswith(": [CLS] one [SEP] two [SEP]")
    tiny_t5 = tiny_models.build("t5", vocab_size=minilm[0].config.vocab_size), minilm[1]
    shown = attnviz.show(*tiny_t5, "time", head=0, target="two", kind="cross")
    assert "head 0, cross attention: " in repr(shown)
    assert " two [SEP] → [CLS] time [SEP]" in repr(shown)


def test_a_display_that_is_not_there_is_refused_before_the_model_runs():
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        attnviz.show(None, None, SENTENCE, display_mode="blue")


# Every view


@pytest.mark.parametrize("view", ["heads", "model"])
def test_it_shows_the_view_that_is_asked_for(minilm, sentence_trace, view):
    shown = attnviz.show(*minilm, SENTENCE, 3, 5, view=view)
    chart = (
        attnviz.head_view(sentence_trace, 3, framed=5)
        if view == "heads"
        else attnviz.model_view(sentence_trace, layer=3, head=5)
    )
    assert specification(shown.page) == json.loads(chart.to_json())


def test_it_shows_the_steps_as_a_page(minilm, sentence_trace):
    shown = attnviz.show(*minilm, SENTENCE, view="steps", query=1, key=0)
    screen = Screen(sentence_trace.model_name, SENTENCE, 0, 8, query=1, key=0)
    assert shown.page == view_page(screen, sentence_trace)


def test_it_finds_the_heads_that_link_two_tokens(minilm, sentence_trace):
    shown = attnviz.show(*minilm, SENTENCE, view="find", query=1, key=4)
    chart = attnviz.find_view(attnviz.heads.linking(sentence_trace, 1, 4), layer=0, head=8)
    assert specification(shown.page) == json.loads(chart.to_json())
    opens_with = attnviz.show(*minilm, SENTENCE, view="find").page
    assert opens_with == attnviz.show(*minilm, SENTENCE, view="find", query=2, key=5).page


def test_it_compares_with_a_head_of_the_same_text_or_of_another(minilm, sentence_trace):
    other = attnviz.trace(*minilm, "fruit flies")
    for named, b in (
        ({"other_text": "fruit flies"}, other.head(0, 8)),
        ({"other_layer": 5, "other_head": 1}, sentence_trace.head(5, 1)),
    ):
        shown = attnviz.show(*minilm, SENTENCE, view="compare", **named)
        chart = attnviz.compare_view(attnviz.heads.difference(sentence_trace.head(0, 8), b))
        assert specification(shown.page) == json.loads(chart.to_json())


def test_it_selects_the_tokens_that_are_asked_for_wherever_they_are(minilm):
    text = f"{SENTENCE} " * 12
    constants = {
        parameter["name"]: parameter.get("value")
        for parameter in specification(attnviz.show(*minilm, text, query=60).page)["params"]
    }
    assert constants["query_names"][constants["pinned_query"]].startswith("60 ")
    for side in ("query", "key"):
        shown = attnviz.show(*minilm, text, view="heads", **{side: 60})
        params = {one["name"]: one.get("value") for one in specification(shown.page)["params"]}
        assert params[f"{side}_names"][params[f"pinned_{side}"]].startswith("60 ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layer": 6}, "no self attention in layer 6"),
        ({"head": 12}, "no head 12"),
        ({"kind": "cross"}, "no attention of kind 'cross'"),
        ({"text": " "}, "text is blank"),
        ({"view": "<b>"}, "no view '<b>'"),
        ({"query": 7}, "no query token 7"),
        ({"view": "heads", "key": -1}, "no key token -1"),
        ({"view": "find", "key": 7}, "no key token 7"),
        ({"view": "compare"}, "none is named"),
        ({"view": "compare", "other_layer": 6}, "no self attention in layer 6"),
        ({"view": "compare", "other_text": " "}, "text is blank"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(minilm, arguments, said):
    with pytest.raises(attnviz.InputError, match=rf"{said}.*\.\n\nHint: "):
        attnviz.show(*minilm, **({"text": SENTENCE} | arguments))


# The charts themselves


@pytest.fixture(scope="module")
def charts():
    """One of each kind of chart that the views are, in dark colours."""
    head = hand_made.random_head()
    return {
        "layer": attnviz.neuron_view(head, display_mode="dark"),
        "vconcat": attnviz.steps_view(head, 1, 2, display_mode="dark"),
        "what if": attnviz.what_if_view(
            head, attnviz.what_if(head, scaling=1), 1, display_mode="dark"
        ),
    }


@pytest.mark.parametrize("name", ["layer", "vconcat", "what if"])
def test_a_chart_in_a_notebook_is_a_frame_that_needs_no_network(charts, name):
    chart = charts[name]
    data = chart._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain"}
    [(tag, attributes)] = Elements(data["text/html"]).found
    assert tag == "iframe"
    assert "color-scheme: dark" in attributes["srcdoc"]
    assert specification(attributes["srcdoc"]) == json.loads(chart.to_json())
    assert not re.search(r"<script[^>]+src", attributes["srcdoc"])


def test_a_chart_is_an_altair_chart_in_every_other_way(charts, tmp_path):
    chart = charts["layer"]
    plain = alt.LayerChart.from_dict(chart.to_dict())
    assert type(plain) is alt.LayerChart
    assert isinstance(chart, alt.LayerChart)
    assert plain.to_dict() == chart.to_dict()
    assert copy.deepcopy(chart).to_dict() == chart.copy().to_dict() == chart.to_dict()
    assert isinstance(chart.properties(width=300), type(chart))
    chart.save(tmp_path / "chart.json")
    assert json.loads((tmp_path / "chart.json").read_text()) == json.loads(chart.to_json())
    assert alt.renderers.active == "default"


def test_what_somebody_changes_about_a_chart_is_shown_as_they_want_it(charts):
    chart = charts["layer"].properties(title="mine").configure(background="#123456")
    [(_, attributes)] = Elements(chart._repr_mimebundle_()["text/html"]).found
    shown = specification(attributes["srcdoc"])
    assert shown["title"] == "mine"
    assert shown["config"]["background"] == "#123456"


# A kernel


def test_a_kernel_hands_the_notebook_the_frame_and_the_line(shown_in_notebook, minilm):
    for display_mode, data in shown_in_notebook.items():
        shown = attnviz.show(*minilm, SENTENCE, display_mode=display_mode)
        assert data == {"text/html": shown._repr_html_(), "text/plain": repr(shown)}


def test_a_view_as_the_last_line_of_a_cell_is_handed_over_as_a_frame(tmp_path, sentence_trace):
    _, data = notebooks.results(
        tmp_path,
        "import attnviz; model, tokenizer = attnviz.load()",
        f"attnviz.head_view(attnviz.trace(model, tokenizer, {SENTENCE!r}), 2)",
    )
    chart = attnviz.head_view(sentence_trace, 2)
    assert data == chart._repr_mimebundle_()
    assert data["text/plain"].startswith("Head view of layer 2, 12 heads. ")
