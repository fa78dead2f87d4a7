"""x · W + b: what an attention module makes its queries, keys or values by, head by head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz.attention.lasting import Lasting, make_read_only

CHANGED = "the model was changed after the trace"
NOT_KNOWN = "what it was computed from is not known"

# One head's part of W, (d_model, d_head), and of the bias, (d_head,), where there is one.
Part = tuple[Float[np.ndarray, "d_model d_head"], Float[np.ndarray, " d_head"] | None]


@dataclass(frozen=True, eq=False)
class InputProjection(Lasting):
    """The projection that made the queries, keys or values of all heads of a call.

    W is not copied: `read` gives one head's part as the model has it now, and None once it was
    written into. Pickled, a projection carries the part of each head that it was traced with.
    """

    read: Callable[[int], Part | None]
    projected: Float[np.ndarray, "head position d_head"]  # before any norm and rotary embedding
    x: Float[np.ndarray, "position d_model"]
    tolerance: float  # of the model's dtype

    def part(self, head: int) -> Part | None:
        """W and b of a query head, or of a key/value head; None where the model has others now.

        With them x · W + b is what the model itself computed, relative to its largest value.
        """
        part = self.read(head)
        if part is None:
            return None
        weight, bias = part
        own = self.projected[head]
        with np.errstate(all="ignore"):  # whatever the parameters are now
            made = self.x.astype(np.float64) @ weight + (0 if bias is None else bias)
            error = np.abs(made - own).max() / (np.abs(own).max() or 1)
        return part if error <= self.tolerance else None

    def __reduce__(self) -> tuple[Any, ...]:
        parts = tuple(self.part(head) for head in range(len(self.projected)))
        return _unpickled, (parts, self.projected, self.x, self.tolerance)


@dataclass(frozen=True)
class _Kept:
    """The parts that a pickle carried."""

    parts: tuple[Part | None, ...]

    def __call__(self, head: int) -> Part | None:
        return self.parts[head]


def _unpickled(*parts: Any) -> InputProjection:
    make_read_only(parts)
    return InputProjection(_Kept(parts[0]), *parts[1:])
