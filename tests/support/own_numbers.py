"""What a model computes in a plain forward pass, seen without attnviz.

Its attentions as it returns them, every softmax that it computes, what its modules return, and
its output.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel


@dataclass
class Softmax:
    """One softmax: what it gave, and the class of the module that computed it."""

    weights: Tensor
    module: str


@dataclass
class OwnNumbers:
    attentions: dict[str, list[Any]]  # by attnviz's names of the kinds
    softmaxes: list[Softmax]
    returned: list[Tensor]  # by every module, in the order in which they end
    output: list[Tensor]


_FIELDS = {
    "encoder_attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
    "attentions": "self",
}


def own_numbers(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> OwnNumbers:
    """The numbers of one plain forward pass."""
    torch.manual_seed(0)  # some models draw numbers
    with torch.no_grad(), _watched_modules() as modules, _Spy(modules) as spy:
        outputs = model(**inputs, **_options(model))
    attentions = {
        kind: list(outputs[name])
        for name, kind in _FIELDS.items()
        if isinstance(outputs, Mapping) and outputs.get(name)
    }
    if model.config.is_encoder_decoder and "self" in attentions:
        attentions.setdefault("decoder", attentions.pop("self"))
    return OwnNumbers(attentions, spy.softmaxes, modules.returned, output_in(outputs))


def _options(model: PreTrainedModel) -> dict[str, bool]:
    parameters = inspect.signature(type(model).forward).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    options = {"output_attentions": True, "return_dict": True}
    options = {name: value for name, value in options.items() if name in parameters or takes_any}
    return options | ({"use_cache": False} if "use_cache" in parameters else {})


def output_in(outputs: Any) -> list[Tensor]:
    """Every tensor that a model returned but its attentions, which are asked for on demand."""
    if isinstance(outputs, Mapping):
        asked_for = {*_FIELDS, "decoder_ngram_attentions"}
        outputs = {name: value for name, value in outputs.items() if name not in asked_for}
    return tensors_in(outputs)


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in an output, in order."""
    if isinstance(value, Tensor):
        return [value.detach().as_subclass(Tensor).clone()]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in tensors_in(part)]
    return []


@dataclass
class _Modules:
    running: list[nn.Module] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)


@contextmanager
def _watched_modules() -> Iterator[_Modules]:
    modules = _Modules()

    def begin(module: nn.Module, args: tuple) -> None:
        modules.running.append(module)

    def end(module: nn.Module, args: tuple, output: Any) -> None:
        modules.running.pop()
        first = output[0] if isinstance(output, list | tuple) and output else output
        if isinstance(first, Tensor):
            modules.returned.append(first.detach().clone())

    hooks = [register_module_forward_pre_hook(begin), register_module_forward_hook(end)]
    try:
        yield modules
    finally:
        for hook in hooks:
            hook.remove()


class _Spy(TorchFunctionMode):
    def __init__(self, modules: _Modules) -> None:
        super().__init__()
        self.modules = modules
        self.softmaxes: list[Softmax] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("softmax", "special_softmax", "_softmax") and result.ndim >= 3:
            self._note(result)
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            self._note(torch.empty(0, 0, 0, 0))  # its weights are nowhere to be seen
        return result

    def _note(self, weights: Tensor) -> None:
        running = self.modules.running
        module = type(running[-1]).__name__ if running else "no module"
        self.softmaxes.append(Softmax(weights.detach().clone(), module))
