"""Large matrices on a screen: in blocks, with each block's size said on the chart, or a part."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

MAX_TOKENS = 40  # as many labels as stay readable in a row or beside one another
MAX_DIMENSIONS = 64
# Most extreme: the value largest in magnitude, with its sign.
Summary = Literal["mean", "maximum", "most extreme"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A matrix in which each cell stands for `rows` × `columns` cells of the original.

    The first cell begins at `first_row` and `first_column`: a part of the original may be shown.
    """

    values: Float[np.ndarray, "block_rows block_columns"]
    is_hidden: Bool[np.ndarray, "block_rows block_columns"]
    rows: int
    columns: int
    summary: Summary
    first_row: int = 0
    first_column: int = 0

    @property
    def are_exact(self) -> bool:
        return self.rows == self.columns == 1

    @property
    def note(self) -> str:
        """What a cell is, in words; empty where it is the value itself."""
        if self.are_exact:
            return ""
        return f"each cell: the {self.summary} of {self.rows * self.columns} values"

    @property
    def row_starts(self) -> list[int]:
        """The row of the original that each row begins with."""
        return [self.first_row + self.rows * place for place in range(self.values.shape[0])]

    @property
    def column_starts(self) -> list[int]:
        return [self.first_column + self.columns * n for n in range(self.values.shape[1])]


def block_size(
    shape: tuple[int, int], max_columns: int, max_rows: int = MAX_TOKENS
) -> tuple[int, int]:
    """The rows and columns of the smallest blocks that fit; (1, 1) where every cell does."""
    n_rows, n_columns = shape
    return -(-n_rows // max_rows), -(-n_columns // max_columns)


def in_blocks(
    array: Float[np.ndarray, "rows columns"],
    is_hidden: Bool[np.ndarray, "rows columns"] | None = None,
    summary: Summary = "mean",
    *,
    max_columns: int = MAX_DIMENSIONS,
    max_rows: int = MAX_TOKENS,
) -> Blocks:
    """The matrix in the smallest blocks that fit `max_rows` × `max_columns`.

    Hidden cells count for nothing; a block is hidden where all of its cells are.
    """
    if is_hidden is None:
        is_hidden = np.zeros(array.shape, dtype=bool)
    rows, columns = block_size(array.shape, max_columns, max_rows)
    if rows == columns == 1:
        return Blocks(np.where(is_hidden, np.nan, array), is_hidden, 1, 1, summary)
    values = _by_block(np.where(is_hidden, 0, array), rows, columns)
    visible = _by_block(~is_hidden, rows, columns)
    counts = visible.sum(axis=-1)
    if summary == "mean":
        summed = values.sum(axis=-1, dtype=np.float64) / np.maximum(counts, 1)
    else:
        at = _largest(values, visible, summary)[..., None]
        summed = np.take_along_axis(values, at, axis=-1)[..., 0]
    summed = np.where(counts == 0, np.nan, summed).astype(np.float32)
    return Blocks(summed, counts == 0, rows, columns, summary)


def strongest_cells(
    array: Float[np.ndarray, "rows columns"],
    is_hidden: Bool[np.ndarray, "rows columns"] | None,
    blocks: Blocks,
) -> list[list[tuple[int, int]]]:
    """For each block the row and column, in the array, of its largest value.

    Where blocks are summed up by the most extreme value, of that one.
    """
    if is_hidden is None:
        is_hidden = np.zeros(array.shape, dtype=bool)
    sizes = blocks.rows, blocks.columns
    at = _largest(_by_block(array, *sizes), _by_block(~is_hidden, *sizes), blocks.summary)
    rows = np.minimum(at // blocks.columns + np.array(blocks.row_starts)[:, None], len(array) - 1)
    columns = np.minimum(at % blocks.columns + np.array(blocks.column_starts), array.shape[1] - 1)
    return [
        list(zip(*pair, strict=True)) for pair in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def codes_in_blocks(
    codes: UInt8[np.ndarray, "rows columns"], blocks: Blocks
) -> UInt8[np.ndarray, "block_rows block_columns"]:
    """The code that all cells of a block share; 0 where they differ."""
    if blocks.are_exact:
        return codes
    starts = [
        range(0, n, size)
        for n, size in zip(codes.shape, (blocks.rows, blocks.columns), strict=True)
    ]
    lowest, highest = (
        reduce.reduceat(reduce.reduceat(codes, starts[0], axis=0), starts[1], axis=1)
        for reduce in (np.minimum, np.maximum)
    )
    return np.where(lowest == highest, lowest, 0).astype(np.uint8)


def _by_block(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """All cells of a block along the last axis; what is missing at the edges is 0."""
    padded = np.pad(array, ((0, -array.shape[0] % rows), (0, -array.shape[1] % columns)))
    shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    blocks = padded.reshape(shape).swapaxes(1, 2)
    return blocks.reshape(*blocks.shape[:2], rows * columns)


def _largest(values: np.ndarray, visible: np.ndarray, summary: Summary) -> np.ndarray:
    """Where in each block its largest visible value is, or the most extreme one."""
    sizes = np.abs(values) if summary == "most extreme" else values
    array: np.ndarray = np.where(visible, sizes, -np.inf).argmax(axis=-1)
    return array
