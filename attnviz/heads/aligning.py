"""Which tokens of one text stand for which of another."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from numbers import Integral

from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

_SPELLED = re.compile(r"\d{1,6}-\d{1,6}( \d{1,6}-\d{1,6})*", re.ASCII)


@dataclass(frozen=True)
class Alignment:
    """Pairs of places, the first in A and the second in B, in the order in which they are shown.

    A place has one partner or none. Pairs may cross, for languages do not agree on an order.
    """

    pairs: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        """As a link and a shell spell it: "0-0 1-2"."""
        return " ".join(f"{a}-{b}" for a, b in self.pairs)

    @classmethod
    def read(cls, written: str) -> "Alignment":
        """The alignment that is spelled so. Raises InputError for what spells none."""
        if not _SPELLED.fullmatch(written):
            raise InputError(
                f"{quoted(written)} is not an alignment.\n\nHint: write pairs of places, the "
                "first in A and the second in B: 0-0 1-2."
            )
        pairs = (pair.split("-") for pair in written.split())
        return cls(tuple((int(a), int(b)) for a, b in pairs))

    @property
    def of_a(self) -> list[int]:
        return [a for a, _ in self.pairs]

    @property
    def of_b(self) -> list[int]:
        return [b for _, b in self.pairs]

    def row_of(self, place: int | None) -> int | None:
        """Which pair has this place of A; None where none does."""
        return self.of_a.index(place) if place in self.of_a else None

    def check(self, n_a: int, n_b: int) -> None:
        """Raise InputError unless all places are there, in texts of so many tokens, and once."""
        for pair in self.pairs:
            if len(pair) != 2 or not all(isinstance(place, Integral) for place in pair):
                raise InputError(
                    f"{pair!r} is not a pair of places.\n\nHint: two whole numbers, as in (0, 0)."
                )
        for name, n, places in (("A", n_a, self.of_a), ("B", n_b, self.of_b)):
            counts = Counter(places)
            for pair, place in zip(self.pairs, places, strict=True):
                if place not in range(n):
                    raise InputError(
                        f"The pair {pair!r} names place {place!r} of {name}, which has {n} tokens."
                        "\n\nHint: a pair is a place in A and one in B, both counted from 0."
                    )
                if counts[place] > 1:
                    raise InputError(
                        f"The pair {pair!r} names place {place!r} of {name}, as another pair does."
                        "\n\nHint: each token has one partner; remove one of the pairs."
                    )


def aligned(labels_a: Sequence[str], labels_b: Sequence[str]) -> Alignment:
    """The pairs of tokens that stand for each other, in the order of both texts.

    Runs of tokens that are `alike` pair up. What stands between two such runs in A pairs with
    what stands there in B, in order, as far as both reach; the rest has no partner.
    """
    bare_a, bare_b = ([_bare(label) for label in labels] for labels in (labels_a, labels_b))
    # Of a long text the tokens that make up more than 1 % begin no run, which bounds the time.
    matcher = SequenceMatcher(None, bare_a, bare_b, autojunk=True)
    pairs: list[tuple[int, int]] = []
    for _, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        pairs += zip(range(a_start, a_end), range(b_start, b_end), strict=False)
    return Alignment(tuple(pairs))


def alike(label_a: str, label_b: str) -> bool:
    """Whether two tokens say the same but for case, a space before and the mark of a piece."""
    return _bare(label_a) == _bare(label_b)


def _bare(label: str) -> str:
    said = label.replace("␣", "") or label
    return (said.removeprefix("##") or said).casefold()
