"""The timeline of a text that is too long for a screen: blocks, and the way to exact cells."""

from itertools import product

import numpy as np
import pytest

import attnviz
from attnviz.attention.steps import steps_of
from attnviz.charts.matrix import PICKED, drawn_cells
from attnviz.charts.parts.blocks import in_blocks
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import window_around
from attnviz.page.controls.pair import LARGE, picked
from attnviz.text.phrases import percent, token_at
from tests.benchmarks.texts import text_of
from tests.support.showing import constants, notes, run

N = 100  # tokens


@pytest.fixture(scope="module")
def head(minilm):
    return attnviz.trace(*minilm, text_of(N)).head(0, 8)


@pytest.fixture
def opened(page):
    """The page at a link, with a long text."""

    def open_at(n_tokens=N, **parameters):
        shown = {"layer": "0", "head": "8", "all_steps": "true"}
        page.query_params.update({"text": text_of(n_tokens), **shown})
        for name, value in parameters.items():
            page.query_params[name] = value
        return run(page)

    return open_at


def is_offered(page):
    return "large" in [box.key for box in page.selectbox]


def weights(page):
    return np.array(constants(page)["weights"], np.float32)


def step_named(head, name):
    return next(step for step in head.steps if step.name == name)


# The choice


@pytest.mark.parametrize(("n_tokens", "expected"), [(40, False), (41, True)])
def test_how_large_matrices_are_drawn_is_chosen_where_there_are_some(opened, n_tokens, expected):
    page = opened(n_tokens)
    assert is_offered(page) == expected
    assert ("each cell: the maximum of 4 values" in notes(page)) == expected


def test_a_long_second_text_is_enough(page):
    page.query_params["pair"] = text_of(60)
    assert is_offered(run(page))


def test_it_opens_in_blocks_of_their_maximum(opened, head):
    page = opened()
    assert page.selectbox(key="large").value == "maximum"
    assert page.selectbox(key="large").options == list(LARGE.values())
    np.testing.assert_allclose(
        weights(page), in_blocks(head.weights, None, "maximum", max_columns=40).values, atol=1e-5
    )
    assert notes(page).count("each cell: the maximum of 9 values") == 3


@pytest.mark.parametrize("spelled", ["mean", LARGE["mean"]])
def test_a_link_to_the_mean_is_followed(opened, head, spelled):
    page = opened(large=spelled)
    assert not page.warning
    assert page.selectbox(key="large").value == "mean"
    np.testing.assert_allclose(
        weights(page), in_blocks(head.weights, None, "mean", max_columns=40).values, atol=1e-5
    )
    assert notes(page).count("each cell: the mean of 9 values") == 3


@pytest.mark.parametrize("spelled", ["window", LARGE["window"]])
def test_a_link_to_the_exact_part_is_followed(opened, head, spelled):
    page = opened(large=spelled, query="50", key="10")
    assert not page.warning
    assert page.selectbox(key="large").value == "window"
    np.testing.assert_allclose(weights(page), head.weights[30:70, :40], atol=1e-5)
    assert notes(page).count("queries 30 to 69 of 100, keys 0 to 39 of 100") == 3
    page.session_state["more_updated"] = True
    sent = constants(run(page))
    for name in ("q", "updated"):
        np.testing.assert_allclose(np.float32(sent[name]), getattr(head, name)[30:70], atol=1e-5)
    for name in ("k", "v"):
        np.testing.assert_allclose(np.float32(sent[name]), getattr(head, name)[:40], atol=1e-5)


def test_a_link_to_something_else_gets_a_note_and_the_maximum(opened):
    page = opened(large="huge")
    (note,) = [warning.value for warning in page.warning]
    assert "“huge”" in note
    assert all(name in note.replace("\\", "") for name in LARGE.values())
    assert page.selectbox(key="large").value == "maximum"
    assert "each cell: the maximum of 9 values" in notes(page)


def test_the_note_on_it_goes_when_something_is_chosen(opened):
    page = opened(large="huge", layer="99")
    assert len(page.warning) == 2
    page.selectbox(key="large").select("mean")
    (note,) = [warning.value for warning in run(page).warning]
    assert "“99”" in note
    page.selectbox(key="large").select("maximum")
    assert len(run(page).warning) == 1


def test_a_short_text_has_nothing_to_choose_and_no_note_on_it(opened):
    page = opened(7, large="huge")
    assert not is_offered(page)
    assert not page.warning
    assert np.shape(constants(page)["weights"]) == (7, 7)


def test_the_choice_is_kept_from_text_to_text_and_reset(opened):
    page = opened()
    page.selectbox(key="large").select("window")
    run(page)
    page.text_area(key="text").set_value(text_of(60))
    run(page)
    assert page.selectbox(key="large").value == "window"
    assert any("of 60, keys" in title for title in notes(page))
    next(button for button in page.button if button.label == "Reset").click()
    run(page)
    page.text_area(key="text").set_value(text_of(60))
    run(page)
    assert page.selectbox(key="large").value == "maximum"


# Every value is reachable


def test_the_window_follows_the_pair_to_both_ends(opened, head):
    page = opened(large="window")
    for query, key in ((0, 99), (99, 0), (45, 61)):
        page.selectbox(key="query").select(query)
        page.selectbox(key="key").select(key)
        sent = constants(run(page))
        shown = window_around(query, key, N, N)
        at = query - shown.queries.start, key - shown.keys.start
        assert sent["weights"][at[0]][at[1]] == pytest.approx(head.weights[query, key], abs=1e-5)
        assert sent["weights_rows"][at[0]] == f"{query} {head.query_tokens[query]}"
        assert sent["weights_columns"][at[1]] == f"{key} {head.key_tokens[key]}"
        assert (sent["weights_framed_row"], sent["weights_framed_column"]) == at


def test_the_strongest_keys_outside_the_window_are_named(opened, head):
    page = opened(large="window", query="50", key="10")
    shown = window_around(50, 10, N, N)
    outside = [key for key in np.argsort(-head.weights[50]) if key not in shown.keys][:3]
    named = [f"{token_at(head.key_tokens, int(k))} {percent(head.weights[50, k])}" for k in outside]
    assert len(said_outside(page)) == 1
    assert f"gives most to {', '.join(named)}: choose one" in said_outside(page)[0]
    page.selectbox(key="large").select("mean")
    assert not said_outside(run(page))


def said_outside(page):
    return [one.value for one in page.caption if one.value.startswith("Of the keys not shown, ")]


def clicked(step, row, column, cells):
    """The pair after a click on a cell of this matrix, by its place in the drawing."""
    return picked({PICKED: [{"row": row, "column": column}]}, step.axes, cells)


@pytest.mark.parametrize("large", ["maximum", "mean"])
@pytest.mark.parametrize("convention", ["rows", "columns"])
def test_a_click_on_a_block_follows_its_strongest_pair(head, large, convention):
    step = next(step for step in steps_of(head, convention) if step.name == "weights")
    cells = drawn_cells(step, Pair(50, 10), large)
    for query, key in product(range(0, N, 3), repeat=2):
        block = head.weights[query : query + 3, key : key + 3]
        place = query // 3, key // 3
        pair = clicked(step, *(place if convention == "rows" else place[::-1]), cells)
        assert head.weights[pair["query"], pair["key"]] == block.max()
        assert pair["query"] in range(query, query + 3)
        assert pair["key"] in range(key, key + 3)


@pytest.mark.parametrize(
    ("name", "of", "n_dimensions"), [("q", "query", 1), ("k", "key", 1), ("x_query", "query", 6)]
)
def test_a_click_on_a_block_of_dimensions_follows_its_strongest_token(head, name, of, n_dimensions):
    step = step_named(head, name)
    strongest = np.abs(step.array[30:33, :n_dimensions]).max(axis=1).argmax()
    cells = drawn_cells(step, Pair(50, 10), "maximum")
    assert clicked(step, 10, 0, cells) == {of: 30 + strongest}


@pytest.mark.parametrize(
    ("name", "expected"), [("weights", {"query": 52, "key": 47}), ("x_query", {"query": 52})]
)
def test_a_click_in_the_window_follows_that_very_cell(head, name, expected):
    step = step_named(head, name)
    cells = drawn_cells(step, Pair(50, 60), "window")
    assert clicked(step, 52 - 30, 47 - 40, cells) == expected


@pytest.mark.parametrize("large", ["maximum", "window"])
@pytest.mark.parametrize(
    "point",
    [
        *({}, {"row": 3}, {"column": 3}, {"row": 3, "column": None}, {"row": "3", "column": 3}),
        *({"row": 3, "column": 0.5}, {"query": 3, "key": 3}),
        *({"row": 40, "column": 3}, {"row": 3, "column": 40}, {"row": -1, "column": 3}),
    ],
)
def test_a_click_that_is_on_no_cell_follows_nothing(head, point, large):
    step = step_named(head, "weights")
    cells = drawn_cells(step, Pair(50, 60), large)
    assert picked({PICKED: [point]}, step.axes, cells) == {}
    assert picked({PICKED: []}, step.axes, cells) == picked({}, step.axes, cells) == {}


def test_from_any_block_a_click_and_the_window_lead_to_its_exact_cell(opened, head):
    page = opened(large="window")
    step = step_named(head, "weights")
    cells = drawn_cells(step, None, "maximum")
    for row, column in ((0, 0), (16, 2), (33, 33), (33, 0), (20, 33)):
        pair = clicked(step, row, column, cells)
        for control, place in pair.items():
            page.selectbox(key=control).select(place)
        sent = constants(run(page))
        query, key = sent["weights_framed_row"], sent["weights_framed_column"]
        for names, framed, place in (
            ("rows", query, pair["query"]),
            ("columns", key, pair["key"]),
        ):
            assert sent[f"weights_{names}"][framed] == f"{place} {head.query_tokens[place]}"
        strongest = head.weights[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].max()
        assert sent["weights"][query][key] == pytest.approx(strongest, abs=1e-6)
        exact = drawn_cells(step, Pair(**pair), "window")
        assert clicked(step, query, key, exact) == pair
