"""A text's characters as people see them: what draws nothing is named, what is long is cut."""

import unicodedata

MAX_QUOTED = 80  # characters of a text, in a message

# Letters and a symbol, by their category, that are blank: Hangul fillers and an empty Braille cell.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"


def quoted(text: str) -> str:
    """The text inside a message: as it is shown, its beginning alone where it is long."""
    return f"'{shown(text[:MAX_QUOTED])}{'…' if len(text) > MAX_QUOTED else ''}'"


def shown(text: str) -> str:
    """The text, with each character named that draws nothing or redirects what follows."""
    return "".join(
        character if _draws_something(character) else f"<U+{ord(character):04X}>"
        for character in text
    )


def _draws_something(character: str) -> bool:
    # Cc: control, Cf: format (bidi overrides, zero-width), Cs: surrogates, Z*: separators
    category = unicodedata.category(character)
    is_blank = category in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"} or character in _BLANK
    return character == " " or not is_blank
