"""Each head's part of W_Q, W_K and W_V, and where there is none, the reason."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import peft
import pytest
import torch
from torch import nn

import attnviz
from attnviz.attention.tolerance import TOLERANCE
from tests.support import architectures, tiny_models
from tests.support.adapting import adapted
from tests.support.tracing import all_heads, tiny_inputs

CHANGED = "the model was changed after the trace"
MORE = "the module computes it by more than one plain projection of x"
OTHER = "it is a projection of something else than x"

FAMILIES = [
    "bert",
    "bart",  # cross attention: x of the keys is the encoder's
    "gpt2",  # W_Q, W_K and W_V in one Conv1D
    "llama",  # grouped queries, rotary embedding
    "qwen3",  # a norm before the rotary embedding
    "gemma3_text",  # a norm of heads that stand before positions
    "olmo2",  # a norm of all heads together
    "qwen3_next",  # a gate beside each head's query; a part is turned
    "gpt_neox",  # q, k and v of a head side by side; a part is turned
    "falcon",  # a Linear of its own kind, copied
    "falcon, new",
    "gpt_bigcode",  # one key and value for all heads
    "codegen",  # heads in an order of their own
    "bloom",
    "phi3",
    "mpt",
]


def traced(name, **changes):
    model_type, variant = architectures.VARIANTS.get(name, (name, {}))
    model = architectures.build(model_type, **variant, **changes)
    return attnviz.trace_inputs(model, architectures.inputs_of(model))


def parts_of(head):
    """x, W, b and what came out, of the query, the key and the value."""
    yield head.x_query, head.w_q, head.b_q, head.q_projected
    yield head.x_key, head.w_k, head.b_k, head.k_projected
    yield head.x_key, head.w_v, head.b_v, head.v_projected


def error_of(x, weight, bias, projected):
    made = x.astype(np.float64) @ weight + (0 if bias is None else bias)
    return np.abs(made - projected).max() / np.abs(projected).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_x_times_a_heads_part_of_w_is_what_the_model_projected(name):
    for head in all_heads(traced(name)):
        assert head.no_w_because == {}
        for x, weight, bias, projected in parts_of(head):
            assert weight.shape == (x.shape[1], projected.shape[1])
            assert error_of(x, weight, bias, projected) < 1e-6
            assert not weight.flags.writeable


@pytest.mark.parametrize(
    ("name", "q", "k", "v"),
    [
        ("deepseek_v3", MORE, MORE, OTHER),
        ("opt", MORE, None, None),  # the query is scaled
        ("nanochat", MORE, MORE, None),  # a norm after the rotary embedding
        ("mobilebert", None, None, OTHER),
    ],
)
def test_where_one_is_no_projection_of_x_the_reason_is_said(name, q, k, v):
    for head in all_heads(traced(name)):
        expected = {letter: why for letter, why in zip("qkv", (q, k, v), strict=True) if why}
        assert head.no_w_because == expected
        for letter in expected:
            assert getattr(head, f"w_{letter}") is None
            assert getattr(head, f"b_{letter}") is None
            assert getattr(head, f"{letter}_projected") is None


def test_a_norm_and_a_rotary_embedding_come_after_what_is_projected():
    head = traced("qwen3").head(1, 3)
    assert np.abs(head.q_projected - head.q_before_rotary).max() > 0.1
    head = traced("llama").head(1, 3)
    np.testing.assert_array_equal(head.q_projected, head.q_before_rotary)
    assert np.abs(head.k_projected - head.k).max() > 0.1
    head = traced("bert").head(1, 3)
    np.testing.assert_array_equal(head.k_projected, head.k)


def test_heads_that_share_keys_share_their_weights_and_no_query():
    trace = traced("llama")
    first, second, third = (trace.head(0, head) for head in (0, 1, 2))
    assert first.key_value_head == second.key_value_head != third.key_value_head
    np.testing.assert_array_equal(first.w_k, second.w_k)
    np.testing.assert_array_equal(first.w_v, second.w_v)
    assert not np.array_equal(first.w_q, second.w_q)
    assert not np.array_equal(first.w_k, third.w_k)


@pytest.mark.parametrize(
    ("name", "weight", "rows"),
    [
        ("bert", "encoder.layer.1.attention.self.query.weight", slice(16, 24)),
        ("gpt_neox", "layers.1.attention.query_key_value.weight", slice(48, 56)),
    ],
)
def test_it_is_the_rows_of_the_models_own_weight(name, weight, rows):
    model = architectures.build(name)
    head = attnviz.trace_inputs(model, architectures.inputs_of(model)).head(1, 2)
    own = model.get_parameter(weight).detach().numpy()[rows].T
    np.testing.assert_array_equal(head.w_q, own)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("n_tokens", [1, 9])
@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_in_half_precision_too_and_for_a_single_token(family, n_tokens, dtype):
    model = tiny_models.build(family, dtype=dtype)
    trace = attnviz.trace_inputs(model, tiny_inputs(model, n_tokens))
    for head in all_heads(trace):
        for part in parts_of(head):
            assert error_of(*part) < TOLERANCE[dtype]


# A model that is another later


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_weights_that_were_written_into_are_refused(name):
    model = architectures.build(name)
    trace = attnviz.trace_inputs(model, architectures.inputs_of(model))
    before = trace.head(1, 0).q_projected.copy()
    layer = model.h[1].attn.c_attn if name == "gpt2" else model.layers[1].self_attn.q_proj
    with torch.no_grad():
        layer.weight.mul_(1.1)
    head = trace.head(1, 0)
    assert head.w_q is None
    assert head.no_w_because["q"] == CHANGED
    np.testing.assert_array_equal(head.q_projected, before)
    assert trace.head(0, 0).w_q is not None
    with torch.no_grad():  # without a trace of it, as memory that is shared would be
        layer.weight.data.numpy()[...] /= 1.2
    assert trace.head(1, 0).no_w_because["q"] == CHANGED


def test_a_bias_that_was_trained_on_is_refused():
    model = tiny_models.build("bert")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    model.encoder.layer[1].attention.self.key.bias.data += 1
    head = trace.head(1, 0)
    assert head.no_w_because == {"k": CHANGED}
    assert head.w_q is not None


def test_a_trace_arrives_with_its_weights(sentence_trace):
    model = tiny_models.build("qwen3")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    arrived = pickle.loads(pickle.dumps(trace))
    expected = [list(parts_of(head)) for head in all_heads(trace)]
    for parameter in model.parameters():
        parameter.data.fill_(0)
    for head, parts in zip(all_heads(arrived), expected, strict=True):
        assert head.no_w_because == {}
        for own, part in zip(parts_of(head), parts, strict=True):
            for one, other in zip(own, part, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one is None or not one.flags.writeable


def test_a_file_of_a_head_holds_no_weights(sentence_trace, tmp_path):
    sentence_trace.head(0, 8).to_npz(tmp_path / "head.npz")
    head = attnviz.HeadTrace.from_npz(tmp_path / "head.npz")
    assert head.w_k is None
    assert head.no_w_because == dict.fromkeys("qkv", "a file of arrays holds no weights")
    own = attnviz.from_arrays(head.q, head.k, head.v).head(0, 0)
    assert own.no_w_because == dict.fromkeys("qkv", "what it was computed from is not known")


def test_filters_keep_it_for_the_tokens_that_are_left():
    model = tiny_models.build("qwen3")
    trace = attnviz.trace_inputs(model, tiny_inputs(model), tokens=["a", "##b", *"cdefghi"])
    less = attnviz.filters.hide_tokens(trace, keys=[1], queries=[0, 4]).head(1, 2)
    words = attnviz.filters.in_words(trace).head(1, 2)
    assert len(less.q_projected) == len(trace.tokens) - 2
    assert len(words.k_projected) == len(trace.tokens) - 1
    for head in (less, words):
        for part in parts_of(head):
            assert error_of(*part) < 1e-5


def test_threads_that_read_at_once_read_the_same(minilm):
    trace = attnviz.trace(*minilm, "time flies like an arrow")
    expected = trace.head(3, 7).w_v.copy()
    with ThreadPoolExecutor(8) as threads:
        for weight in threads.map(lambda _: trace.head(3, 7).w_v, range(32)):
            np.testing.assert_array_equal(weight, expected)


# What is no plain projection


def test_an_adapter_beside_the_projection_is_no_part_of_w():
    model = tiny_models.build("llama")
    held = adapted(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    head = attnviz.trace_inputs(held, tiny_inputs(model)).head(1, 0)
    assert head.no_w_because == {"q": MORE}
    held.merge_adapter()
    head = attnviz.trace_inputs(held, tiny_inputs(model)).head(1, 0)
    assert head.no_w_because == {}


class Normed(nn.Linear):
    """A projection that norms its input first, as those of bitnet do."""

    def forward(self, x):
        return super().forward(nn.functional.layer_norm(x, x.shape[-1:]))


class Spelled(nn.Linear):
    """A projection that is written otherwise, as falcon's is."""

    def forward(self, x):
        return x @ self.weight.T


@pytest.mark.parametrize(("kind", "is_known"), [(Normed, False), (Spelled, True)])
def test_a_linear_of_its_own_kind_counts_where_it_multiplies_and_no_more(kind, is_known):
    model = tiny_models.build("llama")
    for layer in model.layers:
        layer.self_attn.k_proj.__class__ = kind
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(1, 0)
    assert ("k" in head.origins) == is_known
    assert head.no_w_because == ({} if is_known else {"k": MORE})


def test_a_projection_with_other_weights_in_each_pass_is_refused():
    model = tiny_models.build("llama")
    torch.nn.utils.parametrizations.weight_norm(model.layers[1].self_attn.v_proj)
    trace = attnviz.trace_inputs(model.eval(), tiny_inputs(model))
    assert trace.head(1, 0).no_w_because == {
        "v": "its projection's weights are made anew in each pass"
    }


@pytest.mark.parametrize("name", ["gptj", "qwen3", "falcon"])
def test_hooks_that_see_the_pass_change_nothing(name):
    """What they might write into is copied, each layer's for itself."""
    model = architectures.build(name)
    plain = attnviz.trace_inputs(model, architectures.inputs_of(model))
    model.register_forward_hook(lambda module, args, output: None)
    trace = attnviz.trace_inputs(model, architectures.inputs_of(model))
    for head, other in zip(all_heads(trace), all_heads(plain), strict=True):
        assert head.no_w_because == {}
        np.testing.assert_array_equal(head.q_projected, other.q_projected)
        np.testing.assert_array_equal(head.w_q, other.w_q)


def test_what_a_hook_made_of_a_projection_is_not_x_times_w():
    model = tiny_models.build("llama")
    model.layers[1].self_attn.v_proj.register_forward_hook(lambda module, args, output: output * 2)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    assert trace.head(1, 0).no_w_because == {"v": MORE}
    assert trace.head(0, 0).no_w_because == {}
