"""What torch's operations do to the numbers in a tensor: each once, for tracing and projecting.

Functions, methods and operators are known by their names, without the underscores of what works
in place and of operators.
"""

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]

RESHAPES = {"flatten", "reshape", "squeeze", "unsqueeze", "view"}  # no number moves past another
MOVES = {"permute", "swapaxes", "transpose"}  # whole axes
COPIES = {"clone", "contiguous", "detach"}
CASTS = {"bfloat16", "double", "float", "half", "to", "type", "type_as"}
REPEATS = {"expand"}
MULTIPLIES = {"mul", "multiply"}  # each number
DIVIDES = {"div", "true_divide"}
CHANGES = {  # each number in its own cell, in another way
    *("add", "rsub", "sub"),
    *("clamp", "masked_fill", "max", "maximum", "where"),
}
DROPS = {"dropout"}  # nothing outside training
MATRIX_PRODUCTS = {"baddbmm", "bmm", "einsum", "matmul"}
# They look at the shape or the type of the second tensor that they are given, at no number.
LOOKS_AT_SECOND = {"expand_as", "reshape_as", "type_as", "view_as"}

SCALES = MULTIPLIES | DIVIDES
KEEPS_NUMBERS = RESHAPES | MOVES | COPIES | CASTS
KEEPS_ORDER = RESHAPES | COPIES | CASTS | REPEATS
CELLWISE = KEEPS_ORDER | SCALES | CHANGES


def name_of(function: Function) -> str:
    """What an operation is called in these sets."""
    return function.__name__.strip("_")


def is_in_place(function: Function) -> bool:
    """Whether a method writes into its own tensor."""
    name = function.__name__
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
