"""The model of transformers in whatever somebody holds it in, or the line that takes it out."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.capture.compat import ORIGINAL, needs_its_wrapper, submodules
from attnviz.text.errors import UnsupportedModelError

_HINT = "\n\nHint: model, tokenizer = attnviz.load(name)"
_COPIED = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(given: Any, way: str = "model") -> tuple[PreTrainedModel, str]:
    """The model, and how its holder reaches it: "model", "model.module" …

    What compiles a model, copies it to devices, adapts its layers or only holds it computes the
    same with it. Raises UnsupportedModelError, with what to pass instead, for what may not.
    """
    if isinstance(given, PreTrainedModel):
        return given, way
    if ORIGINAL in getattr(given, "_modules", {}):  # torch.compile
        return unwrapped(submodules(given)[ORIGINAL], f"{way}.{ORIGINAL}")
    if isinstance(given, _COPIED):
        return unwrapped(given.module, f"{way}.module")
    if _is_a(given, "peft", "PeftModel", "PeftMixedModel"):
        return _adapted(given, way)
    if _is_a(given, "transformers", "Pipeline", "Trainer"):
        return unwrapped(given.model, f"{way}.model")
    raise UnsupportedModelError(_refusal(given, way))


def _is_a(given: Any, package: str, *names: str) -> bool:
    """Whether it is one of these classes of a package, which is not imported to find out."""
    return any(
        base.__name__ in names and base.__module__.partition(".")[0] == package
        for base in type(given).__mro__
    )


def _adapted(given: Any, way: str) -> tuple[PreTrainedModel, str]:
    """A model whose layers PEFT changed, which compute the same without what is around them."""
    config = given.active_peft_config if hasattr(given, "active_peft_config") else None
    name = type(given).__name__
    if config is not None and config.is_prompt_learning:
        kind = config.peft_type.value.lower().replace("_", " ")
        inner = given.get_base_model()
        raise UnsupportedModelError(
            f"{name} puts what it learned ({kind}) before every text, outside of "
            f"{type(inner).__name__}.\n\nHint: {_with_prompt(config, way)}"
        )
    if config is not None and needs_its_wrapper(config):
        raise UnsupportedModelError(
            f"{name} chooses its adapters anew for every text ({config.peft_type.value}), which "
            f"the model inside does not do alone.\n\nHint: attnviz.trace({way}.get_base_model(), "
            "…) shows that model, in which no adapter is chosen."
        )
    if hasattr(given, "get_base_model"):
        return unwrapped(given.get_base_model(), f"{way}.get_base_model()")
    return unwrapped(given.base_model.model, f"{way}.base_model.model")


def _with_prompt(config: Any, way: str) -> str:
    """The line that gives a learned prompt to the model inside."""
    if config.peft_type.value == "PREFIX_TUNING":
        return (
            f"attnviz.trace_inputs({way}.get_base_model(), {{'input_ids': ids, "
            f"'past_key_values': {way}.get_prompt(batch_size=1)}})"
        )
    return (
        f"attnviz.trace_inputs({way}.get_base_model(), {{'inputs_embeds': torch.cat(["
        f"{way}.get_prompt(batch_size=1), {way}.get_input_embeddings()(ids)], dim=1)}})"
    )


def _refusal(given: Any, way: str) -> str:
    """What was received instead of a model, and what to pass."""
    name = type(given).__name__
    if isinstance(given, str):
        return (
            f"attnviz reads a model, not its name; received {given[:80]!r}."
            f"\n\nHint: model, tokenizer = attnviz.load({given[:80]!r})"
        )
    if isinstance(given, type):
        return (
            f"attnviz reads a model; received the class {given.__name__}."
            f"\n\nHint: {way} = {given.__name__}.from_pretrained(name, attn_implementation='eager')"
        )
    if isinstance(given, PreTrainedTokenizerBase):
        return (
            f"attnviz reads a model first and then its tokenizer; received {name} as the model."
            "\n\nHint: attnviz.trace(model, tokenizer, text)"
        )
    if isinstance(given, tuple) and any(isinstance(part, PreTrainedModel) for part in given):
        return f"attnviz reads a model; received a tuple with one in it.{_HINT}"
    if isinstance(given, nn.Module):
        ways = list(_ways_to_models(given, way))
        if len(ways) == 1:
            return (
                f"{name} is not a model of the transformers library, but holds one, and may change "
                f"what that is given.\n\nHint: give the one inside: attnviz.trace({ways[0]}, …)"
            )
        if ways:
            return (
                f"{name} is not a model of the transformers library, but holds {len(ways)}."
                f"\n\nHint: give one of {', '.join(ways[:8])}."
            )
    return f"attnviz reads models of the transformers library; received {name}.{_HINT}"


def _ways_to_models(module: nn.Module, way: str) -> Iterator[str]:
    """The ways from a module to each outermost model of transformers in it."""
    for name, part in submodules(module).items():
        if part is None:
            continue
        if isinstance(module, nn.ModuleDict):
            step = f"[{name!r}]"
        elif name.isdigit():
            step = f"[{name}]"
        else:
            step = f".{name}"
        if not isinstance(part, PreTrainedModel):
            yield from _ways_to_models(part, way + step)
        elif getattr(module, "auto_model", None) is part:  # as sentence-transformers calls it
            yield f"{way}.auto_model"
        else:
            yield way + step
