"""Which stack of layers a module belongs to, where a model has several: text, vision, audio …

Each stack has a configuration of its own in its model's, under a name that says what it is.
"""

from collections.abc import Iterator

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel  # the first by its name before 5, too

from attnviz.capture.modules import modules_of

# Stacks that read or write the tokens of a text. Whether encoder or decoder, other things tell.
_OF_TEXT = {"text", "language", "llm", "text_encoder", "encoder", "decoder", "generator"}


def other_stacks(model: PreTrainedModel) -> dict[nn.Module, str]:
    """The name of its stack for each module that is not of the model's own text: "vision" …"""
    names = {id(config): name for name, config in _configurations(model.config)}
    if not names:
        return {}
    stacks: dict[nn.Module, str] = {}
    for part in modules_of(model):  # those inside of others after them
        name = names.get(id(part.config)) if isinstance(part, PreTrainedModel) else None
        if name is not None and name not in _OF_TEXT:
            stacks |= dict.fromkeys(modules_of(part), name)
    return stacks


def _configurations(config: PretrainedConfig) -> Iterator[tuple[str, PretrainedConfig]]:
    """Every configuration inside of one, by the name of what it is of."""
    for name, part in vars(config).items():
        if isinstance(part, PretrainedConfig):
            yield name.removesuffix("_config"), part
            yield from _configurations(part)


def places_in(model: nn.Module) -> dict[nn.Module, str]:
    """Where each module is, but for numbers: the same for all layers of a stack."""
    return {
        module: ".".join(part for part in name.split(".") if not part.isdigit())
        for name, module in model.named_modules()
    }
