"""Which tokens of two texts stand for each other: both in a row, and a line for each pair."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import altair as alt

from attnviz.charts.parts import palette
from attnviz.charts.parts.axes import CHARACTER, FONT_SIZE, LABEL_LENGTH
from attnviz.charts.parts.figure import MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.window import MAX_TOKENS
from attnviz.heads.aligning import Alignment, alike
from attnviz.text.phrases import counted

WIDTH = 860  # px, at most
GAP = 12  # px between two tokens
LINES = 44  # px between the two rows of tokens
LEFT = 24  # px, for what the rows are called
STANDING_PITCH = 20  # px a token

Side = Literal["a", "b"]


def alignment_figure(
    labels_a: Sequence[str], labels_b: Sequence[str], alignment: Alignment
) -> Figure:
    """The tokens of A above those of B, a line for each pair; what has no partner is grey.

    Of a longer text the first 40 tokens are drawn, and a note says so. Raises InputError for an
    alignment that does not fit.
    """
    alignment.check(len(labels_a), len(labels_b))
    drawn = {"a": list(labels_a[:MAX_TOKENS]), "b": list(labels_b[:MAX_TOKENS])}
    pairs = [(a, b) for a, b in alignment.pairs if max(a, b) < MAX_TOKENS]
    paired = {"a": set(alignment.of_a), "b": set(alignment.of_b)}
    pitch, is_standing = _pitch([*drawn["a"], *drawn["b"]], max(map(len, drawn.values())))
    heights = {
        side: min(LABEL_LENGTH, _width(tokens)) if is_standing else FONT_SIZE
        for side, tokens in drawn.items()
    }
    constants = {
        **{f"tokens_{side}": tokens for side, tokens in drawn.items()},
        **{
            f"is_paired_{side}": [int(at in paired[side]) for at in range(len(tokens))]
            for side, tokens in drawn.items()
        },
        "pair_a": [a for a, _ in pairs],
        "pair_b": [b for _, b in pairs],
        "pitch": pitch,
        "top": heights["a"] + 6,
        "note": _note(labels_a, labels_b),
    }
    n_a, n_b = len(drawn["a"]), len(drawn["b"])
    size = LEFT + pitch * max(n_a, n_b), sum(heights.values()) + LINES + 12
    return Figure(
        _structure(n_a, n_b, len(pairs), is_standing, size),
        constants,
        takeaway(labels_a, labels_b, alignment),
        n_marks=n_a + n_b + len(pairs) + 2,
    )


def takeaway(labels_a: Sequence[str], labels_b: Sequence[str], alignment: Alignment) -> str:
    """What the figure shows, for those who do not see it."""
    n_alike = sum(alike(labels_a[a], labels_b[b]) for a, b in alignment.pairs)
    n_pairs = len(alignment.pairs)
    return (
        f"Alignment of {counted(len(labels_a), 'token')} of A and "
        f"{counted(len(labels_b), 'token')} of B: {counted(n_pairs, 'pair')}, {n_alike} of them "
        f"alike; without a partner {len(labels_a) - n_pairs} of A and {len(labels_b) - n_pairs} "
        "of B."
    )


@lru_cache(MAX_STRUCTURES)
def _structure(
    n_a: int, n_b: int, n_pairs: int, is_standing: bool, size: tuple[int, int]
) -> dict[str, Any]:
    layers = [_lines(n_pairs)]
    sides: tuple[tuple[Side, int], ...] = (("a", n_a), ("b", n_b))
    for side, n in sides:
        layers += [_tokens(side, n, is_standing), _name(side)]
    chart = alt.LayerChart(layer=layers).properties(
        width=size[0], height=size[1], title=note_above()
    )
    return structure_of(chart) | {"autosize": {"type": "pad"}}


def _lines(n: int) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.sequence(n, as_="pair"))
        .transform_calculate(
            x=_middle("pair_a[datum.pair]"),
            x2=_middle("pair_b[datum.pair]"),
            y="top + 4",
            y2=f"top + {LINES - 4}",
        )
        .mark_rule(strokeWidth=1.5, stroke=alt.expr(palette.LINE), aria=False, tooltip=None)
        .encode(x=_x(), x2="x2:Q", y=_y(), y2="y2:Q")
    )
    return chart


def _tokens(side: Side, n: int, is_standing: bool) -> alt.Chart:
    """Of A they end at the lines, of B they begin there."""
    is_above = side == "a"
    place: dict[str, Any]
    if is_standing:
        place = {"angle": 270, "align": "left" if is_above else "right", "baseline": "middle"}
    else:
        place = {"align": "center", "baseline": "bottom" if is_above else "top"}
    has_partner = f"is_paired_{side}[datum.place]"
    chart: alt.Chart = (
        alt.Chart(alt.sequence(n, as_="place"))
        .transform_calculate(
            x=_middle("datum.place"),
            y="top" if is_above else f"top + {LINES}",
            token=f"tokens_{side}[datum.place]",
        )
        .mark_text(
            fontSize=FONT_SIZE,
            limit=LABEL_LENGTH,
            fill=alt.expr(f"{has_partner} ? {palette.TEXT} : {palette.FAINT}"),
            description=alt.expr(f"datum.token + ({has_partner} ? '' : ', without a partner')"),
            **place,
        )
        .encode(
            x=_x(),
            y=_y(),
            text="token:N",
            tooltip=[alt.Tooltip("token:N"), alt.Tooltip("place:Q", title="position")],
        )
    )
    return chart


def _name(side: Side) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(x="0", y="top" if side == "a" else f"top + {LINES}")
        .mark_text(
            text=side.upper(),
            align="left",
            baseline="bottom" if side == "a" else "top",
            fontSize=FONT_SIZE,
            fontWeight="bold",
            fill=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        )
        .encode(x=_x(), y=_y())
    )
    return chart


def _pitch(labels: Sequence[str], n: int) -> tuple[int, bool]:
    """px from one token to the next, and whether they have to stand."""
    flat = min(_width(labels), LABEL_LENGTH) + GAP
    return (flat, False) if n * flat <= WIDTH - LEFT else (STANDING_PITCH, True)


def _width(labels: Sequence[str]) -> int:
    """px of the longest, about."""
    return round(max(map(len, labels), default=1) * CHARACTER * FONT_SIZE) + 1


def _middle(place: str) -> str:
    return f"{LEFT} + pitch * ({place} + 0.5)"


def _note(labels_a: Sequence[str], labels_b: Sequence[str]) -> list[str]:
    parts = [
        f"0 to {MAX_TOKENS - 1} of {len(labels)} in {name}"
        for name, labels in (("A", labels_a), ("B", labels_b))
        if len(labels) > MAX_TOKENS
    ]
    return [f"shown: tokens {', '.join(parts)}"] if parts else []


def _x() -> alt.X:
    return alt.X("x:Q", scale=None, axis=None)


def _y() -> alt.Y:
    return alt.Y("y:Q", scale=None, axis=None)
