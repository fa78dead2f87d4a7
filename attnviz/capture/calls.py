"""What is recorded while a model runs: its attention calls, in order, and what each was given."""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from attnviz.capture.compat import times_written
from attnviz.capture.input_projection import N_REMEMBERED, Projected, Returned, projected_by
from attnviz.capture.joining import Joining
from attnviz.capture.rotary import Rotation


class Place(NamedTuple):
    """Which of the computations of a pass a call was, or a part of it was, and from where on.

    The same pass again has the same computations in the same order.
    """

    number: int
    first_head: int = 0  # of that computation, which is the call's first
    first_value: int = 0  # of the call's d_value, which is that computation's first


@dataclass(eq=False)
class Call:
    """One call of an attention: its arguments and results, as tensors.

    Shapes, with a batch of one: `q` (1, head, query_pos, d_head), `k` and `v` (1,
    key_value_head, key_pos, d_head or d_value), `mask` and `bias` (1, head or 1, query_pos,
    key_pos), `sink_logits` (head, query_pos or 1), `weights` (1, head, query_pos, key_pos),
    `updated` (1, query_pos, head, d_value), `x_query` and `x_key` (1, position, d_model).
    """

    module: nn.Module
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None
    bias: Tensor | None
    sink_logits: Tensor | None
    weights: Tensor | None  # None where `again` computes them
    updated: Tensor
    joining: Joining  # what became of the updates
    captured: Literal["observed", "traced"]
    weights_as: list[Tensor]  # the tensors that the model may give back as these weights
    # The weights of some queries in some key and value heads, by the same function once more, from
    # what it was `given`.
    again: Callable[[slice, slice], Tensor] | None = None
    given: dict[str, Any] = field(default_factory=dict)
    n_streams: int = 1  # how often its heads are there, one stream behind the other (prophetnet)
    stream: int = 0
    beside: list["Call"] = field(default_factory=list)  # all that its module made in one run
    rotations: tuple[Rotation, ...] = ()  # all rotary embeddings of the pass up to here
    projected: dict[str, Projected | None] = field(default_factory=dict)  # by "q", "k" and "v"
    x_query: Tensor | None = None
    x_key: Tensor | None = None
    is_cross: bool = False
    places: tuple["Place", ...] = ()  # where in the pass it was computed
    kept: dict[str, Tensor] = field(default_factory=dict)  # copies of x, where one is needed
    seen: list[tuple[Tensor, int | None]] = field(default_factory=list)  # and how often written

    def x_of(self, side: Literal["query", "key"]) -> Tensor | None:
        """x as it was when the module was given it."""
        return self.kept.get(side, self.x_query if side == "query" else self.x_key)

    def note_times_written(self, *tensors: Tensor | None) -> None:
        """Remember how often these were written into until now."""
        self.seen += [(tensor, times_written(tensor)) for tensor in tensors if tensor is not None]

    @property
    def is_untouched(self) -> bool:
        """Whether nobody wrote into what it has since that was noted."""
        return all(times_written(tensor) == times for tensor, times in self.seen)

    def take_over(self, *ways: Callable[[Tensor | None], Tensor | None]) -> None:
        """Replace its tensors by what two ways give for each: for all, and for what is added."""
        own, of_added = ways
        for name, key in (("q", "query"), ("k", "key"), ("v", "value"), ("updated", "")):
            self._take(name, key, own(getattr(self, name)))
        for name, key in (("mask", "attention_mask"), ("bias", "position_bias")):
            self._take(name, key, of_added(getattr(self, name)))

    def _take(self, name: str, key: str, tensor: Tensor | None) -> None:
        setattr(self, name, tensor)
        if self.given.get(key) is not None:
            self.given[key] = tensor


def for_each_head(tensor: Tensor, n_heads: int) -> Tensor:
    """The keys or values that each query head reads, (1, head, key_pos, dimension)."""
    return tensor.repeat_interleave(n_heads // tensor.shape[1], dim=1)


def by_position(x: Tensor | None, n_positions: int) -> Tensor | None:
    """(position, d_model): some models put the batch (xlnet) or the positions (squeezebert) last.

    None where no axis is that long.
    """
    if x is None or 1 not in x.shape:
        return None
    x = x.squeeze(0 if x.shape[0] == 1 else 1)
    if len(x) == n_positions:
        return x
    return x.T if x.shape[1] == n_positions else None


def _nothing(*given: Any) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True, eq=False)
class Answering:
    """The module that makes logits of embeddings, and the positions where they are asked for."""

    module: nn.Module
    positions: list[int]
    n_positions: int

    def only(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the module is given, of these positions alone where it is given all."""
        given = args[0] if len(args) == 1 else None
        if isinstance(given, Tensor) and given.ndim == 3 and given.shape[1] == self.n_positions:
            return (given[:, self.positions],)
        return args


# What else this thread enters while a module runs whose code attends, before what a recording does.
around_attention: ContextVar[Callable[[nn.Module], AbstractContextManager[Any]]] = ContextVar(
    "attnviz_around_attention", default=_nothing
)


@dataclass
class Recording:
    """The attention calls of one pass, and the modules whose attention could not be read."""

    keeps_weights: bool = True  # False: those of every call that can be made again are let go
    finds_projections: bool = True  # False: the updates are not followed to what projects them
    copies: bool = False  # at once, what the model writes into later
    calls: list[Call] = field(default_factory=list)
    unread: list[nn.Module] = field(default_factory=list)
    awaiting_input: list[Call] = field(default_factory=list)  # their module is still running
    awaiting_projection: list[Joining] = field(default_factory=list)
    rotations: list[Rotation] = field(default_factory=list)
    # What projections and norms returned in the modules that are running whose code attends.
    returned: deque[Returned] = field(default_factory=lambda: deque(maxlen=N_REMEMBERED))
    n_attending: int = 0  # how many such modules are running
    modules: frozenset[nn.Module] = frozenset()  # those that are recorded
    is_seen: bool = False  # hooks see what the pass computes, and may keep it and write into it
    in_hooks_of: nn.Module | None = None  # whose hooks may be running: what they call is no part
    n_called_by_hooks: int = 0  # calls that are running and no part of the pass
    n_added: int = 0  # calls, those that were dropped too
    answering: "Answering | None" = None
    running: list[nn.Module] = field(default_factory=list)  # each calls the next
    _of: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # copies, by the ids
    # What is entered while such a module runs, as attnviz.capture.handwritten has it.
    around: Callable[[nn.Module, "Recording"], AbstractContextManager[Any]] = _nothing

    def add(self, call: Call) -> None:
        call.places = (Place(self.n_added),)
        self.n_added += 1
        call.rotations = tuple(self.rotations)
        turned = {id(rotation.after) for rotation in self.rotations}  # not projected, but turned
        call.projected = {
            name: None if id(tensor) in turned else projected_by(self.returned, tensor)
            for name, tensor in (("q", call.q), ("k", call.k), ("v", call.v))
        }
        if self.copies:
            call.take_over(self._copied, self._copied)
        call.note_times_written(call.q, call.k, call.v, call.mask, call.bias, call.updated)
        self.calls.append(call)
        self.awaiting_input.append(call)
        self.awaiting_projection.append(call.joining)

    def handed_on(self, updated: Tensor) -> Tensor:
        """What the model goes on with where the call that was added last computed these updates."""
        return updated

    def note_x(self, call: Call, x_query: Tensor, x_key: Tensor) -> None:
        """What a call's module was given, which has just returned."""
        call.x_query, call.x_key = x_query, x_key
        if self.copies:
            call.kept = {"query": x_query.clone(), "key": x_key.clone()}
        else:
            call.note_times_written(x_query, x_key)

    def _copied(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        _, copy = self._of.setdefault(id(tensor), (tensor, tensor.clone()))
        return copy

    def drop(self, calls: list[Call]) -> None:
        self.calls = [call for call in self.calls if call not in calls]
        self.awaiting_input = [call for call in self.awaiting_input if call not in calls]
