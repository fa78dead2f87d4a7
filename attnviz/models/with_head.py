"""The classes of transformers that say something: tokens of a vocabulary, or classes."""

from collections.abc import Sequence
from typing import Any, Literal

import transformers
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

Said = Literal["next token", "masked token", "target token", "class of text", "class of token"]

_MAPPINGS: dict[Said, tuple[str, ...]] = {
    "target token": ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",),
    "masked token": ("MODEL_FOR_MASKED_LM_MAPPING_NAMES",),
    "next token": (
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    ),
    "class of text": ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",),
    "class of token": ("MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",),
}


def said_by(class_name: str, model_type: str) -> list[Said]:
    """What models of this class say; mostly one thing, and nothing where it has no such head."""
    return [
        said
        for said, mappings in _MAPPINGS.items()
        if any(class_name in _names(mapping, model_type) for mapping in mappings)
    ]


def _names(mapping: str, model_type: str) -> tuple[str, ...]:
    named = getattr(modeling_auto, mapping).get(model_type, ())
    return (named,) if isinstance(named, str) else tuple(named)


def classes(config: Any) -> list[type[PreTrainedModel]]:
    """The class that a configuration names, if it is one that says something."""
    named = speaking(config.architectures, config.model_type)
    return [getattr(transformers, name) for name in named]


def speaking(architectures: Sequence[str] | None, model_type: str) -> list[str]:
    """The name of the class that a model loads as, if it is one that says something."""
    return [name for name in (architectures or ())[:1] if said_by(name, model_type)]
