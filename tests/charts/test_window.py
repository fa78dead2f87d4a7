"""The exact part of a large matrix, around the pair that is followed."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from attnviz.attention.steps import steps_of
from attnviz.charts.heads import heads_figure
from attnviz.charts.matrix import drawn_cells, matrix_chart
from attnviz.charts.neurons import neuron_view
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import (
    MAX_TOKENS,
    Window,
    around,
    strongest_outside,
    window,
    window_around,
)
from attnviz.page.controls.pair import picked
from tests.support import hand_made, marks
from tests.support.showing import constants_of

N_QUERIES, N_KEYS, D_MODEL = 90, 130, 100
# A pair, and the queries and keys that are drawn with it: in the middle of the text, near its
# beginning, near its end.
WINDOWS = [
    (Pair(50, 60), range(30, 70), range(40, 80)),
    (Pair(0, 0), range(0, 40), range(0, 40)),
    (Pair(19, 20), range(0, 40), range(0, 40)),
    (Pair(21, 129), range(1, 41), range(90, 130)),
    (Pair(89, 110), range(50, 90), range(90, 130)),
    (Pair(70, 109), range(50, 90), range(89, 129)),
]
OF_PAIRS = ("scores", "scaled", "masked", "weights")


@pytest.fixture(scope="module")
def head():
    made = hand_made.random_head(N_QUERIES, N_KEYS, 64, 64, causal=True)
    x = np.random.default_rng(1).normal(size=(N_QUERIES, D_MODEL)).astype(np.float32)
    object.__setattr__(made, "x_query", x)
    return made


def drawn(head, name, pair, convention="rows", **options):
    """The specification of the window around a pair, its constants, and the step's own values."""
    step = step_named(head, name, convention)
    specification = matrix_chart(head, step, pair, large="window", **options).to_dict()
    sent = constants_of(specification)
    values = step.array
    if step.is_hidden is not None:
        values = np.where(step.is_hidden, np.nan, values)
    return specification, sent, values


def numbers(rows):
    return np.array(rows, np.float32)


def named(side, places):
    return [f"{place} {side}{place}" for place in places]


def step_named(head, name, convention="rows"):
    return next(step for step in steps_of(head, convention) if step.name == name)


def note(specification, sent):
    return sent[specification["title"]["text"]["expr"]]


def places_of(specification):
    """The rows of the drawing, and its columns."""
    rows = specification["data"]["sequence"]
    (columns,) = (
        one["calculate"] for one in specification["transform"] if one.get("as") == "column"
    )
    n_columns = int(columns.removeprefix("sequence(").removesuffix(")"))
    return range(rows["start"], rows["stop"]), range(n_columns)


# Which part


@pytest.mark.parametrize(("pair", "queries", "keys"), WINDOWS)
@pytest.mark.parametrize(
    ("name", "convention"), [("scores", "columns"), ("masked", "rows"), ("weights", "columns")]
)
def test_a_matrix_of_pairs_is_exact_around_the_pair(head, pair, queries, keys, name, convention):
    specification, sent, values = drawn(head, name, pair, convention)
    sides = [("q", queries, pair.query), ("k", keys, pair.key)]
    (row_side, rows, row), (column_side, columns, column) = (
        sides if convention == "rows" else sides[::-1]
    )
    part = values[rows.start : rows.stop, columns.start : columns.stop]
    assert places_of(specification) == (range(len(rows)), range(len(columns)))
    cells = drawn_cells(step_named(head, name, convention), pair, "window")
    assert (cells.rows, cells.columns) == (rows, columns)
    np.testing.assert_array_equal(numbers(sent[name]), part)
    assert sent[f"{name}_rows"] == named(row_side, rows)
    assert sent[f"{name}_columns"] == named(column_side, columns)
    framed = sent[f"{name}_framed_row"], sent[f"{name}_framed_column"]
    assert framed == (rows.index(row), columns.index(column))
    assert cells.at(*framed) == (row, column)
    said = {
        "q": f"queries {queries.start} to {queries.stop - 1} of {N_QUERIES}",
        "k": f"keys {keys.start} to {keys.stop - 1} of {N_KEYS}",
    }
    assert note(specification, sent) == f"{said[row_side]}, {said[column_side]}"
    assert specification["layer"][0]["encoding"]["color"]["legend"]["title"] == name  # no summary


@pytest.mark.parametrize(("pair", "queries", "keys"), WINDOWS)
@pytest.mark.parametrize("name", ["x_query", "updated", "k"])
def test_a_matrix_of_dimensions_has_the_same_tokens(head, name, pair, queries, keys):
    specification, sent, values = drawn(head, name, pair)
    is_of_queries = name != "k"
    rows, row = (queries, pair.query) if is_of_queries else (keys, pair.key)
    part = values[rows.start : rows.stop]
    expected = (
        f"queries {rows.start} to {rows.stop - 1} of {N_QUERIES}"
        if is_of_queries
        else f"keys {rows.start} to {rows.stop - 1} of {N_KEYS}"
    )
    if name == "x_query":  # 100 dimensions are too many even for the window
        expected += "; each cell: the most extreme of 2 values"
        in_twos = part.reshape(MAX_TOKENS, D_MODEL // 2, 2)
        at = np.abs(in_twos).argmax(axis=2)[..., None]
        part = np.take_along_axis(in_twos, at, axis=2)[..., 0]
    np.testing.assert_array_equal(numbers(sent[name]), part)
    assert places_of(specification)[0] == range(len(rows))
    assert drawn_cells(step_named(head, name), pair, "window").rows == rows
    assert sent[f"{name}_rows"] == named("q" if is_of_queries else "k", rows)
    assert sent[f"{name}_framed_row"] == rows.index(row)
    assert note(specification, sent) == expected


def test_only_the_side_that_is_too_long_is_cut():
    head = hand_made.random_head(30, 90)
    specification, sent, values = drawn(head, "weights", Pair(29, 89))
    np.testing.assert_array_equal(numbers(sent["weights"]), values[:, 50:])
    assert sent["weights_rows"] == [f"q{place}" for place in range(30)]
    assert sent["weights_columns"] == named("k", range(50, 90))
    assert note(specification, sent) == "keys 50 to 89 of 90"
    cells = drawn_cells(step_named(head, "weights"), Pair(29, 89), "window")
    assert (cells.rows, cells.columns) == (range(30), range(50, 90))


@pytest.mark.parametrize("n", [1, 40])
def test_a_text_that_fits_is_drawn_whole(n):
    head = hand_made.random_head(n, n)
    for step in head.steps:
        if step.name in OF_PAIRS:
            shown = matrix_chart(head, step, Pair(0, 0), large="window").to_dict()
            whole = matrix_chart(head, step, Pair(0, 0)).to_dict()
            assert shown == whole
            assert "title" not in shown


def test_without_a_pair_it_is_the_beginning(head):
    _, sent, values = drawn(head, "weights", None)
    np.testing.assert_array_equal(numbers(sent["weights"]), values[:40, :40])
    assert "weights_framed_row" not in sent


@pytest.mark.parametrize("n", [1, 2, 39, 40, 41, 90])
def test_every_position_of_every_text_is_in_its_own_window(n):
    for position in range(n):
        shown = around(position, n)
        assert position in shown
        assert len(shown) == min(n, MAX_TOKENS)
        assert 0 <= shown.start < shown.stop <= n


# What is drawn


def test_every_cell_that_is_drawn_has_its_tokens_and_its_value(head):
    pair, queries, keys = WINDOWS[0]
    specification, _, values = drawn(head, "weights", pair)
    assert list(marks.cells(specification)) == [
        (f"{query} q{query}", f"{key} k{key}", pytest.approx(values[query, key], rel=1e-6))
        for query in queries
        for key in keys
        if key <= query
    ]


def test_neurons_and_heads_name_each_number_of_a_window_as_it_stands_in_the_text(head):
    shown = window(N_QUERIES, N_KEYS, 20, 50)
    neurons = neuron_view(head, 30, first_query=20, first_key=50).to_dict()
    call = replace(head.call, weights_from=head.own_weights[None])
    heads = heads_figure(call, 0, shown).constants
    for sent in (constants_of(neurons), heads):
        assert sent["query_names"] == named("q", range(20, 60))
        assert sent["key_names"] == named("k", range(50, 90))
    weights = head.own_weights[20:60, 50:90]
    np.testing.assert_allclose(numbers(heads["weights"][0]), weights, atol=1e-6)
    np.testing.assert_allclose(numbers(constants_of(neurons)["weights"]), weights, atol=1e-6)


def test_a_click_reports_a_place_which_stands_for_positions_in_the_whole_text(head):
    pair, queries, keys = WINDOWS[0]
    specification, *_ = drawn(head, "weights", pair, reports_clicks=True)
    (clicked,) = [p for p in specification["params"] if "select" in p]
    assert clicked["select"]["fields"] == ["row", "column"]
    assert specification["layer"][0]["encoding"]["y"]["field"] == "row"
    assert specification["layer"][0]["encoding"]["x"]["field"] == "column"
    assert places_of(specification) == (range(40), range(40))
    step = step_named(head, "weights")
    cells = drawn_cells(step, pair, "window")
    for row, column in product(range(40), repeat=2):
        selection = {clicked["name"]: [{"row": row, "column": column}]}
        found = picked(selection, step.axes, cells)
        assert found == {"query": queries[row], "key": keys[column]}


@pytest.mark.parametrize("name", ["scores", "weights", "x_query", "k", "v", "updated"])
def test_another_pair_has_the_same_structure(name):
    head = hand_made.random_head(N_QUERIES, N_KEYS, 64, 64)
    step = step_named(head, name)
    structures = [
        matrix_chart(head, step, pair, large="window", reports_clicks=True).structure
        for pair, *_ in WINDOWS
    ]
    assert all(structure is structures[0] for structure in structures)


def test_hidden_cells_keep_their_reasons_and_padding_its_grey_names():
    is_padding = np.arange(90) < 35
    head = hand_made.random_head(
        90, 90, causal=True, query_is_padding=is_padding, key_is_padding=is_padding
    )
    _, sent, values = drawn(head, "masked", Pair(50, 50))
    part = slice(30, 70)
    np.testing.assert_array_equal(sent["masked_because"], head.hiding.codes[part, part])
    np.testing.assert_array_equal(numbers(sent["masked"]), values[part, part])
    for side in ("rows", "columns"):
        assert sent[f"masked_padded_{side}"] == [1] * 5 + [0] * 35


@pytest.mark.parametrize("convention", ["rows", "columns"])
def test_a_sink_is_that_of_the_queries_shown(convention):
    head = hand_made.random_head(90, 90, sink_logit=1.5, causal=True)
    specification, sent, _ = drawn(head, "weights", Pair(50, 20), convention)
    np.testing.assert_array_equal(np.float32(sent["weights_sink"]), head.sink[30:70])
    names = sent["weights_columns" if convention == "rows" else "weights_rows"]
    assert names == [*named("k", range(40)), "sink"]
    assert marks.count(specification) > 1600


def test_a_scale_reaches_as_far_as_what_is_drawn(head):
    _, sent, values = drawn(head, "scores", Pair(50, 60))
    assert sent["scores_limit"] == pytest.approx(np.abs(values[30:70, 40:80]).max())


# What is not drawn


def test_the_strongest_keys_outside_are_found():
    shown = window_around(50, 50, 100, 100)
    weights = np.linspace(0, 1, 100, dtype=np.float32)
    assert strongest_outside(weights, shown) == [99, 98, 97]
    weights[3] = 2
    assert strongest_outside(weights, shown) == [3, 99, 98]
    weights[29], weights[30] = 3, 4  # just outside, and just inside
    assert strongest_outside(weights, shown) == [29, 3, 99]
    assert strongest_outside(weights[:40], Window(range(40), range(40), 40, 40)) == []
