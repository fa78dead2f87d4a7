"""One head as an NPZ file, and back.

Under plain names the file holds what the head was given and the array of each of its steps, so that
NumPy alone can use it, and as `metadata` a JSON text with everything else. Read again, the head
has the very arrays of the file, once it is sure that each follows from those before it.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np
from jaxtyping import AbstractArray, Bool

import attnviz
from attnviz import attention, npz
from attnviz.errors import InputError, gist
from attnviz.results import TOLERANCE, HeadTrace, Origin
from attnviz.steps import Step
from attnviz.tokens import quoted, shown


def _array_type(annotation: Any) -> type[AbstractArray] | None:
    """The array that a field may hold: its dtype and the names of its axes."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, AbstractArray):
            return part
    return None


# What the fields of a head are, array or not, as their annotations say.
_TYPES = {field.name: field.type for field in fields(HeadTrace)}
_ARRAYS = {name: of for name, annotation in _TYPES.items() if (of := _array_type(annotation))}
_PLAIN = {name: annotation for name, annotation in _TYPES.items() if name not in _ARRAYS}

# What is replayed from them, in order.
_SCORES = ("scores", "scaled", "capped", "biased", "masked")
_REPLAYED = ("weights", "sink", "updated")
_AXES = dict.fromkeys((*_SCORES, "weights"), "query_pos key_pos") | {
    "sink": "query_pos",
    "updated": "query_pos d_value",
    "output": "query_pos d_model",
}
NAMES = ("metadata", *_ARRAYS, *_AXES, *(f"replayed_{name}" for name in _REPLAYED))

_MAY_BE_MINUS_INFINITY = {"mask", "bias", "biased", "masked", "sink_logits"}
_KINDS = re.compile(r"(self|encoder|decoder|predict|cross)(, (stream \d{1,3}|second))?")
_MOST = 10**6  # of the number of a layer or head
_ROUNDING = 1e-4  # relative; what is tampered with, or mixed up, is off by more
_HINT = "\n\nHint: save the head again, by head.to_npz(file)."


def write(head: HeadTrace, file: npz.File, about: Mapping[str, Any] | None = None) -> None:
    """Write the head to a file; raises InputError where that is not possible."""
    try:
        metadata = np.array(json.dumps(_described(head, about or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"What is said about the head cannot be written as JSON ({gist(error)})."
            "\n\nHint: text, finite numbers, booleans, None, and lists and dicts of these."
        ) from error
    npz.write(file, {"metadata": metadata, **_arrays_of(head)})


def read(file: npz.File, max_bytes: int | None = None) -> HeadTrace:
    """The head in a file. Raises InputError, as `HeadTrace.from_npz`."""
    return head_of(npz.read(file, NAMES, npz.MAX_BYTES if max_bytes is None else max_bytes))[0]


def head_of(arrays: Mapping[str, np.ndarray]) -> tuple[HeadTrace, dict[str, Any]]:
    """The head that the arrays of a file are, and what was said about it."""
    metadata = _metadata(arrays)
    given: dict[str, Any] = _plain(metadata)
    sizes = {"query_pos": len(given["query_tokens"]), "key_pos": len(given["key_tokens"])}
    for name in _ARRAYS:
        may_lack = NoneType in get_args(_TYPES[name])
        if name == "x_key" and metadata.get("x_key_is_x_query") is True:
            given[name] = given["x_query"]
        elif name in arrays or not may_lack:
            is_bool = _ARRAYS[name].dtype is Bool
            given[name] = _checked(arrays, name, _ARRAYS[name].dim_str, sizes, is_bool)
        else:
            given[name] = None
    head = HeadTrace(**given)
    _take_steps(head, arrays, sizes)
    return head, metadata["about"] if isinstance(metadata.get("about"), dict) else {}


# What is written


def _arrays_of(head: HeadTrace) -> dict[str, np.ndarray]:
    arrays = {name: getattr(head, name) for name in _ARRAYS}
    if head.x_key is head.x_query:
        arrays["x_key"] = None
    arrays |= {step.name: step.array for step in head.steps}
    if head.sink_logits is not None:
        arrays["sink"] = head.sink
    if not head.is_filtered and head.updated is not head.replayed_update:
        # What is shown is the model's own, and `max_error` what the replay is away from it.
        weights, sink = head.replayed
        arrays |= {"replayed_weights": weights, "replayed_updated": head.replayed_update}
        if head.sink_logits is not None:
            arrays["replayed_sink"] = sink
    return {name: array for name, array in arrays.items() if array is not None}


def _described(head: HeadTrace, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attnviz": attnviz.__version__,
        **{name: getattr(head, name) for name in _PLAIN},
        "origins": {letter: vars(origin) for letter, origin in head.origins.items()},
        "x_key_is_x_query": head.x_query is not None and head.x_key is head.x_query,
        "steps": [_described_step(step) for step in head.steps],
        "about": dict(about),
    }


def _described_step(step: Step) -> dict[str, Any]:
    words = {"number": step.number, "title": step.title, "formula": step.formula_text}
    return {"name": step.name, **words, "axes": step.axes}


# What is read: everything but arrays


def _metadata(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if "metadata" not in arrays:
        raise _refused("it has no `metadata`")
    try:
        metadata = json.loads(str(arrays["metadata"][()]), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused("its `metadata` is not JSON") from error
    if not isinstance(metadata, dict):
        raise _refused("its `metadata` is no JSON object")
    return metadata


def _no_number(name: str) -> None:
    raise ValueError(name)


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, annotation in _PLAIN.items():
        try:
            given[name] = _as(annotation, metadata[name])
        except KeyError:
            raise _refused(f"its `metadata` lacks {name}") from None
        except (TypeError, ValueError, OverflowError):
            received = quoted(json.dumps(metadata[name]))
            raise _refused(f"{name} in its `metadata` is {received}") from None
    claims = {
        "kind": _KINDS.fullmatch(given["kind"]),
        "dtype": given["dtype"] in TOLERANCE,
        "softcap": given["softcap"] is None or given["softcap"] > 0,
        "temperature": given["temperature"] > 0,
    }
    for name, is_so in claims.items():
        if not is_so:
            raise _refused(f"{name} in its `metadata` is {quoted(json.dumps(given[name]))}")
    return given


def _as(annotation: Any, value: Any) -> Any:
    """The value of a field as its annotation has it. An error says that it is none."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if NoneType in parts and value is None:
        return None
    if NoneType in parts:
        return _as(parts[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_as(parts[0], each) for each in value)
    if origin is Literal and value in parts:
        return value
    if origin is Mapping and set(value) <= set("qkv"):
        return {letter: Origin(**_as_claims(value[letter])) for letter in value}
    if annotation is str and isinstance(value, str):
        return shown(value)
    if annotation is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if annotation is bool and type(value) is bool:
        return value
    if annotation is int and type(value) is int and 0 <= value < _MOST:
        return value
    raise TypeError(f"no {annotation}")


def _as_claims(value: Any) -> dict[str, bool]:
    return {name: _as(bool, claim) for name, claim in dict(value).items()}


# What is read: arrays


def _checked(
    arrays: Mapping[str, np.ndarray],
    name: str,
    axes: str,
    sizes: dict[str, int],
    is_bool: bool = False,
) -> np.ndarray:
    """The array of this name, of which the sizes are noted that were not known before."""
    if name not in arrays:
        raise _refused(f"it lacks {name}")
    array, dtype = arrays[name], np.dtype(bool if is_bool else np.float32)
    if array.dtype != dtype:
        raise _refused(f"{name} is of {array.dtype}, not of {dtype}")
    known = axes.split()
    if len(known) != array.ndim or 0 in array.shape:
        raise _refused(f"{name} has the shape {array.shape}, not ({', '.join(known)})")
    expected = tuple(
        sizes.setdefault(axis, size) for axis, size in zip(known, array.shape, strict=True)
    )
    if array.shape != expected:
        raise _refused(
            f"{name} has the shape {array.shape}, and ({', '.join(known)}) is {expected}"
        )
    is_finite = np.isfinite(array)
    if name in _MAY_BE_MINUS_INFINITY:
        is_finite |= array == -np.inf
    if not is_finite.all():
        raise _refused(f"{name} has values that are infinite or not a number")
    return array


def _take_steps(head: HeadTrace, arrays: Mapping[str, np.ndarray], sizes: dict[str, int]) -> None:
    """Give the head the arrays that the file has of its steps, each compared with its replay.

    Another library of matrix products, or the same one with arrays that lie elsewhere in memory,
    adds in another order: computed again they would not be the same to the last bit.
    """
    has_step = {"capped": head.softcap is not None, "biased": head.bias is not None}
    for name in _SCORES:
        if has_step.get(name, True):
            _take(head, name, _checked(arrays, name, _AXES[name], sizes))
    if head.is_changed or not head.is_filtered:
        _take_replayed(head, arrays, sizes)
    if head.sink_logits is not None:
        _take(head, "sink", _checked(arrays, "sink", _AXES["sink"], sizes))
    if head.output_weight is not None:
        _take(head, "output", _checked(arrays, "output", _AXES["output"], sizes))


def _take_replayed(
    head: HeadTrace, arrays: Mapping[str, np.ndarray], sizes: dict[str, int]
) -> None:
    before = "replayed_" if "replayed_weights" in arrays else ""
    names = [name for name in _REPLAYED if name != "sink" or head.sink_logits is not None]
    stored = {name: _checked(arrays, before + name, _AXES[name], sizes) for name in names}
    with np.errstate(all="ignore"):
        replayed = dict(zip(("weights", "sink"), head.replayed, strict=True))
    for name in names[:-1]:
        _compare(before + name, stored[name], replayed[name])
    vars(head)["replayed"] = tuple((replayed | stored)[name] for name in replayed)
    _take(head, "replayed_update", stored["updated"])


def _take(head: HeadTrace, name: str, stored: np.ndarray) -> None:
    with np.errstate(all="ignore"):  # what overflows is not in the file
        _compare(name, stored, getattr(head, name))
    vars(head)[name] = stored


def _compare(name: str, stored: np.ndarray, replayed: np.ndarray) -> None:
    """Raise InputError unless the two are the same but for rounding."""
    largest = np.abs(replayed, where=replayed > attention.HIDDEN_BELOW, out=np.zeros_like(replayed))
    if not np.allclose(stored, replayed, rtol=_ROUNDING, atol=_ROUNDING * largest.max()):
        raise _refused(f"its {name} do not follow from what stands before them")


def _refused(why: str) -> InputError:
    return InputError(f"The file is no head that can be shown: {why}.{_HINT}")
