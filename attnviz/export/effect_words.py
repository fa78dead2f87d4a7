"""What Effect says in words, on the page, in files and in a terminal: Markdown, a line each."""

from collections.abc import Iterator

from attnviz.attention.explained import said
from attnviz.attention.trace import Trace
from attnviz.charts.effect import pushing
from attnviz.export.screen import More, Screen

TOTAL = (
    "This is the total effect: later layers go on from what is left, and other heads can take over "
    "(back-up heads), so a head without effect here may still matter. Zeros are not what a head "
    "gives on average."
)
PATCHED = (
    "This is the total effect: later layers go on from what was put in, and other heads can take "
    "over (back-up heads), so a head without effect here may still matter. It compares two texts, "
    "and another text to patch with gives another effect."
)


def found(screen: Screen, trace: Trace, more: More) -> Iterator[str]:
    """What becomes of the followed token without the head, and which heads push it most."""
    both, asking = more.effect, screen.effect
    if both is not None:
        says = said.answering(both.attrs, answering_tokens(trace))
        first = both.iloc[0]
        yield (
            f"{says} {said.called(first['token'])} first, with {said.share(first['before'])}. "
            f"{said.without_it(both.attrs, screen.layer, screen.head, asking.patch)} "
            f"{said.in_numbers(both.attrs)}."
        )
    if more.sweep is not None:
        yield from pushed(more)
    yield PATCHED if asking.patch else TOTAL


def pushed(more: More) -> Iterator[str]:
    """The heads that push the followed token most up and most down."""
    table = more.sweep
    assert table is not None
    for way in (1, -1):
        for _, row in pushing(table, way, 1).iterrows():
            place = str(row["kind"]), int(row["layer"]), int(row["head"])
            yield said.strongest_of(*place, way, float(row["change"]), table.attrs["token"])


def answering_tokens(trace: Trace) -> tuple[str, ...]:
    """The tokens whose positions can answer: those of a target, where there is one."""
    return trace.tokens if trace.target_tokens is None else trace.target_tokens
