"""What if: each change is what it says, from the scores on, and the head itself stays."""

import numpy as np
import pytest

from attnviz.attention.what_if import can_be_causal, is_causal, what_if
from attnviz.text.errors import InputError
from tests.support import hand_made


@pytest.fixture
def head():
    return hand_made.random_head()


def softmax(logits):
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def test_nothing_changed_is_the_same_head(head):
    np.testing.assert_array_equal(what_if(head).weights, head.weights)


def test_another_factor_and_another_temperature_do_what_they_say(head):
    scores = head.q @ head.k.T
    for factor in (1, 0.1, 3.5):
        changed = what_if(head, scaling=factor)
        np.testing.assert_allclose(changed.weights, softmax(factor * scores), rtol=1e-4)
        np.testing.assert_allclose(changed.updated, changed.weights @ head.v, rtol=1e-5)
    hotter = what_if(head, temperature=2)
    np.testing.assert_allclose(hotter.weights, softmax(head.masked / 2), rtol=1e-5)


def test_temperature_divides_the_sink_and_what_a_soft_cap_left_too():
    head = hand_made.random_head(softcap=1.0, sink_logit=2.0)
    changed = what_if(head, temperature=4)
    exps, sink = np.exp(head.capped / 4), np.exp(2.0 / 4)
    total = exps.sum(axis=1) + sink
    np.testing.assert_allclose(changed.weights, exps / total[:, None], rtol=1e-5)
    np.testing.assert_allclose(changed.sink, sink / total, rtol=1e-5)


def test_a_masked_key_gets_nothing_and_the_others_share_it(head):
    changed = what_if(head, hidden_keys=[1, 3])
    assert changed.is_masked[:, [1, 3]].all()
    assert (changed.weights[:, [1, 3]] == 0).all()
    rest = head.weights[:, [0, 2, 4]]
    np.testing.assert_allclose(
        changed.weights[:, [0, 2, 4]], rest / rest.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_a_causal_mask_goes_on_and_off(head):
    assert not is_causal(head)
    on = what_if(head, is_causal=True)
    assert is_causal(on)
    assert (np.triu(on.weights, 1) == 0).all()
    np.testing.assert_allclose(on.weights.sum(axis=1), 1, rtol=1e-6)
    off = what_if(on, is_causal=False)
    np.testing.assert_allclose(off.weights, head.weights, rtol=1e-6)


def test_padding_stays_hidden_when_the_causal_mask_goes_off():
    causal = np.where(np.tri(4, dtype=bool), 0, np.finfo(np.float32).min)
    causal[:, 3] = np.finfo(np.float32).min
    head = hand_made.head(np.eye(4), np.eye(4), np.eye(4), mask=causal)
    off = what_if(head, is_causal=False)
    assert off.is_masked[:, 3].all()
    assert not off.is_masked[:, :3].any()


def test_a_causal_mask_that_is_off_already_leaves_a_window_and_a_bias_alone():
    mask = np.where(np.abs(np.subtract.outer(range(6), range(6))) > 2, np.finfo(np.float32).min, 0)
    mask[0, 1] = 0.75
    head = hand_made.head(np.eye(6), np.eye(6), np.eye(6), mask=mask)
    np.testing.assert_array_equal(what_if(head, is_causal=False).masked, head.masked)


def test_one_token_before_padding_is_not_called_causal():
    mask = np.zeros((3, 3), np.float32)
    mask[:, 1:] = np.finfo(np.float32).min
    assert not is_causal(hand_made.head(np.eye(3), np.eye(3), np.eye(3), mask=mask))


def test_a_row_that_loses_every_key_is_even_at_any_temperature(head):
    for temperature in (0.5, 1, 3):
        changed = what_if(head, hidden_keys=range(5), temperature=temperature)
        assert np.isfinite(changed.weights).all()
        np.testing.assert_allclose(changed.weights.sum(axis=1), 1, rtol=1e-6)


def test_a_zeroed_dimension_adds_nothing_to_any_score(head):
    changed = what_if(head, zeroed_dimensions=[0, 2])
    kept = [1, 3]
    np.testing.assert_allclose(changed.scores, head.q[:, kept] @ head.k[:, kept].T, rtol=1e-4)


def test_the_head_itself_is_never_touched(head):
    before = {name: np.array(getattr(head, name)) for name in ("q", "k", "v", "weights", "updated")}
    what_if(head, scaling=9, temperature=3, hidden_keys=[0], is_causal=True, zeroed_dimensions=[1])
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(head, name), array)
    assert head.mask is None
    assert head.temperature == 1


def test_the_model_own_weights_stay_the_models(sentence_trace):
    head = sentence_trace.head(0, 8)
    changed = what_if(head, scaling=1)
    np.testing.assert_array_equal(changed.own_weights, head.own_weights)
    assert not changed.is_exact


def test_a_temperature_is_part_of_the_formula(head):
    changed = what_if(head, temperature=2)
    assert "/ 2" in next(step.formula for step in changed.steps if step.name == "weights")


def test_cross_attention_has_no_later_keys():
    assert can_be_causal(hand_made.random_head())
    assert not can_be_causal(hand_made.random_head(kind="cross"))
    assert not can_be_causal(hand_made.random_head(n_keys=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": 0}, "The scaling must be a positive number, .*; received 0"),
        ({"temperature": -1}, "The temperature must be a positive number, .*; received -1"),
        ({"temperature": float("nan")}, "received nan"),
        ({"hidden_keys": [9]}, "There is no key 9"),
        ({"zeroed_dimensions": [4]}, "There is no dimension 4"),
    ],
)
def test_what_cannot_be_done_is_refused(head, change, message):
    with pytest.raises(InputError, match=message):
        what_if(head, **change)
