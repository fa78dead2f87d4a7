"""What a caller gives a model reaches it, in whatever it is held, or is refused by its name."""

import collections

import numpy as np
import pytest
import torch
from transformers import (
    BatchEncoding,
    DynamicCache,
    EncoderDecoderCache,
    StaticCache,
)

import attnviz
from attnviz.capture.given import copied
from tests.support import tiny_models
from tests.support.tracing import all_heads

IDS = tiny_models.random_ids(9)
MASK = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]])


@pytest.fixture(scope="module")
def llama():
    return tiny_models.build("llama")


def own(model, kind="attentions", **inputs):
    """The model's own weights of its first layer and head."""
    with torch.no_grad():
        return model(**inputs, output_attentions=True)[kind][0][0, 0].numpy()


HELD = {
    "lists": lambda ids, mask: {"input_ids": ids.tolist(), "attention_mask": mask.tolist()},
    "one row": lambda ids, mask: {"input_ids": ids[0].tolist(), "attention_mask": mask[0].tolist()},
    "arrays": lambda ids, mask: {"input_ids": ids.numpy(), "attention_mask": mask.numpy() > 0},
    "other bytes": lambda ids, mask: {
        "input_ids": ids.numpy().astype(">i4"),
        "attention_mask": mask.numpy().astype("u4"),
    },
    "a BatchEncoding of lists": lambda ids, mask: BatchEncoding(
        {"input_ids": ids[0].tolist(), "attention_mask": mask[0].tolist()}
    ),
    "other numbers": lambda ids, mask: {"input_ids": ids.float(), "attention_mask": mask.double()},
    "small numbers": lambda ids, mask: {"input_ids": ids.int(), "attention_mask": mask.byte()},
    "a UserDict": lambda ids, mask: collections.UserDict(input_ids=ids, attention_mask=mask),
    "tuples of tensors": lambda ids, mask: {
        "input_ids": tuple(ids[0]),
        "attention_mask": list(mask),
    },
    "with None": lambda ids, mask: dict(input_ids=ids, attention_mask=mask, position_ids=None),
    "a mask of every pair": lambda ids, mask: {
        "input_ids": ids.tolist(),
        "attention_mask": np.where(np.tri(9) * mask[0].numpy(), 0, -3e38)[None, None],
    },
}


@pytest.mark.parametrize("held", HELD)
def test_ids_and_masks_are_tensors_whatever_holds_them(llama, held):
    expected = own(llama, input_ids=IDS, attention_mask=MASK)
    trace = attnviz.trace_inputs(llama, HELD[held](IDS, MASK))
    head = trace.head(0, 0)
    np.testing.assert_allclose(head.weights[2:], expected[2:], atol=1e-6)
    assert head.is_masked[:, :2].all()
    assert head.is_exact


@pytest.mark.parametrize(
    "hold",
    [
        lambda ids: ids,
        lambda ids: ids[0],
        lambda ids: ids.tolist(),
        lambda ids: ids[0].tolist(),
        lambda ids: ids.numpy(),
        lambda ids: {"input_ids": list(ids[0])},
    ],
)
def test_ids_may_come_alone(llama, hold):
    head = attnviz.trace_inputs(llama, hold(IDS)).head(0, 0)
    np.testing.assert_allclose(head.weights, own(llama, input_ids=IDS), atol=1e-6)


@pytest.mark.parametrize("hold", [lambda x: x, lambda x: x[0].detach().double().numpy()])
@pytest.mark.parametrize("is_named", [True, False])
def test_embeddings_stand_for_ids(llama, hold, is_named):
    given = hold(llama.get_input_embeddings()(IDS))
    inputs = {"inputs_embeds": given} if is_named else given
    trace = attnviz.trace_inputs(llama, inputs, tokens=list("abcdefghi"))
    np.testing.assert_allclose(trace.head(0, 0).weights, own(llama, input_ids=IDS), atol=1e-6)
    assert trace.head(0, 0).key_tokens == tuple("abcdefghi")


def test_segments_that_a_tokenizer_returns_for_any_model_are_passed_over(llama):
    inputs = {"input_ids": IDS, "token_type_ids": torch.zeros_like(IDS), "attention_mask": MASK}
    weights = attnviz.trace_inputs(llama, inputs).head(0, 0).weights
    expected = own(llama, input_ids=IDS, attention_mask=MASK)
    np.testing.assert_allclose(weights[2:], expected[2:], atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("time flies", "received the text 'time flies'.*attnviz.trace"),
        (object(), "names with tensors.*received object"),
        ({"input_ids": IDS, "special_tokens_mask": MASK}, "takes no special_tokens_mask"),
        ({"input_ids": IDS + 0.5}, "numbers that are not token ids.*float32"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids is not a table of numbers; received list"),
        ({"attention_mask": MASK}, "reads input_ids or inputs_embeds.*hold attention_mask"),
        ({"input_ids": IDS, "attention_mask": MASK.repeat(3, 1)}, "attention_mask is a batch of 3"),
        ({"input_ids": IDS, "past_key_values": 5}, "past_key_values is a cache.*received int"),
        ({}, "reads input_ids or inputs_embeds; the inputs hold nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(llama, inputs, said):
    with pytest.raises(attnviz.InputError, match=f"(?s){said}") as refused:
        attnviz.trace_inputs(llama, inputs)
    assert "\n\nHint: " in str(refused.value)


def test_what_the_caller_holds_is_nobody_elses(llama):
    """Neither does a pass change it, nor does a change of it reach the trace."""
    embeddings = llama.get_input_embeddings()(IDS).detach()
    mask = torch.zeros(1, 1, 9, 9).masked_fill(~torch.ones(9, 9).tril().bool(), -1e9)
    given = {"inputs_embeds": embeddings, "attention_mask": mask}
    before = {name: tensor.clone() for name, tensor in given.items()}
    trace = attnviz.trace_inputs(llama, given)
    shown = [(head.weights.copy(), head.mask.copy()) for head in all_heads(trace)]
    for name, tensor in given.items():
        assert torch.equal(tensor, before[name])
        tensor.fill_(-7)
    again = attnviz.trace_inputs(llama, before)
    for head, other, (weights, own_mask) in zip(
        all_heads(trace), all_heads(again), shown, strict=True
    ):
        np.testing.assert_array_equal(head.weights, weights)
        np.testing.assert_array_equal(head.own_weights, other.own_weights)
        np.testing.assert_array_equal(head.mask, own_mask)


# Caches

CACHES = {
    "dynamic": lambda config: DynamicCache(),
    "by the configuration": lambda config: DynamicCache(config=config),
    "static": lambda config: StaticCache(config=config, max_cache_len=16),
}


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mistral", "gemma2", "gpt_oss"])
def test_earlier_keys_are_shown_and_named_and_the_cache_stays(model_type, cache):
    model = tiny_models.build(model_type)
    # With gradients, as whoever forgets no_grad has it: such tensors cannot be deep-copied.
    earlier = CACHES[cache](model.config)
    earlier = model(input_ids=IDS[:, :5], past_key_values=earlier, use_cache=True).past_key_values
    before = [(layer.keys.clone(), layer.values.clone()) for layer in earlier.layers]
    with torch.no_grad():
        given = dict(input_ids=IDS[:, 5:], past_key_values=copied(earlier), use_cache=True)
        expected = model(**given, output_attentions=True).attentions
    trace = attnviz.trace_inputs(model, {"input_ids": IDS[:, 5:], "past_key_values": earlier})
    for layer, weights in enumerate(expected):
        head = trace.head(layer, 1)
        assert head.weights.shape == tuple(weights.shape[-2:])
        np.testing.assert_allclose(head.weights, weights[0, 1].numpy(), atol=1e-6)
        assert head.is_exact
        assert head.query_tokens == tuple("5678")
        n_keys = len(head.key_tokens)
        first = max(0, 9 - n_keys)  # of a window
        assert head.key_tokens == tuple(str(place) for place in range(first, first + n_keys))
        unused = trace.layer(layer).key_tokens.is_padding
        assert [*unused] == [place >= 9 for place in range(first, first + n_keys)]
        assert not head.weights[:, np.array(unused)].any()
        assert all(trace.layer(layer).key_tokens.in_words().labels)
        assert head.x_key is None  # it is not there any more
        assert head.x_query is not None
        assert [step.name for step in head.steps if step.name.startswith("x_")] == ["x_query"]
    for layer, (keys, values) in zip(earlier.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_earlier_keys_as_tuples_and_arrays_and_with_a_mask_of_all(llama):
    with torch.no_grad():
        earlier = llama(input_ids=IDS[:, :5], use_cache=True).past_key_values
    mask = torch.ones(1, 9, dtype=torch.long)
    mask[0, 0] = 0
    inputs = {"input_ids": IDS[:, 5:], "attention_mask": mask}
    expected = own(llama, **inputs, past_key_values=copied(earlier))
    tuples = tuple((layer.keys, layer.values) for layer in earlier.layers)
    arrays = [[part.numpy() for part in one] for one in tuples]
    for held in (earlier, tuples, arrays):
        trace = attnviz.trace_inputs(llama, inputs | {"past_key_values": held})
        np.testing.assert_allclose(trace.head(0, 0).weights, expected, atol=1e-6)
        assert trace.layer(0).key_tokens.is_padding == (True,) + (False,) * 8


def test_names_are_those_of_the_text_or_of_all(llama):
    with torch.no_grad():
        earlier = llama(input_ids=IDS[:, :2], use_cache=True).past_key_values
    inputs = {"input_ids": IDS[:, 2:4], "past_key_values": earlier}
    named = attnviz.trace_inputs(llama, inputs, tokens=["c", "d"])
    assert named.head(0, 0).key_tokens == ("cache 0", "cache 1", "c", "d")
    whole = attnviz.trace_inputs(llama, inputs, tokens=list("abcd"))
    assert whole.head(0, 0).key_tokens == tuple("abcd")
    assert whole.tokens == ("c", "d")
    with pytest.raises(attnviz.InputError, match="3 names for 2 positions"):
        attnviz.trace_inputs(llama, inputs, tokens=list("abc"))
    with pytest.raises(attnviz.InputError, match="66 tokens, and .* 64 positions"):
        attnviz.trace_inputs(llama, inputs | {"input_ids": tiny_models.random_ids(64)})


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_a_decoder_goes_on_from_its_cache_and_names_no_keys_that_it_did_not_see(model_type):
    model = tiny_models.build(model_type)
    source, target = tiny_models.random_ids(7), tiny_models.random_ids(6, seed=1)
    with torch.no_grad():
        begun = model(input_ids=source, decoder_input_ids=target[:, :4], use_cache=True)
    earlier = begun.past_key_values
    assert isinstance(earlier, EncoderDecoderCache)
    another = tiny_models.random_ids(7, seed=5)  # the decoder reads the cache instead
    inputs = {"input_ids": another, "decoder_input_ids": target[:, 4:]}
    trace = attnviz.trace_inputs(
        model, inputs | {"past_key_values": earlier}, tokens=list("abcdefg"), target_tokens="yz"
    )
    for kind, field in (("decoder", "decoder_attentions"), ("cross", "cross_attentions")):
        expected = own(model, field, **inputs, past_key_values=copied(earlier))
        np.testing.assert_allclose(trace.head(0, 0, kind).weights, expected, atol=1e-6)
        assert trace.head(0, 0, kind).x_key is None
    assert trace.head(0, 0, "decoder").key_tokens[-3:] == ("cache 3", "y", "z")
    assert trace.head(0, 0, "cross").key_tokens == tuple("0123456")


# An encoder's states


@pytest.mark.parametrize("model_type", ["t5", "bart"])
@pytest.mark.parametrize(
    "hold",
    [
        lambda states: states,
        lambda states: (states[0],),
        lambda states: [states[0].numpy()],
        lambda states: states[0],
        lambda states: states[0][0].numpy(),
        lambda states: {"last_hidden_state": states[0]},
    ],
)
def test_an_encoders_states_are_what_the_decoder_reads(model_type, hold):
    model = tiny_models.build(model_type)
    source, target = tiny_models.random_ids(7), tiny_models.random_ids(4, seed=1)
    with torch.no_grad():
        states = model.get_encoder()(tiny_models.random_ids(7, seed=5), return_dict=True)
    inputs = {"input_ids": source, "decoder_input_ids": target}
    expected = own(model, "cross_attentions", **inputs, encoder_outputs=states)
    for given in (inputs, {"decoder_input_ids": target}):
        trace = attnviz.trace_inputs(model, given | {"encoder_outputs": hold(states)})
        assert trace.kinds == ("decoder", "cross")
        np.testing.assert_allclose(trace.head(0, 0, "cross").weights, expected, atol=1e-6)
        assert trace.head(0, 0, "cross").key_tokens == tuple("0123456")


def test_embeddings_stand_for_ids_in_an_encoder_and_a_decoder():
    model = tiny_models.build("t5")
    source, target = tiny_models.random_ids(7), tiny_models.random_ids(4, seed=1)
    by_ids = attnviz.trace_inputs(model, {"input_ids": source, "decoder_input_ids": target})
    embedded = model.get_input_embeddings()
    given = {"inputs_embeds": embedded(source), "decoder_inputs_embeds": embedded(target)}
    for head, other in zip(
        all_heads(attnviz.trace_inputs(model, given)), all_heads(by_ids), strict=True
    ):
        np.testing.assert_allclose(head.weights, other.weights, atol=1e-6)
