"""Where the parts of a head's overview stand, in units of which it is 920 wide.

They are pixels where it is drawn as wide; on a wider page it stretches.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, scaling_factor, steps_of
from attnviz.charts.parts.axes import is_of_pairs
from attnviz.charts.parts.blocks import Blocks, in_blocks
from attnviz.charts.parts.values import ScaleEnd, scale_end

TOTAL = 920
CHIP_HEIGHT, ROW_PITCH = 30, 38
CHIP_FONT_SIZE, LETTER = 16, 9.4  # px; LETTER: how wide one is
LONGEST_NAME = 16  # letters
BETWEEN_CHIPS = 6
SINK, OTHERS = -1, -2  # positions of what is no token
MOST_CHIPS = 20  # in a row: more have no room
SENTENCE_HEIGHT = 52  # of one row of tokens and their percentages
TITLES_HEIGHT, MATRIX_HEIGHT, SIZES_HEIGHT = 22, 76, 14
MAX_ROWS, MAX_COLUMNS = 24, 32  # of blocks
_OF_D_MODEL = 1.15  # times as wide as the others
_TITLES = {
    "x_query": "embeddings",
    "x_key": "keys’ x",
    "q_before_rotary": "query",
    "k_before_rotary": "key",
    "biased": "bias",
}


@dataclass(frozen=True)
class Chips:
    """The tokens of the sentence: queries, where they are another text, and below them keys."""

    queries: list[int]  # positions
    keys: list[int]
    positions: list[int]  # of queries, where they have a row of their own, then keys and others
    left: list[float]
    right: list[float]
    has_two_rows: bool
    has_sink: bool
    n_others: int  # keys that are not shown


@dataclass(frozen=True, eq=False)
class Panel:
    """One small matrix, and what leads to it."""

    step: Step
    title: str
    operator: str
    blocks: Blocks
    left: float
    right: float
    gap: float  # to its left

    @cached_property
    def end(self) -> ScaleEnd:
        """Where its colours end."""
        if self.step.name == "weights":
            return ScaleEnd(1.0, is_cut=False)
        return scale_end(self.blocks.values)

    def per(self, axis: str, side: int) -> int:
        """The tokens of a row (side 0) or a column (1), where that side is this axis; else 0."""
        return (self.blocks.rows, self.blocks.columns)[side] if self.step.axes[side] == axis else 0


def height_of(chips: Chips, has_matrices: bool) -> int:
    sentence = SENTENCE_HEIGHT + ROW_PITCH * chips.has_two_rows
    return sentence + has_matrices * (TITLES_HEIGHT + MATRIX_HEIGHT + SIZES_HEIGHT)


# The sentence


def chips_of(head: HeadTrace, query: int, key: int) -> Chips:
    """As many tokens as fit: the pair, and the keys that the query gives most."""
    has_two_rows = head.query_tokens != head.key_tokens
    sink = ["sink"] if head.sink_logits is not None else []
    order = [*([] if has_two_rows else [query]), key, *np.argsort(-head.weights[query]).tolist()]
    keys = _as_fit(head.key_tokens, list(dict.fromkeys(order)), len(sink))
    n_others = len(head.key_tokens) - len(keys)
    others = [f"+ {n_others} others"] if n_others else []
    lower = [*(short(head.key_tokens[key]) for key in keys), *sink, *others]
    positions = [*keys, *([SINK] if sink else []), *([OTHERS] if others else [])]
    left, right = _places(lower)
    if not has_two_rows:
        return Chips(keys, keys, positions, left, right, False, bool(sink), n_others)
    near = sorted(range(len(head.query_tokens)), key=lambda place: abs(place - query))
    queries = _as_fit(head.query_tokens, near, 0)
    upper = [short(head.query_tokens[place]) for place in queries]
    upper_left, upper_right = _places(upper)
    return Chips(
        queries,
        keys,
        queries + positions,
        upper_left + left,
        upper_right + right,
        True,
        bool(sink),
        n_others,
    )


def _as_fit(tokens: tuple[str, ...], order: list[int], n_more: int) -> list[int]:
    """The first positions of an order that fit into a row, in the text's order."""
    widths = [_width(short(tokens[place])) + BETWEEN_CHIPS for place in order]
    if sum(widths) + n_more * _width("sink") <= TOTAL:
        return sorted(order)
    room = TOTAL - _width("+ 9999 others") - n_more * _width("sink")
    n = int(np.searchsorted(np.cumsum(widths), room, side="right"))
    return sorted(order[: max(n, 1)])


def short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _width(name: str) -> float:
    """Room for its letters, and for its percentage."""
    wide = sum(2 if ord(letter) > 0x2E80 else 1 for letter in name)
    return max(48.0, wide * LETTER + 18)


def _places(names: list[str]) -> tuple[list[float], list[float]]:
    widths = [_width(name) for name in names]
    left = [sum(widths[:place]) + BETWEEN_CHIPS * place + 2 for place in range(len(names))]
    return left, [start + width for start, width in zip(left, widths, strict=True)]


# The matrices


def panels_of(head: HeadTrace) -> list[Panel]:
    """The matrices that this head computes, from left to right."""
    steps = steps_shown(head)
    operators = [_operator(head, step) for step in steps]
    gaps = [0.0, *(_gap(operator) for operator in operators[1:])]
    shares = [_OF_D_MODEL if "d_model" in step.axes else 1.0 for step in steps]
    unit = (TOTAL - sum(gaps) - 4) / sum(shares)
    panels, left, number = [], 2.0, ""
    for step, operator, gap, share in zip(steps, operators, gaps, shares, strict=True):
        left += gap
        title = _TITLES.get(step.name, step.title).removeprefix("rotated ")
        is_first = step.number != number and step.number[0].isdigit()
        title, number = f"{step.number} {title}" if is_first else title, step.number
        blocks = _in_blocks(step)
        panels.append(Panel(step, title, operator, blocks, left, left + share * unit, gap))
        left += share * unit
    return panels


def steps_shown(head: HeadTrace) -> list[Step]:
    """Those with a panel: a mask that changes nothing, or a bias alone, has none."""
    without = {"bias"} if head.has_mask else {"bias", "masked"}
    return [step for step in steps_of(head) if step.name not in without]


def _operator(head: HeadTrace, step: Step) -> str:
    """What leads to a step's matrix from those before it."""
    if step.name == "scaled":
        return f"× {scaling_factor(head)}"
    if step.name == "q" and step.number == "1b":
        return "rotate"
    return _OPERATORS.get(step.name, "")


_OPERATORS = {
    "q": "· W",
    "q_before_rotary": "· W",
    "scores": "q · k",
    "capped": "tanh",
    "biased": "+ bias",
    "masked": "+ mask",
    "weights": "softmax",
    "updated": "· v",
    "output": "· Wₒ",
}


def _gap(operator: str) -> float:
    return 6.6 * max(len(operator), 2) + 8 if operator else 12.0


def _in_blocks(step: Step) -> Blocks:
    return in_blocks(
        step.array,
        step.is_hidden,
        "maximum" if is_of_pairs(step) else "most extreme",
        max_rows=MAX_ROWS,
        max_columns=MAX_ROWS if is_of_pairs(step) else MAX_COLUMNS,
    )
