"""The files that a tokenizer reads."""

import re
from pathlib import Path

FILES = ("tokenizer.json", "vocab*", "merges*", "*.model")


def is_in(folder: Path) -> bool:
    """Whether a folder holds any of them."""
    return any(any(folder.glob(files)) for files in FILES)


def may_need(folder: Path, package: str) -> bool:
    """Whether this package could help to read it.

    What is damaged or not there is taken for a file of tiktoken's, or of sentencepiece's, which
    protobuf reads.
    """
    models = list(folder.glob("*.model"))
    if package == "tiktoken":  # lines of a token and its rank
        return any(re.match(rb"[\w+/=]+ \d+\n", path.read_bytes()) for path in models)
    return package != "protobuf" or bool(models)
