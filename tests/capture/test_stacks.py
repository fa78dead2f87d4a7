"""A model of several stacks: each is a kind of its own, and words name no other's positions."""

import numpy as np
import pytest
import torch

import attnviz
from tests.support import several_stacks, tiny_models
from tests.support.several_stacks import OTHERS
from tests.support.tracing import all_heads, tiny_inputs


def own_softmaxes(model, inputs):
    """Every softmax over keys in a plain forward pass, in order."""
    found = []

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if function.__name__ == "softmax" and result.ndim == 4:
                found.append(result[0].numpy())
            return result

    with torch.no_grad(), Watching():
        model(**inputs)
    return found


def names_of(n):
    return [f"word{place}" for place in range(n)]


@pytest.mark.parametrize("model_type", OTHERS)
def test_each_stack_is_a_kind_and_words_name_the_text_alone(model_type):
    model, inputs = several_stacks.build(model_type), several_stacks.inputs_of(model_type)
    n = inputs["input_ids"].shape[1]
    trace = attnviz.trace_inputs(model, inputs, tokens=names_of(n))
    numbers = tuple(map(str, range(20)))
    assert trace.kinds[0] == "self"
    assert set(trace.kinds) == {"self", *OTHERS[model_type]}
    for kind, (n_layers, n_positions) in OTHERS[model_type].items():
        assert len(trace.layers(kind)) == n_layers
        for layer in trace.layers(kind):
            head = trace.head(layer, 0, kind)
            if kind != "cross":
                assert head.query_tokens == numbers[:n_positions]
            assert head.key_tokens == numbers[: len(head.key_tokens)]
    for layer in trace.layers():
        assert trace.head(layer, 0).query_tokens == tuple(names_of(n))
    assert all(head.is_exact for head in all_heads(trace))
    # All that the model computes, each under one kind and layer.
    own = own_softmaxes(model, inputs)
    shown = [call.own_weights for call in trace.calls.values()]
    assert len(own) == len(shown)
    for weights in shown:
        assert any(weights.shape == one.shape and np.abs(weights - one).max() < 1e-5 for one in own)


@pytest.mark.parametrize("model_type", ["llava", "idefics3", "gemma3"])
def test_the_texts_layers_are_the_ones_that_the_model_returns(model_type):
    model, inputs = several_stacks.build(model_type), several_stacks.inputs_of(model_type)
    with torch.no_grad():
        own = model(**inputs, output_attentions=True).attentions
    trace = attnviz.trace_inputs(model, inputs)
    assert trace.layers() == tuple(range(len(own)))
    for layer, weights in enumerate(own):
        np.testing.assert_allclose(trace.layer(layer).own_weights, weights[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("model_type", ["whisper", "vision-encoder-decoder", "encoder-decoder"])
def test_an_encoder_of_anything_is_an_encoder(model_type):
    model, inputs = several_stacks.build(model_type), several_stacks.inputs_of(model_type)
    trace = attnviz.trace_inputs(model, inputs, target_tokens=list("abcde"))
    assert trace.kinds == ("encoder", "decoder", "cross")
    cross = trace.head(0, 0, "cross")
    assert cross.query_tokens == trace.target_tokens == tuple("abcde")
    assert cross.key_tokens == trace.tokens == trace.head(0, 0).query_tokens
    assert trace.tokens == tuple(map(str, range(len(trace.tokens))))
    assert all(head.is_exact for head in all_heads(trace))


def test_a_model_that_reads_no_text_is_traced_on_what_it_reads():
    model = several_stacks.build("vit")
    trace = attnviz.trace_inputs(model, several_stacks.inputs_of("vit"))
    assert trace.kinds == ("self",)
    assert trace.tokens == tuple("01234")
    with pytest.raises(attnviz.InputError, match="names the positions of a text"):
        attnviz.trace_inputs(model, several_stacks.inputs_of("vit"), tokens=["a"])


def test_a_part_with_another_configuration_than_its_model_is_refused_with_the_line_that_mends_it():
    built = several_stacks.build("encoder-decoder")
    sdpa = type(built.encoder)(built.encoder.config.__class__(**several_stacks._ENCODER)).eval()
    model = type(built)(encoder=sdpa, decoder=built.decoder).eval()
    model.set_attn_implementation("eager")  # of configurations that the encoder does not read
    inputs = several_stacks.inputs_of("encoder-decoder")
    with pytest.raises(attnviz.UnsupportedModelError, match="no longer its model's") as refused:
        attnviz.trace_inputs(model, inputs)
    exec(str(refused.value).split("Hint: ")[1], {"model": model})
    assert attnviz.trace_inputs(model, inputs).kinds == ("encoder", "decoder", "cross")


# Other models, and the same one, that run inside of a pass


def judging(model, inputs, place):
    """The trace of a model with a hook that runs another of the same kind, and itself."""
    judge = tiny_models.build("bert", seed=9)
    seen = []

    def hook(*given):
        seen.append(place)
        judge(**inputs)
        if len(seen) == 1:
            model(**inputs)  # a corrupted run, to patch from
            model.encoder.layer[0](model.embeddings(inputs["input_ids"]))

    module = model.get_submodule(place)
    handles = [module.register_forward_hook(hook), module.register_forward_pre_hook(hook)]
    trace = attnviz.trace_inputs(model, inputs)
    for handle in handles:
        handle.remove()
    assert seen
    return trace


@pytest.mark.parametrize(
    "place",
    [
        "embeddings",
        "encoder.layer.1",
        "encoder.layer.1.attention",
        "encoder.layer.1.attention.self",
        "encoder.layer.1.attention.self.query",
        "encoder.layer.1.attention.output.dense",
        "",
    ],
)
def test_what_a_hook_runs_is_no_part_of_the_trace(place):
    model = tiny_models.build("bert")
    inputs = tiny_inputs(model)
    plain, trace = attnviz.trace_inputs(model, inputs), judging(model, inputs, place)
    assert trace.calls.keys() == plain.calls.keys()
    for at, call in plain.calls.items():
        np.testing.assert_array_equal(trace.calls[at].own_weights, call.own_weights)
        np.testing.assert_array_equal(trace.calls[at].x_query, call.x_query)
        assert trace.calls[at].origins == call.origins
        assert trace.calls[at].output_error < 1e-5


def test_a_model_that_another_models_code_runs_is_no_part_of_the_trace():
    model, judge = tiny_models.build("llama"), tiny_models.build("llama", seed=9)
    inputs = tiny_inputs(model)
    plain = attnviz.trace_inputs(model, inputs)
    norm, own = model.layers[1].input_layernorm, model.layers[1].input_layernorm.forward
    norm.forward = lambda states: (judge(**inputs), own(states))[1]
    trace = attnviz.trace_inputs(model, inputs)
    assert trace.layers() == plain.layers()
    for head in all_heads(trace):
        expected = plain.head(head.layer, head.head)
        np.testing.assert_array_equal(head.weights, expected.weights)


def patched(place, hook, before=False):
    model = tiny_models.build("bert")
    register = "register_forward_pre_hook" if before else "register_forward_hook"
    handle = getattr(model.get_submodule(place), register)(hook)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    handle.remove()
    return trace.head(1, 2)


def test_a_patched_query_is_not_said_to_be_a_projection():
    head = patched("encoder.layer.1.attention.self.query", lambda module, args, output: 2 * output)
    assert "q" not in head.origins
    assert {"k", "v"} <= set(head.origins)
    assert head.is_exact
    in_place = patched(
        "encoder.layer.1.attention.self.query",
        lambda module, args, output: (output.mul_(2), None)[1],
    )
    assert "q" not in in_place.origins
    np.testing.assert_array_equal(in_place.weights, head.weights)


def test_x_is_what_the_module_was_given_after_the_hooks_before_it():
    plain = patched("encoder.layer.1.attention.self", lambda *given: None)
    head = patched(
        "encoder.layer.1.attention.self", lambda module, args: (args[0] + 1, *args[1:]), before=True
    )
    np.testing.assert_allclose(head.x_query, plain.x_query + 1, atol=1e-6)
    assert set(head.origins) == {"q", "k", "v"}


def test_a_patched_output_takes_the_shares_away():
    place = "encoder.layer.1.attention.output.dense"
    head = patched(place, lambda module, args, output: output + 1)
    assert head.output is None
    assert "a hook after the projection" in head.no_output_because
    update = patched("encoder.layer.1.attention.self", lambda m, args, out: (out[0] + 1, *out[1:]))
    assert update.output is None
