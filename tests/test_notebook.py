"""One call shows a head in a notebook: what it is given, refuses, and hands to the notebook."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import hand_made
import pytest
import tiny_models

import attnviz
from attnviz import export
from attnviz.charts.palette import PALETTES

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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layer": 6}, "no self attention in layer 6"),
        ({"head": 12}, "no head 12"),
        ({"kind": "cross"}, "no attention of kind 'cross'"),
        ({"text": " "}, "text is blank"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(minilm, arguments, said):
    with pytest.raises(attnviz.InputError, match=rf"{said}.*\.\n\nHint: "):
        attnviz.show(*minilm, **({"text": SENTENCE} | arguments))


# A kernel


def test_a_kernel_hands_the_notebook_the_frame_and_the_line(shown_in_notebook, minilm):
    for display_mode, data in shown_in_notebook.items():
        shown = attnviz.show(*minilm, SENTENCE, display_mode=display_mode)
        assert data == {"text/html": shown._repr_html_(), "text/plain": repr(shown)}
