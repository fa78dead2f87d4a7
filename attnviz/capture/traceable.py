"""What can be traced, and where something cannot, why not."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel  # the first by its name before 5, too

from attnviz.attention.tolerance import TOLERANCE
from attnviz.capture.compat import attention_implementation
from attnviz.capture.inputs import model_name
from attnviz.capture.modules import modules_of
from attnviz.capture.unwrapping import unwrapped
from attnviz.text.errors import NoAttentionError, UnsupportedModelError


def checked(given: Any) -> tuple[PreTrainedModel, list[nn.Module]]:
    """The model, out of whatever holds it, and its modules.

    Raises UnsupportedModelError for one that cannot be traced, with the line that fixes it.
    """
    model, way = unwrapped(given)
    modules = modules_of(model)
    if any(module.training for module in modules):
        raise UnsupportedModelError(
            f"{model_name(model)} is in training mode, where dropout changes the weights at random."
            f"\n\nHint: {way}.eval()"
        )
    for part in modules:
        if isinstance(part, PreTrainedModel) and (how := attention_implementation(part)) != "eager":
            raise UnsupportedModelError(
                f"{model_name(model)} computes attention with {how!r}, which does not give its "
                f"weights away.\n\nHint: {way}.set_attn_implementation('eager')"
            )
    _check_configurations(model, modules, way)
    if (dtype := dtype_name(model)) not in TOLERANCE:
        raise UnsupportedModelError(
            f"{model_name(model)} computes in {dtype}, which attnviz cannot recompute."
            "\n\nHint: load it in float32: attnviz.load(name)"
        )
    return model, modules


def _check_configurations(model: PreTrainedModel, modules: list[nn.Module], way: str) -> None:
    """Refuse parts that were built with another configuration than their model has now."""
    known = {id(part.config) for part in modules if isinstance(part, PreTrainedModel)}
    for part in modules:
        config = vars(part).get("config")
        if not isinstance(config, PretrainedConfig) or id(config) in known:
            continue
        known.add(id(config))
        if (how := attention_implementation(part)) not in ("eager", "None"):
            raise UnsupportedModelError(
                f"{type(part).__name__} in {model_name(model)} was built with a configuration that "
                f"is no longer its model's; by that one it computes attention with {how!r}, which "
                f"does not give its weights away.\n\nHint: for part in {way}.modules(): "
                "hasattr(part, 'config') and setattr(part.config, '_attn_implementation', 'eager')"
            )


# Model types whose layers mix tokens by something else than a softmax over keys.
_WITHOUT_SOFTMAX_ATTENTION = {
    *("falcon_mamba", "fnet", "mamba", "mamba2", "mra", "reformer", "rwkv", "xlstm", "yoso"),
}


def nothing_read(model: PreTrainedModel, unread: list[nn.Module]) -> UnsupportedModelError:
    """Why a pass showed no attention that can be read."""
    kind = model.config.model_type
    hint = "\n\nHint: choose a model such as bert, gpt2, llama or t5."
    if kind in _WITHOUT_SOFTMAX_ATTENTION:
        return NoAttentionError(
            f"{model_name(model)} (model type {kind!r}) has no softmax attention: there are no "
            f"queries, keys and weights to show.{hint}"
        )
    if unread:
        return UnsupportedModelError(
            f"The attention of {model_name(model)} (model type {kind!r}) has no matrix of weights "
            f"to show: that of {named(unread)[0]} is sparse, or written in a way that could not "
            f"be read.{hint}"
        )
    return UnsupportedModelError(
        f"No softmax attention was seen in {model_name(model)} (model type {kind!r}): it has none, "
        f"or computes it in fused code.{hint}"
    )


def named(unread: Iterable[nn.Module]) -> tuple[str, ...]:
    """The attention modules that could not be read, by their classes."""
    times = Counter(type(module).__name__ for module in unread)
    return tuple(f"{name} ({n} layer{'s' * (n > 1)})" for name, n in times.items())


def dtype_name(model: PreTrainedModel) -> str:
    """What a model computes in, as TOLERANCE has it."""
    return str(model.dtype).removeprefix("torch.")
