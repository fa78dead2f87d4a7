"""Tokens as people read them: what each is called, and where it stands in its text."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnviz.text.errors import InputError
from attnviz.text.pieces import Reading, of_labels
from attnviz.text.words import joined, spelled, word_starts


@dataclass(frozen=True)
class Token:
    """One token of a text; after a filter it may stand for a word."""

    label: str
    is_special: bool  # the tokenizer adds it, as [CLS]
    segment: int | None  # 0 or 1 in a sentence pair; None for special tokens
    starts_word: bool
    positions: tuple[int, ...]  # of the text's own tokens that it stands for
    text: str  # what it adds to the text: the label without marks; bytes as `words.escaped`
    is_padding: bool = False  # behind or before a text, to fill a batch; nothing reads it

    @property
    def is_punctuation(self) -> bool:
        """Whether it is made of punctuation marks and spaces alone, by Unicode's category P."""
        marks = self.text.replace(" ", "")
        are_marks = all(unicodedata.category(mark).startswith("P") for mark in marks)
        return bool(marks) and are_marks and not self.is_special


class Tokens(tuple[Token, ...]):
    """The tokens of one text, in order; after a filter some of them, or its words."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(token.label for token in self)

    @property
    def is_special(self) -> tuple[bool, ...]:
        return tuple(token.is_special for token in self)

    @property
    def is_punctuation(self) -> tuple[bool, ...]:
        return tuple(token.is_punctuation for token in self)

    @property
    def is_padding(self) -> tuple[bool, ...]:
        return tuple(token.is_padding for token in self)

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """The positions in the text that each of these stands for."""
        return tuple(token.positions for token in self)

    def place_of(self, position: int) -> int | None:
        """Which of these stands for the text's token at a position; None where none does."""
        places = (place for place, token in enumerate(self) if position in token.positions)
        return next(places, None)

    def called(self, name: str) -> list[int]:
        """The places of the tokens that are written so.

        Where none is written exactly so, a token is found without the space before it and in
        other letters' case.
        """
        written = name.replace(" ", "␣")
        labels = self.labels
        places = [place for place, label in enumerate(labels) if label == written]
        return places or [
            place for place, label in enumerate(labels) if _loose(label) == _loose(written)
        ]

    def relabelled(self, labels: Sequence[str]) -> "Tokens":
        """The same tokens, called otherwise."""
        return Tokens(
            replace(token, label=label) for token, label in zip(self, labels, strict=True)
        )

    def behind(self, earlier: "Tokens") -> "Tokens":
        """Those, and these behind them: one text, in which these stand so much later."""
        n = len(earlier)
        moved = (
            replace(token, positions=tuple(n + place for place in token.positions))
            for token in self
        )
        return Tokens((*earlier, *moved))

    def only(self, places: Sequence[int]) -> "Tokens":
        """These tokens alone, in their order.

        Where the first pieces of a word are left out, the next one begins it.
        """
        return Tokens(
            replace(
                self[place],
                starts_word=any(token.starts_word for token in self[last + 1 : place + 1]),
            )
            for last, place in zip([-1, *places], places, strict=False)
        )

    def padded(self, is_padding: Sequence[bool]) -> "Tokens":
        """The same with some of them known to be padding: special tokens, each its own word.

        What follows padding begins a word as well.
        """
        return Tokens(
            replace(
                token,
                is_special=token.is_special or is_padded,
                segment=None if is_padded else token.segment,
                starts_word=token.starts_word or is_padded or follows,
                is_padding=is_padded,
            )
            for token, is_padded, follows in zip(
                self, is_padding, [False, *is_padding], strict=False
            )
        )

    def words(self) -> tuple[tuple[int, ...], ...]:
        """The places of the pieces of each word."""
        starts = [place for place, token in enumerate(self) if place == 0 or token.starts_word]
        ends = [*starts[1:], len(self)]
        return tuple(tuple(range(*ends_of)) for ends_of in zip(starts, ends, strict=True))

    def in_words(self) -> "Tokens":
        """The same text in words instead of pieces."""
        return Tokens(_word([self[place] for place in word]) for word in self.words())


def _word(tokens: Sequence[Token]) -> Token:
    text = joined([token.text for token in tokens])
    mark = "##" if tokens[0].label.startswith("##") and not text.startswith("##") else ""
    return replace(
        tokens[0],
        label=mark + (spelled(text.strip(" ")) or spelled(text).replace(" ", "␣")),
        starts_word=True,
        positions=sum((token.positions for token in tokens), ()),
        text=text,
    )


def of_pieces(
    reading: Reading,
    is_special: Sequence[bool],
    segments: Sequence[int | None],
    numbers: Sequence[object] | None = None,
) -> Tokens:
    """The tokens of a text; `numbers` tell words apart as the tokenizer does, where it says so."""
    texts = [piece.text for piece in reading.pieces]
    starts = word_starts(texts, is_special, reading.is_piece, numbers)
    parts = zip(reading.pieces, is_special, segments, starts, strict=True)
    return Tokens(
        Token(piece.label, special, segment, start, (position,), piece.text)
        for position, (piece, special, segment, start) in enumerate(parts)
    )


def plain(labels: Sequence[str]) -> Tokens:
    """Tokens of which nothing is known but what they are called."""
    tokens = of_pieces(of_labels(labels), [False] * len(labels), [0] * len(labels))
    return tokens.relabelled(labels)


def check_letters(names: Sequence[str], what: str) -> None:
    """Raise InputError for names that nobody could read; in all they may be as long as a text."""
    n_letters, most = sum(map(len, names)), max(_MOST_LETTERS, 100 * len(names))
    if n_letters > most:
        raise InputError(
            f"{what} has {n_letters:,} letters in all, and at most {most:,} are read."
            "\n\nHint: give shorter names, or none at all."
        )


_MOST_LETTERS = 10_000  # of few names; of many 100 for each


def numbered(n: int) -> Tokens:
    """Tokens called by their positions."""
    return plain([str(position) for position in range(n)])


def _loose(label: str) -> str:
    return label.strip("␣").casefold()
