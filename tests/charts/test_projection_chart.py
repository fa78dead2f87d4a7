"""The figure of W_Q, W_K and W_V: its numbers are the model's, its frame is the dimension's."""

import numpy as np

from attnviz.charts.projection import projection_chart
from tests.support import hand_made
from tests.support.showing import constants_of


def test_the_cells_are_the_models_weights_and_the_column_is_framed(sentence_trace):
    head = sentence_trace.head(5, 11)
    specification = projection_chart(head, "v", 14).to_dict()
    constants = constants_of(specification)
    drawn = np.array(constants["w_v"], np.float32)
    blocks = head.w_v[:380].reshape(38, 10, 32)  # 10 rows each; the last has 4
    at = np.abs(blocks).argmax(axis=1)[:, None]
    np.testing.assert_allclose(
        drawn[:38], np.take_along_axis(blocks, at, axis=1)[:, 0], rtol=1e-5, atol=1e-7
    )
    assert constants["w_v_framed_column"] == 14
    assert constants["w_v_note"] == "each cell: the most extreme of 10 values"
    assert constants["w_v_rows"][0] == "0 … 9"
    text = str(specification)
    for title in ("W_V, most extreme", "dimension of x (d_model)", "dimension (d_value)"):
        assert title in text


def test_no_frame_without_a_dimension_and_no_figure_without_weights(sentence_trace):
    constants = constants_of(projection_chart(sentence_trace.head(0, 8), "q").to_dict())
    assert not any("framed" in name for name in constants)
    assert projection_chart(hand_made.random_head(), "q") is None
