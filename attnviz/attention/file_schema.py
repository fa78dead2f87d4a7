"""What a file has to hold: arrays by their annotation, and JSON by that of each value.

A file may be made by anybody. Whatever is not as annotated raises `NotAsAnnotated`, with a phrase
that says what it is instead.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray, Bool, Float64

from attnviz.text.characters import quoted, shown

MOST_CHARACTERS = 2_000_000  # of JSON, of which each may become 50 bytes
MOST = 2**53  # of a whole number: beyond it a float64 skips some


class NotAsAnnotated(Exception):
    """A phrase: what is there instead."""


def array_type(annotation: Any) -> type[AbstractArray] | None:
    """The array that an annotation is of: its dtype and the names of its axes."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, AbstractArray):
            return part
    return None


def may_lack(annotation: Any) -> bool:
    return NoneType in get_args(annotation)


def array_as(
    annotation: Any,
    arrays: Mapping[str, np.ndarray],
    name: str,
    sizes: dict[str, int],
    *,
    infinite: tuple[float, ...] = (),
) -> np.ndarray:
    """The array of this name; the sizes of its axes are noted that were not known before.

    Float32 unless it is annotated as Float64 or Bool. Its values are finite, or one of `infinite`.
    """
    of = array_type(annotation)
    assert of is not None
    if name not in arrays:
        raise NotAsAnnotated(f"it lacks {name}")
    array = arrays[name]
    kinds: dict[Any, type] = {Bool: np.bool_, Float64: np.float64}
    dtype = np.dtype(kinds.get(of.dtype, np.float32))
    if array.dtype != dtype:
        raise NotAsAnnotated(f"{name} is of {array.dtype}, not of {dtype}")
    axes = of.dim_str.split()
    known = f"({', '.join(axes)})"
    if len(axes) != array.ndim or any(
        not size and sizes.get(axis) != 0 for axis, size in zip(axes, array.shape, strict=True)
    ):
        raise NotAsAnnotated(f"{name} has the shape {array.shape}, not {known}")
    expected = tuple(sizes.setdefault(*axis) for axis in zip(axes, array.shape, strict=True))
    if array.shape != expected:
        raise NotAsAnnotated(f"{name} has the shape {array.shape}, and {known} is {expected}")
    if not (np.isfinite(array) | np.isin(array, infinite)).all():
        raise NotAsAnnotated(f"{name} has values that are infinite or not a number")
    return array


def json_in(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """The JSON object in the text of this name."""
    if name not in arrays:
        raise NotAsAnnotated(f"it has no `{name}`")
    if arrays[name].nbytes > 4 * MOST_CHARACTERS:
        raise NotAsAnnotated(f"its `{name}` has more than {MOST_CHARACTERS:,} characters")
    try:
        read = json.loads(str(arrays[name][()]), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAsAnnotated(f"its `{name}` is not JSON") from error
    if not isinstance(read, dict):
        raise NotAsAnnotated(f"its `{name}` is not a JSON object")
    return read


def _no_number(name: str) -> None:
    raise ValueError(name)


def values_as(
    annotations: Mapping[str, Any], read: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The value of each name, as it is annotated, in what was read from there."""
    values: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if name not in read:
            raise NotAsAnnotated(f"its `{where}` lacks {name}")
        try:
            values[name] = value_as(annotation, read[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise not_as_claimed(read, name, where) from None
    return values


def not_as_claimed(read: Mapping[str, Any], name: str, where: str) -> NotAsAnnotated:
    return NotAsAnnotated(f"{name} in its `{where}` is {quoted(json.dumps(read[name]))}")


def value_as(annotation: Any, value: Any) -> Any:
    """The value of JSON as its annotation has it. A TypeError or ValueError says that it is none.

    Texts are shown as people see them; whole numbers are not negative.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        return None if value is None else value_as(parts[0], value)
    if origin is tuple and isinstance(value, list):
        of_each = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return tuple(value_as(of, each) for of, each in zip(of_each, value, strict=True))
    if origin is Literal and value in parts:
        return value
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {value_as(parts[0], key): value_as(parts[1], each) for key, each in value.items()}
    if is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, dict):
        types = get_type_hints(annotation)
        names = [one.name for one in fields(annotation)]
        return annotation(**{name: value_as(types[name], value[name]) for name in names})
    if annotation is str and isinstance(value, str):
        return shown(value)
    if annotation is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if annotation is bool and type(value) is bool:
        return value
    if annotation is int and type(value) is int and 0 <= value < MOST:
        return value
    raise TypeError(f"no {annotation}")
