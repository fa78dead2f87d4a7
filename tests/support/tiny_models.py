"""Tiny random models of many families, with weights that make attention sharp.

Under the default initialisation all weights of a row are nearly equal, and a shifted mask or
two swapped heads would go unnoticed.
"""

import re

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import Embedding
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D

from attnviz.models import bundled, compat

N_LAYERS, N_HEADS, D_HEAD = 3, 4, 8
VOCABULARY = 120

_ENCODER = dict(
    vocab_size=VOCABULARY,
    hidden_size=N_HEADS * D_HEAD,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=N_HEADS,
    intermediate_size=48,
    max_position_embeddings=64,
)
_DECODER = _ENCODER | dict(num_key_value_heads=2, head_dim=D_HEAD, pad_token_id=0)
_SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)

CONFIGS = {
    "bert": _ENCODER,
    "distilbert": dict(vocab_size=VOCABULARY, dim=32, n_layers=3, n_heads=4, hidden_dim=48),
    "roberta": _ENCODER | _SPECIAL,
    "albert": _ENCODER | dict(embedding_size=16),
    "modernbert": _ENCODER | _SPECIAL | dict(cls_token_id=1, sep_token_id=2, local_attention=4),
    "gpt2": dict(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "llama": _DECODER,
    "mistral": _DECODER | dict(sliding_window=4),
    "qwen3": _DECODER,
    "gemma2": _DECODER
    | dict(query_pre_attn_scalar=8, sliding_window=4, attn_logit_softcapping=1.5),
    "gpt_oss": _DECODER | dict(num_local_experts=2, num_experts_per_tok=1, sliding_window=4),
    "deepseek_v3": _ENCODER
    | dict(
        num_key_value_heads=4,
        moe_intermediate_size=16,
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=6,
        pad_token_id=0,
    ),
    "t5": _SPECIAL
    | dict(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=D_HEAD,
        num_layers=3,
        num_decoder_layers=2,
        num_heads=4,
        d_ff=48,
        decoder_start_token_id=0,
    ),
    "bart": _SPECIAL
    | dict(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    ),
}

# Softmax attention in some layers only, or heads that are joined in a way of their own.
UNUSUAL = {
    "qwen3_next": _DECODER
    | dict(
        layer_types=["linear_attention", "full_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "bitnet": _DECODER,
    "diffllama": _DECODER,
}


def build(model_type, *, seed=0, dtype="float32", attention="eager", **changes):
    """A tiny random model of this type, in evaluation mode."""
    config = AutoConfig.for_model(model_type, **((CONFIGS | UNUSUAL).get(model_type, {}) | changes))
    auto_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
    torch.manual_seed(seed)
    precision = compat.precision(config, getattr(torch, dtype))
    model = auto_class.from_config(config, attn_implementation=attention, **precision)
    return sharpen(model, seed)


# The last part of the name of a layer that makes queries or keys, perhaps with values.
_QUERY_OR_KEY = re.compile(
    "q|k|query|key|([qk]|query|key|q_b|c|x|W?qkv|in)_(proj|lin|attn)|W?qkv|query_key_value|linear_[qk]"
)
# Tables that give all tokens of a plain text the same row, and the tokens themselves.
_SAME_FOR_ALL = re.compile("token_type|segment|xpath|box|[xyhw]_position")


def save_tiny(folder, model_type="bert", tokenizer=None, **changes):
    """A tiny model and a tokenizer in a folder, as save_pretrained writes them."""
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
        changes.setdefault("vocab_size", len(tokenizer))
    build(model_type, **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def sharpen(model, seed=0):
    """Draw the weights so that every row of attention prefers some keys clearly.

    Embeddings are about 1, what a linear layer gives is about as large as what it is given, and
    queries and keys are half as large again. Biases and sinks are not zero, nor norms exactly 1.
    """
    generator = torch.Generator().manual_seed(seed)
    turned = {  # its weight is (d_in, d_out)
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)
    }
    tables = {
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Embedding)
    }
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        layer, _, kind = name.rpartition(".")
        if parameter.ndim < 2:
            if kind == "sinks":
                parameter.copy_(drawn)
            elif kind == "temp":  # of queries and keys, 0 at first in zaya
                parameter.copy_(2 + drawn * 0.1)
            elif kind in ("weight", "bias"):
                parameter.add_(drawn * 0.1)
            continue
        if name in tables or "embed" in kind:
            spread = 0.1 if _SAME_FOR_ALL.search(name) else 1.0
        else:
            spread = parameter.shape[0 if name in turned else -1] ** -0.5
        if _QUERY_OR_KEY.fullmatch((layer if kind == "weight" else name).rpartition(".")[2]):
            spread *= 1.5
        parameter.copy_(drawn * spread)
    return model.eval()


def random_ids(n_tokens=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (1, n_tokens), generator=generator)


def padded_inputs(model):
    """What a model of any family takes: its first two tokens are padding."""
    inputs = {"input_ids": random_ids()}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["attention_mask"][:, :2] = 0
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = random_ids(5, seed=1)
    return inputs


def byte_level_tokenizer(text):
    """A tokenizer of the kind that GPT-2 introduced, which keeps every byte, trained on a text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<end>"],
        show_progress=False,
    )
    backend.train_from_iterator([text] * 9, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", bos_token="<end>", unk_token="<end>"
    )


def corrupt(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
