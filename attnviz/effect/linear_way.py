"""The way from what the layers added to a logit, done again with the norms' statistics frozen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from attnviz.capture.operations import CASTS, COPIES, DROPS, Args, Kwargs
from attnviz.effect.following import (
    ADDS,
    EMBEDS,
    NORMS,
    PROJECTS,
    SCALES,
    SOFTCAP,
    UNTOLD,
    Following,
    Made,
)
from attnviz.text.errors import InputError

_AS_IT_IS = CASTS | COPIES | DROPS | {SOFTCAP}
_ADD: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("add", "iadd", "radd"), torch.add),
    **dict.fromkeys(("sub", "isub"), torch.sub),
    "rsub": torch.rsub,
}


@dataclass(eq=False)
class LinearWay:
    """How some logits came of their sources: a sum, once what the norms divided by is a number.

    `ids` are those of the logits that are asked for (None: all), at a position; None where there
    is only one.
    """

    following: Following
    logits: Tensor  # as the model returned them
    ids: Sequence[int] | None
    position: int | None
    is_folded: bool = False  # of norms their gains alone: nothing is divided by their statistics
    sources: list[Made] = field(init=False)
    no_sum_because: str | None = field(init=False)  # None where it is one

    def __post_init__(self) -> None:
        self._last = self.following.of(self.logits) or Made(UNTOLD, (), is_of_text=True)
        self._above = _above_the_vocabulary(self._last)
        self._order = _in_order(self._last)
        self.sources = [one for one in self._order if one.is_source]
        self._statistics: dict[Made, Tensor] = {}
        self.no_sum_because = self._obstacle()

    # Whether it is a sum

    def _obstacle(self) -> str | None:
        first = self._above[-1]
        if first.name != PROJECTS or first.is_source:
            return f"{_called(first)} makes the logits, and no projection of the stream"
        below: dict[Made, set[Any]] = {}  # the layers that something came of; None: the embedding
        for one in self._order:
            layer = self.following.layer_in(one.modules)
            if one.is_source:
                if layer is None and one.name != EMBEDS:
                    return f"{_called(one)} stands between the layers and the logits"
                below[one] = {layer}
                continue
            below[one] = set().union(*(below[parent] for parent in one.parents))
            if one.name == SOFTCAP and one not in self._above:
                return f"{_called(one)} stands between the layers and the logits"
            if layer is not None and len(below[one]) > 1 and self._is_of_norm(one):
                return (
                    f"{_innermost(one)} norms the whole stream inside a layer, so that what the "
                    "layers before it added is scaled anew there"
                )
        return None

    def _is_of_norm(self, one: Made) -> bool:
        """Whether it is scaled by something that was computed of it."""
        if one.name in NORMS:
            return True
        others = (arg for arg in one.args or () if isinstance(arg, Tensor))
        return one.name in SCALES and any(
            made.is_of_text for made in map(self.following.of, others) if made is not None
        )

    # What it gives

    def own(self) -> Tensor:
        """The model's own logits, before a soft-cap."""
        caps = [one for one in self._above if one.name == SOFTCAP]
        if not caps:
            return self._of_row(self._of_ids(self.logits.detach()))
        value = caps[-1].value
        assert value is not None
        return self._of_row(self._computed({caps[-1]: self._of_ids(_plain(value))}))

    def directions(self, signs: Sequence[float]) -> tuple[dict[Made, Tensor], float]:
        """What each number of each source is multiplied by in the sum, and what is constant.

        The sum is that of the logits times their signs.
        """
        with torch.enable_grad():
            weights = torch.tensor(signs)
            values = {one: _plain(one.value).requires_grad_() for one in self.sources}
            total = self._signed(self._computed(values), weights)
            found = torch.autograd.grad(total, list(values.values()), allow_unused=True)
        with torch.no_grad():
            nothing = {one: torch.zeros_like(value) for one, value in values.items()}
            constant = float(self._signed(self._computed(nothing), weights))
        pairs = zip(self.sources, found, strict=True)
        return {one: grad for one, grad in pairs if grad is not None}, constant

    @torch.no_grad()
    def adds(self, source: Made, row: Tensor) -> Tensor:
        """What is added to the logits where this is added to a source, at the position."""
        nothing = {one: torch.zeros_like(_plain(one.value)) for one in self.sources}
        added = nothing[source].reshape(-1, len(row)).clone()
        added[0 if len(added) == 1 or self.position is None else self.position] = row
        some = {**nothing, source: added.reshape(nothing[source].shape)}
        return self._of_row(self._computed(some) - self._computed(nothing))

    def _signed(self, logits: Tensor, signs: Tensor) -> Tensor:
        row = self._of_row(logits)
        return (row * signs.to(row)).sum()

    def _of_row(self, logits: Tensor) -> Tensor:
        rows = logits.reshape(-1, logits.shape[-1])
        row = rows[0 if len(rows) == 1 else self.position]
        return row.to(torch.promote_types(row.dtype, torch.float32))

    def _of_ids(self, logits: Tensor) -> Tensor:
        return logits if self.ids is None else logits[..., list(self.ids)]

    def _computed(self, known: dict[Made, Tensor]) -> Tensor:
        """The logits of these ids, from some of what they came of."""
        done = dict(known)
        for one in self._order:
            if one not in done and all(parent in done for parent in one.parents) and one.parents:
                done[one] = self._made_again(one, done)
        return done[self._last]

    def _made_again(self, one: Made, done: dict[Made, Tensor]) -> Tensor:
        args: Args = tuple(self._argument(one, arg, done) for arg in one.args or ())
        kwargs: Kwargs = {
            name: self._argument(one, arg, done) for name, arg in (one.kwargs or {}).items()
        }
        made: Tensor = args[0]
        if one.name in _AS_IT_IS:
            return made
        if one.name in NORMS:
            made = self._normed(one, *args, **kwargs)
        elif one.name in ADDS:
            made = _ADD[one.name](*args, **kwargs)
        elif one.name in SCALES and self.is_folded and self._is_of_norm(one):
            made = done[one.parents[0]]
        elif one.name in SCALES:
            made = torch.div(*args) if "div" in one.name else torch.mul(*args)
        elif one.name == PROJECTS:
            made = functional.linear(*args, **kwargs)
        elif one.name == "getitem":
            made = made[args[1]]
        else:
            made = getattr(torch.Tensor, one.name)(*args, **kwargs)
        return made

    def _argument(self, one: Made, arg: Any, done: dict[Made, Tensor]) -> Any:
        if isinstance(arg, Made):
            return done[arg]
        if not isinstance(arg, Tensor) or not arg.is_floating_point():
            return arg
        n = self.logits.shape[-1]
        if self.ids is not None and one is self._above[-1] and arg.shape[0] == n:
            arg = arg[list(self.ids)]  # rows of the vocabulary, and of its bias
        elif one in self._above[:-1] and arg.ndim and arg.shape[-1] == n:
            arg = self._of_ids(arg)
        return _plain(arg)

    def _normed(
        self,
        one: Made,
        x: Tensor,
        shape: Any,
        weight: Tensor | None = None,
        *more: Any,
        **named: Any,
    ) -> Tensor:
        weight = named.get("weight", weight)
        bias: Tensor | None = None
        if one.name == "layer_norm":
            x = x - x.mean(-1, keepdim=True)
            bias, more = (more[0], more[1:]) if more else (named.get("bias"), ())
            eps = more[0] if more else named.get("eps", 1e-5)
        else:
            eps = more[0] if more else named.get("eps")
        if one not in self._statistics:
            eps = torch.finfo(x.dtype).eps if eps is None else eps
            self._statistics[one] = (x.detach().pow(2).mean(-1, keepdim=True) + eps).rsqrt()
        x = x if self.is_folded else x * self._statistics[one]
        x = x if weight is None else x * weight
        return x if bias is None else x + bias


def refused(why: str) -> InputError:
    """A logit that is no sum."""
    return InputError(
        f"This logit is no sum of what the heads add: {why}."
        "\n\nHint: effect.without shows what the prediction is without a head."
    )


def _plain(tensor: Tensor | None) -> Tensor:
    """The numbers, in float32 or better."""
    assert tensor is not None
    tensor = (tensor.clone() if tensor.is_inference() else tensor.detach()).as_subclass(Tensor)
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _innermost(one: Made) -> str:
    return type(one.modules[-1]).__name__


def _called(one: Made) -> str:
    return f"{one.name} in {_innermost(one)}" if one.modules else one.name


def _above_the_vocabulary(last: Made) -> list[Made]:
    """What was done to all logits, from the last to the projection to the vocabulary."""
    above = [last]
    while above[-1].name != PROJECTS and len(above[-1].parents) == 1:
        above += above[-1].parents
    return above


def _in_order(last: Made) -> list[Made]:
    """All that something was made of, each behind what it was made of itself."""
    order: dict[Made, None] = {}
    stack = [(last, False)]
    while stack:
        one, is_ready = stack.pop()
        if is_ready:
            order[one] = None
        elif one not in order:
            stack.append((one, True))
            stack += [(parent, False) for parent in one.parents]
    return list(order)
