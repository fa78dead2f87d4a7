"""How a model joined its heads: what it did to their updates up to the output projection."""

import functools
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnviz.capture.operations import (
    COPIES,
    MOVES,
    MULTIPLIES,
    RESHAPES,
    Args,
    Function,
    Kwargs,
    name_of,
)


class Operation(NamedTuple):
    """One step on the way to the projection; None stands in `args` at the followed tensor's place.

    It is not held: it knows its steps, and neither would be let go before garbage is collected.
    """

    function: Function
    args: Args
    kwargs: Kwargs
    place: int

    def on(self, tensor: Tensor) -> Tensor:
        """The same done to another tensor."""
        args = (*self.args[: self.place], tensor, *self.args[self.place + 1 :])
        done: Tensor = self.function(*args, **self.kwargs)
        return done

    def without_tensor(self) -> tuple[Any, ...]:
        """What can be compared: the same for the same move of another tensor."""
        kwargs = ((name, _hashable(value)) for name, value in self.kwargs.items())
        return self.function, tuple(map(_hashable, self.args)), tuple(kwargs), self.place


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass
class Joining:
    """What a model did to the updates of all heads, (1, query_pos, head, d_value)."""

    operations: tuple[Operation, ...] = ()  # up to the projection
    weight: Tensor | None = None  # (head · d_value, d_model); on "meta" where it is stored
    view: Callable[[Tensor], Tensor] | None = None  # what makes it of the model's parameter
    read: Callable[[], Tensor | None] | None = None  # it again; None once it was changed
    bias: Tensor | None = None
    output: Tensor | None = None  # (…, d_model)
    is_normed_after: bool = False  # the module adds the residual and a norm itself, as albert's
    obstacle: str | None = None  # the first thing that keeps the heads from having own shares

    def hinder(self, obstacle: str) -> None:
        """Name what keeps the heads from having shares of their own; the first stays."""
        self.obstacle = self.obstacle or obstacle

    def weight_rows(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """The row of the weight that each value of each head meets, (head, d_value).

        None where the projection is not given each token's heads side by side.
        """
        if self.weight is None or len(self.weight) != n_heads * d_value:
            return None
        if not self._steps(MOVES):
            return _rows_in_order(n_heads, d_value)
        recipe = tuple(step.without_tensor() for step in self._steps(RESHAPES | MOVES | COPIES))
        return _rows_after(recipe, n_queries, n_heads, d_value)

    def gate(self, n_queries: int, n_heads: int, d_value: int) -> Tensor | None:
        """What each token's joined updates are multiplied by, (query_pos, row of the weight)."""
        if not self._steps(MULTIPLIES):
            return None
        device = None if self.output is None else self.output.device
        joined = torch.ones(1, n_queries, n_heads, d_value, device=device)
        for step in self._steps(RESHAPES | MOVES | COPIES | MULTIPLIES):
            joined = step.on(joined)
        return joined.reshape(n_queries, -1)

    def _steps(self, names: Set[str]) -> list[Operation]:
        return [step for step in self.operations if name_of(step.function) in names]


@functools.lru_cache(maxsize=64)
def _rows_in_order(n_heads: int, d_value: int) -> Tensor:
    return torch.arange(n_heads * d_value).reshape(n_heads, d_value)


@functools.lru_cache(maxsize=64)  # of every layer the same, and costly in a long text
def _rows_after(
    recipe: tuple[Any, ...], n_queries: int, n_heads: int, d_value: int
) -> Tensor | None:
    """Which row each value of each head stands in, after such moves; None where in none."""
    n_rows = n_heads * d_value
    numbers = torch.arange(n_queries * n_rows).reshape(1, n_queries, n_heads, d_value)
    for function, args, kwargs, place in recipe:
        numbers = Operation(function, args, dict(kwargs), place).on(numbers)
    if numbers.numel() != n_queries * n_rows:
        return None
    # In the row of token n must stand the numbers n · n_rows to (n + 1) · n_rows − 1.
    rows = numbers.reshape(n_queries, n_rows) - n_rows * torch.arange(n_queries)[:, None]
    if bool((rows != rows[0]).any() or (rows[0].sort()[0] != torch.arange(n_rows)).any()):
        return None
    return rows[0].argsort().reshape(n_heads, d_value)
