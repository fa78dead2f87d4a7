"""What is captured is what the model computed: every kind, layer and head."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, GPT2LMHeadModel

import attnviz
from attnviz.attention.tolerance import TOLERANCE
from tests.support import tiny_models
from tests.support.places import DATA
from tests.support.tracing import all_heads, tiny_inputs

ENCODER_DECODERS = {"t5", "bart"}


def own_attentions(model, inputs):
    """What the model itself says its weights are, by kind."""
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True)
    fields = {
        "self": "attentions",
        "encoder": "encoder_attentions",
        "decoder": "decoder_attentions",
        "cross": "cross_attentions",
    }
    return {kind: outputs[name] for kind, name in fields.items() if outputs.get(name)}


# The bundled model


@pytest.mark.parametrize("name", ["time_flies", "pair"])
def test_every_layer_and_head_equals_what_bertviz_computed(minilm, name):
    with np.load(DATA / f"bertviz_minilm_{name}.npz") as oracle:
        pair = str(oracle["pair"]) or None
        trace = attnviz.trace(*minilm, str(oracle["text"]), pair=pair)
        assert trace.tokens == tuple(oracle["tokens"])
        for head in all_heads(trace):
            for ours, theirs in ((head.q, "queries"), (head.k, "keys"), (head.weights, "weights")):
                expected = oracle[theirs][head.layer, head.head]
                difference = np.abs(ours - expected).max()
                assert difference <= 1e-5 * np.abs(expected).max(), (head.layer, head.head, theirs)


def test_every_layer_and_head_equals_the_models_own_output(minilm, sentence_trace):
    model, tokenizer = minilm
    inputs = tokenizer("time flies like an arrow", return_tensors="pt")
    own = own_attentions(model, inputs)["self"]
    assert sentence_trace.layers() == tuple(range(len(own)))
    for head in all_heads(sentence_trace):
        expected = own[head.layer][0, head.head].numpy()
        np.testing.assert_array_equal(head.own_weights, expected)
        assert head.is_exact


def test_the_projections_are_those_of_what_the_module_was_given(minilm, sentence_trace):
    layer = minilm[0].encoder.layer[3].attention.self
    head = sentence_trace.head(3, 7)
    columns = slice(7 * 32, 8 * 32)
    for name, linear in (("q", layer.query), ("k", layer.key), ("v", layer.value)):
        projected = head.x_query @ linear.weight[columns].T.detach().numpy()
        projected += linear.bias[columns].detach().numpy()
        np.testing.assert_allclose(getattr(head, name), projected, atol=2e-5)


# Families


@pytest.mark.parametrize("model_type", tiny_models.CONFIGS)
def test_a_familys_heads_are_its_own_under_the_right_kind_and_layer(model_type):
    model = tiny_models.build(model_type)
    inputs = tiny_inputs(model)
    trace = attnviz.trace_inputs(model, inputs)
    own = own_attentions(model, inputs)
    assert set(trace.kinds) == set(own)
    if model_type in ENCODER_DECODERS:
        assert trace.kinds == ("encoder", "decoder", "cross")
    for kind in trace.kinds:
        assert trace.layers(kind) == tuple(range(len(own[kind])))
    for head in all_heads(trace):
        expected = own[head.kind][head.layer][0, head.head].float().numpy()
        assert np.abs(head.weights - expected).max() <= TOLERANCE["float32"]
        assert head.is_exact, (head.kind, head.layer, head.head, head.max_error)
        n_queries = 5 if head.kind in ("decoder", "cross") else 9
        n_keys = 5 if head.kind == "decoder" else 9
        assert head.weights.shape == (n_queries, n_keys)
        assert head.x_query.shape[0] == n_queries
        assert head.x_key.shape[0] == n_keys


def test_the_tiny_models_attend_sharply_enough_to_notice_a_mistake():
    for model_type in tiny_models.CONFIGS:
        model = tiny_models.build(model_type)
        trace = attnviz.trace_inputs(model, tiny_inputs(model))
        largest = np.mean([head.weights.max(axis=1).mean() for head in all_heads(trace)])
        assert largest > 0.35, model_type


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_shifted_mask_or_swapped_heads_would_be_noticed(model_type):
    model = tiny_models.build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    head, other = trace.head(1, 0), trace.head(1, 3)
    shifted = head.replaced(mask=np.roll(head.mask, 1, axis=1))
    swapped = head.replaced(q=other.q)
    assert shifted.weights_error > 0.1
    assert swapped.weights_error > 0.1


def test_grouped_queries_read_the_key_and_value_head_of_their_group():
    trace = attnviz.trace_inputs(m := tiny_models.build("llama"), tiny_inputs(m))
    assert [trace.head(0, head).key_value_head for head in range(4)] == [0, 0, 1, 1]
    np.testing.assert_array_equal(trace.head(0, 0).k, trace.head(0, 1).k)
    assert not np.array_equal(trace.head(0, 1).k, trace.head(0, 2).k)


def test_a_sink_takes_the_missing_mass():
    model = tiny_models.build("gpt_oss")
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.sinks.fill_(1.5)
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(0, 0)
    assert head.is_exact
    np.testing.assert_allclose(head.sink, 1 - head.own_weights.sum(axis=1), atol=1e-6)
    assert head.sink.max() > 0.05


def test_in_pre_norm_models_x_is_what_the_projections_read():
    model = tiny_models.build("gpt2")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    head, block = trace.head(0, 2), model.h[0].attn.c_attn
    projected = head.x_query @ block.weight[:, 16:24].detach().numpy()
    np.testing.assert_allclose(head.q, projected + block.bias[16:24].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_hidden(side):
    model = tiny_models.build("bert")
    inputs = tiny_inputs(model)
    padded = slice(0, 3) if side == "left" else slice(6, 9)
    inputs["attention_mask"][0, padded] = 0
    head = attnviz.trace_inputs(model, inputs).head(1, 1)
    assert head.is_exact
    expected = np.zeros((9, 9), bool)
    expected[:, padded] = True
    np.testing.assert_array_equal(head.is_masked, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_replayed_in_float32_and_judged_by_its_own_bound(dtype):
    model = tiny_models.build("bert", dtype=dtype)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    assert trace.dtype == dtype
    for head in all_heads(trace):
        assert head.q.dtype == np.float32
        assert head.tolerance == 2e-2
        assert head.is_exact
        assert head.max_error > 1e-6


# Threads, and what is left untouched


def test_eight_threads_get_what_one_thread_gets(minilm):
    texts = [f"text number {i} is {'very ' * i}short" for i in range(8)]
    alone = [attnviz.trace(*minilm, text) for text in texts]
    together = threading.Barrier(8)

    def trace(text):
        together.wait()
        return [attnviz.trace(*minilm, text) for _ in range(4)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(trace, texts))
    for expected, traces in zip(alone, answers, strict=True):
        for got in traces:
            assert got.tokens == expected.tokens
            assert got.calls.keys() == expected.calls.keys()
            for key, call in expected.calls.items():
                for name in ("q", "k", "v", "own_weights", "own_updated", "x_query"):
                    np.testing.assert_allclose(
                        getattr(got.calls[key], name), getattr(call, name), atol=1e-5
                    )


def test_two_models_traced_at_once_do_not_mix():
    models = [tiny_models.build("bert", seed=seed) for seed in (1, 2)] * 4
    inputs = tiny_inputs(models[0])
    alone = [attnviz.trace_inputs(model, inputs) for model in models]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda model: attnviz.trace_inputs(model, inputs), models * 4))
    for got, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_allclose(got.head(2, 3).weights, expected.head(2, 3).weights, atol=1e-6)


def test_a_trace_changes_nothing_on_the_model(minilm):
    model, tokenizer = minilm
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = tokenizer("nothing changes", return_tensors="pt")
    with torch.no_grad():
        first = model(**inputs).last_hidden_state
    attnviz.trace(model, tokenizer, "nothing changes")
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).last_hidden_state, first, rtol=0, atol=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model.config._attn_implementation == "eager"
    assert not model.training


def test_a_failed_pass_leaves_no_recorder_behind():
    model = tiny_models.build("bert")
    too_short = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(attnviz.UnsupportedModelError, match="stopped with .*size of tensor"):
        attnviz.trace_inputs(model, tiny_inputs(model) | {"token_type_ids": too_short})
    assert len(attnviz.trace_inputs(model, tiny_inputs(model)).layers()) == 3


# What cannot be traced


def test_a_model_that_is_not_eager_is_refused_with_the_line_that_mends_it():
    model = tiny_models.build("bert", attention="sdpa")
    with pytest.raises(attnviz.UnsupportedModelError, match="'sdpa'") as refused:
        attnviz.trace_inputs(model, tiny_inputs(model))
    exec(str(refused.value).split("Hint: ")[1], {"model": model})
    assert attnviz.trace_inputs(model, tiny_inputs(model)).head(0, 0).is_exact


def test_a_model_in_training_mode_is_refused_with_the_line_that_mends_it():
    model = tiny_models.build("bert").train()
    with pytest.raises(attnviz.UnsupportedModelError, match="training mode") as refused:
        attnviz.trace_inputs(model, tiny_inputs(model))
    exec(str(refused.value).split("Hint: ")[1], {"model": model})
    assert attnviz.trace_inputs(model, tiny_inputs(model)).head(0, 0).is_exact


def test_a_model_without_attention_says_so():
    config = AutoConfig.for_model(
        "mamba", vocab_size=tiny_models.VOCABULARY, hidden_size=32, num_hidden_layers=2
    )
    model = AutoModel.from_config(config).eval()
    with pytest.raises(attnviz.NoAttentionError, match="'mamba'.*no softmax attention"):
        attnviz.trace_inputs(model, tiny_inputs(model))


def test_one_module_in_training_mode_is_enough_to_refuse():
    model = tiny_models.build("bert")
    model.encoder.layer[0].attention.self.train()
    with pytest.raises(attnviz.UnsupportedModelError, match="training mode"):
        attnviz.trace_inputs(model, tiny_inputs(model))


def test_a_result_does_not_change_with_the_model():
    model = tiny_models.build("gpt_oss")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    with torch.no_grad():
        model.layers[0].self_attn.sinks.fill_(9)
    assert trace.head(0, 0).is_exact


def test_an_encoder_on_its_own_is_self_attention():
    model = tiny_models.build("bart").get_encoder()
    assert attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids()}).kinds == ("self",)


def test_states_of_no_known_text_are_called_by_number():
    model = tiny_models.build("bert", is_decoder=True, add_cross_attention=True)
    states = torch.randn(1, 9, 32)
    inputs = tiny_inputs(model) | {"encoder_hidden_states": states}
    names = list("abcdefghi")
    trace = attnviz.trace_inputs(model, inputs, tokens=names)
    assert trace.kinds == ("self", "cross")
    cross = trace.head(0, 0, "cross")
    assert cross.query_tokens == tuple(names)
    assert cross.key_tokens == tuple(map(str, range(9)))
    np.testing.assert_array_equal(cross.x_key, states[0].numpy())
    assert cross.is_exact


@pytest.mark.parametrize("model_type", ["rwkv", "reformer", "fnet"])
def test_types_without_softmax_attention_are_told_from_those_not_observed_yet(model_type):
    changes = {"rwkv": {"attention_hidden_size": 32}, "reformer": {"axial_pos_shape": (8, 8)}}
    sizes = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2}
    if model_type == "reformer":
        sizes = {
            "vocab_size": 120,
            "hidden_size": 32,
            "attention_head_size": 8,
            "num_attention_heads": 4,
            "axial_pos_embds_dim": (16, 16),
            "attn_layers": ["local", "local"],
            "local_attn_chunk_length": 16,
        }
    config = AutoConfig.for_model(model_type, **sizes, **changes.get(model_type, {}))
    model = AutoModel.from_config(config).eval()
    with pytest.raises(attnviz.NoAttentionError, match="has no softmax attention"):
        attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids(16)})


def test_something_else_than_a_model_is_refused():
    with pytest.raises(attnviz.UnsupportedModelError, match="received Linear"):
        attnviz.trace_inputs(torch.nn.Linear(2, 2), {})


@pytest.mark.parametrize("does", ["generates", "trains"])
def test_a_trace_beside_a_thread_that_uses_the_model_is_right(does):
    config = tiny_models.build("gpt2").config
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
    ids, is_over = tiny_models.random_ids(9), threading.Event()

    def use():
        while not is_over.is_set():
            if does == "generates":
                model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
            else:
                model(ids).logits.sum().backward()

    user = threading.Thread(target=use)
    user.start()
    try:
        for _ in range(40):
            trace = attnviz.trace_inputs(model, {"input_ids": ids})
            assert trace.layers() == (0, 1, 2)
            for layer in trace.layers():
                assert trace.head(layer, 0).query_tokens == tuple(map(str, range(9)))
                assert trace.head(layer, 0).is_exact
    finally:
        is_over.set()
        user.join()
