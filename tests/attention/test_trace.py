"""HeadTrace and Trace: the replay, how it is judged, and what can be asked for."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention.steps import steps_of
from attnviz.attention.tolerance import TOLERANCE
from attnviz.attention.what_if import what_if
from attnviz.text.errors import InputError
from tests.support import hand_made, tiny_models


def names(head):
    return [step.name for step in head.steps]


def test_a_plain_head_has_the_nine_matrices_in_order():
    head = hand_made.random_head()
    assert names(head) == [
        *("x_query", "q", "k", "v"),
        *("scores", "scaled", "masked", "weights", "updated"),
    ]
    for step in head.steps:
        assert step.array is getattr(head, step.name)


def test_every_step_names_its_axes_by_their_lengths():
    head = hand_made.random_head(n_queries=3, n_keys=5, d_head=2, d_value=7)
    lengths = {"query_pos": 3, "key_pos": 5, "d_head": 2, "d_value": 7, "d_model": 3}
    assert names(head)[:2] == ["x_query", "x_key"]
    for step in head.steps:
        assert step.array.shape == tuple(lengths[axis] for axis in step.axes), step.name


def test_a_soft_cap_and_a_bias_are_steps_of_their_own_and_change_the_result():
    bias = np.full((5, 5), 0.25, np.float32)
    head = hand_made.random_head(softcap=2.0, bias=bias)
    assert names(head)[5:10] == ["scaled", "capped", "bias", "biased", "masked"]
    np.testing.assert_allclose(head.capped, 2 * np.tanh(head.scaled / 2), rtol=1e-6)
    np.testing.assert_allclose(head.masked, head.capped + 0.25, rtol=1e-6)


def test_formulas_carry_this_heads_own_sizes():
    formulas = {s.name: s.formula for s in hand_made.random_head(d_head=4).steps}
    assert formulas["scaled"].endswith(r"\tfrac{1}{\sqrt{4}}")
    unscaled = hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], scaling=1.0)
    formulas = {s.name: s.formula for s in unscaled.steps}
    assert formulas["scaled"].endswith(r"\times 1")


def test_the_mask_is_named_only_where_there_is_one():
    plain, causal = hand_made.random_head(), hand_made.random_head(causal=True)
    formula = {id(h): {s.name: s.formula for s in h.steps}["masked"] for h in (plain, causal)}
    assert formula[id(plain)] == r"\text{masked}_{ij} = \text{scaled}_{ij}"
    assert formula[id(causal)] == (r"\text{masked}_{ij} = \text{scaled}_{ij} + \text{mask}_{ij}")
    assert not plain.is_masked.any()
    assert causal.is_masked.sum() == 10
    assert (causal.weights[causal.is_masked] == 0).all()


def test_a_head_that_is_not_replayed_exactly_shows_the_models_own_weights():
    head = hand_made.random_head()
    own = np.roll(head.own_weights, 1, axis=1)
    off = head.replaced(own_weights=own)
    assert not off.is_exact
    assert off.weights is own
    assert off.updated is off.own_updated
    changed = what_if(off, temperature=2)
    np.testing.assert_array_equal(changed.weights, what_if(head, temperature=2).weights)


def test_rows_and_their_sink_sum_to_one():
    head = hand_made.random_head(sink_logit=0.7)
    np.testing.assert_allclose(head.weights.sum(axis=1) + head.sink, 1, rtol=1e-6)
    assert (head.sink > 0).all()


def test_max_error_is_the_larger_of_the_two_measured_differences():
    head = hand_made.random_head()
    assert head.max_error == 0
    assert head.is_exact
    weights = head.own_weights.copy()
    weights[1, 2] += 0.01
    off = head.replaced(own_weights=weights)
    assert off.weights_error == pytest.approx(0.01, rel=1e-4)
    assert off.updated_error == 0
    assert off.max_error == off.weights_error
    assert not off.is_exact
    updated = head.own_updated.copy()
    updated[0, 0] += 1
    off = head.replaced(own_updated=updated)
    assert off.updated_error == pytest.approx(1 / np.abs(updated).max(), rel=1e-4)


def test_a_nan_is_never_exact():
    head = hand_made.random_head()
    off = head.replaced(own_weights=np.full_like(head.own_weights, np.nan))
    assert not off.is_exact


def test_in_columns_the_keys_index_comes_first_and_columns_sum_to_one():
    head = hand_made.random_head(n_queries=3, n_keys=5, causal=True)
    for step, turned in zip(head.steps, steps_of(head, "columns"), strict=True):
        if step.axes == ("query_pos", "key_pos"):
            assert turned.axes == ("key_pos", "query_pos")
            np.testing.assert_array_equal(turned.array, step.array.T)
            assert "_{ij}" in step.formula
            assert "_{ji}" in turned.formula
            assert "_{ij}" not in turned.formula
            if step.is_hidden is not None:
                np.testing.assert_array_equal(turned.is_hidden, step.is_hidden.T)
        elif step.name != "updated":
            assert turned.formula == step.formula
    weights = next(step for step in steps_of(head, "columns") if step.name == "weights")
    np.testing.assert_allclose(weights.array.sum(axis=0), 1, rtol=1e-6)
    assert r"w_{ji}\,v_j" in steps_of(head, "columns")[-1].formula


@pytest.mark.parametrize(
    ("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 2e-2)]
)
def test_the_models_dtype_decides_what_counts_as_exact(dtype, bound):
    assert TOLERANCE[dtype] == bound
    head = hand_made.random_head(dtype=dtype)
    just_within = head.replaced(own_weights=head.own_weights + np.float32(bound * 0.9))
    beyond = head.replaced(own_weights=head.own_weights + np.float32(bound * 1.1))
    assert just_within.is_exact
    assert not beyond.is_exact


def test_results_cannot_be_changed(sentence_trace):
    head = sentence_trace.head(0, 8)
    for step in head.steps:
        with pytest.raises(ValueError, match="read-only"):
            step.array[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        head.scaling = 2


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.head(99, 0), "no self attention in layer 99.*\n\n.*0 to 5"),
        (lambda t: t.head(0, 12), "no head 12.*\n\n.*0 to 11"),
        (lambda t: t.head(0, -1), "no head -1"),
        (lambda t: t.head(0, 0, "cross"), "no attention of kind 'cross'.*\n\n.*self"),
        (lambda t: t.layers("decoder"), "no attention of kind 'decoder'"),
        (lambda t: t.n_heads(6), "no self attention in layer 6"),
    ],
)
def test_what_the_model_does_not_have_is_named_with_what_it_has(sentence_trace, ask, message):
    with pytest.raises(InputError, match=message):
        ask(sentence_trace)


def test_a_trace_says_what_was_read(sentence_trace):
    assert sentence_trace.tokens == ("[CLS]", "time", "flies", "like", "an", "arrow", "[SEP]")
    assert sentence_trace.target_tokens is None
    assert sentence_trace.kinds == ("self",)
    assert sentence_trace.layers("self") == (0, 1, 2, 3, 4, 5)
    assert sentence_trace.n_heads(layer=0, kind="self") == 12
    # x, q, k, v, the update and what the module returned; the weights are computed when asked for
    assert sentence_trace.nbytes == 6 * 6 * 7 * 384 * 4


# Weights that are computed when they are asked for


@pytest.mark.parametrize("family", [name for name in tiny_models.CONFIGS if name != "mamba"])
def test_those_of_one_query_and_of_one_head_are_part_of_all(family):
    model = tiny_models.build(family)
    inputs = {"input_ids": tiny_models.random_ids()}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tiny_models.random_ids(5, seed=1)
    for call in attnviz.trace_inputs(model, inputs).calls.values():
        whole = call.own_weights
        for query in (0, 4):
            row = call.own_weights_of(slice(query, query + 1))[:, 0]
            np.testing.assert_allclose(row, whole[:, query], atol=1e-6)
        for head in range(call.n_heads):
            np.testing.assert_allclose(call.own_weights_of_head(head), whole[head], atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "gemma2", "qwen3", "deepseek_v3"])
def test_of_what_a_trace_holds_masks_alone_grow_with_the_square_of_its_text(family):
    model = tiny_models.build(family)
    n_bytes = []
    for n_tokens in (8, 16, 32):
        trace = attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids(n_tokens)})
        calls = {at: dataclasses.replace(c, mask=None) for at, c in trace.calls.items()}
        n_bytes.append(dataclasses.replace(trace, calls=calls).nbytes)
        assert trace.nbytes - n_bytes[-1] <= 2 * 4 * n_tokens**2  # masks, one for all layers
    assert n_bytes == [n_bytes[0], 2 * n_bytes[0], 4 * n_bytes[0]]


def test_they_are_those_of_the_pass_whatever_becomes_of_the_model():
    model = tiny_models.build("bert", attention_probs_dropout_prob=0.5)
    inputs = {"input_ids": tiny_models.random_ids()}
    with torch.no_grad():
        own = [one[0].numpy() for one in model(**inputs, output_attentions=True).attentions]
    trace = attnviz.trace_inputs(model, inputs)
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    for layer, weights in enumerate(own):
        np.testing.assert_array_equal(trace.layer(layer).own_weights, weights)
        assert trace.head(layer, 1).is_exact


def test_threads_that_ask_at_once_are_given_the_same(sentence_trace):
    expected = sentence_trace.layer(2).own_weights.copy()
    with ThreadPoolExecutor(8) as threads:
        for weights in threads.map(lambda _: sentence_trace.layer(2).own_weights, range(64)):
            np.testing.assert_array_equal(weights, expected)


# In one line


def test_a_trace_and_a_head_say_what_they_are_in_one_line(minilm, sentence_trace):
    trace, head = repr(sentence_trace), repr(sentence_trace.head(0, 8))
    assert trace.startswith("<Trace of 'sentence-transformers/all-MiniLM-L6-v2', float32: ")
    assert trace.endswith(": self attention, 6 layers × 12 heads; 7 tokens>")
    assert head.startswith("<HeadTrace of layer 0, head 8, self attention: 7 queries × 7 keys, ")
    assert "d_head 32, d_value 32; exact, max error " in head
    long = attnviz.trace(*minilm, "a b c d " * 60)
    for said in (trace, head, repr(long), repr(long.head(0, 0))):
        assert "\n" not in said
        assert len(said) < 160


def test_a_head_that_is_not_the_models_own_is_not_called_exact(sentence_trace):
    changed = attnviz.what_if(sentence_trace.head(0, 8), scaling=1)
    filtered = attnviz.filters.hide_special(sentence_trace).head(0, 8)
    assert repr(changed).endswith("; changed>")
    assert repr(filtered).endswith("; filtered>")
