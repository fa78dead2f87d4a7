"""What a benchmark found, as the table that docs/measured.md shows."""

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None  # None: not measured


@dataclass(frozen=True)
class Table:
    """Numbers in columns; `note` says in sentences what they are and how they were measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str

    def markdown(self) -> str:
        lines = [self.columns, [":---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        body = "\n".join(f"| {' | '.join(map(_written, line))} |" for line in lines)
        return f"**{self.title}**\n\n{body}\n\n{self.note}\n"


def _written(cell: Cell) -> str:
    """Whole numbers with commas, others with three digits or more."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    is_whole = isinstance(cell, int) or abs(cell) >= 100
    return f"{cell:,.0f}" if is_whole else f"{cell:#.3g}".rstrip(".")
