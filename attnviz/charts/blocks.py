"""Large matrices in blocks: what a screen can show, with each block's size said on the chart."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

MAX_TOKENS = 40  # as many labels as stay readable in a row or beside one another
MAX_DIMENSIONS = 64
Summary = Literal["mean", "maximum"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A matrix in which each cell stands for `rows` × `columns` cells of the original."""

    values: Float[np.ndarray, "block_rows block_columns"]
    is_hidden: Bool[np.ndarray, "block_rows block_columns"]
    rows: int
    columns: int
    summary: Summary

    @property
    def are_exact(self) -> bool:
        return self.rows == self.columns == 1

    @property
    def note(self) -> str:
        """What a cell is, in words; empty where it is the value itself."""
        if self.are_exact:
            return ""
        return f"each cell: {self.summary} of {self.rows} × {self.columns} values"


def block_size(shape: tuple[int, int], max_columns: int) -> tuple[int, int]:
    """The rows and columns of the smallest blocks that fit; (1, 1) where every cell does."""
    n_rows, n_columns = shape
    return -(-n_rows // MAX_TOKENS), -(-n_columns // max_columns)


def in_blocks(
    array: Float[np.ndarray, "rows columns"],
    is_hidden: Bool[np.ndarray, "rows columns"] | None = None,
    summary: Summary = "mean",
    *,
    max_columns: int = MAX_DIMENSIONS,
) -> Blocks:
    """The matrix in the smallest blocks that fit MAX_TOKENS rows × `max_columns`.

    Hidden cells count for nothing; a block is hidden where all of its cells are.
    """
    n_rows, n_columns = array.shape
    if is_hidden is None:
        is_hidden = np.zeros(array.shape, dtype=bool)
    rows, columns = block_size(array.shape, max_columns)
    if rows == columns == 1:
        return Blocks(np.where(is_hidden, np.nan, array), is_hidden, 1, 1, summary)
    padding = ((0, -n_rows % rows), (0, -n_columns % columns))
    visible = np.pad(~is_hidden, padding)
    values = np.pad(np.where(is_hidden, 0, array), padding)

    def by_block(padded: np.ndarray) -> np.ndarray:
        shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
        return padded.reshape(shape).swapaxes(1, 2)

    counts = by_block(visible).sum(axis=(2, 3))
    if summary == "mean":
        totals = by_block(values).sum(axis=(2, 3), dtype=np.float64)
        summed = totals / np.maximum(counts, 1)
    else:
        summed = np.where(by_block(visible), by_block(values), -np.inf).max(axis=(2, 3))
    summed = np.where(counts == 0, np.nan, summed).astype(np.float32)
    return Blocks(summed, counts == 0, rows, columns, summary)


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
