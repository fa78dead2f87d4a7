"""The head at a glance: its numbers are the head's, and what a head has not is not drawn."""

import json

import numpy as np
import pytest

import attnviz
from attnviz.charts.overview import overview_chart
from attnviz.charts.overview_layout import MOST_CHIPS, OTHERS, TOTAL, chips_of, panels_of
from tests.support import architectures, hand_made


def titles(head):
    return [panel.title for panel in panels_of(head)]


def given(constants, n_queries):
    """The shown queries' weights, a row each."""
    n_keys = len(constants["given"]) // n_queries
    return np.array(
        [np.nan if value is None else value for value in constants["given"]], np.float32
    ).reshape(-1, n_keys)


def test_each_key_stands_on_the_weight_that_the_query_gives_it(sentence_trace):
    head = sentence_trace.head(layer=5, head=11)
    constants = overview_chart(head, 2, 5).constants
    assert constants["key_names"] == list(head.query_tokens)
    assert constants["chip_position"] == [*range(7)]
    np.testing.assert_array_equal(given(constants, 7), head.weights)
    assert (constants["query_at"], constants["key_position"]) == (2, 5)


def test_every_cell_is_its_matrix_relative_to_the_end_of_its_colours(sentence_trace):
    head = sentence_trace.head(layer=5, head=11)
    constants = overview_chart(head, 2, 5).constants
    panels = panels_of(head)
    assert [panel.step.name for panel in panels] == [
        *("x_query", "q", "k", "v", "scores", "scaled", "weights", "updated", "output")
    ]
    for place, panel in enumerate(panels):
        first, array = constants["panel_first"][place], panel.step.array
        shape = constants["panel_rows"][place], constants["panel_columns"][place]
        drawn = np.array(constants["cells"][first : first + shape[0] * shape[1]]).reshape(shape)
        if shape == array.shape:
            expected = np.clip(array / np.float32(panel.end.limit), -1, 1)
            np.testing.assert_allclose(drawn, expected, rtol=1e-6, atol=1e-7)
        else:
            assert shape[1] <= 32 < array.shape[1]
    assert constants["panel_size"][0] == "7 × 384"


@pytest.mark.parametrize(
    ("model_type", "there", "not_there"),
    [
        ("llama", ["1b query", "3b mask"], ["3a bias"]),
        ("gemma2", ["soft-cap"], []),
        ("bloom", ["bias", "3b mask"], ["1b query"]),
        ("bert", [], ["3b mask", "bias", "soft-cap", "1b query"]),
    ],
)
def test_steps_that_a_model_has_more_are_there_and_those_it_has_not_are_not(
    model_type, there, not_there
):
    model = architectures.build(model_type)
    head = attnviz.trace_inputs(model, architectures.inputs_of(model)).head(0, 0)
    shown = titles(head)
    assert set(there) <= set(shown)
    assert not set(not_there) & set(shown)


def test_queries_of_another_text_have_a_row_of_their_own():
    head = hand_made.random_head(3, 4)
    chips = chips_of(head, 1, 2)
    assert chips.has_two_rows
    assert chips.positions == [0, 1, 2, 0, 1, 2, 3]
    constants = overview_chart(head, 1, 2).constants
    np.testing.assert_array_equal(given(constants, 3), head.weights)


def test_a_hidden_key_has_no_weight_and_a_sink_has_its_own():
    head = hand_made.random_head(4, 4, causal=True, sink_logit=0.5)
    weights = given(overview_chart(head, 0, 0).constants, 4)
    assert np.isnan(weights[0, 1:4]).all()
    np.testing.assert_array_equal(weights[:, 4], head.sink)


def test_of_a_long_text_the_strongest_keys_are_shown_and_the_others_add_up(minilm):
    words = " ".join(f"word{place}" for place in range(120))
    head = attnviz.trace(*minilm, words).head(0, 8)
    n = len(head.key_tokens)
    figure = overview_chart(head, 7, 9)
    chips = chips_of(head, 7, 9)
    assert chips.right[-1] <= TOTAL
    assert {7, 9} <= set(chips.keys)
    assert chips.n_others == n - len(chips.keys)
    assert chips.positions[-1] == OTHERS
    row = given(figure.constants, MOST_CHIPS)[chips.queries.index(7)]
    np.testing.assert_allclose(np.nansum(row), 1, atol=1e-5)
    left_out = np.delete(head.weights[7], chips.keys)
    free = [key for key in chips.keys if key not in (7, 9)]
    assert left_out.max() <= head.weights[7][free].min()
    assert len(json.dumps(figure.to_dict())) < 250_000


def test_it_is_a_chart_of_its_own_that_says_what_it_shows(sentence_trace):
    head = sentence_trace.head(layer=5, head=11)
    specification = attnviz.overview(head, 2, 5, display_mode="dark").to_dict()
    assert specification["description"] == "Layer 5, head 11: flies gives arrow 58.1\u00a0%."
    assert specification["width"] == TOTAL
    chosen = attnviz.overview(head).to_dict()["params"]
    position = {param["name"]: param.get("value") for param in chosen}
    assert position["query_position"] == 6
    assert position["key_position"] == int(np.argmax(head.weights[6]))
    with pytest.raises(attnviz.InputError, match="no query token 9"):
        attnviz.overview(head, 9)
