"""Files as a whole, or none."""

import errno
import os
from pathlib import Path

from attnviz.text.characters import quoted
from attnviz.text.errors import InputError, gist


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Put a whole file where it should be. Raises InputError where that is not possible."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            beside.write_bytes(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # of a name that no file can have
        raise not_written(path, error) from error


def not_written(file: object, error: Exception) -> InputError:
    """What is said of a file that cannot be written."""
    why = getattr(error, "strerror", None) or gist(error)
    is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    hint = "a folder that is there and that you may write to"
    hint = (
        "free some space, or name a file on another disk" if is_full else f"name a file in {hint}"
    )
    name = getattr(file, "name", file)
    return InputError(f"{quoted(str(name))} cannot be written ({why}).\n\nHint: {hint}.")
