"""Folders that are made once and kept in the cache.

Such a folder is whole or not there: it is made elsewhere in the cache, written out to the disk, and
moved to its place in one step. Of two processes that make the same one, the first one's stays.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_UNDER_WAY = ".under-way-"
_ABANDONED_AFTER = 24 * 3600.0  # seconds: the process that made it was ended
_SPARE = 50_000_000  # bytes of the disk that stay free


class NoRoom(Exception):
    """No disk can take a folder; `free` bytes are left on the last that was tried."""

    def __init__(self, free: int) -> None:
        super().__init__(free)
        self.free = free


@contextmanager
def kept(folder: Path, n_bytes: int, make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder that is kept here; where it is not, `make` fills an empty one.

    Where the cache cannot be written, or has no room for so many bytes, that is a temporary folder,
    which is gone at the end. Raises NoRoom, OSError, and what `make` raises.
    """
    if not folder.exists():
        with _workplace(folder.parent, n_bytes) as workplace:
            made = workplace / folder.name
            made.mkdir()
            make(made)
            if workplace.parent != folder.parent:
                yield made
                return
            _move(made, folder)
    yield folder


@contextmanager
def _workplace(cache: Path, n_bytes: int) -> Iterator[Path]:
    """A new folder that is gone at the end, in the cache if that is possible."""
    _clear(cache)
    free = 0
    for parent in (cache, Path(gettempdir())):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            new = TemporaryDirectory(prefix=_UNDER_WAY, dir=parent, ignore_cleanup_errors=True)
        except OSError:  # read-only, or full
            continue
        with new as name:
            free = shutil.disk_usage(name).free
            if free >= n_bytes + _SPARE:
                yield Path(name)
                return
    raise NoRoom(free)


def _move(made: Path, folder: Path) -> None:
    if os.name == "posix":
        for path in (*made.iterdir(), made):
            _write_out(path)
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():  # no other process was quicker
            raise


def _write_out(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _clear(cache: Path) -> None:
    """Delete what processes left behind that were ended before theirs was whole."""
    for left in cache.glob(f"{_UNDER_WAY}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
            shutil.rmtree(left, ignore_errors=True)
