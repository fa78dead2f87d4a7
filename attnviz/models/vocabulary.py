"""The files that a tokenizer reads."""

from pathlib import Path

FILES = ("tokenizer.json", "vocab*", "merges*", "*.model")


def is_in(folder: Path) -> bool:
    """Whether a folder holds any of them."""
    return any(any(folder.glob(files)) for files in FILES)
