"""What tokens add to their text, as their tokenizer means them.

No tokenizer is known by its name. Each is asked what its own decoder makes of a token between two
letters; where that cannot be said, the marks that tokenizers write are taken for what they mean.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from attnviz.text.words import escaped, is_escaped, owners_of_bytes, spelled

_BEFORE, _BEHIND = "x", "z"  # letters, which no decoder changes
_BYTE = re.compile("<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Piece:
    """The text of a token, and whether it is marked as a part of a word."""

    text: str  # with its spaces; `words.escaped` where it is no whole character
    goes_on: bool = False  # with the word before
    is_unfinished: bool = False  # what follows goes on with it

    @property
    def label(self) -> str:
        """What people read: a space is "␣", and "##" marks a piece that goes on."""
        return ("##" if self.goes_on else "") + spelled(self.text).replace(" ", "␣")


@dataclass(frozen=True)
class Reading:
    """The pieces of a text, and whether spaces in them, rather than marks, part its words."""

    pieces: tuple[Piece, ...]
    has_spaces: bool

    @property
    def is_piece(self) -> tuple[bool | None, ...]:
        """Of each whether it goes on where the one before it ends; None where letters say so."""
        apart = None if self.has_spaces else False
        before = [Piece(""), *self.pieces]
        return tuple(
            True if piece.goes_on else None if last.is_unfinished else apart
            for last, piece in zip(before, self.pieces, strict=False)
        )


def read(
    tokenizer: Any, tokens: Sequence[str], plain: Collection[str], unsure: Collection[str]
) -> Reading:
    """What a tokenizer's tokens mean.

    Those in `plain` were added to its vocabulary as the text that they are; those in `unsure`
    were, too, but have the name of another one, which may be meant: that of a byte.
    """
    known: dict[str, Piece] = {token: Piece(token) for token in plain}
    others = [token for token in tokens if token not in known]
    reader = _by_decoder(tokenizer) or _by_marks(others)
    for token in others:
        if token not in known:
            known[token] = reader(token)
    pieces = [known[token] for token in tokens]
    if any(token in unsure for token in others):
        pieces = _meant(tokens, pieces, unsure)
    return Reading(tuple(pieces), reader.has_spaces)


def by_marks(tokens: Sequence[str], plain: Collection[str] = ()) -> Reading:
    """What tokens mean whose tokenizer is not known, by the marks in them."""
    reader = _by_marks([token for token in tokens if token not in plain])
    pieces = (Piece(token) if token in plain else reader(token) for token in tokens)
    return Reading(tuple(pieces), reader.has_spaces)


def of_labels(labels: Sequence[str]) -> Reading:
    """The pieces that are called so."""

    def piece(label: str) -> Piece:
        goes_on = label.startswith("##") and label != "##"
        text = _BYTE.sub(lambda byte: escaped(bytes.fromhex(byte[1])), label)
        return Piece(text.replace("␣", " ").removeprefix("##" if goes_on else ""), goes_on)

    pieces = tuple(map(piece, labels))
    return Reading(pieces, any(piece.text.startswith(" ") for piece in pieces))


@dataclass(frozen=True)
class _Reader:
    """What reads tokens one by one."""

    read: Callable[[str], Piece | None]  # None: as it stands
    has_spaces: bool

    def __call__(self, token: str) -> Piece:
        return self.read(token) or Piece(token)


# By the decoder


def _by_decoder(tokenizer: Any) -> _Reader | None:
    """How the tokenizer's own decoder reads a token; None where it has none that can be asked."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.decoder is None:
        return None
    if backend is None and (of_byte := _spelling(tokenizer)) is not None:
        return _Reader(of_byte, has_spaces=True)
    suffix = getattr(getattr(backend, "model", None), "end_of_word_suffix", None) or ""

    def decoded(*tokens: str) -> str | None:
        """What stands between the letters; None where they are not there."""
        try:
            text = tokenizer.convert_tokens_to_string([_BEFORE, *tokens, _BEHIND])
        except Exception:  # of tokens that are none of its own
            return None
        whole = isinstance(text, str) and text[:1] == _BEFORE and text[-1:] == _BEHIND
        return text[1:-1] if whole else None

    def spaced(token: str) -> Piece | None:
        text = decoded(token)
        if text is None:
            return None
        bare = text.removeprefix(" ").removesuffix(" ")
        if not bare or bare == token:
            return None  # nothing in it is a mark
        return Piece(bare, not text.startswith(" "), not text.endswith(" "))

    def seamless(token: str) -> Piece | None:
        text = decoded(token)
        if not text or ("\ufffd" in text and "\ufffd" not in token):
            content = _bytes_of(token)
            text = None if content is None else escaped(content)
        if text and suffix and text.endswith(suffix):
            text = text.removesuffix(suffix) + " "
        return Piece(text) if text else None

    between = decoded()
    if between == "":
        return _Reader(seamless, has_spaces=True)
    return _Reader(spaced, has_spaces=False) if between == " " else None


def _spelling(tokenizer: Any) -> Callable[[str], Piece | None] | None:
    """How a tokenizer that writes every byte as a token does it; None for others."""
    try:
        tokens = tokenizer.tokenize("é")
    except Exception:  # of one that is no tokenizer of transformers
        return None
    content = "é".encode()
    if tokens == [chr(byte) for byte in content]:
        return lambda token: Piece(escaped(token.encode("latin-1"))) if token < "\u0100" else None
    if tokens == [f"{byte:02x}" for byte in content]:
        is_byte = re.compile("[0-9a-f]{2}").fullmatch
        return lambda token: Piece(escaped(bytes.fromhex(token))) if is_byte(token) else None
    return None


# By marks


def _by_marks(tokens: Sequence[str]) -> _Reader:
    """How to read these tokens, of whatever tokenizer they are."""
    if any("Ġ" in token for token in tokens):
        return _Reader(lambda token: Piece(escaped(_bytes_of(token) or token.encode())), True)

    def marked(token: str) -> Piece:
        if _BYTE.fullmatch(token):
            return Piece(escaped(_bytes_of(token) or b""))
        text = token.replace("▁", " ").replace("␣", " ")
        if text.endswith("</w>"):
            text = text.removesuffix("</w>") + " "
        goes_on = text.startswith("##") and len(text) > 2
        is_unfinished = text.endswith("@@") and len(text) > 2
        text = text[2:] if goes_on else text[:-2] if is_unfinished else text
        return Piece(text, goes_on, is_unfinished)

    has_spaces = any({"▁", "␣"} & set(token) or token.endswith("</w>") for token in tokens)
    return _Reader(marked, has_spaces)


def _bytes_of(token: str) -> bytes | None:
    """The bytes that a token spells; None where it spells none."""
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    if set(token) <= _BYTE_OF.keys():
        return bytes(_BYTE_OF[character] for character in token)
    return None


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


def _meant(tokens: Sequence[str], pieces: Sequence[Piece], unsure: Collection[str]) -> list[Piece]:
    """The pieces, where a token is a byte only if it makes a character with those beside it."""
    owners = owners_of_bytes([piece.text for piece in pieces])
    return [
        Piece(token)
        if token in unsure and any(is_escaped(character) for _, character in of_piece)
        else piece
        for token, piece, of_piece in zip(tokens, pieces, owners, strict=True)
    ]
