"""One number of a query, key or value worked out of x, W and b; and one pair of dimensions turned.

Each line can be worked out again from what is printed, to within one unit of its last digit, and
terms that add up add up as printed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from attnviz.attention.explained.arithmetic import DECIMALS, N_PRODUCTS, products
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step
from attnviz.text.errors import InputError
from attnviz.text.phrases import added, counted, escaped, fixed, number, rounded_together, token_at

Letter = Literal["q", "k", "v"]

_MOST_DECIMALS = 8


def weights_step(head: HeadTrace, letter: Letter) -> Step | None:
    """This head's part of W_Q, W_K or W_V as a matrix that can be drawn; None where it has none."""
    weight = getattr(head, f"w_{letter}")
    if weight is None:
        return None
    (rows, columns), name = weight.shape, f"W_{letter.upper()}"
    axes = ("d_model", "d_value" if letter == "v" else "d_head")
    size = f": {rows} × {columns}"
    formula = rf"{name} : {rows} \times {columns}"
    return Step(f"w_{letter}", "1", name, formula, f"{name}{size}", weight, axes)


def no_weights(head: HeadTrace, letter: Letter) -> str | None:
    """Why W_Q, W_K or W_V cannot be shown, as Markdown; None where it can."""
    because = head.no_w_because.get(letter)
    if because is None:
        return None
    what = {"q": "query", "k": "key", "v": "value"}[letter]
    return f"W_{letter.upper()}, which makes the {what}, cannot be shown: {escaped(because)}."


def dimension_of_pair(head: HeadTrace, query: int, key: int) -> int:
    """The dimension of q and k whose product has the largest part in the pair's score."""
    return int(products(head, query, key)["dimension"].iloc[0])


def input_products(head: HeadTrace, letter: Letter, row: int, dimension: int) -> pd.DataFrame:
    """The d_model products of a row of x and a column of W, largest in size first.

    One row a dimension of x: `dimension`, `x`, `w` and `product`. With the bias they add up to
    this number of `q_projected`, `k_projected` or `v_projected`. Raises InputError for a head
    without this W, and for a row or dimension that is not there.
    """
    x, weight = _x(head, letter), getattr(head, f"w_{letter}")
    if x is None or weight is None:
        raise InputError(
            f"This head has no w_{letter}: {head.no_w_because.get(letter)}."
            f"\n\nHint: head.no_w_because says so of each of q, k and v."
        )
    for what, place, n in (("row", row, len(x)), ("dimension", dimension, weight.shape[1])):
        if place not in range(n):
            raise InputError(f"There is no {what} {place!r}.\n\nHint: a number from 0 to {n - 1}.")
    column = weight[:, dimension].astype(np.float64)
    product = x[row] * column
    parts = {"dimension": np.arange(len(column)), "x": x[row], "w": column, "product": product}
    order = np.argsort(-np.abs(product), kind="stable")
    return pd.DataFrame(parts).iloc[order].reset_index(drop=True)


def worked_projection(
    head: HeadTrace, letter: Letter, row: int, dimension: int | None = None
) -> str | None:
    """One number of q, k or v as x · W + b, as Markdown; None where it is no such thing.

    The largest products are written out, the others added up. `row` is a position of a query (of
    q) or a key, `dimension` one of d_head, by default that in which the row is largest in size.
    Raises InputError for one that is not there.
    """
    projected: np.ndarray | None = getattr(head, f"{letter}_projected")
    if projected is None or getattr(head, f"w_{letter}") is None:
        return None
    if dimension is None and row in range(len(projected)):
        dimension = int(np.abs(projected[row]).argmax())
    table = input_products(head, letter, row, dimension or 0)
    column: int = dimension or 0
    bias = getattr(head, f"b_{letter}")
    offset = [] if bias is None else [float(bias[column])]
    total = float(table["product"].sum()) + sum(offset)
    own = float(projected[row, column])
    n_written = N_PRODUCTS if len(table) > N_PRODUCTS + 1 else len(table)
    written = table.head(n_written)
    decimals = _decimals(total, own, float(np.abs(table["product"]).max()))
    rest = [float(table["product"].iloc[n_written:].sum())] if n_written < len(table) else []
    terms = rounded_together([*written["product"], *rest, *offset], decimals)
    if rest:
        terms[n_written] += f" (sum of the other {len(table) - n_written})"
    if offset:
        terms[-1] += " (bias)"
    factors = "; ".join(
        f"dimension {place}: {_factors(x, w, decimals)} = {term}"
        for place, x, w, term in zip(
            *(written[name].tolist() for name in ("dimension", "x", "w")), terms, strict=False
        )
    )
    name, upper = _name_of_row(head, letter, row), letter.upper()
    plus = f" + b_{upper}" if offset else ""
    first = "The largest" if rest else "All"
    equals = f"**{fixed(total, decimals)}**"
    if fixed(total, decimals) != fixed(own, decimals):  # what is rounded to half precision
        equals += f" (in the model's {head.dtype}: {fixed(own, decimals)})"
    return (
        f"Dimension {column} of {letter} of {name}{_before(head, letter)} = x of {name} · "
        f"column {column} of W_{upper}{plus}, {counted(len(table), 'product')}. {first}, by "
        f"dimension of x: {factors}.\n\n{added(terms)} = {equals}"
    )


def _x(head: HeadTrace, letter: Letter) -> np.ndarray | None:
    return head.x_query if letter == "q" else head.x_key


def _name_of_row(head: HeadTrace, letter: Letter, row: int) -> str:
    return token_at(head.query_tokens if letter == "q" else head.key_tokens, row)


def _before(head: HeadTrace, letter: Letter) -> str:
    """What x · W + b is not yet q, k or v for."""
    later = ["its norm"] if letter in head.call.before_norm else []
    is_turned = letter != "v" and getattr(head, f"{letter}_before_rotary") is not None
    later += ["the rotary embedding"] if is_turned else []
    return f", before {' and '.join(later)}," if later else ""


def _decimals(total: float, own: float, largest: float) -> int:
    """As many as both sums agree in, at most so many that four digits of the largest are told."""
    most = DECIMALS
    if 0 < largest < 0.1:
        most = min(_MOST_DECIMALS, 3 - int(np.floor(np.log10(largest))))
    agreeing = (n for n in range(most, 0, -1) if fixed(total, n) == fixed(own, n))
    return next(agreeing, most)


def _factors(x: float, w: float, decimals: int) -> str:
    """Two factors with digits enough that their product is told to so many decimals."""
    for digits in range(4, 12):
        product = float(f"{x:.{digits}g}") * float(f"{w:.{digits}g}")
        if abs(product - float(x) * w) < 0.05 * 10.0**-decimals:
            break
    return f"{number(x, digits)} × {number(w, digits)}"


# Rotary embedding


@dataclass(frozen=True)
class Turn:
    """How a rotary embedding turns one pair of dimensions of one token.

    after = factor · (before[0] · cos − before[1] · sin, before[1] · cos + before[0] · sin).
    """

    dimensions: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]
    cos: float
    sin: float
    factor: float  # 1, or what the model multiplies all turned numbers by
    per_position: float | None  # the angle from one position to the next, where rows are positions

    @property
    def angle(self) -> float:
        """In radians, between −π and π."""
        return float(np.arctan2(self.sin, self.cos))


def turn_of(head: HeadTrace, letter: Literal["q", "k"], row: int) -> Turn | None:
    """How the pair of dimensions turns that moves furthest, of the query or key of a row.

    It follows from the numbers before and after. None where there is no rotary embedding, and
    where it does not turn pairs of dimensions: with cos² + sin² = 1 for all tokens alike.
    """
    all_before = getattr(head, f"{letter}_before_rotary")
    if all_before is None:
        return None
    before, after = all_before.astype(np.float64), _after(head, letter)
    bound = _ROUNDING[head.dtype]
    found = _pairs(before, after, bound)
    if found is None:
        return None
    pairs, factor = found
    moved = np.hypot(*(after[:, pairs] - factor * before[:, pairs]).transpose(2, 0, 1))
    is_turned = moved[row].max() > bound * np.abs(before[row]).max()
    at = pairs[int((moved[row] if is_turned else moved.max(axis=0)).argmax())]
    if not before[row, at].any():
        return None
    cos, sin = _turned_by(before[:, at], after[:, at])
    cos, sin = cos / factor, sin / factor
    if abs(cos[row] ** 2 + sin[row] ** 2 - 1) > 10 * bound:
        return None
    first, second = (int(dimension) for dimension in at)
    return Turn(
        dimensions=(first, second),
        before=(float(before[row, first]), float(before[row, second])),
        after=(float(after[row, first]), float(after[row, second])),
        cos=float(cos[row]),
        sin=float(sin[row]),
        factor=factor,
        per_position=_per_position(np.arctan2(sin, cos), bound),
    )


def worked_rotation(head: HeadTrace, letter: Literal["q", "k"], row: int) -> str | None:
    """How a rotary embedding turns one pair of dimensions of a row, as Markdown.

    None where there is none, or none that turns pairs of dimensions: `no_rotation` says why.
    """
    turn = turn_of(head, letter, row)
    if turn is None:
        return None
    (a, b), (first, second) = turn.dimensions, turn.before
    name = _name_of_row(head, letter, row)
    said = f"Dimensions {a} and {b} of {letter} of {name} rotate together, by "
    if turn.per_position is None:
        said += f"{fixed(np.degrees(turn.angle), 1)}°"
    else:
        each = np.degrees(turn.per_position)
        said += f"{fixed(row * each, 1)}° = position {row} × {number(each, 6)}°"
    # As many digits as the products need.
    digits = 6 + max(0, int(np.ceil(np.log10(max(abs(first), abs(second), 1)))) - 1)
    cos, sin = fixed(turn.cos, digits), fixed(turn.sin, digits)
    said += f". cos = {cos}, sin = {sin}."
    if turn.factor != 1:
        said += f" The rotated dimensions are also multiplied by {number(turn.factor, 6)}."
    one, other = (fixed(value, DECIMALS + 1) for value in (first, second))
    sums = (
        f"{_times(one, cos)} − {_times(other, sin)}",
        f"{_times(other, cos)} + {_times(one, sin)}",
    )
    lines = [
        f"{letter} in dimension {dimension}: {_scaled(total, turn.factor)} = "
        f"**{fixed(value, DECIMALS)}**"
        for dimension, total, value in zip((a, b), sums, turn.after, strict=True)
    ]
    return "\n\n".join([said, *lines])


def no_rotation(head: HeadTrace, letter: Literal["q", "k"], row: int) -> str | None:
    """Why no pair of dimensions of a row is worked out, as Markdown; None where one is, and where
    there is no rotary embedding.
    """
    before: np.ndarray | None = getattr(head, f"{letter}_before_rotary")
    if before is None or turn_of(head, letter, row) is not None:
        return None
    name = _name_of_row(head, letter, row)
    if _pairs(before.astype(np.float64), _after(head, letter), _ROUNDING[head.dtype]) is None:
        return (
            f"No rotation is worked out: for {letter}, no pairs of dimensions, d and d + half of "
            "them or 2d and 2d + 1, keep their length for all tokens."
        )
    return (
        f"No rotation is worked out for {letter} of {name}: its numbers are too small, or too "
        f"coarsely rounded ({head.dtype}), to tell an angle from them."
    )


def _after(head: HeadTrace, letter: str) -> np.ndarray:
    after: np.ndarray = getattr(head, letter)
    return after.astype(np.float64)


def _times(one: str, other: str) -> str:
    return " × ".join(
        f"({factor})" if factor.startswith("−") else factor for factor in (one, other)
    )


def _scaled(total: str, factor: float) -> str:
    return total if factor == 1 else f"{number(factor, 6)} × ({total})"


# What the length of a pair may be off by, relative to the longest, and the square of an angle's.
_ROUNDING = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 2e-2, "float16": 3e-3}


def _pairs(
    before: Float[np.ndarray, "position d_head"],
    after: Float[np.ndarray, "position d_head"],
    bound: float,
) -> tuple[np.ndarray, float] | None:
    """The pairs of dimensions that turn, (pair, 2), and the factor of all; None where none do.

    Of the first or the last dimensions, d and d + half of them, or 2d and 2d + 1.
    """
    d_head = before.shape[1]
    is_changed = (before != after).any(axis=0)
    for width in range(d_head - d_head % 2, 0, -2):
        for start in dict.fromkeys((0, d_head - width)):
            if is_changed[:start].any() or is_changed[start + width :].any():
                continue
            dimensions = np.arange(start, start + width)
            for pairs in (dimensions.reshape(2, -1).T, dimensions.reshape(-1, 2)):
                own, turned = (
                    np.hypot(*part[:, pairs].transpose(2, 0, 1)) for part in (before, after)
                )
                norms = np.linalg.norm(own), np.linalg.norm(turned)
                if not all(norms):
                    continue
                factor = float(norms[1] / norms[0])
                factor = 1.0 if abs(factor - 1) <= bound else factor
                if np.abs(turned - factor * own).max() <= bound * turned.max():
                    return pairs, factor
    return None


def _turned_by(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin, times the factor, of each row of a pair."""
    squares = (before**2).sum(axis=1)
    squares = np.where(squares == 0, 1, squares)
    cos = (before * after).sum(axis=1) / squares
    sin = (before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) / squares
    return cos, sin


def _per_position(angles: np.ndarray, bound: float) -> float | None:
    """The angle from each row to the next, where all rows turn by their number times that."""
    if len(angles) < 2:
        return None
    each = float(angles[1])
    expected = each * np.arange(len(angles))
    off = np.abs(np.angle(np.exp(1j * (angles - expected))))
    allowed = np.minimum(20 * bound * np.maximum(1, np.arange(len(angles))), 0.2)
    return each if bool((off <= allowed).all()) else None
