"""Words: which tokens are pieces of one, and what it is called."""

import re
import unicodedata
from collections.abc import Sequence

_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")
_SPACE = ("␣", "<0x20>")


def word_starts(
    labels: Sequence[str],
    is_special: Sequence[bool],
    numbers: Sequence[object] | None = None,
) -> tuple[bool, ...]:
    """Whether each token begins a word.

    `numbers` tell words apart as the tokenizer does, where it says so. A visible space begins a
    word, and so does the change between letters and punctuation; “##” marks a piece that goes on.
    A special token is a word of its own.
    """
    marks_spaces = any(label.startswith(_SPACE) for label in labels)
    return tuple(
        place == 0
        or is_special[place]
        or is_special[place - 1]
        or label.startswith(_SPACE)
        or _starts(labels[place - 1], label, marks_spaces, numbers, place)
        for place, label in enumerate(labels)
    )


def _starts(
    before: str,
    label: str,
    marks_spaces: bool,
    numbers: Sequence[object] | None,
    place: int,
) -> bool:
    if numbers is not None and numbers[place] != numbers[place - 1]:
        return True
    if label.startswith("##"):
        return False
    if numbers is None and not marks_spaces:
        return True
    are_bytes = _BYTES.match(label) or _BYTES.match(before)
    return not are_bytes and _is_letter(label[:1]) != _is_letter(before.lstrip("␣")[-1:])


def _is_letter(character: str) -> bool:
    """Of a letter or a number, or a mark that is written with one."""
    return character.isalnum() or unicodedata.category(character or " ")[0] == "M"


def joined(labels: Sequence[str]) -> str:
    """What a word is called that is made of these pieces."""
    first, *others = labels
    text = "".join([first, *(label.removeprefix("##") for label in others)])
    return _BYTES.sub(_decoded, text).replace("␣", " ").strip() or text


def _decoded(match: re.Match[str]) -> str:
    spelled: str = match.group()
    try:
        return bytes.fromhex(spelled.replace("<0x", "").replace(">", "")).decode("utf-8")
    except UnicodeDecodeError:
        return spelled
