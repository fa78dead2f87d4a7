"""What a link may ask for, what is said where it cannot be followed, and a new one."""

import re
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from transformers import ByT5Tokenizer

from attnviz.models import loader
from attnviz.page.beats import BEATS
from attnviz.page.controls import links
from attnviz.page.service import settings
from attnviz.page.views.heads import NONE, is_none
from tests.support.hostile import CHARACTER, cases, markup_of, texts
from tests.support.parameters import PARAMETERS
from tests.support.showing import constants, run
from tests.support.tiny_models import save_tiny


@pytest.fixture
def opened(page):
    """The page at a link."""

    def open_at(**parameters):
        page.query_params.update(parameters)
        return run(page)

    return open_at


def notes(page):
    return [warning.value for warning in page.warning]


def change(page, **state):
    """Set controls as the page itself does; what a link asked of them is no longer in it."""
    for name, value in state.items():
        page.query_params.pop(name, None)
        page.session_state[name] = value
    return run(page)


def test_every_control_that_stands_in_the_address_is_known_to_links():
    assert PARAMETERS.keys() == links.PARAMETERS
    assert links.AS_OPENED.keys() | {"talk"} == links.PARAMETERS


# What is not there


def test_unknown_parameters_get_one_note_that_names_them_and_leave_the_address(opened):
    page = opened(laier="3", Head="2", layer="2", embed="true", embed_options="dark_theme")
    (note,) = notes(page)
    assert "“laier”, “Head”" in note
    assert "embed" not in note
    assert page.subheader[0].value == "Layer 2, head 11"
    assert "laier" not in page.query_params
    assert page.query_params["layer"] == "2"
    assert page.query_params["embed_options"] == "dark_theme"


@cases(100, unknown=st.lists(texts(CHARACTER), min_size=1, max_size=20))
def test_names_of_parameters_are_quoted_letter_for_letter(unknown):
    note = links.note_on_names(unknown)
    assert set(markup_of(note)) == set()
    assert note.count("“") >= min(len(unknown), 8)
    assert len(note) < 8_000
    if len(unknown) > 8:
        assert f"and {len(unknown) - 8} more" in note


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"target": "Ziel"}, "takes none"),
        ({"kind": "cross"}, "only self attention"),
        ({"device": "GPU"}, "only the CPU"),
        ({"view": "Heads", "segments": "A → B"}, "no second text"),
        ({"step": "rotate"}, "embeddings, project, score"),
    ],
)
def test_what_this_model_or_text_has_not_is_said_and_why(opened, asked, why):
    (note,) = notes(opened(**asked))
    assert f"“{[*asked.values()][-1]}”".replace("→", "") in note.replace("→", "")
    assert why in note.replace("\\", "")


def test_what_is_there_anyway_gets_no_note(opened):
    assert not notes(opened(kind="self", device="CPU", segments="all", target="", step="softmax"))


def test_a_text_for_another_kind_of_model_waits_until_it_is_chosen(offering, tmp_path):
    folder = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    page = offering(settings.OFFERS[0].name, folder)
    page.query_params.update({"target": "Zeit", "layer": "1"})
    (note,) = notes(run(page))
    assert "“Zeit”" in note
    page.selectbox(key="model").select(str(folder))
    run(page)
    assert not notes(page)
    assert page.text_area(key="target").value == "Zeit"


def test_a_device_of_the_link_is_taken_where_it_is(opened, monkeypatch):
    monkeypatch.setattr(loader, "devices", lambda: ("cpu", "cpu:0"))  # the same by another name
    page = opened(device="GPU, bfloat16")
    assert not notes(page)
    assert page.selectbox(key="device").value == "GPU, bfloat16"
    assert "bfloat16" in page.main.caption[0].value


def test_a_what_if_in_a_closed_expander_is_said_and_followed_when_it_opens(opened, sentence_trace):
    page = opened(if_unscaled="true", if_factor="nan", if_zeroed=["3", "99"])
    (note,) = notes(page)
    assert "What if?" in note
    assert page.query_params["if_unscaled"] == "true"
    page = change(page, what_if=True)
    assert page.toggle(key="if_unscaled").value
    assert page.multiselect(key="if_zeroed").value == [3]
    assert sorted(re.findall("“(.*?)”", " ".join(notes(page)))) == ["99", "nan"]


def test_values_for_a_view_that_is_not_open_are_followed_or_noted_when_it_opens(opened):
    page = opened(top="1", share="3", measure="nope", heads=["2", "77"])
    assert not notes(page)
    page = change(page, view="Heads")
    assert constants(page)["pinned_heads"] == [2]
    assert page.select_slider(key="top").value == "1"
    assert sorted(re.findall("“(.*?)”", " ".join(notes(page)))) == ["3", "77"]
    page = change(page, view="Model")
    assert sorted(re.findall("“(.*?)”", " ".join(notes(page)))) == ["3", "77", "nope"]


def test_reset_forgets_what_still_waited_in_the_address(opened):
    page = opened(if_factor="0.5", target="Ziel", layer="3", step="softmax")
    assert len(notes(page)) == 2
    next(button for button in page.button if button.label == "Reset").click()
    run(page)
    assert not notes(page)
    assert not {"if_factor", "target", "step"} & page.query_params.keys()
    page = change(page, what_if=True)
    assert page.number_input(key="if_factor").value is None


# What moves


def test_a_model_with_fewer_layers_and_heads_says_which_are_shown(offering, tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    page = offering(settings.OFFERS[0].name, folder)
    run(page)
    page.selectbox(key="layer").select(4)
    page.selectbox(key="head").select(2)
    run(page)
    page.selectbox(key="model").select(str(folder))
    assert run(page).subheader[0].value == "Layer 2, head 2"
    assert moves(page) == ["There is no layer 4 here; 2 is the nearest."]
    page.selectbox(key="head").select(1)
    assert len(moves(run(page))) == 1  # still so
    page.selectbox(key="layer").select(1)
    assert moves(run(page)) == []
    page.selectbox(key="layer").select(2)
    assert moves(run(page)) == []  # chosen now


def moves(page):
    return [caption.value for caption in page.sidebar.caption if "nearest" in caption.value]


# Controls that stand in several views


@pytest.mark.parametrize("view", ["Neurons", "Heads"])
def test_a_pair_chosen_in_another_view_is_in_the_address(opened, view):
    page = change(opened(), view=view)
    page.selectbox(key="query").select(4)
    run(page)
    assert page.query_params["query"] == "4 an"
    page.selectbox(key="query").select(2)
    run(page)
    assert "query" not in page.query_params


def test_filters_set_in_another_view_are_in_the_address(opened):
    text = "time flies like an arrowhead"  # whose last word has two pieces
    page = change(opened(view="Neurons", text=text, hide_special="True"), view="Heads")
    page.multiselect(key="hidden").set_value(["1 time"])
    page.select_slider(key="top").set_value("2")
    page.toggle(key="words").set_value(True)
    run(page)
    assert page.query_params["hide_special"] == "true"
    assert page.query_params["hidden"] == "1 time"
    assert page.query_params["top"] == "2"
    assert page.query_params["words"] == "true"


# No head at all


@pytest.mark.parametrize(
    ("chosen", "n_before", "expected"),
    [
        ([], 1, True),
        ([NONE], 0, True),
        ([1, 2, NONE], 2, True),
        ([NONE, 3], 0, False),
        ([1], 1, False),
    ],
)
def test_no_head_is_on_where_none_is_left_or_all_are_sent_away(chosen, n_before, expected):
    assert is_none(chosen, n_before) is expected


def test_a_link_to_no_head_shows_none_and_one_can_be_chosen(opened):
    page = opened(view="Heads", heads=NONE)
    assert constants(page)["pinned_heads"] == []
    assert not notes(page)
    page.button_group(key="heads").set_value([NONE, 3])
    assert constants(run(page))["pinned_heads"] == [3]
    page.button_group(key="heads").set_value([])
    assert constants(run(page))["pinned_heads"] == []
    assert page.query_params["heads"] == NONE
    assert not notes(page)


# A step


def test_a_link_to_a_step_opens_it(opened):
    assert "scores" in constants(opened(step="score"))


@pytest.mark.parametrize("asked", ["nope", "softmax'); alert(1); ('", "</script>", "toString"])
def test_nothing_a_link_says_becomes_code(opened, asked):
    page = opened(step=asked)
    assert scripts(page) == []
    assert len(notes(page)) == 1


def scripts(page):
    """All but the one that is on every page."""
    bodies = [html.proto.body for html in page.get("html")]
    return [body for body in bodies if "<script>" in body and "attnvizHistory" not in body]


def test_steps_have_names_that_can_be_looked_for():
    assert all(re.fullmatch(r"[a-z-]+", name) for name in BEATS.values())


# A new link


def asking():
    import streamlit

    from attnviz.page.controls import links

    chosen = streamlit.session_state["chosen"]
    streamlit.text(links.link_of_now(**chosen))


@pytest.fixture
def link_at(monkeypatch):
    """The link of a page that is open at this address."""

    def link(url, theme, *, is_slide=False, named=None, **parameters):
        monkeypatch.setattr(links.st, "context", SimpleNamespace(url=url))
        page = AppTest.from_function(asking)
        page.session_state["chosen"] = {"theme": theme, "is_slide": is_slide, "named": named}
        page.query_params.update(parameters)
        page.run()
        assert not page.exception
        return page.text[0].value

    return link


def test_a_link_keeps_the_proxys_name_and_path(link_at):
    link = link_at("https://host.example/demo/attnviz/", "dark", layer="3", hidden=["1 a", "2 b"])
    assert link == (
        "https://host.example/demo/attnviz/?layer=3&hidden=1+a&hidden=2+b&embed_options=dark_theme"
    )


def test_a_link_leaves_embedding_and_an_unknown_theme_out(link_at):
    assert link_at("http://a/", None, embed="true", embed_options="dark_theme", head="1") == (
        "http://a/?head=1"
    )


def test_a_link_to_a_slide_names_what_the_address_leaves_out_and_that_alone(link_at):
    named = {"layer": 5, "head": 11}
    assert link_at("http://a/", "dark", is_slide=True, named=named, head="1") == (
        "http://a/?head=1&layer=5&embed=true&embed_options=dark_theme"
    )


@pytest.mark.parametrize("address", ["http://a:1", "http://a:1/"])
def test_a_link_is_to_the_folder_that_streamlit_serves(link_at, address):
    assert link_at(address, "light") == "http://a:1/?embed_options=light_theme"


@pytest.mark.parametrize("text", ["a & b=c?#%+\"'</script>\\", "時は矢の如く" * 300, "🏳️‍🌈😀" * 400])
def test_any_text_comes_back_out_of_its_link(link_at, text):
    link = link_at("http://a/", "light", text=text)
    assert re.fullmatch(r"[\w.:/?&=%+~-]+", link, re.ASCII)
    assert parse_qs(urlsplit(link).query)["text"] == [text]


def test_a_link_that_may_not_arrive_says_so_with_its_length():
    assert links.note_on_length("x" * 8_000) is None
    assert "8,001 characters" in links.note_on_length("x" * 8_001)
