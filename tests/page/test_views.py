"""All views but Steps on the page: controls, filters, links, and what is sent."""

import re

import numpy as np
import pytest

import attnviz
from attnviz import heads
from attnviz.attention import filters
from attnviz.charts.model import model_figure
from tests.support import tiny_models
from tests.support.showing import charts, constants, run, said

VIEWS = ("Neurons", "Heads", "Model", "Find", "Compare")


@pytest.fixture
def opened(page):
    """The page at a link."""

    def open_at(**parameters):
        for name, value in parameters.items():
            page.query_params[name] = value
        return run(page)

    return open_at


@pytest.mark.parametrize("view", VIEWS)
def test_only_the_open_view_is_sent(opened, view):
    page = opened(view=view)
    assert len(charts(page)) == 1
    assert len(str(charts(page)[0])) < 100_000
    assert not page.warning


@pytest.mark.parametrize("view", VIEWS)
def test_a_chart_says_what_is_to_be_seen_and_has_a_table_behind_it(opened, view):
    page = opened(view=view)
    said = page.get("vega_lite_chart")[0].proto.alt
    assert said.startswith(f"{view.removesuffix('s')} view")
    words = " ".join(element.proto.body for element in page.get("html"))  # those with numbers
    assert re.search(r"layer.*%|72 heads|7 × 7 aligned tokens", words + said)
    n_before = len(page.dataframe)
    page.session_state[f"table_{view.lower()}"] = True
    assert len(run(page).dataframe) == n_before + 1
    assert len(page.dataframe[0].value) in (7, 72, 49)


def test_every_matrix_of_the_steps_has_a_table(page, sentence_trace):
    page.session_state["table_steps"] = True
    run(page)
    for step in sentence_trace.head(5, 11).steps:
        page.selectbox(key="table_of_steps").select(step.title)
        run(page)
        table = page.dataframe[0].value
        np.testing.assert_array_equal(table.iloc[:, 1:].to_numpy(np.float32), step.array)


def test_the_neurons_are_those_of_the_head_and_pair_of_the_link(opened, minilm):
    page = opened(view="Neurons", text="the cat sat", layer="2", head="5", query="3", sorted="true")
    head = attnviz.trace(*minilm, "the cat sat").head(2, 5)
    sent = constants(page)
    np.testing.assert_array_equal(np.float32(sent["Q"]), head.q)
    assert sent["pinned_query"] == 3
    assert sorted(sent["dimensions"]) == list(range(32)) != sent["dimensions"]
    assert "shares_share" in sent
    assert any("dimensions** " in markdown.value for markdown in page.markdown)


# Filters


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_the_same_filters(opened, sentence_trace, view):
    page = opened(view=view, query="2", key="5", hide_special="true", renormalise="true")
    less = filters.hide_special(sentence_trace, renormalise=True)
    sent = constants(page)
    note = "special tokens hidden, rows renormalised"
    captions = [caption.value.replace("\\", "") for caption in page.caption]
    assert sent["note"] == [note] or any(note in caption for caption in captions)
    if view == "Find":
        linked = heads.linking(less, 1, 4).sort_values(["layer", "head"])
        drawn = sorted(zip(*(sent[f"tile_{n}"] for n in ("layer", "head", "weight")), strict=True))
        np.testing.assert_allclose([weight for *_, weight in drawn], linked["weight"], atol=1e-6)
    elif view == "Compare":
        own = less.head(5, 11).own_weights
        np.testing.assert_allclose(np.float32(sent["a_cells"]), own, atol=1e-6)
    elif view == "Neurons":
        np.testing.assert_array_equal(np.float32(sent["weights"]), less.head(5, 11).own_weights)
    elif view == "Heads":
        np.testing.assert_array_equal(np.float32(sent["weights"]), less.layer(5).own_weights)
    else:
        assert sent["thumbnails"] == model_figure(less, "self", "entropy").constants["thumbnails"]
    assert "Filters (1)" in [one.proto.popover.label for one in page.get("popover")]


def test_the_sentence_above_a_filtered_picture_is_of_that_picture(opened, sentence_trace):
    page = opened(view="Neurons", hide_special="true", renormalise="true")
    weight = filters.hide_special(sentence_trace, renormalise=True).head(5, 11).weights[1, 4]
    assert any(f"{100 * weight:.1f}\u00a0%" in markdown.value for markdown in page.markdown)


def test_filters_may_be_combined_in_any_way(opened):
    page = opened(view="Neurons", hide_special="true", text="dragonflies like an arrow")
    page.multiselect(key="hidden").set_value(["0 [CLS]", "5 arrow"])
    page.toggle(key="words").set_value(True)
    page.select_slider(key="top").set_value("2")
    page.select_slider(key="share").set_value("90")
    run(page)
    assert not said(page)
    sent = constants(page)
    assert sent["key_names"] == ["dragonflies", "like", "an"]
    assert sent["note"][0] == "[CLS], arrow hidden"


def test_hiding_everything_is_one_sentence_and_can_be_undone(opened, sentence_trace):
    page = opened(view="Heads")
    names = [f"{place} {label}" for place, label in enumerate(sentence_trace.tokens)]
    page.multiselect(key="hidden").set_value(names)
    run(page)
    assert len(said(page)) == 1
    assert "No query token is left" in said(page)[0]
    page.button(key="clear_filters").click()
    assert not said(run(page))
    assert len(charts(page)) == 1


def test_hidden_tokens_of_another_text_are_forgotten(opened):
    page = opened(view="Neurons")
    page.multiselect(key="hidden").set_value(["5 arrow"])
    run(page)
    page.text_area(key="text").set_value("the cat sat")
    run(page)
    assert constants(page)["key_names"] == ["[CLS]", "the", "cat", "sat", "[SEP]"]


def test_a_sentence_pair_has_filters_of_its_own(opened):
    page = opened(view="Heads", text="the cat sat", pair="a kitten rested", segments="A → B")
    sent = constants(page)
    assert sent["query_names"] == ["the", "cat", "sat"]
    assert sent["key_names"] == ["a", "kitten", "rested"]
    assert sent["note"] == ["only text A → text B"]
    page.text_area(key="pair").set_value("")
    assert constants(run(page))["note"] == []


def test_a_chosen_token_that_is_hidden_is_said_and_replaced(opened):
    page = opened(view="Neurons", hide_special="true", query="0")
    assert constants(page)["pinned_query"] == 0
    assert any("The query token chosen is hidden" in caption.value for caption in page.caption)


# Heads


def test_heads_are_switched_by_the_keyboard_too(opened):
    page = opened(view="Heads")
    assert constants(page)["pinned_heads"] == list(range(12))
    page.button_group(key="heads").set_value([2, 5])
    run(page)
    assert constants(page)["pinned_heads"] == [2, 5]
    assert "Heads (2 of 12)" in [one.proto.popover.label for one in page.get("popover")]
    page.button_group(key="heads").set_value([])
    run(page)
    assert constants(page)["pinned_heads"] == []
    assert any("No head is on" in markdown.value for markdown in page.markdown)


def test_a_model_with_fewer_heads_shows_those_it_has(offering, tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "few"
    tiny_models.build("gpt2").save_pretrained(folder)
    vocabulary = {"<unk>": 0, "a": 1}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>").save_pretrained(folder)
    page = offering("sentence-transformers/all-MiniLM-L6-v2", folder)
    page.query_params["view"] = "Heads"
    run(page)
    page.selectbox(key="model").select(str(folder))
    run(page)
    assert constants(page)["pinned_heads"] == [0, 1, 2, 3]


# Links and reset


@pytest.mark.parametrize(
    ("lines", "query", "key"), [("all", -1, -1), ("key", -1, 5), ("of all tokens", -1, -1)]
)
def test_a_link_names_choices_by_their_short_names_too(opened, lines, query, key):
    page = opened(view="Heads", lines=lines)
    assert (constants(page)["pinned_query"], constants(page)["pinned_key"]) == (query, key)
    assert not page.warning


def test_heads_opens_with_the_lines_of_the_query_token(opened):
    assert constants(opened(view="Heads"))["pinned_query"] == 2


def test_what_a_link_asks_for_and_is_not_there_gets_a_note(opened):
    page = opened(view="Heads", lines="nope", heads="99", top="77", share="3", hidden="9 x")
    notes = [warning.value for warning in page.warning]
    assert len(notes) == 5
    for value in ("nope", "99", "77", "3", "9 x"):
        assert sum(f"“{value}”" in note for note in notes) == 1
    page = opened(view="Model", measure="nope")
    assert any("“nope”" in warning.value for warning in page.warning)
    assert len(charts(page)) == 1


def test_the_note_on_a_measure_goes_when_one_is_chosen(opened):
    page = opened(view="Model", measure="nope", layer="99")
    assert len(page.warning) == 2
    page.selectbox(key="measure").select("first")
    (note,) = [warning.value for warning in run(page).warning]
    assert "“99”" in note
    page.selectbox(key="measure").select("entropy")
    assert len(run(page).warning) == 1


def test_reset_brings_back_every_control(opened):
    page = opened(
        view="Heads", hide_special="true", lines="to the key token", top="2", words="true"
    )
    page.button_group(key="heads").set_value([1])
    run(page)
    next(button for button in page.button if button.label == "Reset").click()
    run(page)
    page.session_state["view"] = "Heads"
    sent = constants(run(page))
    assert sent["note"] == []
    assert sent["pinned_heads"] == list(range(12))
    assert (sent["pinned_query"], sent["pinned_key"]) == (2, -1)
    page.session_state["view"] = "Model"
    run(page)
    assert page.selectbox(key="measure").value == "entropy"


def test_the_model_view_is_of_the_kind_that_is_chosen(opened, offering, tmp_path):
    page = opened(view="Model", layer="2", head="7", measure="first", by_measure="true")
    sent = constants(page)
    assert (sent["tile_layer"][sent["framed"]], sent["tile_head"][sent["framed"]]) == (2, 7)
    assert sent["tile_first"] == sorted(sent["tile_first"], reverse=True)
