"""Tokens as people read them: labels, segments, and which of them are special."""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import or_
from typing import Any

from attnviz.errors import InputError
from attnviz.words import joined, word_starts

MAX_QUOTED = 80  # characters of a text, in a message


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text, in order; after a filter some of them, or its words."""

    labels: tuple[str, ...]
    is_special: tuple[bool, ...]
    segments: tuple[int | None, ...]  # 0 or 1 in a sentence pair; None for special tokens
    starts_word: tuple[bool, ...]
    positions: tuple[tuple[int, ...], ...]  # of the text's own tokens that each of these stands for
    is_padding: tuple[bool, ...]  # behind or before a text, to fill a batch; nothing reads it

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_punctuation(self) -> tuple[bool, ...]:
        """Which tokens are made of punctuation marks alone, by Unicode's category P."""
        return tuple(
            not special and is_punctuation(label)
            for label, special in zip(self.labels, self.is_special, strict=True)
        )

    def place_of(self, position: int) -> int | None:
        """Which of these stands for the text's token at a position; None where none does."""
        for place, positions in enumerate(self.positions):
            if position in positions:
                return place
        return None

    def called(self, name: str) -> list[int]:
        """The places of the tokens that are written so.

        Where none is written exactly so, a token is found without the space before it and in
        other letters' case.
        """
        written = name.replace(" ", "␣")
        places = [place for place, label in enumerate(self.labels) if label == written]
        return places or [
            place for place, label in enumerate(self.labels) if _loose(label) == _loose(written)
        ]

    def only(self, places: Sequence[int]) -> "Tokens":
        """These tokens alone, in their order."""
        before = [-1, *places]
        return Tokens(
            tuple(self.labels[place] for place in places),
            tuple(self.is_special[place] for place in places),
            tuple(self.segments[place] for place in places),
            # Where the first pieces of a word are left out, the next one begins it.
            tuple(
                any(self.starts_word[last + 1 : place + 1])
                for last, place in zip(before, places, strict=False)
            ),
            tuple(self.positions[place] for place in places),
            tuple(self.is_padding[place] for place in places),
        )

    def padded(self, is_padding: Sequence[bool]) -> "Tokens":
        """The same with some of them known to be padding: special tokens, each its own word."""
        after = [False, *is_padding]  # what follows padding begins a word as well
        return replace(
            self,
            is_special=tuple(map(or_, self.is_special, is_padding)),
            segments=tuple(
                None if padding else segment
                for segment, padding in zip(self.segments, is_padding, strict=True)
            ),
            starts_word=tuple(
                any(starts) for starts in zip(self.starts_word, is_padding, after, strict=False)
            ),
            is_padding=tuple(is_padding),
        )

    def words(self) -> tuple[tuple[int, ...], ...]:
        """The places of the pieces of each word."""
        starts = [place for place in range(len(self)) if place == 0 or self.starts_word[place]]
        ends = [*starts[1:], len(self)]
        return tuple(tuple(range(*ends_of)) for ends_of in zip(starts, ends, strict=True))

    def in_words(self) -> "Tokens":
        """The same text in words instead of pieces."""
        words = self.words()
        return Tokens(
            tuple(shown(joined([self.labels[place] for place in word])) for word in words),
            tuple(self.is_special[word[0]] for word in words),
            tuple(self.segments[word[0]] for word in words),
            (True,) * len(words),
            tuple(sum((self.positions[place] for place in word), ()) for word in words),
            tuple(self.is_padding[word[0]] for word in words),
        )


def plain(labels: Sequence[str]) -> Tokens:
    """Tokens of which nothing is known but what they are called."""
    n, is_special = len(labels), (False,) * len(labels)
    return _of_text(tuple(labels), is_special, (0,) * n, word_starts(labels, is_special))


def numbered(n: int) -> Tokens:
    """Tokens called by their positions."""
    return plain([str(position) for position in range(n)])


def encode(tokenizer: Any, text: str, pair: str | None = None) -> tuple[dict, Tokens]:
    """What the model is given for a text or a sentence pair, as lists, and its tokens.

    Raises InputError for a text with nothing in it and for one that is no valid Unicode.
    The tokenizer is shared between visitors: truncation and padding are state of a fast
    tokenizer, so neither is ever asked for.
    """
    check_text(text)
    if pair is not None:
        check_text(pair, "second text")
    encoding = _split(tokenizer, *(part for part in (text, pair) if part is not None))
    ids = encoding["input_ids"]
    is_special = _special(tokenizer, ids)
    if all(is_special):
        raise InputError(
            f"The model's tokenizer finds nothing it knows in this text: {quoted(text)}."
            "\n\nHint: type a sentence with letters or digits."
        )
    names = labels(tokenizer, ids)
    segments = _segments(encoding, is_special, pair is not None)
    numbers = None
    if getattr(encoding, "is_fast", False):  # a second text counts its words anew
        numbers = list(zip(encoding.sequence_ids(0), encoding.word_ids(0), strict=True))
    return dict(encoding), _of_text(
        names, is_special, segments, word_starts(names, is_special, numbers)
    )


def check_text(text: str, what: str = "text") -> None:
    """Raise InputError unless there is something to read."""
    if not isinstance(text, str):
        raise InputError(
            f"The {what} must be a string; received {type(text).__name__}."
            "\n\nHint: one text at a time, e.g. 'time flies like an arrow'."
        )
    if not text.strip():
        received = "an empty text" if not text else f"{len(text)} blank characters"
        raise InputError(
            f"The {what} is blank: received {received}.\n\nHint: type a sentence, "
            "e.g. 'time flies like an arrow'."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The {what} is not valid Unicode: character {error.start + 1} is half of a pair "
            f"(U+{ord(text[error.start]):04X}).\n\nHint: delete that character and type it again."
        ) from None


def of_ids(tokenizer: Any, ids: list[int]) -> Tokens:
    """The tokens of ids that a model was given or wrote."""
    is_special, names = _special(tokenizer, ids), labels(tokenizer, ids)
    segments = tuple(None if special else 0 for special in is_special)
    return _of_text(names, is_special, segments, word_starts(names, is_special))


def labels(tokenizer: Any, ids: list[int]) -> tuple[str, ...]:
    """Each id's token as people read it: a space is "␣", a piece of a character its bytes."""
    decodes_bytes = _is_byte_level(tokenizer)
    specials = set(tokenizer.all_special_ids)
    return tuple(
        f"<id {token_id}>"  # models may have more ids than their tokenizer has tokens
        if token is None
        else _label(token, decodes_bytes and token_id not in specials)
        for token_id, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    )


def quoted(text: str) -> str:
    """The text inside a message: as it is shown, its beginning alone where it is long."""
    return f"'{shown(text[:MAX_QUOTED])}{'…' if len(text) > MAX_QUOTED else ''}'"


def shown(text: str) -> str:
    """The text, with each character named that draws nothing or redirects what follows."""
    return "".join(
        character if _draws_something(character) else f"<U+{ord(character):04X}>"
        for character in text
    )


def _loose(label: str) -> str:
    return label.strip("␣").casefold()


def is_punctuation(label: str) -> bool:
    """Whether a token is made of punctuation marks alone, but for a space and a piece's mark."""
    marks = label.replace("␣", "")
    marks = marks.removeprefix("##") or marks
    return bool(marks) and all(unicodedata.category(mark).startswith("P") for mark in marks)


def takes_pair(tokenizer: Any) -> bool:
    """Whether the tokenizer joins two texts with separators of its own."""
    alone, paired = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return paired > alone > 0


def _split(tokenizer: Any, *texts: str) -> Any:
    try:
        return tokenizer(*texts)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a fast tokenizer is no Exception
        raise InputError(
            f"The model's tokenizer cannot split this text ({type(error).__name__})."
            "\n\nHint: try a shorter or simpler one, or choose another model."
        ) from None


def _of_text(
    names: tuple[str, ...],
    is_special: tuple[bool, ...],
    segments: tuple[int | None, ...],
    starts_word: tuple[bool, ...],
) -> Tokens:
    positions = tuple((position,) for position in range(len(names)))
    return Tokens(names, is_special, segments, starts_word, positions, (False,) * len(names))


@functools.lru_cache(maxsize=10_000)
def _label(token: str, is_bytes: bool) -> str:
    return shown(_readable(token, is_bytes)).replace(" ", "␣")


def _readable(token: str, is_bytes: bool) -> str:
    if not is_bytes:
        return token.replace("▁", "␣")
    if not set(token) <= _BYTE_OF.keys():  # added to the vocabulary as plain text
        return token
    token_bytes = bytes(_BYTE_OF[character] for character in token)
    try:
        return token_bytes.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in token_bytes)


# Letters and a symbol, by their category, that are blank: Hangul fillers and an empty Braille cell.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"


def _draws_something(character: str) -> bool:
    # Cc: control, Cf: format (bidi overrides, zero-width), Cs: surrogates, Z*: separators
    category = unicodedata.category(character)
    is_blank = category in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"} or character in _BLANK
    return character == " " or not is_blank


def _special(tokenizer: Any, ids: list[int]) -> tuple[bool, ...]:
    specials = set(tokenizer.all_special_ids)
    if tokenizer.unk_token_id not in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        # An unknown word is a word of the text, though [UNK] is listed with the special tokens.
        specials.discard(tokenizer.unk_token_id)
    return tuple(token_id in specials for token_id in ids)


def _segments(encoding: Any, is_special: tuple[bool, ...], is_pair: bool) -> tuple[int | None, ...]:
    if getattr(encoding, "is_fast", False):
        return tuple(encoding.sequence_ids(0))
    segment_ids = encoding.get("token_type_ids") if is_pair else None
    segment_ids = segment_ids or [0] * len(is_special)
    return tuple(
        None if special else segment
        for special, segment in zip(is_special, segment_ids, strict=True)
    )


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return "ByteLevel" in repr(getattr(backend, "decoder", None)) or hasattr(
        tokenizer, "byte_decoder"
    )


def _byte_alphabet() -> dict[str, int]:
    """The character that byte-level tokenizers write for each byte, as GPT-2 introduced it.

    Printable bytes stand for themselves; the others take the next free characters from U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


_BYTE_OF = _byte_alphabet()
