"""Which classes of modules attend, by the names that their code uses."""

import dis
import functools
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from attnviz.capture.compat import is_eager


@functools.cache
def attends(module_class: Any) -> bool:
    """Whether its code computes attention, by hand or by an eager attention function."""
    return calls_eager(module_class) or writes_softmax(module_class)


@functools.cache
def calls_eager(module_class: Any) -> bool:
    """Whether it can call an eager attention function (gpt2 does, unless it upcasts)."""
    return any(map(is_eager, _names_of(module_class)))


@functools.cache
def writes_softmax(module_class: Any) -> bool:
    """Whether it holds a softmax and matrix products."""
    names = _names_of(module_class)
    multiplies = any(word in name for name in names for word in ("matmul", "bmm", "einsum"))
    return multiplies and any("softmax" in name.lower() for name in names)


def _names_of(module_class: type) -> set[str]:
    """Every name that the methods of a class use, below those of all modules and models."""
    return {
        name
        for base in module_class.__mro__
        if issubclass(base, nn.Module) and base not in (nn.Module, PreTrainedModel)
        for method in vars(base).values()
        for name in _names_in(getattr(inspect.unwrap(method), "__code__", None))
    }


def _names_in(code: CodeType | None) -> Iterator[str]:
    """Every name that a function's code uses, and "matmul" for the operator @."""
    if code is None:
        return
    yield from code.co_names
    if any(step.argrepr in ("@", "@=") for step in dis.get_instructions(code)):
        yield "matmul"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
