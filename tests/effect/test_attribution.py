"""Every part's share of a logit, compared with the model's own logit and with own hooks."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import attnviz
from attnviz import effect
from attnviz.text.errors import InputError
from tests.support.saying import generating, saying, tokenizer

TEXT, TARGET = "time flies like an arrow", "an arrow flies"
TOKEN, OTHER = 2000, 3000

# Norms of both kinds and with gains γ and 1 + γ, before and behind attention, parallel blocks, a
# residual inside the attention module, an attention inside another, scales of the stream and of
# logits, a projection behind the final norm, soft-caps, biases, gates, mixtures of experts, and
# layers of other kinds.
SUMS = {
    **{
        name: {}
        for name in (
            *("bloom", "cohere", "falcon", "falcon_h1", "gemma", "gemma2", "gemma3_text", "gpt2"),
            *("gpt_neox", "gptj", "granite", "llama", "mistral", "mixtral", "mpt", "nemotron"),
            *("olmo2", "opt", "pegasus", "phi", "qwen2", "qwen3", "qwen3_next", "stablelm", "t5"),
            *("bitnet", "deepseek_v32", "gpt_oss", "nanochat"),
        )
    },
    "opt, projected": dict(word_embed_proj_dim=16),
    "falcon, ALiBi": dict(alibi=True),
    "gpt2, untied": dict(tie_word_embeddings=False),
}


@pytest.fixture(scope="module")
def reader():
    return tokenizer()


def given(model, reader):
    """What the model reads of what the tokenizer returns."""
    named = inspect.signature(model.forward).parameters
    return {name: one for name, one in reader(TEXT, return_tensors="pt").items() if name in named}


def own_logit(model, reader, token):
    """The logit of the last token, or of the first of a target, before a soft-cap."""
    inputs, position = given(model, reader), -1
    if model.config.is_encoder_decoder:
        ids = reader(text_target=TARGET, return_tensors="pt")["input_ids"]
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=ids)
        position = 0
    cap = getattr(model.config, "final_logit_softcapping", None)
    model.config.final_logit_softcapping = None
    try:
        with torch.no_grad():
            return float(model(**inputs).logits[0, position, token])
    finally:
        if cap is not None:
            model.config.final_logit_softcapping = cap


@pytest.mark.parametrize("name", SUMS)
def test_all_parts_add_up_to_the_models_own_logit_and_keys_to_their_head(name, reader):
    model = generating(name.partition(",")[0], **SUMS[name])
    more = dict(target=TARGET) if model.config.is_encoder_decoder else {}
    shares = effect.attribution(model, reader, TEXT, TOKEN, **more)
    own = own_logit(model, reader, TOKEN)
    largest = max(abs(own), shares["share"].abs().max())
    assert shares.attrs["logit"] == pytest.approx(own, abs=2e-6 * largest)
    assert shares["share"].sum() == pytest.approx(own, abs=1e-5 * largest)
    assert shares.attrs["is_exact"]
    heads = shares[shares["component"] == "head"]
    if name == "bitnet":  # a norm stands between its heads and W_O
        assert heads.empty
        assert set(shares["component"]) >= {"attention", "mlp"}
        return
    last = heads.iloc[-1]
    place = (int(last["layer"]), int(last["head"]))
    keys = effect.key_shares(model, reader, TEXT, *place, TOKEN, kind=last["kind"], **more)
    assert keys["share"].sum() == pytest.approx(last["share"], abs=1e-6 * largest)
    assert keys["weight"].to_list() == pytest.approx(list(_row(model, reader, last, keys, more)))


def _row(model, reader, head, keys, more):
    trace = attnviz.trace(model, reader, TEXT, **more)
    one = trace.head(int(head["layer"]), int(head["head"]), head["kind"])
    return one.weights[keys.attrs["query"]]


# By hand, where the modules are called by their names.

LAYERS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}
ATTENDS = {"gpt2": "attn.c_proj", "gpt_neox": "attention.dense"}
NORMS = {"gpt2": "transformer.ln_f", "gpt_neox": "gpt_neox.final_layer_norm"}
GAIN_OF_ONE_MORE = ("gemma2", "gemma3_text")


def seen(model, reader, names):
    """The last token's row of what each of these modules was given and returned."""
    rows, handles = {}, []
    for name in names:

        def hook(module, args, output, name=name):
            output = output[0] if isinstance(output, tuple) else output
            rows[name] = args[0][0, -1], output.reshape(1, -1, output.shape[-1])[0, -1]

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    with torch.no_grad():
        model(**given(model, reader))
    for handle in handles:
        handle.remove()
    return {name: tuple(one.detach().double() for one in pair) for name, pair in rows.items()}


def through(norm, x, direction, one_more):
    """The direction before a norm whose statistics stay those of x."""
    gain = norm.weight.detach().double() + one_more
    direction = direction * gain
    if getattr(norm, "bias", None) is not None:
        return (direction - direction.mean()) / (x.var(correction=0) + norm.eps).sqrt()
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return direction / (x.pow(2).mean() + eps).sqrt()


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gemma3_text", "olmo2", "gpt_neox"])
def test_heads_and_mlps_have_what_their_own_output_gives_along_d_t(name, reader):
    model = generating(name)
    layers, attends = LAYERS.get(name, "model.layers"), ATTENDS.get(name, "self_attn.o_proj")
    norm, behind = NORMS.get(name, "model.norm"), f"{layers}.1.post_attention_layernorm"
    names = [norm, f"{layers}.1.mlp", f"{layers}.1.{attends}"]
    has_post_norm = name in (*GAIN_OF_ONE_MORE, "olmo2")
    names += [behind, behind.replace("attention", "feedforward")] if has_post_norm else []
    rows, one_more = seen(model, reader, names), name in GAIN_OF_ONE_MORE
    unembedding = model.get_output_embeddings().weight[TOKEN].detach().double()
    direction = through(model.get_submodule(norm), rows[norm][0], unembedding, one_more)
    of_attention = of_mlp = direction
    if has_post_norm:
        of_attention, of_mlp = (
            through(model.get_submodule(at), rows[at][0], direction, one_more) for at in names[3:]
        )
    shares = effect.attribution(model, reader, TEXT, TOKEN).set_index(["component", "layer"])
    mlp = float(rows[names[1]][1] @ of_mlp)
    assert shares["share"]["mlp", 1].item() == pytest.approx(mlp, abs=1e-6)
    updated, _ = rows[names[2]]
    weight = model.get_submodule(names[2]).weight.detach().double()
    weight = weight if name == "gpt2" else weight.T
    n_heads = model.config.num_attention_heads
    for head, share in enumerate(shares.loc[("head", 1), "share"]):
        part = slice(head * len(updated) // n_heads, (head + 1) * len(updated) // n_heads)
        own = float(updated[part] @ weight[part] @ of_attention)
        assert share == pytest.approx(own, abs=1e-6)


def test_a_head_of_the_last_layer_is_missing_from_the_stream_by_what_it_is_said_to_add(reader):
    model = generating("gpt_neox")  # attention and MLP side by side
    shares = effect.attribution(model, reader, TEXT, TOKEN)
    layer = int(shares["layer"].max())
    rows = (shares["component"] == "head") & (shares["layer"] == layer) & (shares["head"] == 1)
    dense = model.gpt_neox.layers[layer].attention.dense
    norm = model.gpt_neox.final_layer_norm
    with_head, _ = seen(model, reader, ["gpt_neox.final_layer_norm"]).popitem()[1]

    def hook(module, args):
        given = args[0].clone()
        given[..., 8:16] = 0
        return (given,)

    handle = dense.register_forward_pre_hook(hook)
    without, _ = seen(model, reader, ["gpt_neox.final_layer_norm"]).popitem()[1]
    handle.remove()
    unembedding = model.get_output_embeddings().weight[TOKEN].detach().double()
    direction = through(norm, with_head, unembedding, 0)
    missing = float((with_head - without) @ direction)
    assert float(shares[rows]["share"].iloc[0]) == pytest.approx(missing, abs=1e-6)


def test_against_another_token_shares_are_those_of_the_difference(reader):
    model = generating("gemma2")
    one, other = (effect.attribution(model, reader, TEXT, token) for token in (TOKEN, OTHER))
    both = effect.attribution(model, reader, TEXT, TOKEN, against=OTHER)
    np.testing.assert_allclose(both["share"], one["share"] - other["share"], atol=1e-6)
    assert both.attrs["logit"] == pytest.approx(one.attrs["logit"] - other.attrs["logit"])
    assert both.attrs["is_exact"]


def test_without_a_token_it_is_the_models_own_first_choice_at_the_position(reader):
    model = generating("llama")
    first = effect.prediction(model, reader, TEXT, position=2)
    shares = effect.attribution(model, reader, TEXT, position=2)
    assert (shares.attrs["id"], shares.attrs["position"]) == (first["id"][0], 2)
    assert shares.attrs["logit"] == pytest.approx(first["logit"][0])


def test_a_class_is_a_sum_too_where_its_head_is_linear(reader):
    model = generating("llama")
    model.config.num_labels, model.config.pad_token_id = 3, 0
    judge = AutoModelForSequenceClassification.from_config(
        model.config, attn_implementation="eager"
    ).eval()
    shares = effect.attribution(judge, reader, TEXT, token=1)
    with torch.no_grad():
        own = judge(**given(judge, reader)).logits[0, 1]
    assert shares.attrs["is_exact"]
    assert shares["share"].sum() == pytest.approx(float(own), abs=1e-5)


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("bert", "gelu in GELUActivation stands between the layers and the logits"),
        ("roberta", "stands between the layers and the logits"),
        ("bert, classes", "LayerNorm norms the whole stream inside a layer"),
        ("bart", "LayerNorm norms the whole stream inside a layer"),
    ],
)
def test_a_logit_that_is_no_sum_is_refused_with_the_reason(family, why, reader):
    text = TEXT if family in ("bart", "bert, classes") else TEXT.replace("like", "[MASK]")
    more = dict(target=TARGET) if family == "bart" else {}
    with pytest.raises(InputError, match=why) as refused:
        effect.attribution(saying(family), reader, text, **more)
    assert "Hint: effect.without" in str(refused.value)


def test_the_keys_of_a_head_without_shares_are_refused(reader):
    with pytest.raises(InputError, match="add nothing to this logit that has parts"):
        effect.key_shares(generating("t5"), reader, TEXT, 0, 0, kind="encoder", target=TARGET)


def test_in_an_inference_mode_and_in_bfloat16_the_sum_holds_too(reader):
    model = generating("llama")
    with torch.inference_mode():
        assert effect.attribution(model, reader, TEXT, TOKEN).attrs["is_exact"]
    assert effect.attribution(model.bfloat16(), reader, TEXT, TOKEN).attrs["is_exact"]


def test_what_a_hook_makes_of_a_layers_output_is_part_of_the_sum(reader):
    model = generating("gpt2")
    plain = effect.attribution(model, reader, TEXT, TOKEN).attrs["logit"]
    hook = model.transformer.h[1].mlp.register_forward_hook(lambda module, args, out: out * 2)
    shares = effect.attribution(model, reader, TEXT, TOKEN)
    hook.remove()
    assert shares.attrs["is_exact"]
    assert abs(shares.attrs["logit"] - plain) > 0.1


def test_each_of_many_threads_has_the_shares_of_its_own_model(reader):
    models = [generating(name) for name in ("gpt2", "llama", "bloom")] * 3

    def shares(model):
        return effect.attribution(model, reader, TEXT, TOKEN)["share"].to_list()

    alone = [shares(model) for model in models]
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(shares, models)) == alone
