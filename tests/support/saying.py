"""Tiny random models that say something, and their output projections by name."""

import functools

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto import modeling_auto

from attnviz.models import bundled
from tests.support import architectures
from tests.support.tiny_models import CONFIGS, UNUSUAL, sharpen

# Of each family: the class that says something, and how its modules call W_O in each layer.
FAMILIES = {
    "gpt2": ("causal", "transformer.h.{}.attn.c_proj"),
    "llama": ("causal", "model.layers.{}.self_attn.o_proj"),
    "mistral": ("causal", "model.layers.{}.self_attn.o_proj"),
    "qwen3": ("causal", "model.layers.{}.self_attn.o_proj"),
    "gemma2": ("causal", "model.layers.{}.self_attn.o_proj"),
    "gpt_oss": ("causal", "model.layers.{}.self_attn.o_proj"),
    "gpt_neox": ("causal", "gpt_neox.layers.{}.attention.dense"),
    "gptj": ("causal", "transformer.h.{}.attn.out_proj"),
    "bert": ("masked", "bert.encoder.layer.{}.attention.output.dense"),
    "roberta": ("masked", "roberta.encoder.layer.{}.attention.output.dense"),
    "modernbert": ("masked", "model.layers.{}.attn.Wo"),
    "t5": ("target", "decoder.block.{}.layer.1.EncDecAttention.o"),
    "bart": ("target", "model.decoder.layers.{}.encoder_attn.out_proj"),
    "bert, classes": ("class", "bert.encoder.layer.{}.attention.output.dense"),
}
_MAPPINGS = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    "target": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    "class": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
}
_MORE = {
    "gpt_neox": CONFIGS["bert"],
    "gptj": dict(n_embd=32, n_layer=3, n_head=4, n_positions=64, rotary_dim=4),
    "bert, classes": CONFIGS["bert"] | dict(num_labels=3),
}


@functools.cache
def tokenizer():
    return AutoTokenizer.from_pretrained(bundled.folder())


@functools.cache
def saying(family):
    """A tiny random model of a family, with what says tokens or classes."""
    model_type = family.partition(",")[0]
    made = (CONFIGS | UNUSUAL | _MORE)[family] | dict(vocab_size=30522)
    config = AutoConfig.for_model(model_type, **made)
    model_class = _MAPPINGS[FAMILIES[family][0]][type(config)]
    torch.manual_seed(0)
    return sharpen(model_class._from_config(config, attn_implementation="eager").eval())


def generating(model_type, **changes):
    """A tiny random model of any type that writes text, or targets."""
    config = architectures.config_of(model_type, vocab_size=30522, **changes)
    kind = "target" if config.is_encoder_decoder else "causal"
    torch.manual_seed(0)
    model = _MAPPINGS[kind][type(config)]._from_config(config, attn_implementation="eager")
    return sharpen(model.eval())


def both_of(tokens=("Mary", "the", "John"), position=None):
    """What a model may say with a head and without it: a table without a model."""
    before = np.linspace(0.5, 0.1, len(tokens))
    table = pd.DataFrame(
        {"token": tokens, "id": range(len(tokens)), "before": before, "after": before[::-1]}
    )
    table.attrs = {
        **{"token": tokens[0], "token_id": 0, "what": "next token", "position": position},
        **{"change": -1.6, "kl": 0.4, "probability_before": 0.5, "probability_after": 0.1},
    }
    return table


def sweep_of(n_layers=3, n_heads=4, kinds=("self",)):
    """What a sweep may have found: a table without a model."""
    rows = [(k, layer, head) for k in kinds for layer in range(n_layers) for head in range(n_heads)]
    table = pd.DataFrame(rows, columns=["kind", "layer", "head"])
    table["change"] = np.random.default_rng(0).normal(size=len(table))
    table["kl"] = table["change"].abs() / 2
    table.attrs = {"token": "Mary", "id": 0, "n_heads": len(table), "is_whole": True}
    return table


def output_projection(model, family, layer):
    """The module whose input holds all heads' updates side by side."""
    return model.get_submodule(FAMILIES[family][1].format(layer))
