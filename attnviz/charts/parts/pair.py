"""The query and the key token that are followed through the steps."""

from dataclasses import dataclass

from attnviz.attention.head import HeadTrace
from attnviz.text.errors import InputError


@dataclass(frozen=True)
class Pair:
    """Their positions; None where only the other one is followed."""

    query: int | None
    key: int | None


def pair_of(head: HeadTrace, query: int | None, key: int | None) -> Pair:
    """The pair at two positions, or one of them alone. Raises InputError for one that is not."""
    for what, position, tokens in (
        ("query", query, head.query_tokens),
        ("key", key, head.key_tokens),
    ):
        if position is not None and position not in range(len(tokens)):
            raise InputError(
                f"There is no {what} token {position!r}.\n\nHint: positions run from 0 to "
                f"{len(tokens) - 1}."
            )
    return Pair(query, key)
