"""HeadTrace: one head of a trace with its steps, and as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from attnviz.attention import head_file
from attnviz.attention.replay import Replay
from attnviz.attention.steps import Step, steps_of


@dataclass(frozen=True, eq=False)
class HeadTrace(Replay):
    __doc__ = Replay.__doc__

    def __repr__(self) -> str:
        """Which head it is, its sizes, and how exact its numbers are, in one line."""
        if self.is_filtered or self.is_changed:
            exact = "filtered" if self.is_filtered else "changed"
        elif not self.is_compared:
            exact = "not compared"
        else:
            exact = f"{'exact' if self.is_exact else 'not exact'}, max error {self.max_error:.1e}"
        sizes = f"{len(self.query_tokens)} queries × {len(self.key_tokens)} keys"
        d = f"d_head {self.q.shape[1]}, d_value {self.v.shape[1]}"
        place = f"layer {self.layer}, head {self.head}, {self.kind} attention"
        return f"<HeadTrace of {place}: {sizes}, {d}; {exact}>"

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps that this head has, in order."""
        return steps_of(self)

    def to_npz(self, file: Any, about: Mapping[str, Any] | None = None) -> None:
        """Write the head to an NPZ file: what it was given and every step, for NumPy alone.

        `file` is a path, or a file that is open for writing bytes. The string `metadata` in it is
        JSON: everything that is no array, and what is said `about` the head (model, text …).
        Raises InputError for a file that cannot be written.
        """
        head_file.write(self, file, about)

    @classmethod
    def from_npz(cls, file: Any, max_bytes: int | None = None) -> "HeadTrace":
        """The head that `to_npz` wrote, equal to it in every number.

        `file` is a path, or a file that is open for reading bytes. Raises InputError for one that
        is not there, broken, or larger than `max_bytes` in all (1 GB), and for numbers that do
        not follow from each other.
        """
        return head_file.read(cls, file, max_bytes)[0]
