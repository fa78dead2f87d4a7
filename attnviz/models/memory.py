"""What a model's weights will take in memory, before they are loaded."""

import json
import math
import struct
from pathlib import Path

from attnviz.text.errors import ModelLoadError
from attnviz.text.phrases import size

# What a weight takes, in bytes, in the precision that a model is loaded in.
_BYTES_OF = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
_OF_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_LONGEST_HEADER = 10_000_000  # bytes; each weight takes about a hundred


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


def of_parameters(n_parameters: int, dtype: str) -> int:
    """What so many weights take, in bytes."""
    return n_parameters * _BYTES_OF[dtype]


def of_weights(folder: Path, dtype: str) -> int | None:
    """What the weights in a model's folder take once loaded, in bytes.

    The headers of their files alone are read; None where one is damaged or not there.
    """
    try:
        return sum(_of_file(path, dtype) for path in files_of_weights(folder))
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None


def files_of_weights(folder: Path) -> list[Path]:
    """The safetensors that a model is loaded from, which may lie beside others in its folder.

    Raises ValueError, KeyError, TypeError or AttributeError for an index that is none.
    """
    alone, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if alone.exists() or not index.exists():
        return [alone]
    names = set(json.loads(index.read_text())["weight_map"].values())
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise ValueError("weights must lie beside their index")
    return [folder / name for name in sorted(names)]


def _of_file(path: Path, dtype: str) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
    header.pop("__metadata__", None)
    n_bytes = 0
    for tensor in header.values():
        begin, end = tensor["data_offsets"]
        is_float = tensor["dtype"] in _OF_FLOATS
        n_bytes += of_parameters(math.prod(tensor["shape"]), dtype) if is_float else end - begin
    return n_bytes
