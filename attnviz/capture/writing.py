"""A target text as a model writes it, whatever its checkpoint's own settings say."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

# What a model's own settings say of its tokens. Everything else in them (sampling, beams, how many
# sequences, penalties, words that end a text) is a choice of how to write, and writing is greedy.
_OF_TOKENS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"),
    "bad_words_ids",
)


def greedily(model: Any, tensors: Mapping[str, Tensor], n_new_tokens: int) -> Tensor:
    """The most likely next token, one after the other: ids (1, position), at most so many new."""
    own = model.generation_config
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        **{name: getattr(own, name) for name in _OF_TOKENS if getattr(own, name) is not None},
        max_new_tokens=n_new_tokens,
        do_sample=False,
        num_beams=1,
        num_return_sequences=1,
        return_dict_in_generate=False,
    )
    # What is not set is looked up in the model's own settings: those of a copy, which shares all
    # else with the model.
    writer = copy.copy(model)
    writer.generation_config = settings
    with torch.no_grad():
        ids: Tensor = writer.generate(**tensors, generation_config=settings)
    return ids
