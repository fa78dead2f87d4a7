"""A tokenizer's tokens as people read them, and what a model is given for them."""

import functools
from collections.abc import Sequence
from typing import Any

from attnviz.text.characters import quoted, shown
from attnviz.text.errors import InputError
from attnviz.text.tokens import Token, Tokens
from attnviz.text.words import word_starts


def encode(tokenizer: Any, text: str, pair: str | None = None) -> tuple[dict[str, Any], Tokens]:
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
    return dict(encoding), _of_text(names, is_special, segments, numbers)


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
    return _of_text(names, is_special, segments)


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


def takes_pair(tokenizer: Any) -> bool:
    """Whether the tokenizer joins two texts with separators of its own."""
    alone, paired = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return bool(paired > alone > 0)


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
    names: Sequence[str],
    is_special: Sequence[bool],
    segments: Sequence[int | None],
    numbers: Sequence[object] | None = None,
) -> Tokens:
    """The tokens; `numbers` tell words apart as the tokenizer does, where it says so."""
    starts = word_starts(names, is_special, numbers)
    parts = zip(names, is_special, segments, starts, strict=True)
    return Tokens(Token(*part, (position,)) for position, part in enumerate(parts))


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
