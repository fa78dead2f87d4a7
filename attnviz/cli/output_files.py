"""Names of files to write, refused before anything is computed for them."""

import os
from collections.abc import Sequence
from pathlib import Path

from attnviz.cli.options import ENDINGS
from attnviz.text.characters import shown
from attnviz.text.errors import InputError


def check(files: Sequence[str]) -> None:
    """Raise InputError for a file that cannot be written, before anything is computed."""
    for file in files:
        if ending(file) not in ENDINGS:
            raise InputError(
                f"No file is written for {_named(file)}: what it should hold is unknown."
                f"\n\nHint: let its name end in one of {', '.join(ENDINGS)}."
            )
        if because := _why_not(Path(file)):
            raise InputError(
                f"{_named(file)} cannot be written: {because}."
                "\n\nHint: name a file in a folder that is there and that you may write to."
            )


def ending(file: str) -> str:
    """What says what is in a file: ".svg"."""
    return Path(file).suffix.lower()


def _named(file: str) -> str:
    return f"'{shown(file[:200])}{'…' if len(file) > 200 else ''}'"


def _why_not(path: Path) -> str | None:
    if "\0" in str(path):
        return "no name of a file holds a null character"
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.parent.is_dir():
            return f"there is no folder {_named(str(path.parent))}"
        if not os.access(path.parent, os.W_OK | os.X_OK):
            return f"the folder {_named(str(path.parent))} may not be written to"
    except OSError as error:
        return error.strerror
    return None
