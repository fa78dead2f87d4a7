"""What a tensor was computed of, step by step, while a module ran."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attnviz.capture import products
from attnviz.capture.operations import (
    CELLWISE,
    KEEPS_ORDER,
    MATRIX_PRODUCTS,
    MOVES,
    MULTIPLIES,
    SCALES,
    Args,
    Function,
    Kwargs,
    is_in_place,
    name_of,
)
from attnviz.capture.products import Product


@dataclass(eq=False)
class Computed:
    """A tensor that was computed while a module ran: by which function, of what."""

    function: Function
    args: Args
    kwargs: Kwargs
    result: Tensor
    sources: dict[int, "Computed"]  # those of `args` that were computed here, by their place
    weights_of: "Computed | None" = None  # the softmax whose weights these are, cell by cell
    is_of_softmax: bool = False  # whether any softmax had a part in it

    @functools.cached_property
    def name(self) -> str:
        return name_of(self.function)

    @property
    def is_in_place(self) -> bool:
        return is_in_place(self.function)

    @property
    def operands(self) -> tuple[Any, Any]:
        """The two tensors of a matrix product."""
        return products.operands(self.name, self.args, self.kwargs)

    def product(self, left: Any, right: Any) -> Product | None:
        """It as the product of two such operands; None where they are no (batches of) matrices."""
        return products.product_of(self.name, self.args, self.kwargs, left, right, self.result)

    def on(self, place: int, tensor: Tensor) -> Tensor:
        """The same done to another tensor in one place, which itself stays as it is."""
        args = (*self.args[:place], tensor, *self.args[place + 1 :])
        function = getattr(Tensor, self.name) if self.is_in_place else self.function
        done: Tensor = function(*args, **self.kwargs)
        return done

    def factor(self, place: int) -> float:
        """What it multiplies the tensor in this place by; 1 where by no single number."""
        other: Any = self.args[1 - place] if len(self.args) == 2 else self.kwargs.get("other")
        is_product = self.name in MULTIPLIES
        if self.name not in SCALES or not is_number(other) or (place and not is_product):
            return 1.0
        return float(other) if is_product else 1 / float(other)

    @property
    def multiplies_cells(self) -> bool:
        """Whether each cell is multiplied by a number of its own."""
        return self.name in MULTIPLIES and not any(map(is_number, self.args[:2]))


Steps = list[tuple[Computed, int]]  # each with the place of the tensor that it is done to


def path_from_scores(logits: Computed | None) -> tuple[Computed, Steps] | None:
    """The product that gave the scores, and what was done to them up to the softmax.

    Where several products were added up, the leftmost that has every pair of query and key in
    its place: the others (relative positions) are looked up, shifted or gathered, or are a bias.
    """
    if logits is None:
        return None
    whole = logits.result.shape
    for one, steps in _paths(logits):
        product = one.product(*one.operands)
        is_whole = one.result.numel() == whole.numel()
        if is_whole and product is not None and product.out.shape[-2:] == whole[-2:]:
            return one, steps
    return None


def _paths(one: Computed) -> Iterator[tuple[Computed, Steps]]:
    """Every product that a tensor was made of, cell by cell, and each step on the way from it."""
    if one.name in MATRIX_PRODUCTS:
        yield one, []
    elif one.name in CELLWISE:
        for place, source in one.sources.items():
            for found, steps in _paths(source):
                yield found, [*steps, (one, place)]


def unscaled(one: Computed | None, operand: Any) -> tuple[Any, float]:
    """A query or key before the module multiplied it by a number, and that number."""
    steps: list[Computed] = []
    while one is not None and not one.is_in_place and 0 in one.sources:
        if one.name not in KEEPS_ORDER | MOVES and one.factor(0) == 1:
            break
        steps.append(one)
        one = one.sources[0]
    while steps and steps[-1].factor(0) == 1:
        steps.pop()
    if not steps:
        return operand, 1.0
    tensor, factor = steps[-1].sources[0].result, 1.0
    for step in reversed(steps):
        if step.factor(0) == 1:
            tensor = step.on(0, tensor)
        factor *= step.factor(0)
    return tensor, factor


def is_number(value: Any) -> bool:
    """Whether an argument is one number, as a tensor or by itself."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.ndim < 2
    return isinstance(value, int | float)


def tensors_in(values: Args) -> Iterator[Tensor]:
    """Every tensor among arguments, also inside tuples and lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(tuple(value))
