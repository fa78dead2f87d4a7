"""A matrix product of torch, however it was asked for, in one shape."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnviz.capture.joining import Operation
from attnviz.capture.operations import Args, Kwargs


@dataclass(frozen=True, eq=False)
class Product:
    """out[…, i, j] = Σ_c left[…, i, c] · right[…, c, j], in views of what was multiplied."""

    left: Tensor  # (…, i, c)
    right: Tensor  # (…, c, j)
    out: Tensor  # (…, i, j)
    from_out: tuple[Operation, ...]  # what turns `out` into the tensor that torch gave
    factor: float = 1.0  # on the product (baddbmm's alpha)
    added: Tensor | float = 0.0  # to it (baddbmm's input, times its beta)


def operands(name: str, args: Args, kwargs: Kwargs) -> tuple[Any, Any]:
    """The two tensors that are multiplied, as they were given; None where there are not two."""
    if name == "einsum":
        given = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
        return tuple(given) if len(given) == 2 else (None, None)
    if name == "baddbmm":
        args = args[1:]
        names = ("batch1", "batch2")
    else:
        names = ("input", "other" if name == "matmul" else "mat2")
    left = args[0] if args else kwargs.get(names[0])
    right = args[1] if len(args) > 1 else kwargs.get(names[1])
    return left, right


def product_of(
    name: str, args: Args, kwargs: Kwargs, left: Any, right: Any, result: Tensor
) -> Product | None:
    """The product of two operands; None where they are not matrices or batches of matrices."""
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    if name == "einsum":
        return _einsum(args[0], left, right, result)
    if left.ndim < 2 or right.ndim < 2:
        return None
    if name == "baddbmm":
        given, beta = args[0] if args else kwargs["input"], kwargs.get("beta", 1)
        added = given * beta if beta else 0.0  # what is not added may hold anything
        return Product(left, right, result, (), kwargs.get("alpha", 1), added)
    return Product(left, right, result, ())


def _einsum(equation: Any, left: Tensor, right: Tensor, result: Tensor) -> Product | None:
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return None
    given, out = equation.replace(" ", "").split("->")
    a, b = given.split(",")
    batch = [letter for letter in out if letter in a and letter in b]
    rows = [letter for letter in a if letter not in b]
    columns = [letter for letter in b if letter not in a]
    summed = [letter for letter in a if letter in b and letter not in out]
    if not (len(rows) == len(columns) == len(summed) == 1) or {*rows, *columns} - set(out):
        return None
    order = [out.index(letter) for letter in (*batch, *rows, *columns)]
    back = [order.index(place) for place in range(len(order))]
    return Product(
        left=left.permute([a.index(letter) for letter in (*batch, *rows, *summed)]),
        right=right.permute([b.index(letter) for letter in (*batch, *summed, *columns)]),
        out=result.permute(order),
        from_out=(Operation(torch.permute, (None, back), {}, 0),),
    )
