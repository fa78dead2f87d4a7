"""A model's weights before they are loaded: their files, and what they will take in memory."""

import json
import math
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from attnviz.text.errors import ModelLoadError
from attnviz.text.phrases import size

# What a weight takes, in bytes, in the precision that a model is loaded in.
_BYTES_OF = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def check_fits(name: str, n_bytes: int, dtype: str, most: int | None, has_room: int | None) -> None:
    """Raise ModelLoadError where a model would take more than is allowed, or than is free."""
    hint = "\n\nHint: choose a smaller model" + (
        "; attnviz.load(…, dtype='bfloat16') takes half." if dtype == "float32" else "."
    )
    takes = f"{name} takes {size(n_bytes)} of memory in {dtype}"
    if most is not None and n_bytes > most:
        raise ModelLoadError(f"{takes}, and a model may take {size(most)} here.{hint}")
    if has_room is not None and n_bytes > has_room:
        raise ModelLoadError(f"{takes}, and {size(has_room)} are free on this machine.{hint}")


def n_bytes_of_parameters(n_parameters: int, dtype: str) -> int:
    """What so many weights take, in bytes."""
    return n_parameters * _BYTES_OF[dtype]


def n_bytes(folder: Path, dtype: str) -> int | None:
    """What the weights in a model's folder take once loaded, in bytes.

    The headers of their files alone are read; None where one is damaged or not there.
    """
    try:
        return sum(_n_bytes_of_file(path, dtype) for path in files(folder))
    except (OSError, SafetensorError, ValueError):
        return None


def files(folder: Path) -> list[Path]:
    """The safetensors that a model is loaded from, which may lie beside others in its folder.

    Raises ValueError for an index that names no such files beside itself.
    """
    alone, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if alone.exists() or not index.exists():
        return [alone]
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        beside = all(Path(name).name == name and name.endswith(".safetensors") for name in names)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("an index of weights maps each to a file") from error
    if not beside:
        raise ValueError("weights must lie beside their index")
    return [folder / name for name in names]


def none_as_safetensors(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} has no weights as safetensors; pickled weights can run code and are never "
        "loaded.\n\nHint: convert it: model.save_pretrained(folder) writes safetensors."
    )


def _n_bytes_of_file(path: Path, dtype: str) -> int:
    n_bytes = 0
    with safe_open(path, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118 # a file of tensors, no dictionary
            tensor = file.get_slice(key)
            n_bytes += math.prod(tensor.get_shape()) * _n_bytes_each(tensor.get_dtype(), dtype)
    return n_bytes


def _n_bytes_each(stored: str, dtype: str) -> int:
    """What one number takes: F32, BF16 … are loaded in `dtype`, I64, U8, BOOL … as they are."""
    if stored.startswith(("F", "BF")):
        return _BYTES_OF[dtype]
    bits = re.search(r"\d+", stored)
    return int(bits[0]) // 8 if bits else 1
