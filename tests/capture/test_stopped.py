"""What keeps a model from running is said in a sentence that is true, and what mends it."""

import re

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

import attnviz
from attnviz.capture import arrays
from tests.support import several_stacks, tiny_models
from tests.support.tracing import all_heads, tiny_inputs


def changed(change):
    model = tiny_models.build("bert")
    change(model)
    return model


def failing(message, kind=RuntimeError):
    """A model whose last layer raises this."""

    def forward(*args, **kwargs):
        raise kind(message)

    return changed(lambda model: setattr(model.encoder.layer[2], "forward", forward))


CAUSES = {
    "no weights at all": (
        lambda: changed(lambda model: model.to("meta")),
        r"has no weights in 57 of its 57 tensors, among them embeddings\.",
    ),
    "no weights in a part": (
        lambda: changed(lambda model: model.encoder.layer[1].to("meta")),
        "has no weights in 16 of its 57 tensors, among them encoder.layer.1.attention.self.query",
    ),
    "two precisions": (
        lambda: changed(lambda model: model.encoder.layer[1].half()),
        "has weights in float32 and float16.*float != .*Half|has weights in float32 and float16",
    ),
    "no such operation": (
        lambda: failing("\"mm\" not implemented for 'Float'"),
        "cannot compute in float32 on cpu: .mm. not implemented",
    ),
    "something nobody foresaw": (
        lambda: failing("the moon is full", KeyError),
        "stopped with KeyError: 'the moon is full'",
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_has_its_sentence(cause):
    build, said = CAUSES[cause]
    with pytest.raises(attnviz.UnsupportedModelError, match=said) as refused:
        attnviz.trace_inputs(build(), {"input_ids": tiny_models.random_ids()})
    assert "\n\nHint: " in str(refused.value)
    assert "does not run on what it was given" not in str(refused.value)


def test_the_line_for_two_precisions_mends_it():
    model = CAUSES["two precisions"][0]()
    inputs = tiny_inputs(model)
    with pytest.raises(attnviz.UnsupportedModelError) as refused:
        attnviz.trace_inputs(model, inputs)
    exec(str(refused.value).split("Hint: ")[1], {"model": model, "torch": torch})
    assert attnviz.trace_inputs(model, inputs).head(1, 0).is_exact


@pytest.mark.parametrize(
    "error", [MemoryError("none"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_machine_without_memory_is_told_from_a_model_that_fails(error):
    model = failing("")

    def forward(*args, **kwargs):
        raise error

    model.encoder.layer[2].forward = forward
    with pytest.raises(attnviz.InputError, match="more memory than this machine has left"):
        attnviz.trace_inputs(model, tiny_inputs(model))


def test_what_goes_wrong_in_reading_a_pass_is_not_put_on_the_model(monkeypatch):
    model = tiny_models.build("bert")
    monkeypatch.setattr(arrays, "by_position", None)
    with pytest.raises(attnviz.UnsupportedModelError, match="ran, but attnviz could not read it"):
        attnviz.trace_inputs(model, tiny_inputs(model))


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("clip", "needs pixel_values, which it was not given"),
        ("lxmert", "needs visual_feats, which it was not given"),
    ],
)
def test_a_model_that_reads_more_than_a_text_says_what(model_type, said):
    model = several_stacks.build(model_type)
    with pytest.raises(attnviz.UnsupportedModelError, match=said):
        attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids(5)})


@pytest.mark.parametrize(
    ("model_type", "reads"), [("whisper", "input_features"), ("vit", "pixel_values")]
)
def test_a_model_that_reads_no_text_says_what_it_reads(minilm, model_type, reads):
    model = several_stacks.build(model_type)
    with pytest.raises(attnviz.UnsupportedModelError, match=f"reads {reads}, not a text"):
        attnviz.trace(model, minilm[1], "time flies")


# What is a way of computing, and no mistake


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2", "t5", "bloom", "gpt_oss"])
def test_under_autocast_the_numbers_are_the_models_own_in_the_precision_that_it_computes_in(family):
    sizes = dict(vocab_size=120, hidden_size=32, n_layer=2, n_head=4) if family == "bloom" else {}
    model = tiny_models.build(family, **sizes)
    inputs = tiny_inputs(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = attnviz.trace_inputs(model, inputs)
        with torch.no_grad():
            outputs = model(**inputs, output_attentions=True, use_cache=False)
    field = "encoder_attentions" if family == "t5" else "attentions"
    assert trace.dtype == "bfloat16"
    for head in all_heads(trace):
        assert head.is_exact
        assert trace.layer(head.layer, head.kind).output_error <= head.tolerance
        if head.kind in ("self", "encoder"):
            own = outputs[field][head.layer][0, head.head].float().numpy()
            np.testing.assert_array_equal(head.own_weights, own)


def test_a_model_that_was_built_or_is_traced_in_inference_mode():
    with torch.inference_mode():
        built = tiny_models.build("llama")
        inside = attnviz.trace_inputs(built, tiny_inputs(built))
    plain = tiny_models.build("llama")
    expected = attnviz.trace_inputs(plain, tiny_inputs(plain))
    for trace in (inside, attnviz.trace_inputs(built, tiny_inputs(plain))):
        for head in all_heads(trace):
            same = expected.head(head.layer, head.head)
            np.testing.assert_array_equal(head.weights, same.weights)
            np.testing.assert_array_equal(head.output, same.output)
            assert head.origins == same.origins != {}


# No tokenizer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda tokenizer: None, "needs the model's tokenizer; received None"),
        (lambda tokenizer: "bert", "not its name; received 'bert'"),
        (lambda tokenizer: tokenizer.backend_tokenizer, "received Tokenizer of tokenizers"),
        (lambda tokenizer: type("P", (), {"tokenizer": tokenizer})(), "P, which holds one"),
        (lambda tokenizer: len, "received builtin_function_or_method"),
    ],
)
def test_what_is_no_tokenizer_is_named(minilm, given, said):
    model, tokenizer = minilm
    with pytest.raises(attnviz.InputError, match=said) as refused:
        attnviz.trace(model, given(tokenizer), "time flies")
    hint = str(refused.value).split("Hint: ")[1]
    if "Tokenizer of tokenizers" in said:
        names = {
            "tokenizer": tokenizer.backend_tokenizer,
            "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
        }
        exec(hint, names)
        assert re.search("arrow", " ".join(names["tokenizer"].tokenize("an arrow")))
