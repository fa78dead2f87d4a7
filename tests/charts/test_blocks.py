"""Large matrices in blocks: what a block is drawn with, and the cell that a click on it means."""

import numpy as np
import pytest

from attnviz.attention.steps import steps_of
from attnviz.charts.matrix import drawn_cells, matrix_chart
from attnviz.charts.parts import blocks
from attnviz.charts.parts.blocks import Blocks, in_blocks, strongest_cells
from attnviz.charts.parts.pair import Pair
from tests.support import hand_made, marks
from tests.support.showing import constants_of

NAMES = ("x_query", "q", "k", "v", "scores", "masked", "weights", "updated")
N_QUERIES, N_KEYS = 90, 130  # in blocks of 3 × 4; the last one has two columns


def blocks_of(rows, columns, shape, summary="maximum"):
    """Blocks of this size, without values: to find cells in."""
    none = np.zeros(shape, np.float32)
    return Blocks(none, none.astype(bool), rows, columns, summary)


def hidden(*cells, shape):
    is_hidden = np.zeros(shape, bool)
    for cell in cells:
        is_hidden[cell] = True
    return is_hidden


# By hand: 3 × 4 cells in blocks of 2 × 3, so that one block is whole and three are cut off.

ARRAY = np.array(
    [
        [1, 9, 3, -4],
        [2, 5, 9, -1],
        [-7, -2, -3, 0.5],
    ],
    np.float32,
)


@pytest.mark.parametrize(
    ("summary", "hidden_cells", "expected"),
    [
        # Of two nines the first; of negative numbers the largest, not the zero beyond the edge.
        ("maximum", (), [[(0, 1), (1, 3)], [(2, 1), (2, 3)]]),
        ("most extreme", (), [[(0, 1), (0, 3)], [(2, 0), (2, 3)]]),
        ("maximum", ((0, 1),), [[(1, 2), (1, 3)], [(2, 1), (2, 3)]]),
        ("maximum", ((0, 1), (1, 2), (1, 3), (2, 1)), [[(1, 1), (0, 3)], [(2, 2), (2, 3)]]),
        ("most extreme", ((2, 0), (0, 3)), [[(0, 1), (1, 3)], [(2, 2), (2, 3)]]),
    ],
)
def test_a_block_stands_for_its_strongest_cell_that_can_be_seen(summary, hidden_cells, expected):
    is_hidden = hidden(*hidden_cells, shape=ARRAY.shape) if hidden_cells else None
    assert strongest_cells(ARRAY, is_hidden, blocks_of(2, 3, (2, 2), summary)) == expected


def test_a_block_without_a_cell_that_can_be_seen_stands_for_its_first():
    everything = np.ones(ARRAY.shape, bool)
    cells = strongest_cells(ARRAY, everything, blocks_of(2, 3, (2, 2)))
    assert cells == [[(0, 0), (0, 3)], [(2, 0), (2, 3)]]


def test_a_mean_is_clicked_for_its_largest_value_too():
    expected = strongest_cells(ARRAY, None, blocks_of(2, 3, (2, 2), "maximum"))
    assert strongest_cells(ARRAY, None, blocks_of(2, 3, (2, 2), "mean")) == expected


# Of any array: the value of the cell is the value that its block is drawn with.


@pytest.mark.parametrize("shape", [(41, 7), (80, 128), (81, 129), (41, 65), (200, 384), (40, 500)])
@pytest.mark.parametrize("summary", ["maximum", "most extreme"])
@pytest.mark.parametrize("share_hidden", [0, 0.7])
def test_the_value_of_that_cell_is_what_its_block_is_drawn_with(shape, summary, share_hidden):
    rng = np.random.default_rng(0)
    array = rng.normal(-1, 1, shape).round(1).astype(np.float32)  # with many ties
    is_hidden = rng.random(shape) < share_hidden
    drawn = in_blocks(array, is_hidden, summary)
    cells = np.array(strongest_cells(array, is_hidden, drawn))
    assert cells.shape == (*drawn.values.shape, 2)
    rows, columns = cells[..., 0], cells[..., 1]
    can_be_seen = ~drawn.is_hidden
    np.testing.assert_array_equal(array[rows, columns][can_be_seen], drawn.values[can_be_seen])
    assert not is_hidden[rows, columns][can_be_seen].any()
    assert (rows // drawn.rows == np.arange(len(cells))[:, None]).all()
    assert (columns // drawn.columns == np.arange(cells.shape[1])).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_what_is_missing_at_the_edges_counts_for_nothing(n):
    """The last blocks hold n rows and columns of several, and the numbers of them alone."""
    size = 5 * (blocks.MAX_TOKENS - 1) + n
    array = np.full((size, size), -2, np.float32)
    for summary in ("mean", "maximum", "most extreme"):
        drawn = in_blocks(array, None, summary, max_columns=blocks.MAX_TOKENS)
        assert (drawn.rows, drawn.columns) == (5, 5)
        assert drawn.values.shape == (blocks.MAX_TOKENS, blocks.MAX_TOKENS)
        np.testing.assert_array_equal(drawn.values, -2)
        assert not drawn.is_hidden.any()


# In the timeline


@pytest.fixture(scope="module")
def head():
    made = hand_made.random_head(N_QUERIES, N_KEYS, 70, 100, causal=True)
    x = np.random.default_rng(1).normal(size=(N_QUERIES, 100)).astype(np.float32)
    object.__setattr__(made, "x_query", x)
    return made


def step_named(head, name, convention="rows"):
    return next(step for step in steps_of(head, convention) if step.name == name)


def drawn_of(head, step, **options):
    """The specification, and its values, row by row, NaN where there are none."""
    specification = matrix_chart(head, step, **options).to_dict()
    return specification, np.array(constants_of(specification)[step.name], np.float32)


def note(specification):
    return constants_of(specification)[specification["title"]["text"]["expr"]]


@pytest.mark.parametrize("convention", ["rows", "columns"])
@pytest.mark.parametrize("large", ["maximum", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_a_click_on_any_block_follows_the_cell_that_it_shows(head, name, large, convention):
    step = step_named(head, name, convention)
    specification, drawn = drawn_of(head, step)
    cells = drawn_cells(step, Pair(50, 20), large)
    assert (len(cells.rows), len(cells.columns)) == drawn.shape
    assert cells.rows.start == cells.columns.start == 0
    for places, side in ((cells.rows, "rows"), (cells.columns, "columns")):
        names = constants_of(specification).get(f"{name}_{side}")
        assert (names is None) == (side == "columns" and step.axes[1].startswith("d_"))
        if names is not None:  # tokens of a long text, with their positions
            assert [name.split()[0] for name in names] == [str(place) for place in places]
    is_hidden = np.zeros(step.array.shape, bool) if step.is_hidden is None else step.is_hidden
    for place, value in np.ndenumerate(drawn):
        cell = cells.at(*place)
        assert np.isnan(value) == is_hidden[cell]
        if not np.isnan(value):
            assert step.array[cell] == value
        row, column = cells.rows[place[0]], cells.columns[place[1]]
        assert row <= cell[0] < row + cells.rows.step
        assert column <= cell[1] < column + cells.columns.step
    assert cells.at(len(cells.rows), 0) is None
    assert cells.at(0, len(cells.columns)) is None
    assert cells.at(-1, 0) is cells.at(0, -1) is None


@pytest.mark.parametrize("large", ["maximum", "mean", "window"])
def test_where_every_cell_is_drawn_it_stands_for_itself(large):
    head = hand_made.random_head(40, 40, 64, 64)
    for step in head.steps:
        cells = drawn_cells(step, Pair(30, 20), large)
        for place in np.ndindex(step.array.shape):
            assert cells.at(*place) == place
        assert cells.at(len(step.array), 0) is None
        assert cells.at(0, step.array.shape[1]) is None
        assert cells.at(-1, 0) is cells.at(0, -1) is None


@pytest.mark.parametrize("convention", ["rows", "columns"])
def test_in_the_window_every_cell_stands_for_itself(head, convention):
    step = step_named(head, "weights", convention)
    cells = drawn_cells(step, Pair(50, 60), "window")
    _, drawn = drawn_of(head, step, pair=Pair(50, 60), large="window")
    starts = (30, 40) if convention == "rows" else (40, 30)
    assert drawn.shape == (40, 40)
    for (row, column), value in np.ndenumerate(drawn):
        cell = cells.at(row, column)
        assert cell == (starts[0] + row, starts[1] + column)
        if not np.isnan(value):
            assert step.array[cell] == value
    assert cells.at(40, 0) is cells.at(0, 40) is cells.at(-1, 0) is cells.at(0, -1) is None


@pytest.mark.parametrize("convention", ["rows", "columns"])
def test_means_leave_out_what_is_hidden_and_the_chart_says_what_its_cells_are(head, convention):
    step = step_named(head, "weights", convention)
    rows, columns = (3, 4) if convention == "rows" else (4, 3)
    visible = np.where(step.is_hidden, np.nan, step.array)
    for large, summed in (("maximum", np.nanmax), ("mean", np.nanmean)):
        specification, drawn = drawn_of(head, step, large=large)
        assert note(specification) == f"each cell: the {large} of {rows * columns} values"
        legend = specification["layer"][0]["encoding"]["color"]["legend"]
        assert legend["title"] == f"weights, {large}"
        for row in range(drawn.shape[0]):
            for column in range(drawn.shape[1]):
                block = visible[
                    row * rows : (row + 1) * rows, column * columns : (column + 1) * columns
                ]
                if np.isnan(block).all():
                    assert np.isnan(drawn[row, column])
                else:
                    assert drawn[row, column] == pytest.approx(summed(block), rel=1e-5)


def test_of_numbers_with_signs_the_furthest_from_0_is_drawn_and_said(head):
    step = step_named(head, "x_query")
    specification, drawn = drawn_of(head, step, large="maximum")
    assert note(specification) == "each cell: the most extreme of 6 values"
    in_threes = step.array.reshape(30, 3, 50, 2).swapaxes(1, 2).reshape(30, 50, 6)
    at = np.abs(in_threes).argmax(axis=2)[..., None]
    np.testing.assert_array_equal(drawn, np.take_along_axis(in_threes, at, axis=2)[..., 0])
    assert (drawn < 0).any()
    _, mean = drawn_of(head, step, large="mean")
    np.testing.assert_allclose(mean, in_threes.mean(axis=2), atol=1e-6)


def test_what_a_browser_draws_of_blocks_names_their_tokens_and_their_values(head):
    step = step_named(head, "weights")
    specification, drawn = drawn_of(head, step, pair=Pair(50, 20))
    rows, columns, values = zip(*marks.cells(specification), strict=True)
    assert (rows[0], columns[0]) == ("0 q0 … 2 q2", "0 k0 … 3 k3")
    assert (rows[-1], columns[-1]) == ("87 q87 … 89 q89", "88 k88 … 91 k91")  # the rest is hidden
    np.testing.assert_array_equal(np.float32(values), drawn[np.isfinite(drawn)])
