"""The arrays of an NPZ file that anybody may have made: nothing in it is run, nor trusted."""

import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from attnviz.text import files
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError, gist
from attnviz.text.phrases import size

MAX_BYTES = 10**9  # of all its arrays, unless the caller says otherwise
PATH = (str, os.PathLike)
File = str | os.PathLike[str] | IO[bytes]

_MAX_ARRAYS = 1_000
_MAX_HEADER = 10_500  # bytes; NumPy reads 10,000 of a header, and what stands before them
_HOW = "numpy.savez_compressed(file, q=q, k=k, v=v)"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write(file: File, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays under their names, compressed; `file` may be open for writing bytes.

    Raises InputError for a file that cannot be written.
    """
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **arrays)
    if isinstance(file, PATH):
        files.write(file, written.getvalue())
        return
    rest = written.getbuffer()
    try:
        while rest:  # a file without a buffer takes what fits at once
            n = file.write(rest)
            rest = rest[len(rest) if n is None else n :]
    except OSError as error:
        raise files.not_written(file, error) from error


def read(file: File, names: Collection[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Those arrays of the file that have these names, read-only: numbers, booleans or strings.

    `file` is a path, or a file that is open for reading bytes. How large everything in it is, is
    read from its directory first. Raises InputError for a file that is not there, broken, or
    larger than `max_bytes` in all, and for arrays of objects, which only pickle can read.
    """
    called = _called(file)
    try:
        with open(file, "rb") if isinstance(file, PATH) else nullcontext(file) as it:
            _check_directory(it, called, max_bytes)
            with zipfile.ZipFile(it) as archive:
                return _read(archive, names, called, max_bytes)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{called} cannot be read ({error.strerror or gist(error)})."
            "\n\nHint: name an NPZ file that is there and that you may read."
        ) from error
    except Exception as error:  # of a reader of zip files that was given something else
        raise _broken(called, gist(error)) from error


def _read(
    archive: zipfile.ZipFile, names: Collection[str], called: str, max_bytes: int
) -> dict[str, np.ndarray]:
    members = {member.filename: member for member in archive.infolist()}
    n_bytes = sum(member.file_size for member in archive.infolist())
    if n_bytes > max_bytes:
        raise _too_large(called, n_bytes, max_bytes)
    wanted = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
    headers = {name: _header(archive, member, name, called) for name, member in wanted.items()}
    # Numbers are computed with as float32, however few bytes the file has for them.
    n_bytes = sum(header.n_values * max(header.dtype.itemsize, 4) for header in headers.values())
    if n_bytes > max_bytes:
        raise _too_large(called, n_bytes, max_bytes)
    return {name: _array(archive, wanted[name], header) for name, header in headers.items()}


@dataclass(frozen=True)
class _Header:
    """What an array says of itself."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    length: int  # of the header, in bytes

    @property
    def n_values(self) -> int:
        return math.prod(self.shape)


def _check_directory(file: IO[bytes], called: str, max_bytes: int) -> None:
    """Raise InputError unless the file ends as NumPy ends it, with a directory of a usual size.

    The zip reader takes in a whole directory, and keeps ten times its bytes.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    if n_bytes > max_bytes:
        raise _too_large(called, n_bytes, max_bytes)
    file.seek(max(0, n_bytes - 42))
    tail = file.read(42)
    end = tail[-22:]
    is_plain = end[:4] == b"PK\x05\x06" and tail[:4] != b"PK\x06\x07" and len(end) == 22
    if not is_plain:
        raise _broken(called, "it does not end as such a file does")
    n_arrays, n_bytes_of_directory = struct.unpack("<HL", end[10:16])
    if max(n_arrays, n_bytes_of_directory / 200) > _MAX_ARRAYS:
        raise _broken(called, "it has more than a thousand parts")
    file.seek(0)


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, called: str) -> _Header:
    """The header of an array, without the array. Raises InputError unless they fit together."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _broken(called, f"{name} uses another compression")
    with archive.open(member) as file:
        stream = io.BytesIO(file.read(_MAX_HEADER))
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise _broken(called, f"{name} is of version {version[0]}.{version[1]}")
    header = _Header(*_HEADERS[version](stream), stream.tell())
    dtype = header.dtype
    if dtype.hasobject:
        raise InputError(
            f"In {called} {name} is an array of Python objects, which is stored as pickle and can "
            "run code, so it is not read.\n\nHint: save numbers, or names as "
            "numpy.array(names, dtype=str)."
        )
    if dtype.kind not in "bfiuU" or not dtype.itemsize:
        raise InputError(
            f"In {called} {name} is an array of {quoted(str(dtype))}."
            "\n\nHint: save numbers, booleans or strings."
        )
    n_bytes = member.file_size - header.length
    if min(header.shape, default=0) < 0 or header.n_values * dtype.itemsize != n_bytes:
        raise _broken(called, f"{name} is shorter or longer than it says")
    return header


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    with archive.open(member) as file:
        # No more than the directory says: without a number all there is would be inflated first.
        content = file.read(member.file_size)
    array = np.frombuffer(content, header.dtype, offset=header.length)
    if header.dtype.kind == "U" and array.size:
        letters = array.view(np.dtype(np.uint32).newbyteorder(header.dtype.byteorder))
        if letters.max() > sys.maxunicode:  # which NumPy takes for a fault of its own
            raise ValueError("a text in it has a code that is not a character")
    return array.reshape(header.shape, order="F" if header.is_fortran else "C")


def _called(file: Any) -> str:
    """What a file is called in a message, without the folders it is in."""
    name = os.fspath(file) if isinstance(file, PATH) else getattr(file, "name", None)
    return quoted(os.path.basename(name)) if isinstance(name, str) else "the file"


def _broken(called: str, why: str) -> InputError:
    return InputError(
        f"{_first(called)} is not an NPZ file that can be read: {why}.\n\nHint: {_HOW}"
    )


def _too_large(called: str, n_bytes: int, max_bytes: int) -> InputError:
    return InputError(
        f"{_first(called)} holds {size(n_bytes)}, and at most {size(max_bytes)} are read here."
        "\n\nHint: save fewer tokens or heads."
    )


def _first(called: str) -> str:
    return called[0].upper() + called[1:]
