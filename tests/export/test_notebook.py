"""One call shows a head in a notebook: what it is given, refuses, and hands to the notebook."""

import base64
import copy
import dataclasses
import gzip
import json
import re
from html.parser import HTMLParser

import altair as alt
import pytest

import attnviz
from attnviz import export
from attnviz.charts.parts import in_notebook
from attnviz.charts.parts.palette import PALETTES
from attnviz.export.pages import view_page
from attnviz.export.screen import NOTHING_MORE, Beside, Finding, Screen
from tests.support import hand_made, notebooks, tiny_models
from tests.support.recorded import same

SENTENCE = "time flies like an arrow"
HEAD = hand_made.random_head()
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


def frame_of(output):
    """What a notebook is given: the frame's attributes, and the page that is packed in it."""
    elements = Elements(output)
    assert [tag for tag, _ in elements.found] == ["div", "p", "iframe"]
    frame = elements.attributes("iframe")
    assert not LOADING & set(frame)
    script = Elements(frame["srcdoc"]).scripts
    (packed,) = re.findall(r'atob\("([^"]+)"\)', "".join(script))
    return frame, gzip.decompress(base64.b64decode(packed)).decode()


def specification(document):
    call = Elements(document).scripts[-1].split('vegaEmbed("#chart", ')[1]
    return json.JSONDecoder().raw_decode(call)[0]


@pytest.fixture(scope="module")
def shown(minilm):
    return attnviz.show(*minilm, SENTENCE, 3, 5, "dark")


@pytest.fixture
def screens(monkeypatch):
    """What is to be drawn, and is not: each a screen, a trace, and what is looked at besides."""
    asked = []
    small = alt.Chart(alt.Data(values=[])).mark_point()

    def drawn(screen, trace, more=NOTHING_MORE):
        asked.append((screen, trace, more))
        return small

    monkeypatch.setattr("attnviz.export.notebook.drawn", drawn)
    return asked


# The page


def test_a_page_holds_the_chart_in_the_colours_of_its_display(charts):
    for display_mode, chart in (("light", attnviz.neuron_view(HEAD, 2)), ("dark", charts["layer"])):
        document = export.to_html(chart, display_mode)
        assert specification(document) == json.loads(chart.to_json())
        background = PALETTES[display_mode].background
        assert f":root {{ color-scheme: {display_mode}; background: {background}; }}" in document
        assert document.startswith('<!DOCTYPE html>\n<html lang="en">')
        document.encode()


def test_a_page_loads_nothing_and_forbids_itself_the_network_and_eval(charts):
    document = export.to_html(charts["layer"])
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


def test_a_display_that_is_not_there_makes_no_page(charts):
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        export.to_html(charts["layer"], "blue")


# The call


def test_it_shows_the_head_that_is_asked_for(shown, sentence_trace):
    chart = attnviz.neuron_view(sentence_trace.head(3, 5), display_mode="dark")
    assert specification(shown.page) == json.loads(chart.to_json())


def test_it_says_what_it_shows_in_one_line(shown, minilm, screens):
    assert repr(shown) == str(shown) == Elements(shown.page).title
    assert repr(shown) == (
        "sentence-transformers/all-MiniLM-L6-v2, layer 3, head 5: "
        "[CLS] time flies like an arrow [SEP]"
    )
    long = repr(attnviz.show(*minilm, f"{SENTENCE} " * 20))
    assert long.endswith(" …")
    assert len(long) <= 120


def test_the_notebook_is_given_the_page_in_a_frame_of_its_own(shown):
    frame, page = frame_of(shown._repr_html_())
    assert page == shown.page
    assert frame["title"] == repr(shown)
    assert "width: 100%" in frame["style"]


def test_a_notebook_that_is_not_trusted_says_what_is_shown_and_how_to_see_it(shown):
    words = re.sub(r"<iframe.*</iframe>", "", shown._repr_html_(), flags=re.DOTALL)
    said = " ".join(re.sub(r"<[^>]+>", "", words).split())
    assert said == f"Trust this notebook, or run this cell again, to see the figure: {shown!r}"


def test_a_saved_figure_takes_half_a_megabyte_at_most(shown, charts):
    for output in (shown._repr_html_(), charts["layer"]._repr_mimebundle_()["text/html"]):
        assert len(output) < 500_000


def test_no_token_ends_the_frame_or_its_sentence():
    output = in_notebook.Shown(EVIL, "<p>")._repr_html_()
    frame, page = frame_of(output)
    assert (frame["title"], page) == (EVIL, "<p>")
    inner = Elements(frame["srcdoc"])
    assert (inner.title, len(inner.scripts)) == (EVIL, 1)


def test_what_is_shown_does_not_change(shown):
    with pytest.raises(dataclasses.FrozenInstanceError):
        shown.page = ""


def test_a_pair_and_a_target_are_shown_as_they_are_traced(minilm, screens):
    assert repr(attnviz.show(*minilm, "one", pair="two")).endswith(": [CLS] one [SEP] two [SEP]")
    tiny_t5 = tiny_models.build("t5", vocab_size=minilm[0].config.vocab_size), minilm[1]
    shown = attnviz.show(*tiny_t5, "time", head=0, target="two", kind="cross")
    assert "head 0, cross attention: " in repr(shown)
    assert " [PAD] [CLS] two → [CLS] time [SEP]" in repr(shown)  # moved as in training
    of_pair, of_target = (screen for screen, *_ in screens)
    assert (of_pair.pair, of_target.target, of_target.kind) == ("two", "two", "cross")


def test_a_display_that_is_not_there_is_refused_before_the_model_runs():
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        attnviz.show(None, None, SENTENCE, display_mode="blue")


# Every view


@pytest.mark.parametrize("view", ["neurons", "heads", "model"])
def test_it_draws_the_view_that_is_asked_for(minilm, sentence_trace, screens, view):
    attnviz.show(*minilm, SENTENCE, 3, 5, "dark", view, query=1, key=4)
    [(screen, trace, more)] = screens
    of_view = {"view": view, "query": 1, "key": 4, "focus": "query", "display_mode": "dark"}
    assert screen == Screen(sentence_trace.model_name, SENTENCE, 3, 5, **of_view)
    assert same(trace, sentence_trace)
    assert more is NOTHING_MORE


def test_it_shows_the_steps_as_a_page(minilm, sentence_trace):
    shown = attnviz.show(*minilm, SENTENCE, view="steps", query=1, key=0)
    screen = Screen(sentence_trace.model_name, SENTENCE, 5, 11, query=1, key=0)
    assert shown.page == view_page(screen, sentence_trace)


def test_it_finds_the_heads_that_link_two_tokens(minilm, screens):
    attnviz.show(*minilm, SENTENCE, view="find", query=1, key=4)
    attnviz.show(*minilm, SENTENCE, view="find")
    assert [(one.query, one.key, one.find) for one, *_ in screens] == [
        (1, 4, Finding()),
        (2, 5, Finding()),  # those that attnviz opens with
    ]


def test_it_compares_with_a_head_of_the_same_text_or_of_another(minilm, screens):
    attnviz.show(*minilm, SENTENCE, view="compare", other_text="fruit flies")
    attnviz.show(*minilm, SENTENCE, view="compare", other_layer=5, other_head=1)
    (of_text, _, more), (of_head, _, nothing) = screens
    assert of_text.beside == Beside(text="fruit flies")
    assert same(more.other, attnviz.trace(*minilm, "fruit flies"))
    assert of_head.beside == Beside(layer=5, head=1)
    assert nothing is NOTHING_MORE


def test_it_selects_the_tokens_that_are_asked_for_wherever_they_are(minilm, screens):
    text = f"{SENTENCE} " * 12
    attnviz.show(*minilm, text, query=60)
    attnviz.show(*minilm, text, view="heads", key=60)
    of_query, of_key = (screen for screen, *_ in screens)
    assert of_query.query == of_key.key == 60
    assert of_query.first_query <= 60 < of_query.first_query + 40
    assert of_key.first_key <= 60 < of_key.first_key + 40
    assert (of_query.first_key, of_key.first_query) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layer": 6}, "no self attention in layer 6"),
        ({"head": 12}, "no head 12"),
        ({"kind": "cross"}, "no attention of kind 'cross'"),
        ({"text": " "}, "Enter a text"),
        ({"view": "<b>"}, "no view '<b>'"),
        ({"query": 7}, "no query token 7"),
        ({"view": "heads", "key": -1}, "no key token -1"),
        ({"view": "find", "key": 7}, "no key token 7"),
        ({"view": "compare"}, "none is named"),
        ({"view": "compare", "other_layer": 6}, "no self attention in layer 6"),
        ({"view": "compare", "other_text": " "}, "Enter a text"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(minilm, arguments, said):
    with pytest.raises(attnviz.InputError, match=rf"{said}.*\.\n\nHint: "):
        attnviz.show(*minilm, **({"text": SENTENCE} | arguments))


# The charts themselves


@pytest.fixture(scope="module")
def charts():
    """One of each kind of chart that the views are, in dark colours."""
    changed = attnviz.what_if(HEAD, scaling=1)
    return {
        "layer": attnviz.neuron_view(HEAD, display_mode="dark"),
        "vconcat": attnviz.what_if_view(HEAD, changed, 1, display_mode="dark"),
    }


@pytest.mark.parametrize("name", ["layer", "vconcat"])
def test_a_chart_in_a_notebook_is_a_frame_that_needs_no_network(charts, name):
    chart = charts[name]
    data = chart._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain"}
    frame, page = frame_of(data["text/html"])
    assert "color-scheme: dark" in page
    assert specification(page) == json.loads(chart.to_json())
    assert not re.search(r"<script[^>]+src", page + frame["srcdoc"])


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
    _, page = frame_of(chart._repr_mimebundle_()["text/html"])
    shown = specification(page)
    assert shown["title"] == "mine"
    assert shown["config"]["background"] == "#123456"


# A kernel


@pytest.mark.process
def test_a_kernel_hands_the_notebook_the_frame_and_the_line(shown_in_notebook, minilm):
    for display_mode, data in shown_in_notebook.items():
        shown = attnviz.show(*minilm, SENTENCE, layer=0, head=8, display_mode=display_mode)
        assert data == {"text/html": shown._repr_html_(), "text/plain": repr(shown)}


@pytest.mark.process
def test_a_view_as_the_last_line_of_a_cell_is_handed_over_as_a_frame(tmp_path, sentence_trace):
    _, data = notebooks.results(
        tmp_path,
        "import attnviz; model, tokenizer = attnviz.load()",
        f"attnviz.head_view(attnviz.trace(model, tokenizer, {SENTENCE!r}), 2)",
    )
    chart = attnviz.head_view(sentence_trace, 2)
    assert data == chart._repr_mimebundle_()
    assert data["text/plain"].startswith("Head view of layer 2, 12 heads. ")
