"""The checksums of files, computed once for as long as a file stays the same."""

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attnviz.models import compat

_SETTLED = 2.0  # seconds: what was written later may be written again at the same time by its clock


def sha256(file: Path) -> str:
    """The SHA-256 of a file, read again only where its place, its size or its times changed.

    What is known is noted in the cache, where that can be written. Raises OSError.
    """
    note = compat.cache() / "checksums" / hashlib.sha256(bytes(file.resolve())).hexdigest()
    before = state(file)
    with suppress(OSError, ValueError):
        noted = json.loads(note.read_text())
        if noted[:-1] == before:
            return str(noted[-1])
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if state(file) == before and time.time() - file.stat().st_ctime > _SETTLED:
        with suppress(OSError):
            _write(note, json.dumps([*before, digest]))
    return digest


def state(file: Path) -> list[int]:
    """What differs once a file was written, or another took its place. Raises OSError."""
    now = file.stat()
    return [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns]


def _write(path: Path, text: str) -> None:
    """All of it or nothing, whoever reads or writes it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        made.write_text(text)
        made.replace(path)
