"""Reading attention that a model writes out by hand, from torch's own operations.

While a module runs whose code holds a softmax and matrix products, every torch function that it
calls is noted. From each softmax over the keys the notes lead back to the product that made the
scores (q · kᵀ), and on to the product that used the weights (weights · v). What the model did to
the scores in between is done again to zeros: what comes out is what was added to them, a mask
where it hides a key and a bias elsewhere.

A module with a softmax that cannot be read so (sparse, low-rank) is named, never guessed.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.attention.maths import HIDDEN_BELOW
from attnviz.capture import products
from attnviz.capture.attention_modules import calls_eager, writes_softmax
from attnviz.capture.output_projection import Joining, Operation, follow
from attnviz.capture.products import Product
from attnviz.capture.recording import Call, Recording, for_each_head

# torch's functions and methods by their names, without the underscore of those that work in
# place. None of them moves a number from one pair of query and key to another.
_RESHAPE = {
    *("contiguous", "clone", "expand", "flatten", "reshape", "squeeze", "unsqueeze", "view"),
    *("bfloat16", "double", "float", "half", "to", "type", "type_as"),
}
_SCALE = {"div", "mul", "multiply", "true_divide"}
_CHANGE = {"add", "rsub", "sub", "masked_fill", "where", "max", "maximum", "clamp"}
_CELLWISE = _RESHAPE | _SCALE | _CHANGE
_MOVE = {"permute", "swapaxes", "transpose"}  # of whole axes


# Which modules write attention by hand


def _writes_attention(module: Any) -> bool:
    """Whether it is the innermost module whose own code holds a softmax and matrix products."""
    if not writes_softmax(module.__class__):
        return False
    parts = (part for part in module.modules() if part is not module)
    return not any(writes_softmax(part.__class__) for part in parts)


# What they do


@dataclass(eq=False)
class _Made:
    """A tensor that was made while a module ran: by which function, from what."""

    function: Callable
    args: tuple
    kwargs: dict
    result: Tensor
    sources: dict[int, "_Made"]  # those of `args` that were made here, by their place
    weights_of: "_Made | None" = None  # the softmax whose weights these are, cell by cell
    is_of_softmax: bool = False  # whether any softmax had a part in it

    @functools.cached_property
    def name(self) -> str:
        return _plain(self.function)

    @property
    def is_in_place(self) -> bool:
        return self.function.__name__.endswith("_")

    def on(self, place: int, tensor: Tensor) -> Tensor:
        """The same done to another tensor in one place, which itself stays as it is."""
        args = (*self.args[:place], tensor, *self.args[place + 1 :])
        function = getattr(Tensor, self.name) if self.is_in_place else self.function
        return function(*args, **self.kwargs)

    def factor(self, place: int) -> float:
        """What it multiplies the tensor in this place by; 1 where by no single number."""
        other: Any = self.args[1 - place] if len(self.args) == 2 else self.kwargs.get("other")
        is_product = self.name in ("mul", "multiply")
        if self.name not in _SCALE or not _is_number(other) or (place and not is_product):
            return 1.0
        return float(other) if is_product else 1 / float(other)


Steps = list[tuple[_Made, int]]  # each with the place of the tensor that it is done to
Known = dict[tuple, tuple[list[Tensor], tuple[Tensor | None, Tensor | None]]]


class Tracer(TorchFunctionMode):
    """Notes what one module does while it is entered, and adds the attention in it."""

    def __init__(self, module: nn.Module, recording: Recording, known: Known) -> None:
        super().__init__()
        self.module, self.recording, self.known = module, recording, known
        self._made: dict[int, _Made] = {}
        self._order: list[_Made] = []
        self._softmaxes: list[_Made] = []
        self._calls: dict[_Made, Call] = {}  # by their softmax
        self._is_unread = False

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            made = self._note(func, args, kwargs, result)
            if made.name == "softmax" and _is_over_last(args, kwargs) and result.ndim > 2:
                made.weights_of, made.is_of_softmax = made, True
                self._softmaxes.append(made)
            elif made.name in products.NAMES:
                return self._followed(made)
            elif made.name == "scaled_dot_product_attention":
                self._is_unread = True  # which gives its weights to nobody
        elif isinstance(result, tuple | list):
            for part in result:
                if isinstance(part, Tensor):
                    self._note(func, args, kwargs, part)
        return result

    def _note(self, function: Callable, args: tuple, kwargs: dict, result: Tensor) -> _Made:
        sources = {
            place: self._made[id(arg)] for place, arg in enumerate(args) if id(arg) in self._made
        }
        made = _Made(function, args, kwargs, result, sources)
        if self._softmaxes:
            given = (self._made.get(id(part)) for part in _tensors((*args, *kwargs.values())))
            made.is_of_softmax = any(one is not None and one.is_of_softmax for one in given)
            if made.name in _CELLWISE or made.name == "dropout":
                weights = [source.weights_of for source in sources.values() if source.weights_of]
                made.weights_of = weights[0] if weights else None
        self._made[id(result)] = made
        self._order.append(made)
        return made

    def _followed(self, made: _Made) -> Tensor:
        """A product's result; one of weights and values remembers what is done to it next."""
        left, right = products.operands(made.name, made.args, made.kwargs)
        weights, values = self._made.get(id(left)), self._made.get(id(right))
        softmax = None if weights is None else weights.weights_of
        if softmax is None:
            return made.result
        if softmax in self._calls:
            self._is_unread = True  # one matrix of weights, and no one update
            return made.result
        if values is not None and values.is_of_softmax:
            return made.result
        try:
            product = _product(made, left, right)
            call = None if product is None else self._read(softmax, product)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return made.result  # what the model does cannot be done again to zeros: unread
        if product is None or call is None:
            return made.result
        self._calls[softmax] = call
        self.recording.add(call)
        path = (
            Operation(torch.transpose, (None, 1, 2), {}, 0),
            Operation(torch.reshape, (None, product.out.shape), {}, 0),
            *product.from_out,
        )
        return follow(made.result, call.joining, path)

    def _read(self, softmax: _Made, update: Product) -> Call | None:
        """The attention whose weights are this softmax and whose update is this product."""
        logits = softmax.args[0] if softmax.args else softmax.kwargs["input"]
        path = _path_from_scores(self._made.get(id(logits)))
        if path is None:
            return None
        made, steps = path
        left, right = products.operands(made.name, made.args, made.kwargs)
        left, left_factor = _unscaled(self._made.get(id(left)), left)
        right, right_factor = _unscaled(self._made.get(id(right)), right)
        score = _product(made, left, right)
        if score is None:
            return None
        scaling = score.factor * left_factor * right_factor
        for step, place in steps:
            scaling *= step.factor(place)
        q, k, v = _by_head(score.left), _by_head(score.right.mT), _by_head(update.right)
        weights, updated = _by_head(update.left), _by_head(update.out)
        n_heads = q.shape[1]
        if not n_heads == weights.shape[1] == updated.shape[1]:
            return None
        if n_heads % k.shape[1] or n_heads % v.shape[1]:
            return None
        if k.shape[1] != v.shape[1]:
            k, v = for_each_head(k, n_heads), for_each_head(v, n_heads)
        if any(_multiplies_cells(step) for step, _ in steps):
            # A cell that was multiplied by zero (openai-gpt) holds nothing of its score.
            added = _by_head(_added(made, score, steps))  # type: ignore[arg-type]
            rest = logits.reshape(weights.shape) - scaling * (q @ for_each_head(k, n_heads).mT)
            is_hidden = added < HIDDEN_BELOW
            mask, bias = _mask_and_bias(rest.where(is_hidden, added), is_hidden)
        else:
            mask, bias = self._mask_and_bias(made, score, steps)
        return Call(
            module=self.module,
            q=q,
            k=k,
            v=v,
            mask=mask,
            scaling=scaling,
            softcap=None,
            bias=bias,
            sink_logits=None,
            weights=weights,
            updated=updated.transpose(1, 2).clone(),  # the module may add to it in place
            joining=Joining(),
            captured="traced",
            weights_as=[],
            n_streams=update.left.shape[1] if update.left.ndim == 5 else 1,
        )

    def _mask_and_bias(
        self, made: _Made, score: Product, steps: Steps
    ) -> tuple[Tensor | None, Tensor | None]:
        """What was added to the scores, worked out once where all layers are given the same."""
        first = (*made.args[:1], made.kwargs.get("beta")) if made.name == "baddbmm" else ()
        others = [
            first,
            *(
                (*step.args[:place], *step.args[place + 1 :], *step.kwargs.values())
                for step, place in steps
            ),
        ]
        given = list(_tensors(tuple(others)))
        if any(id(tensor) in self._made or tensor.is_inference() for tensor in given):
            return _mask_and_bias(_added(made, score, steps))
        recipe = (
            made.result.shape,
            *((step.function, place) for step, place in steps),
            *((id(tensor), tensor._version) for tensor in given),
            repr([[x for x in of if not isinstance(x, Tensor)] for of in others]),
        )
        if recipe not in self.known:  # beside what was given, whose ids are thus no other's
            self.known[recipe] = (given, _mask_and_bias(_added(made, score, steps)))
        return self.known[recipe][1]

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._finish()

    def _finish(self) -> None:
        """Say which tensors are whose weights; a module with an unread softmax has none."""
        calls = list(self._calls.values())
        for call in calls:
            call.beside = calls
        for made in self._order:
            if made.weights_of in self._calls:
                self._calls[made.weights_of].weights_as.append(made.result)
        if len(self._calls) < len(self._softmaxes) or self._is_unread:
            self.recording.drop(calls)
            self.recording.unread.append(self.module)
        for softmax in self._softmaxes:
            softmax.weights_of = None  # itself, which would keep all of it for the next collection


def _product(made: _Made, left: Any, right: Any) -> Product | None:
    return products.product_of(made.name, made.args, made.kwargs, left, right, made.result)


def _path_from_scores(logits: _Made | None) -> tuple[_Made, Steps] | None:
    """The product that gave the scores, and what was done to them up to the softmax.

    Where several products were added up, the leftmost that has every pair of query and key in
    its place: the others (relative positions) are looked up, shifted or gathered, or are a bias.
    """
    if logits is None:
        return None
    whole = logits.result.shape
    for made, steps in _paths(logits):
        product = _product(made, *products.operands(made.name, made.args, made.kwargs))
        is_whole = made.result.numel() == whole.numel()
        if is_whole and product is not None and product.out.shape[-2:] == whole[-2:]:
            return made, steps
    return None


def _paths(made: _Made) -> Iterator[tuple[_Made, Steps]]:
    """Every product that a tensor was made of, cell by cell, and each step on the way from it."""
    if made.name in products.NAMES:
        yield made, []
    elif made.name in _CELLWISE:
        for place, source in made.sources.items():
            for found, steps in _paths(source):
                yield found, [*steps, (made, place)]


def _unscaled(made: _Made | None, operand: Any) -> tuple[Any, float]:
    """A query or key before the module multiplied it by a number, and that number."""
    steps: list[_Made] = []
    while made is not None and not made.is_in_place and 0 in made.sources:
        if made.name not in _RESHAPE | _MOVE and made.factor(0) == 1:
            break
        steps.append(made)
        made = made.sources[0]
    while steps and steps[-1].factor(0) == 1:
        steps.pop()
    if not steps:
        return operand, 1.0
    tensor, factor = steps[-1].sources[0].result, 1.0
    for step in reversed(steps):
        if step.factor(0) == 1:
            tensor = step.on(0, tensor)
        factor *= step.factor(0)
    return tensor, factor


def _multiplies_cells(step: _Made) -> bool:
    return step.name in ("mul", "multiply") and not any(map(_is_number, step.args[:2]))


def _added(made: _Made, score: Product, steps: Steps) -> Tensor | None:
    """What was added to the scaled scores: the steps from the product on, done to zeros.

    To those of one head, where what is added is the same for all or brings its own heads along.
    """
    is_scaled_only = all(step.name in _RESHAPE | _SCALE for step, _ in steps)
    if is_scaled_only and not isinstance(score.added, Tensor):
        return None
    shape = made.result.shape
    nothing = torch.zeros((), dtype=made.result.dtype, device=made.result.device)
    if isinstance(score.added, Tensor):
        return _done(steps, (nothing + score.added).expand(shape))
    steps = list(itertools.dropwhile(lambda one: one[0].factor(one[1]) != 1, steps))
    step, place = steps[0]
    other = step.args[1 - place] if step.name == "add" and len(step.args) == 2 else None
    if isinstance(other, Tensor) and other.shape == step.result.shape and not step.kwargs:
        return _done(steps[1:], other)  # zeros and it
    try:
        added = _done(steps, nothing.expand(*(1 for _ in shape[:-2]), *shape[-2:]))
        if added.shape[-2:] == shape[-2:]:
            return added
    except RuntimeError:  # a shape that has all heads in it
        pass
    return _done(steps, nothing.expand(shape))


def _done(steps: Steps, tensor: Tensor) -> Tensor:
    for step, place in steps:
        tensor = step.on(place, tensor)
    return tensor


def _mask_and_bias(
    added: Tensor | None, is_hidden: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """What hides keys, and the rest, (1, head or 1, query_pos, key_pos); None where nothing."""
    if added is None:
        return None, None
    added = _by_head(added)
    if is_hidden is None:
        if added.shape[1] > 1 and torch.equal(added[:, :1].expand_as(added), added):
            added = added[:, :1]
        is_hidden = added < HIDDEN_BELOW
    if not is_hidden.any():
        return None, added if added.any() else None
    mask = added.where(is_hidden, 0)
    bias = added.masked_fill(is_hidden, 0)
    return mask, bias if bias.any() else None


def _by_head(tensor: Tensor) -> Tensor:
    """A batch of matrices as (1, head, rows, columns)."""
    return tensor.reshape(1, -1, *tensor.shape[-2:])


def _plain(function: Callable) -> str:
    return function.__name__.strip("_")


def _is_over_last(args: tuple, kwargs: dict) -> bool:
    tensor = args[0] if args else kwargs["input"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return dim in (-1, tensor.ndim - 1)


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.ndim < 2
    return isinstance(value, int | float)


def _tensors(values: tuple) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(tuple(value))


# While they do it


@contextmanager
def tracing(recording: Recording, *, of_all: bool = False) -> Iterator[set[nn.Module]]:
    """Add the attention that modules write by hand while the block runs.

    Modules that can also call an eager attention function are left out, for that is observed at
    no cost, unless those `of_all` are asked for; the set of those left out is given.
    """
    left_out: set[nn.Module] = set()
    known: Known = {}  # masks and biases of the pass, by their recipes

    def tracer_of(module: Any) -> AbstractContextManager:
        if not _writes_attention(module):
            return nullcontext()
        if not of_all and calls_eager(module.__class__):
            left_out.add(module)
            return nullcontext()
        return Tracer(module, recording, known)

    recording.around = tracer_of
    try:
        yield left_out
    finally:
        recording.around = nullcontext
