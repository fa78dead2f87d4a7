"""A text's characters as people see them: what draws nothing is named, what is long is cut."""

import functools
from typing import Any

MAX_QUOTED = 80  # characters of a text, in a message


def quoted(text: str) -> str:
    """The text inside a message: as it is shown, its beginning alone where it is long."""
    return f"'{shown(text[:MAX_QUOTED])}{'…' if len(text) > MAX_QUOTED else ''}'"


def shown(text: str) -> str:
    """The text, with each character named that draws nothing or redirects what follows.

    A new line is "↵" and a tab "⇥". A mark is drawn with the character that it stands behind, and
    alone it is named.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: str = _pattern().sub(lambda found: found[1] or _named(found[2]), text)
    return shown


def _named(character: str) -> str:
    return {"\n": "↵", "\t": "⇥"}.get(character, f"<U+{ord(character):04X}>")


@functools.cache
def _pattern() -> Any:
    """What is drawn is its first group, a character that is not its second."""
    import regex  # not before: most text is plain, and the tables of Unicode take long to import

    # Letters and symbols that are blank all the same: Hangul fillers are ignorable by Unicode, an
    # empty Braille cell and a note without a head are not.
    drawn = r"[[\p{L}\p{N}\p{P}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800\U0001D159]]"
    # Variation selectors are ignorable, and choose what the character before them looks like.
    mark = r"[[\p{M}--\p{Default_Ignorable_Code_Point}]||[\uFE00-\uFE0F\U000E0100-\U000E01EF]]"
    return regex.compile(rf"((?: |{drawn}++{mark}*+)++)|(.)", regex.V1 | regex.DOTALL)
