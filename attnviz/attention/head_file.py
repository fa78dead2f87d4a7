"""One head as an NPZ file, and back.

Under plain names the file holds what the head was given and the array of each of its steps, so that
NumPy alone can use it, and as `metadata` a JSON text with everything else. Read again, the head
has the very arrays of the file, once it is sure that each follows from those before it.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz.attention import maths, npz
from attnviz.attention.call import LayerTrace
from attnviz.attention.file_schema import (
    NotAsAnnotated,
    array_as,
    array_type,
    json_in,
    may_lack,
    not_as_claimed,
    values_as,
)
from attnviz.attention.replay import PARTS, Replay, ReplayT
from attnviz.attention.steps import Step, steps_of
from attnviz.attention.tolerance import TOLERANCE
from attnviz.text.errors import InputError, gist
from attnviz.text.tokens import Tokens, check_letters, plain
from attnviz.text.version import VERSION

_PLACED: dict[str, Any] = {"kind": str, "layer": int, "head": int, "dtype": str}
_ARRAYS = {name: of for name, of in PARTS.items() if array_type(of)}
_PLAIN = _PLACED | {name: of for name, of in PARTS.items() if name not in _ARRAYS}

# What is replayed from them, in order.
_MATRIX = Float[np.ndarray, "query_pos key_pos"]
_SCORES = ("scores", "scaled", "capped", "biased", "masked")
_REPLAYED = ("weights", "sink", "updated")
_STEPS: dict[str, Any] = dict.fromkeys((*_SCORES, "weights"), _MATRIX) | {
    "sink": Float[np.ndarray, " query_pos"],
    "updated": Float[np.ndarray, "query_pos d_value"],
    "output": Float[np.ndarray, "query_pos d_model"],
}
NAMES = ("metadata", *_ARRAYS, *_STEPS, *(f"replayed_{name}" for name in _REPLAYED))

_HIDE = {"mask", "bias", "biased", "masked", "sink_logits"}  # may be −inf
_KINDS = re.compile(r"(self|encoder|decoder|predict|cross)(, (stream \d{1,3}|second))?")
_MOST = 10**6  # of the number of a layer or head
_ROUNDING = 1e-4  # relative; what is tampered with, or mixed up, is off by more
_HINT = "\n\nHint: save the head again, by head.to_npz(file)."


def write(head: Replay, file: npz.File, about: Mapping[str, Any] | None = None) -> None:
    """Write the head to a file; raises InputError where that is not possible."""
    try:
        metadata = np.array(json.dumps(_described(head, about or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"What is said about the head cannot be written as JSON ({gist(error)})."
            "\n\nHint: text, finite numbers, booleans, None, and lists and dicts of these."
        ) from error
    npz.write(file, {"metadata": metadata, **_arrays_of(head)})


def read(
    of: type[ReplayT], file: npz.File, max_bytes: int | None = None
) -> tuple[ReplayT, dict[str, Any]]:
    """The head in a file, and what was said about it. Raises InputError, as `HeadTrace.from_npz`.

    Its call is that of this head alone.
    """
    arrays = npz.read(file, NAMES, npz.MAX_BYTES if max_bytes is None else max_bytes)
    return head_of(of, arrays)


def head_of(
    of: type[ReplayT],
    arrays: Mapping[str, np.ndarray],
    check_sizes: Callable[[int, int], None] = lambda n_queries, n_keys: None,
) -> tuple[ReplayT, dict[str, Any]]:
    """The head that the arrays of a file are, and what was said about it.

    `check_sizes` raises for more queries or keys than are wanted, before anything is computed.
    """
    try:
        metadata = json_in(arrays, "metadata")
        given = _plain(metadata)
        check_sizes(len(given["query_tokens"]), len(given["key_tokens"]))
        sizes = {"query_pos": len(given["query_tokens"]), "key_pos": len(given["key_tokens"])}
        for name, annotation in _ARRAYS.items():
            if name == "x_key" and metadata.get("x_key_is_x_query") is True:
                given[name] = given["x_query"]
            elif name in arrays or not may_lack(annotation):
                given[name] = _array(annotation, arrays, name, sizes)
            else:
                given[name] = None
        placed = {name: given.pop(name) for name in _PLACED}
        head = of(call=_call_of(given), place=0, given=given, **placed)
        _take_steps(head, arrays, sizes)
    except NotAsAnnotated as why:
        raise InputError(f"The file is not a head that can be shown: {why}.{_HINT}") from None
    return head, metadata["about"] if isinstance(metadata.get("about"), dict) else {}


# What is written


def _arrays_of(head: Replay) -> dict[str, np.ndarray]:
    arrays = {name: getattr(head, name) for name in _ARRAYS}
    if head.x_key is head.x_query:
        arrays["x_key"] = None
    arrays |= {step.name: step.array for step in steps_of(head)}
    if head.sink_logits is not None:
        arrays["sink"] = head.sink
    if not head.is_filtered and head.updated is not head.replayed_update:
        # What is shown is the model's own, and `max_error` what the replay is away from it.
        weights, sink = head.replayed
        arrays |= {"replayed_weights": weights, "replayed_updated": head.replayed_update}
        if head.sink_logits is not None:
            arrays["replayed_sink"] = sink
    return {name: array for name, array in arrays.items() if array is not None}


def _described(head: Replay, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attnviz": VERSION,
        **{name: getattr(head, name) for name in _PLAIN},
        "origins": {letter: vars(origin) for letter, origin in head.origins.items()},
        "x_key_is_x_query": head.x_query is not None and head.x_key is head.x_query,
        "steps": [_described_step(step) for step in steps_of(head)],
        "about": dict(about),
    }


def _described_step(step: Step) -> dict[str, Any]:
    words = {"number": step.number, "title": step.title, "formula": step.formula_text}
    return {"name": step.name, **words, "axes": step.axes}


# What is read


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but arrays."""
    given = values_as(_PLAIN, metadata, "metadata")
    claims = {
        "kind": _KINDS.fullmatch(given["kind"]),
        "layer": given["layer"] < _MOST,
        "head": given["head"] < _MOST,
        "dtype": given["dtype"] in TOLERANCE,
        "softcap": given["softcap"] is None or given["softcap"] > 0,
        "temperature": given["temperature"] > 0,
        "origins": set(given["origins"]) <= set("qkv"),
    }
    for name, is_so in claims.items():
        if not is_so:
            raise not_as_claimed(metadata, name, "metadata")
    return given


def _array(
    annotation: Any, arrays: Mapping[str, np.ndarray], name: str, sizes: dict[str, int]
) -> np.ndarray:
    return array_as(annotation, arrays, name, sizes, infinite=(-np.inf,) if name in _HIDE else ())


def _call_of(given: Mapping[str, Any]) -> LayerTrace:
    """The call of one head alone."""

    def of_one(name: str) -> Any:
        return None if given[name] is None else given[name][None]

    def tokens(side: str) -> Tokens:
        is_padding = given[f"{side}_is_padding"]
        check_letters(given[f"{side}_tokens"], f"{side}_tokens")
        named = plain(given[f"{side}_tokens"])
        return named if is_padding is None else named.padded(is_padding.tolist())

    whole = ("x_query", "x_key", "scaling", "softcap", "origins", "notes", "is_filtered")
    return LayerTrace(
        query_tokens=tokens("query"),
        key_tokens=tokens("key"),
        q=of_one("q"),
        k=of_one("k"),
        v=of_one("v"),
        q_before_rotary=of_one("q_before_rotary"),
        k_before_rotary=of_one("k_before_rotary"),
        bias=of_one("bias"),
        mask=of_one("mask"),
        sink_logits=of_one("sink_logits"),
        weights_from=of_one("own_weights"),
        own_updated=given["own_updated"][:, None],
        projection=given["no_output_because"] or "the other heads of its layer are not in the file",
        input_projections=dict.fromkeys("qkv", "a file of arrays holds no weights"),
        captured="given",
        is_of_words=given["is_of_words"],
        left_out=of_one("left_out"),
        has_line=of_one("has_line"),
        compared_with=given["compared_with"],
        **{name: given[name] for name in whole},
    )


def _take_steps(head: Replay, arrays: Mapping[str, np.ndarray], sizes: dict[str, int]) -> None:
    """Give the head the arrays that the file has of its steps, each compared with its replay.

    Another library of matrix products, or the same one with arrays that lie elsewhere in memory,
    adds in another order: computed again they would not be the same to the last bit.
    """

    def take(name: str) -> None:
        stored = _array(_STEPS[name], arrays, name, sizes)
        with np.errstate(all="ignore"):  # what overflows is not in the file
            _compare(name, stored, getattr(head, name))
        vars(head)[name] = stored

    has_step = {"capped": head.softcap is not None, "biased": head.bias is not None}
    for name in _SCORES:
        if has_step.get(name, True):
            take(name)
    if head.is_changed or not head.is_filtered:
        _take_replayed(head, arrays, sizes)
    if head.sink_logits is not None:
        take("sink")
    if head.output_weight is not None:
        take("output")


def _take_replayed(head: Replay, arrays: Mapping[str, np.ndarray], sizes: dict[str, int]) -> None:
    before = "replayed_" if "replayed_weights" in arrays else ""
    names = [name for name in _REPLAYED if name != "sink" or head.sink_logits is not None]
    stored = {name: array_as(_STEPS[name], arrays, before + name, sizes) for name in names}
    with np.errstate(all="ignore"):
        replayed = dict(zip(("weights", "sink"), head.replayed, strict=True))
    for name in names[:-1]:
        _compare(before + name, stored[name], replayed[name])
    vars(head)["replayed"] = tuple((replayed | stored)[name] for name in replayed)
    with np.errstate(all="ignore"):
        _compare("replayed_update", stored["updated"], head.replayed_update)
    vars(head)["replayed_update"] = stored["updated"]


def _compare(name: str, stored: np.ndarray, replayed: np.ndarray) -> None:
    """Raise NotAsAnnotated unless the two are the same but for rounding."""
    largest = np.abs(replayed, where=replayed > maths.HIDDEN_BELOW, out=np.zeros_like(replayed))
    if not np.allclose(stored, replayed, rtol=_ROUNDING, atol=_ROUNDING * largest.max()):
        raise NotAsAnnotated(f"its {name} do not follow from the steps before them")
