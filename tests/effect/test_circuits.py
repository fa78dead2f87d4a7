"""What a head looks for and writes, compared with the product of the model's own weights."""

import pytest
import torch

from attnviz import effect
from attnviz.text.errors import InputError
from tests.support.saying import generating, saying, tokenizer

LAYER, HEAD, TOKEN, D_HEAD = 1, 3, 2000, 8


@pytest.fixture(scope="module")
def reader():
    return tokenizer()


def parts(model, name):
    """x · W + b of this head's q, k and v, its W_O, and the norms' gains, by the modules' names."""
    own = slice(HEAD * D_HEAD, (HEAD + 1) * D_HEAD)
    if name == "gpt2":
        block = model.transformer.h[LAYER]
        joined = block.attn.c_attn
        weights = [joined.weight[:, i * 32 :][:, own] for i in range(3)]
        biases = [joined.bias[i * 32 :][own] for i in range(3)]
        return weights, biases, block.attn.c_proj.weight[own], block.ln_1, model.transformer.ln_f
    block = model.model.layers[LAYER]
    shared = slice(HEAD // 2 * D_HEAD, (HEAD // 2 + 1) * D_HEAD)  # 4 heads read 2 keys and values
    rows = (own, shared, shared)
    modules = (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
    pairs = list(zip(modules, rows, strict=True))
    weights = [module.weight[part].T for module, part in pairs]
    biases = [0 if module.bias is None else module.bias[part] for module, part in pairs]
    w_o = block.self_attn.o_proj.weight[:, own].T
    return weights, biases, w_o, block.input_layernorm, model.model.norm


def folded(table, norm, name):
    """All embeddings, centred and times the gain, and what the norm adds."""
    gain = norm.weight.double() + (name == "gemma2")
    table = table - table.mean(1, keepdim=True) if name == "gpt2" else table
    return table * gain, norm.bias.double() if name == "gpt2" else torch.zeros(32).double()


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("side", ["query", "key"])
@torch.no_grad()
def test_a_head_reads_by_the_product_of_its_queries_and_keys_of_all_embeddings(name, side, reader):
    model = generating(name)
    (w_q, w_k, _), (b_q, b_k, _), _, norm, _ = parts(model, name)
    x, shift = folded(model.get_input_embeddings().weight.double(), norm, name)
    q, k = (x @ w.double() + shift @ w.double() + b for w, b in ((w_q, b_q), (w_k, b_k)))
    scores = q[TOKEN] @ k.T if side == "query" else q @ k[TOKEN]
    found = effect.reads(model, reader, LAYER, HEAD, TOKEN, top=7, side=side)
    best = scores.topk(7)
    assert found["id"].to_list() == best.indices.tolist()
    assert found["score"].to_list() == pytest.approx(best.values.tolist(), rel=1e-5)
    assert found.attrs["left_out"] == ["positions (rotary distance 0)"]


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
@torch.no_grad()
def test_a_head_writes_by_the_product_of_v_w_o_and_the_vocabulary(name, reader):
    model = generating(name)
    (*_, w_v), _, w_o, norm, last = parts(model, name)
    x, _ = folded(model.get_input_embeddings().weight.double(), norm, name)
    row = x[TOKEN] @ w_v.double() @ w_o.double()
    if name == "gemma2":  # which norms what attention gives, and has gains of 1 + γ
        row = row * (1 + model.model.layers[LAYER].post_attention_layernorm.weight)
    row = row - row.mean() if name == "gpt2" else row
    scores = (
        row * (last.weight + (name == "gemma2"))
    ) @ model.get_output_embeddings().weight.T.double()
    for down in (False, True):
        best = scores.topk(7, largest=not down)
        found = effect.writes(model, reader, LAYER, HEAD, TOKEN, top=7, down=down)
        assert found["id"].to_list() == best.indices.tolist()
        assert found["score"].to_list() == pytest.approx(best.values.tolist(), rel=1e-5)


def test_a_norm_of_queries_and_keys_is_said_to_be_left_out(reader):
    found = effect.reads(generating("qwen3"), reader, LAYER, HEAD, TOKEN)
    assert found.attrs["left_out"] == ["positions (rotary distance 0)", "the norm of q and k"]


def test_a_word_is_a_token_and_its_label_is_said(reader):
    found = effect.reads(generating("llama"), reader, LAYER, HEAD, "banana", top=3)
    assert (found.attrs["token"], len(found)) == ("banana", 3)


def test_what_a_head_writes_is_refused_where_something_else_stands_before_the_vocabulary(reader):
    with pytest.raises(InputError, match="gelu in GELUActivation stands between"):
        effect.writes(saying("bert"), reader, LAYER, HEAD, TOKEN)
    assert len(effect.reads(saying("bert"), reader, LAYER, HEAD, TOKEN)) == 10


def test_what_has_no_meaning_in_the_vocabulary_is_refused(reader):
    with pytest.raises(InputError, match="made of another text's states"):
        effect.reads(generating("t5"), reader, LAYER, HEAD, TOKEN, kind="cross")
    with pytest.raises(InputError, match="have 16 dimensions, and what its attention reads has 32"):
        effect.reads(generating("opt", word_embed_proj_dim=16), reader, LAYER, HEAD, TOKEN)
    with pytest.raises(InputError, match="have no W_O of their own"):
        effect.writes(generating("bitnet"), reader, LAYER, HEAD, TOKEN)
    with pytest.raises(InputError, match="is not one token"):
        effect.reads(generating("llama"), reader, LAYER, HEAD, "time flies like an arrow")
