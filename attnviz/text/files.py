"""Files as a whole, or none."""

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
    return InputError(
        f"{quoted(str(file))} cannot be written ({why})."
        "\n\nHint: name a file in a folder that is there and that you may write to."
    )
