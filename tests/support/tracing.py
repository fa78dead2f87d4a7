"""What tests of traces ask for: every head of one, and inputs of a tiny model."""

import torch

from tests.support import tiny_models


def all_heads(trace):
    return [
        trace.head(layer, head, kind)
        for kind in trace.kinds
        for layer in trace.layers(kind)
        for head in range(trace.n_heads(layer, kind))
    ]


def tiny_inputs(model, n_tokens=9, n_targets=5, seed=0):
    inputs = {"input_ids": tiny_models.random_ids(n_tokens, seed)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tiny_models.random_ids(n_targets, seed + 1)
    return inputs
