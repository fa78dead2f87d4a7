"""A tokenizer's tokens as people read them, and what a model is given for them."""

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attnviz.text import compat, packages, pieces, tokens
from attnviz.text.characters import quoted, shown
from attnviz.text.errors import InputError, gist
from attnviz.text.pieces import Piece, Reading
from attnviz.text.tokens import Tokens

# A tokenizer is shared, and one that reads targets in a way of their own is switched for that.
_splitting = threading.Lock()


def encode(tokenizer: Any, text: str, pair: str | None = None) -> tuple[dict[str, Any], Tokens]:
    """What the model is given for a text or a sentence pair, as lists, and its tokens.

    Raises InputError for a text with nothing in it and for one that is no valid Unicode.
    The tokenizer is shared between visitors: truncation and padding are state of a fast
    tokenizer, so neither is ever asked for.
    """
    check_text(text)
    if pair is not None:
        check_text(pair, "second text")
    texts = [part for part in (text, pair) if part is not None]
    encoding = _split(tokenizer, *texts)
    read = of_ids(tokenizer, encoding["input_ids"], encoding)
    if all(read.is_special) and len(read) <= tokenizer.num_special_tokens_to_add(len(texts) > 1):
        raise InputError(
            f"The model's tokenizer finds nothing it knows in this text: {quoted(text)}."
            "\n\nHint: type a sentence with letters or digits."
        )
    return dict(encoding), read


def target_ids(tokenizer: Any, text: str) -> list[int]:
    """The labels that a model is trained with for a target text, with the tokenizer's own ends.

    Raises InputError for a text with nothing in it, and as the tokenizer cannot split it.
    """
    check_text(text, "target text")
    if not _has_two_vocabularies(tokenizer) or compat.has_target_mode(tokenizer):
        language = getattr(tokenizer, "tgt_lang", "")
        ids = list(_split(tokenizer, text_target=text)["input_ids"])
        if language is None:  # which the tokenizer has set to the source's, to stay
            tokenizer.tgt_lang = None
        return ids
    # It looks every token up among the source's, whatever the text is.
    known = tokenizer.convert_ids_to_tokens(range(tokenizer.tgt_vocab_size))
    id_of = {token: token_id for token_id, token in enumerate(known)}
    names = [*tokenizer.tokenize(text), tokenizer.sep_token]
    return [id_of.get(name, id_of[tokenizer.unk_token]) for name in names]


def check_text(text: str, what: str = "text") -> None:
    """Raise InputError unless there is something to read."""
    if not isinstance(text, str):
        raise InputError(
            f"The {what} must be a string; received {type(text).__name__}."
            "\n\nHint: one text at a time, e.g. 'time flies like an arrow'."
        )
    if not text.strip():
        blank = f": received {len(text)} blank characters" if text else ""
        raise InputError(f"Enter a {what}{blank}.\n\nHint: for example 'time flies like an arrow'.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The {what} is not valid Unicode: character {error.start + 1} is half of a pair "
            f"(U+{ord(text[error.start]):04X}).\n\nHint: delete that character and type it again."
        ) from None


def of_ids(
    tokenizer: Any,
    ids: Sequence[int],
    encoding: Any = None,
    *,
    of_target: bool = False,
) -> Tokens:
    """The tokens of ids that a model was given or wrote, of a target's vocabulary or a source's.

    `encoding` is what the tokenizer returned with them; it tells texts, and perhaps words, apart.
    """
    called = _names(tokenizer, ids, of_target)
    # Models may have more ids than their tokenizer has tokens.
    unnamed = {place: f"<id {ids[place]}>" for place, name in enumerate(called) if name is None}
    names = [unnamed.get(place) or str(name) for place, name in enumerate(called)]
    specials = _specials(tokenizer)
    reading = _reading(tokenizer, names, specials)
    is_special = tuple(name in specials and not _is_unknown(tokenizer, name) for name in names)
    texts, numbers = _texts_and_words(encoding, len(ids))
    segments = [None if special else text for special, text in zip(is_special, texts, strict=True)]
    read = tokens.of_pieces(reading, is_special, segments, numbers)
    if not unnamed:
        return read
    return read.relabelled([unnamed.get(place, label) for place, label in enumerate(read.labels)])


def _texts_and_words(encoding: Any, n: int) -> tuple[list[int | None], list[object] | None]:
    """Which of two texts each token is of, and what tells its words apart, as far as it is said."""
    if getattr(encoding, "is_fast", False) and len(encoding.word_ids(0)) == n:
        texts = encoding.sequence_ids(0)
        return texts, list(zip(texts, encoding.word_ids(0), strict=True))  # counted in each text
    types = np.ravel((encoding or {}).get("token_type_ids", [])).tolist()
    return (types if len(types) == n else [0] * n), None


def of_names(names: Sequence[str]) -> Tokens:
    """The tokens that somebody names, perhaps as a tokenizer does: by the marks in the names.

    What stands in angle or square brackets as a whole is special, but for bytes and the unknown.
    """
    is_special = [bool(_SPECIAL.fullmatch(name)) for name in names]
    plain = {name for name, special in zip(names, is_special, strict=True) if special}
    return tokens.of_pieces(pieces.by_marks(names, plain), is_special, [0] * len(names))


_SPECIAL = re.compile(
    r"<(?!unk>|UNK>|0x[0-9A-F]{2}>|U\+[0-9A-F]+>)[^\s<>]+>|\[(?!UNK\])[A-Z_0-9]+\]"
)


def takes_pair(tokenizer: Any) -> bool:
    """Whether the tokenizer joins two texts with separators of its own."""
    alone, paired = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return bool(paired > alone > 0)


def _split(tokenizer: Any, *texts: str, **more: str) -> Any:
    try:
        with _splitting:
            return tokenizer(*texts, **more)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a fast tokenizer is no Exception
        if (package := packages.missing(error)) is not None:
            raise InputError(packages.needed("The model's tokenizer", package)) from None
        if "text_target" in more and getattr(tokenizer, "tgt_lang", "") is None:
            raise InputError(
                "The tokenizer does not know the language of the target: its tgt_lang is None."
                "\n\nHint: tokenizer.tgt_lang = 'de', or leave target out."
            ) from None
        raise InputError(
            f"The model's tokenizer cannot split this text ({type(error).__name__}: {gist(error)})."
            "\n\nHint: try a shorter or simpler one, or choose another model."
        ) from None


def _names(tokenizer: Any, ids: Sequence[int], of_target: bool) -> list[str | None]:
    """What the tokenizer calls each id; None where it knows no such id."""
    if _has_two_vocabularies(tokenizer) and not of_target:
        of_source = {token_id: name for name, token_id in tokenizer.get_src_vocab().items()}
        return [of_source.get(token_id) for token_id in ids]
    try:
        return list(tokenizer.convert_ids_to_tokens(list(ids)))
    except Exception:  # of a vocabulary that another library keeps
        return [_name(tokenizer, token_id) for token_id in ids]


def _name(tokenizer: Any, token_id: int) -> str | None:
    try:
        name: str | None = tokenizer.convert_ids_to_tokens(token_id)
    except Exception:
        return None
    return name


def _has_two_vocabularies(tokenizer: Any) -> bool:
    """Whether an id is another token in a source than in a target."""
    return hasattr(tokenizer, "get_src_vocab")


def _specials(tokenizer: Any) -> set[str]:
    """The tokens that are no part of a text, by their content."""
    declared = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    languages = getattr(tokenizer, "lang_token_to_id", ())  # which m2m_100 does not declare
    return declared.union(map(str, tokenizer.all_special_tokens), languages)


def _is_unknown(tokenizer: Any, name: str | None) -> bool:
    """Whether it stands for a word of the text, though it is listed with the special tokens."""
    return name == tokenizer.unk_token and name not in (tokenizer.bos_token, tokenizer.eos_token)


def _reading(tokenizer: Any, names: Sequence[str], specials: set[str]) -> Reading:
    """What tokens mean; those that were added to the vocabulary are the text that they are."""
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    added = added.intersection(names) - specials
    # Added to those that were there already: of a tokenizer of bytes all have names of one letter.
    unsure = {
        name
        for name in added
        if (len(name) == 1 if model is None else model.token_to_id(name) is not None)
    }
    plain = specials.intersection(names) | added - unsure
    reading = pieces.read(tokenizer, names, plain, unsure)
    roles = {
        str(token): f"[{role.removesuffix('_token').upper()}]"
        for role, token in tokenizer.special_tokens_map.items()
    }
    return replace(
        reading,
        pieces=tuple(
            Piece(roles.get(piece.text, piece.text))
            if _is_blank(piece.text) and piece.text in specials
            else piece
            for piece in reading.pieces
        ),
    )


def _is_blank(text: str) -> bool:
    return shown(text).count("<U+") == len(text)
