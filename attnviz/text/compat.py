"""What is used of transformers' tokenizers that their reference does not promise.

tests/text/test_compat.py says for each name what breaks where an upgrade takes it away.
"""

from typing import Any


def has_target_mode(tokenizer: Any) -> bool:
    """Whether the tokenizer reads a target text in a way of its own."""
    return hasattr(tokenizer, "_switch_to_target_mode")
