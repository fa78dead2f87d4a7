"""The maths, on arrays worked by hand."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from attnviz.attention import maths


def array(*rows):
    return np.array(rows, dtype=np.float32)


Q = array([1, 2], [0, -1], [3, 0])
K = array([1, 0], [2, 1])


def test_score_is_the_dot_product_of_every_query_with_every_key():
    np.testing.assert_array_equal(maths.score(Q, K), array([1, 4], [0, -1], [3, 6]))


def test_scale_multiplies_every_score():
    np.testing.assert_array_equal(
        maths.scale(array([1, 4], [-2, 0]), 0.5), array([0.5, 2], [-1, 0])
    )


def test_cap_keeps_small_scores_and_bounds_large_ones():
    capped = maths.cap(array([0, 50, -1e6]), 50.0)
    np.testing.assert_allclose(capped, array([0, 50 * np.tanh(1), -50]), rtol=1e-6)


def test_mask_is_added_and_leaves_the_scores_without_one():
    scaled = array([1, 4], [-2, 0])
    additive = array([0, -1e30], [0, 0])
    np.testing.assert_array_equal(maths.mask(scaled, additive), array([1, -1e30], [-2, 0]))
    assert maths.mask(scaled, None) is scaled


@pytest.mark.parametrize("hiding", [np.finfo(np.float32).min, -np.inf, -10_000, -65_504])
def test_a_key_is_hidden_where_the_mask_is_very_negative(hiding):
    additive = array([0, hiding, -500])  # −500 is a distance penalty, not a mask
    np.testing.assert_array_equal(maths.hidden(additive, (1, 3)), [[False, True, False]])
    assert not maths.hidden(None, (2, 3)).any()


def test_softmax_divides_each_exp_by_the_sum_of_its_row():
    weights, sink = maths.softmax(np.log(array([1, 3], [2, 2])))
    np.testing.assert_allclose(weights, array([0.25, 0.75], [0.5, 0.5]), rtol=1e-6)
    np.testing.assert_array_equal(sink, [0, 0])


def test_a_sink_takes_its_share_of_every_row():
    weights, sink = maths.softmax(
        np.log(array([1, 3], [2, 2])), sink_logits=np.log(array([4, 4])[0])
    )
    np.testing.assert_allclose(weights, array([1, 3], [2, 2]) / 8, rtol=1e-6)
    np.testing.assert_allclose(sink, [0.5, 0.5], rtol=1e-6)


def test_softmax_of_large_scores_does_not_overflow():
    weights, _ = maths.softmax(array([1000, 1000, 0]))
    np.testing.assert_array_equal(weights, array([0.5, 0.5, 0]))


def test_a_row_in_which_every_key_is_hidden_is_uniform_as_in_the_models():
    lowest = np.finfo(np.float32).min
    weights, _ = maths.softmax(maths.mask(array([3, -7]), array([lowest, lowest])))
    np.testing.assert_array_equal(weights, array([0.5, 0.5]))


def test_update_is_the_mean_of_the_values_weighted_by_attention():
    v = array([4, 0, 0], [0, 8, 0])
    np.testing.assert_array_equal(
        maths.update(array([0.25, 0.75], [1, 0]), v), array([1, 6, 0], [4, 0, 0])
    )


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError):
        maths.score(Q, array([1, 0, 0]))
