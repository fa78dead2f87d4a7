"""The files that a tokenizer reads."""

import re
from pathlib import Path

FILES = ("tokenizer.json", "vocab*", "merges*", "*.model")


def is_in(folder: Path) -> bool:
    """Whether a folder holds any of them."""
    return any(any(folder.glob(files)) for files in FILES)


def is_of_tiktoken(folder: Path) -> bool:
    """Whether it holds lines of a token and its rank, as tiktoken writes them."""
    return any(re.match(rb"[\w+/=]+ \d+\n", path.read_bytes()) for path in folder.glob("*.model"))
