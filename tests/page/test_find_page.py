"""Find and Compare on the page: what they say, that it is true, and what links can ask of them."""

import json

import numpy as np
import pytest

import attnviz
from attnviz import heads
from attnviz.attention.filters import hide_special, in_words
from attnviz.heads import Alignment
from attnviz.page.service import settings
from attnviz.page.views.find_measures import read_area
from attnviz.text.phrases import ordinal
from tests.support.showing import constants, run
from tests.support.tiny_models import save_tiny


@pytest.fixture
def opened(page):
    """The page at a link."""

    def open_at(**parameters):
        page.query_params.update(parameters)
        return run(page)

    return open_at


@pytest.fixture(scope="module")
def fruit_trace(minilm):
    return attnviz.trace(*minilm, "fruit flies like a banana")


def words(page):
    return " ".join(element.value for kind in ("markdown", "caption") for element in page.get(kind))


# Find, by a pair


def test_the_head_that_links_flies_to_arrow_is_found(opened):
    page = opened(view="Find", query="2", key="5")
    assert "**layer 5, head 11** gives the largest weight from *flies* to *arrow*: 0.581." in words(
        page
    )
    first = page.dataframe[0].value.iloc[0]
    assert (first["rank"], first["layer"], first["head"]) == (1, 5, 11)
    assert first["weight"] == pytest.approx(0.581, abs=5e-4)


def test_the_open_head_is_named_with_its_rank(opened, sentence_trace):
    table = heads.linking(sentence_trace, 3, 1)
    page = opened(view="Find", query="3", key="1", layer="2", head="7")
    own = table[(table["layer"] == 2) & (table["head"] == 7)].iloc[0]
    assert f"gives {own['weight']:.3f} and ranks {ordinal(own['rank'])} of 72" in words(page)
    best = table.iloc[0]
    page.selectbox(key="layer").select(int(best["layer"]))
    page.selectbox(key="head").select(int(best["head"]))
    run(page)
    assert "It is the selected head." in words(page)


def test_every_weight_of_the_picture_is_that_of_its_head(opened, sentence_trace):
    sent = constants(opened(view="Find", query="2", key="5"))
    for rank, layer, head, weight in zip(
        *(sent[f"tile_{name}"] for name in ("rank", "layer", "head", "weight")), strict=True
    ):
        own = sentence_trace.layer(int(layer)).own_weights[int(head), 2, 5]
        assert weight == pytest.approx(own, abs=1e-6), rank


def test_filters_count_for_what_is_found(opened, sentence_trace):
    page = opened(view="Find", query="2", key="5", hide_special="true", renormalise="true")
    less = hide_special(sentence_trace, renormalise=True)
    best = heads.linking(less, 1, 4).iloc[0]
    assert f"**layer {best['layer']}, head {best['head']}** gives the largest" in words(page)
    assert f"from *flies* to *arrow*: {best['weight']:.3f}." in words(page)


def test_more_texts_give_means_and_say_how_many_have_the_tokens(opened, minilm, sentence_trace):
    texts = ["fruit flies like an arrow", "nothing of it", "An arrow flies"]
    page = opened(view="Find", query="2", key="5", texts="\n".join(texts))
    others = [attnviz.trace(*minilm, text) for text in texts]
    lacking = "the other has no *flies* or no *arrow*: “nothing of it”."
    assert f"3 of 4 texts are counted; {lacking}" in words(page)
    pairs = [(sentence_trace, 2, 5), (others[0], 2, 5), (others[2], 3, 2)]
    weights = [trace.layer(5).own_weights[11, query, key] for trace, query, key in pairs]
    sent = constants(page)
    place = list(zip(sent["tile_layer"], sent["tile_head"], strict=True)).index((5, 11))
    assert sent["tile_mean"][place] == pytest.approx(np.mean(weights), abs=1e-6)
    assert sent["tile_spread"][place] == pytest.approx(np.std(weights), abs=1e-6)
    assert sent["tile_n_texts"][place] == 3
    assert page.query_params["texts"] == "\n".join(texts)


def test_a_text_that_cannot_be_read_is_said_and_nothing_typed_is_lost(opened):
    page = opened(view="Find", texts="time " * 3000)
    assert page.error
    assert page.text_area(key="texts").value.startswith("time time")


# Find, by measures


def test_the_scatter_has_every_head_at_its_measures(opened, sentence_trace, minilm):
    page = opened(view="Find", find_by="measures", x="self", y="wv_first", size="induction")
    table = heads.measures(sentence_trace, induction=heads.induction(*minilm))
    sent = constants(page)
    assert len(sent["point_x"]) == 72
    for channel, name in (("x", "self"), ("y", "wv_first"), ("size", "induction")):
        np.testing.assert_allclose(sent[f"point_{channel}"], table[name], atol=1e-4)
    for measure in ("Share on itself", "Share on the first token, of ‖w·v‖", "Induction score"):
        assert measure in words(page)


def test_an_area_of_the_link_shows_the_heads_in_it(opened, sentence_trace):
    table = heads.measures(sentence_trace)
    inside = table[table["entropy"].between(0, 1.5) & table["distance"].between(0, 2)]
    page = opened(view="Find", find_by="measures", area="0,1.5,0,2")
    assert f"{len(inside)} heads in that area" in words(page)
    assert len(page.dataframe[0].value) == len(inside) > 0
    assert page.query_params["area"] == "0,1.5,0,2"


@pytest.mark.parametrize("asked", ["1,2,3", "a,b,c,d", "nan,1,2,3", "1,2,3,inf", ","])
def test_an_area_that_is_none_is_noted(opened, asked):
    assert read_area(asked) == ()
    (note,) = (
        warning.value for warning in opened(view="Find", find_by="measures", area=asked).warning
    )
    assert "area" in note


# Compare


def test_time_flies_and_fruit_flies_are_compared_token_by_token(
    opened, sentence_trace, fruit_trace
):
    page = opened(view="Compare", layer="5", head="2", query="2", key="1")
    a, b = (trace.head(5, 2).weights for trace in (sentence_trace, fruit_trace))
    sent = constants(page)
    np.testing.assert_allclose(np.float32(sent["difference_cells"]), b - a, atol=1e-6)
    assert (sent["framed_row"], sent["framed_column"]) == (2, 1)
    a, b = a.round(3), b.round(3)
    assert f"B gives **{b[2, 0] - a[2, 0]:.3f}** more than A" in words(page)
    assert f"it gives **{a[2, 1] - b[2, 1]:.3f}** less" in words(page)


def test_the_chosen_pair_is_said_with_both_weights(opened, sentence_trace, fruit_trace):
    page = opened(view="Compare", layer="5", head="2", query="2", key="1")
    a, b = (trace.head(5, 2).weights[2, 1] for trace in (sentence_trace, fruit_trace))
    said = f"From *flies* to *time \\/ fruit* A gives **{a:.3f}** and B **{b:.3f}**."
    assert said in words(page)


def test_the_pair_that_differs_most_is_a_button_away_in_a_long_text(opened):
    words_of = [f"w{number % 37} on" for number in range(60)]
    texts = {"text": " ".join(words_of), "other_text": " ".join(words_of[5:])}
    page = opened(view="Compare", query="100", key="100", **texts)
    before = constants(page)
    page.button(key="largest_difference").click()
    run(page)
    sent = constants(page)
    row, column = sent["framed_row"], sent["framed_column"]
    assert row not in range(before["first_row"], before["first_row"] + 40)
    shown = np.abs(np.float32(sent["difference_cells"]))
    framed = shown[row - sent["first_row"], column - sent["first_column"]]
    assert framed == shown.max()
    assert 1 <= sent["limit"] / framed < 1.1
    assert page.button(key="largest_difference").disabled


def test_a_token_without_a_partner_is_said_and_named(opened):
    page = opened(view="Compare", other_text="time flies", query="3", key="4")
    assert "The selected query token has no partner in B" in words(page)
    assert "Keys without a partner: of A *like*, *an*, *arrow*." in words(page)


def test_a_text_that_is_alone_in_having_the_pair_has_no_spread(opened):
    page = opened(view="Find", query="2", key="5", texts="nothing\nof it")
    assert "1 of 3 texts is counted, which has no spread; the others have no *flies*" in words(page)


def test_texts_of_very_different_length_are_compared_with_a_warning(opened):
    page = opened(view="Compare", other_text="time flies like an arrow and " * 3)
    assert "A has 7 keys and B 20: " in words(page)


def test_texts_of_nearly_the_same_length_are_compared_without_one(opened):
    assert "of more keys each gets less" not in words(opened(view="Compare"))


def test_filters_of_lines_are_offered_where_lines_are_drawn(opened):
    for view in ("Find", "Compare", "Heads"):
        page = opened(view=view)
        page.session_state["view"] = view
        run(page)
        has_lines = any(slider.key == "top" for slider in page.select_slider)
        assert has_lines == (view == "Heads"), view


def test_two_heads_of_one_text_are_compared_cell_by_cell(opened, sentence_trace):
    page = opened(view="Compare", other_text="", other_layer="0", other_head="8")
    differs = sentence_trace.head(0, 8).weights - sentence_trace.head(5, 11).weights
    np.testing.assert_allclose(np.float32(constants(page)["difference_cells"]), differs, atol=1e-6)
    assert "**B** is layer 0, head 8." in words(page)


def test_a_mended_alignment_of_the_link_is_what_is_compared(opened, sentence_trace, fruit_trace):
    page = opened(view="Compare", aligned_keys="0-0 5-1 1-5")
    queries = keys = Alignment(((0, 0), (5, 1), (1, 5)))
    expected = heads.difference(
        sentence_trace.head(5, 11), fruit_trace.head(5, 11), queries=queries, keys=keys
    )
    np.testing.assert_allclose(
        np.float32(constants(page)["difference_cells"]), expected.weights, atol=1e-6
    )
    assert page.query_params["aligned_keys"] == "0-0 5-1 1-5"


@pytest.mark.parametrize("asked", ["0-99", "0-0 0-1", "x", "1-"])
def test_an_alignment_that_does_not_fit_is_noted(opened, asked):
    page = opened(view="Compare", aligned_keys=asked)
    assert len(page.warning) == 1
    assert len(constants(page)["difference_cells"]) == 7


def test_another_text_forgets_the_mended_alignment(opened):
    page = opened(view="Compare", aligned_keys="0-0 5-1")
    page.text_area(key="other_text").set_value("an arrow flies")
    run(page)
    assert "aligned_keys" not in page.query_params
    assert not page.warning


def test_an_alignment_leaves_the_address_with_its_view_and_comes_back_with_it(opened):
    page = opened(view="Compare", aligned_keys="0-0 5-1")
    for view, is_there in (("Steps", False), ("Compare", True), ("Find", False)):
        page.query_params.pop("view", None)
        page.session_state["view"] = view
        run(page)
        assert ("aligned_keys" in page.query_params) == is_there, view


def test_two_models_are_compared_by_words(offering, minilm, tmp_path):
    other = save_tiny(tmp_path / "bert", "bert", minilm[1], vocab_size=minilm[1].vocab_size)
    page = offering(settings.OFFERS[0].name, other)
    text = "unbelievable arrowheads fly"
    page.query_params.update(
        view="Compare", text=text, other_text=text, other_model=str(other), layer="0", head="1"
    )
    run(page)
    assert not page.exception
    assert not page.error, page.error
    mine, its = (
        in_words(attnviz.trace(*loaded, text)).head(0, 1)
        for loaded in (minilm, attnviz.load(str(other)))
    )
    expected = heads.difference(mine, its)
    assert len(expected.query_labels) == 5
    np.testing.assert_allclose(
        np.float32(constants(page)["difference_cells"]), expected.weights, atol=1e-6
    )


@pytest.mark.parametrize(
    ("asked", "is_said"),
    [({"other_text": "fruit flies"}, True), ({"other_text": "", "other_head": "3"}, False)],
)
def test_a_second_text_that_b_has_not_is_said(opened, asked, is_said):
    page = opened(view="Compare", pair="like a banana", **asked)
    assert ("Only A has the second text: B has one text." in words(page)) == is_said


def test_b_has_the_nearest_layer_and_head_where_its_model_has_fewer(offering, minilm, tmp_path):
    small = {"num_hidden_layers": 2, "num_attention_heads": 2}
    other = save_tiny(
        tmp_path / "bert", "bert", minilm[1], vocab_size=minilm[1].vocab_size, **small
    )
    page = offering(settings.OFFERS[0].name, other)
    page.query_params.update(view="Compare", other_model=str(other), layer="4", head="9")
    run(page)
    assert not page.exception
    assert "There is no layer 4 in B; 1 is the nearest." in words(page)
    assert "There is no head 9 in B; 1 is the nearest." in words(page)
    assert "**B** is layer 1, head 1 ·" in words(page)


def test_a_text_of_b_that_cannot_be_read_is_said_and_can_be_mended(opened):
    page = opened(view="Compare", other_text="time " * 3000)
    assert page.error
    page.text_area(key="other_text").set_value("fruit flies like a banana")
    run(page)
    assert not page.error
    assert constants(page)["difference_cells"]


def test_the_words_of_both_views_hold_no_markup_of_a_text(opened):
    hostile = "<b>x</b> **y** [z](http://w) `v`"
    for view in ("Find", "Compare"):
        page = opened(view=view, text=hostile, other_text=hostile, texts=hostile)
        assert "<b>" not in words(page).replace("\\<b\\>", "")
        json.dumps(constants(page), allow_nan=False)
