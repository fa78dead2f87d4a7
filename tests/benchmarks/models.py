"""The models that are measured, and the same weights in other implementations."""

import copy
from pathlib import Path
from typing import Any

from transformers import AutoModel, AutoTokenizer, BertConfig, PreTrainedModel

import attnviz
from attnviz.models import bundled

# As large as BERT-base; random, with the bundled tokenizer's vocabulary.
BASE = dict(num_hidden_layers=12, num_attention_heads=12, hidden_size=768, intermediate_size=3072)

NAMES = MINILM, BERT_BASE = "MiniLM", "BERT-base, random"


def named(name: str) -> tuple[PreTrainedModel, Any]:
    """One of NAMES, MINILM as it is bundled or BERT_BASE, and its tokenizer."""
    return attnviz.load() if name == MINILM else bert(**BASE)


def bert(**shape: int) -> tuple[PreTrainedModel, Any]:
    """A random BERT of this shape, eager and in evaluation mode, and the bundled tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
    config = BertConfig(vocab_size=len(tokenizer), **shape)
    return AutoModel.from_config(config, attn_implementation="eager").eval(), tokenizer


def save(folder: Path, **shape: int) -> Path:
    """The folder, with such a model in it."""
    for part in bert(**shape):
        part.save_pretrained(folder)
    return folder


def with_sdpa(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that computes its attention in one fused operation."""
    other = copy.deepcopy(model)
    other.set_attn_implementation("sdpa")
    return other


def of_bertviz(model: PreTrainedModel) -> Any:
    """BertViz's own BERT, which is given the same weights."""
    from bertviz.transformers_neuron_view import BertConfig, BertModel

    other = BertModel(BertConfig.from_dict(model.config.to_dict()))
    other.load_state_dict(model.state_dict())
    return other
