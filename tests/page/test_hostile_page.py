"""Hostile texts and links through the whole page: nothing fails, nothing becomes markup."""

import ast
import functools
import json
import re

from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from attnviz.text.characters import shown
from attnviz.text.errors import AttnvizError
from attnviz.text.tokenizing import encode
from tests.support.hostile import CHARACTER, DECLARED, bundled, cases, markup_of, texts
from tests.support.parameters import PARAMETERS
from tests.support.places import PAGE
from tests.support.showing import charts, constants

VIEWS = ("Steps", "Neurons", "Heads", "Model", "Find", "Compare", "Effect")
# What a link may set, and values of it that the page takes.
NUMBERS = ("nan", "inf", "-inf", "1e999", "-1", "99999999999999999999", "1e-320", "0x1", "٣", "1_0")
WORDS = ("header", "subheader", "title", "caption", "markdown", "info", "warning", "error")
LABELLED = (
    *("button", "selectbox", "text_area", "toggle", "multiselect", "number_input", "expander"),
    *("select_slider", "tab"),
)


def values_of(parameter):
    """What a link may ask of a parameter: what is there, numbers, anything, several at once."""
    one = st.one_of(st.sampled_from(NUMBERS), texts(CHARACTER))
    if PARAMETERS[parameter]:
        one = st.one_of(st.sampled_from(PARAMETERS[parameter]), one)
    return st.one_of(one, st.lists(one, min_size=2, max_size=3))


LINKS = st.fixed_dictionaries(
    {},
    optional={name: values_of(name) for name in PARAMETERS if name not in ("text", "view")},
)


def opened(link, text=None):
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in link.items():
        page.query_params[name] = value
    if text is not None:
        page.session_state["text"] = text
    page.run()
    assert not page.exception, page.exception
    return page


def markdown_on(page):
    """Everything on the page that is read as Markdown."""
    for kind in WORDS:
        yield from (element.value for element in page.get(kind))
    for element in (element for kind in LABELLED for element in page.get(kind)):
        yield element.label
        yield getattr(element, "help", None) or ""


def markup_on(page):
    return {piece for markdown in markdown_on(page) for piece in markup_of(markdown or "")}


@functools.cache
def own_markup():
    """Every piece of markup of the page as it opens, whatever is open on it."""
    links = [{"view": view, "what_if": "true", "why_scale": "true"} for view in VIEWS]
    links += [{"talk": "embeddings"}, {"view": "Neurons", "sorted": "true"}, {"layer": "99"}]
    links += [{"all_steps": "true"}, {"all_steps": "true", "columns": "true"}]
    links += [{"text": ""}, {"what_if": "true", "if_factor": "1"}, {"columns": "true"}]
    links += [{"view": view, "hidden": "2 flies", "query": "2", "key": "2"} for view in VIEWS[1:]]
    links += [{"view": view, "text": "time " * 50, "what_if": "true"} for view in VIEWS]
    return set().union(*(markup_on(opened(link)) for link in links))


def names_in(tokenizer, text, pair):
    """What tokens and words may be called on the page."""
    try:
        _, read = encode(tokenizer, text, pair if pair and pair.strip() else None)
    except AttnvizError:
        return set()
    return {*read.labels, *read.in_words().labels}


@cases(
    100,
    text=st.one_of(st.just("time flies like an arrow"), texts(CHARACTER), texts(CHARACTER)),
    link=LINKS,
    view=st.sampled_from(VIEWS),
    is_typed=st.booleans(),
)
def test_no_text_and_no_link_breaks_the_page(text, link, view, is_typed):
    link = link | {"view": view}
    page = opened(link, text) if is_typed else opened(link | {"text": text})
    text = re.sub("\r\n?", "\n", text)  # as a browser has it
    assert page.text_area(key="text").value == text
    for chart in charts(page):
        json.dumps(chart, allow_nan=False)
    names = names_in(bundled()[1], text, field_on(page, "pair"))
    other = field_on(page, "other_text")
    names |= names_in(bundled()[1], text if other is None or not other.strip() else other, None)
    for kind, name in markup_on(page) - own_markup():
        assert kind == "italic"
        assert {*name.split(" / ")} <= names  # of two texts that are compared, one of each
    sent = constants(page)
    for name in ("weights_rows", "weights_columns", "query_names"):
        for label in sent.get(name, []):
            assert label == shown(label)


def field_on(page, key):
    """What is in a field, where the page has it."""
    return next((field.value for field in page.text_area if field.key == key), None)


def test_every_parameter_of_the_page_is_tried():
    """Controls that stand in the address, by their keys in the source."""
    bound = set()
    for path in [PAGE, *(PAGE.parent / "attnviz" / "page").rglob("*.py")]:
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if "bind" in given:
                bound.add(getattr(given["key"], "value", None))
            elif name in ("select", "stepper", "choose_token", "_choose_measure", "text_area"):
                bound.add(getattr(call.args[1], "value", None))
    bound -= {None}
    assert {"model", "layer", "query", "if_factor", "talk", "heads"} <= {
        name for name in bound if isinstance(name, str)
    }
    # Where to scroll, what is marked, and what is mended, which no control of Streamlit holds.
    # Parts that open below what is seen have theirs named where they are made.
    bound |= {"what_if", "why_scale"}
    read = {"step", "area", "all_heads", "aligned_queries", "aligned_keys"}
    assert {name for name in bound if isinstance(name, str)} | read == PARAMETERS.keys()


def test_these_are_a_hundred_cases():
    assert DECLARED["test_no_text_and_no_link_breaks_the_page"] >= 100
