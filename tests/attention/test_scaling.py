"""Why scale: spread, entropy, and the curve."""

import numpy as np
import pytest
import torch

from attnviz.attention.explained.scaling import (
    FACTORS,
    derivative_by_score,
    entropy,
    entropy_curve,
    softmax_derivative,
    spread,
)
from attnviz.attention.what_if import what_if
from attnviz.charts.scaling import entropy_chart
from tests.support import hand_made


def test_entropy_is_0_for_one_key_and_log2_n_for_n_alike():
    weights = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32)
    assert entropy(weights).tolist() == [0, 2, 1]


def test_unit_variance_queries_and_keys_give_a_variance_of_d_head():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 300, 64))
    head = hand_made.head(q, k, k, scaling=1 / 8)
    assert spread(head, "scores").variance == pytest.approx(64, rel=0.1)
    assert spread(head, "scaled").variance == pytest.approx(1, rel=0.1)


def test_the_spread_is_that_of_what_is_seen():
    head = hand_made.random_head(causal=True)
    seen = (head.q @ head.k.T)[np.tri(5, dtype=bool)]
    measured = spread(head, "scores")
    assert measured.variance == pytest.approx(seen.var(), rel=1e-4)
    assert measured.standard_deviation == pytest.approx(seen.std(), rel=1e-4)
    assert (measured.smallest, measured.largest) == (
        pytest.approx(seen.min(), rel=1e-4),
        pytest.approx(seen.max(), rel=1e-4),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_the_curve_goes_through_the_models_own_entropy_and_falls(causal):
    head = hand_made.random_head(causal=causal)
    of_query, mean = entropy_curve(head, 4, head.scaling * FACTORS)
    own = len(FACTORS) // 2
    assert FACTORS[own] == 1
    assert of_query[own] == pytest.approx(entropy(head.weights)[4], rel=1e-5)
    assert mean[own] == pytest.approx(entropy(head.weights).mean(), rel=1e-5)
    assert of_query[0] == pytest.approx(np.log2(5), abs=0.01)  # nearly all alike
    assert (np.diff(of_query) < 1e-6).all()


def test_the_chart_marks_the_heads_own_factor_and_1(sentence_trace):
    head = sentence_trace.head(0, 8)
    spec = entropy_chart(head, 2).to_dict()
    marks = spec["datasets"][spec["layer"][1]["data"]["name"]]
    assert [mark["factor"] for mark in marks] == [pytest.approx(32**-0.5), 1]
    rows = spec["datasets"][spec["layer"][0]["data"]["name"]]
    own = [r for r in rows if r["of"] == "flies" and np.isclose(r["factor"], 32**-0.5)]
    assert own[0]["entropy"] == pytest.approx(entropy(head.weights)[2], rel=1e-5)


def test_a_head_that_does_not_scale_has_one_mark():
    head = hand_made.head(np.eye(3), np.eye(3), np.eye(3), scaling=1.0)
    spec = entropy_chart(head, 0).to_dict()
    assert len(spec["datasets"][spec["layer"][1]["data"]["name"]]) == 1


@pytest.mark.parametrize("scaling", [0.5, 1])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sink", [None, 0.3])
def test_the_derivatives_are_those_of_torch(scaling, softcap, sink):
    head = hand_made.random_head(causal=True, softcap=softcap, sink_logit=sink)
    head = what_if(head, scaling=scaling)
    seen = 4  # of the fourth query
    scores = torch.tensor(head.scores[3, :seen].astype(np.float64), requires_grad=True)
    scaled = scores * head.scaling
    inputs = scaled if softcap is None else softcap * torch.tanh(scaled / softcap)
    inputs.retain_grad()
    sinks = torch.tensor([] if sink is None else [sink], dtype=torch.float64)
    for key in range(seen):
        weights = torch.softmax(torch.cat([inputs, sinks]), dim=0)
        scores.grad = inputs.grad = None
        weights[key].backward(retain_graph=True)
        assert softmax_derivative(head, 3)[key] == pytest.approx(float(inputs.grad[key]), rel=1e-4)
        assert derivative_by_score(head, 3)[key] == pytest.approx(float(scores.grad[key]), rel=1e-4)
    assert softmax_derivative(head, 3)[seen:].tolist() == [0]


def test_a_saturated_softmax_has_hardly_any_derivative():
    mild, sharp = (hand_made.head([[1.0]], [[s], [0.0]], [[1.0]] * 2) for s in (1.0, 30.0))
    assert softmax_derivative(mild, 0).sum() > 0.3
    assert softmax_derivative(sharp, 0).sum() < 1e-9
