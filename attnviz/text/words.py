"""Words: which tokens are pieces of one, and what it is called."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, pairwise

from attnviz.text.characters import shown


def word_starts(
    texts: Sequence[str],
    is_special: Sequence[bool],
    is_piece: Sequence[bool | None],
    numbers: Sequence[object] | None = None,
) -> tuple[bool, ...]:
    """Whether each token begins a word.

    `is_piece` says of each token whether it goes on where the one before it ends; None where only
    spaces part words. Then a change between letters and punctuation begins one, too. `numbers` tell
    words apart as the tokenizer does, where it says so. A special token is a word of its own.
    """
    edges = [*map(_edges, texts)] if not any(map(_has_bytes, texts)) else _whole_edges(texts)
    return tuple(
        place == 0
        or is_special[place]
        or is_special[place - 1]
        or _starts(texts, edges, is_piece[place], numbers, place)
        for place in range(len(texts))
    )


def _starts(
    texts: Sequence[str],
    edges: Sequence[tuple[str, str]],
    is_piece: bool | None,
    numbers: Sequence[object] | None,
    place: int,
) -> bool:
    (_, before), (first, _) = edges[place - 1 : place + 1]
    if texts[place - 1] and not texts[place - 1].strip(" "):
        return first == " "  # a space alone begins the word behind it
    if numbers is not None and numbers[place] != numbers[place - 1]:
        return True
    if is_piece is not None or first == "":  # inside of a character
        return not (is_piece or first == "")
    return before.isspace() or first.isspace() or _is_letter(first) != _is_letter(before)


def _is_letter(character: str) -> bool:
    """Of a letter or a number, or a mark that is written with one."""
    return character.isalnum() or unicodedata.category(character or " ")[0] == "M"


def _edges(text: str) -> tuple[str, str]:
    """The first and the last character."""
    return text[:1], text[-1:]


def _has_bytes(text: str) -> bool:
    return not text.isascii() and any(map(is_escaped, text))


def _whole_edges(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The same, where a character may be made of several texts; "" before one that goes on."""
    owners = owners_of_bytes(texts)
    edges, last = [], -1
    for of_text in owners:
        places = [place for place, _ in of_text]
        first, behind = (of_text[0][1], of_text[-1][1]) if of_text else ("", "")
        edges.append(("" if places[:1] == [last] else first, behind))
        last = places[-1] if places else last
    return edges


# Bytes that are no whole character stand in a text as Python escapes them: half of a pair each.


def escaped(content: bytes) -> str:
    """Bytes as text."""
    return content.decode("utf-8", "surrogateescape")


def is_escaped(character: str) -> bool:
    """Whether it is a byte of a character that is not whole."""
    return "\udc80" <= character <= "\udcff"


def owners_of_bytes(texts: Sequence[str]) -> list[list[tuple[int, str]]]:
    """Of each text's bytes the characters that they are of, with their places, made whole."""
    contents = [text.encode("utf-8", "surrogateescape") for text in texts]
    owners = [
        (place, character)
        for place, character in enumerate(escaped(b"".join(contents)))
        for _ in character.encode("utf-8", "surrogateescape")
    ]
    ends = [0, *accumulate(map(len, contents))]
    return [owners[start:end] for start, end in pairwise(ends)]


def joined(texts: Sequence[str]) -> str:
    """The text that these make together, with the bytes of a character made whole."""
    text = "".join(texts)
    return text if not _has_bytes(text) else escaped(text.encode("utf-8", "surrogateescape"))


def spelled(text: str) -> str:
    """The text as it is shown, with each byte of no whole character by its number."""
    if not _has_bytes(text):
        return shown(text)
    parts = re.split("([\udc80-\udcff])", text)
    return "".join(
        f"<0x{ord(part) - 0xDC00:02X}>" if place % 2 else shown(part)
        for place, part in enumerate(parts)
    )
