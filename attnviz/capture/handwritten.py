"""Reading attention that a model writes out by hand, from torch's own operations.

While a module runs whose code holds a softmax and matrix products, every torch function that it
calls is noted. From each softmax over the keys the notes lead back to the product that made the
scores (q · kᵀ), and on to the product that used the weights (weights · v). What the model did to
the scores in between is done again to zeros: what comes out is what was added to them, a mask
where it hides a key and a bias elsewhere.

A module with a softmax that cannot be read so (sparse, low-rank) is named, never guessed.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.attention.maths import HIDDEN_BELOW
from attnviz.capture.added_to_scores import (
    Known,
    added_to,
    by_head,
    mask_and_bias,
    split,
)
from attnviz.capture.attention_code import calls_eager, writes_softmax
from attnviz.capture.calls import Call, Recording, for_each_head
from attnviz.capture.computed import Computed, path_from_scores, tensors_in, unscaled
from attnviz.capture.joining import Joining, Operation
from attnviz.capture.operations import CELLWISE, DROPS, MATRIX_PRODUCTS, Args, Function, Kwargs
from attnviz.capture.output_projection import follow
from attnviz.capture.products import Product


@dataclass
class Tracing:
    """What a recording enters around its modules, to add the attention that they write by hand.

    Modules that can also call an eager attention function are left out, for that is observed at
    no cost, unless those `of_all` are asked for.
    """

    of_all: bool = False
    left_out: set[nn.Module] = field(default_factory=set)
    known: Known = field(default_factory=dict)

    def __call__(self, module: Any, recording: Recording) -> AbstractContextManager[Any]:
        if not _writes_attention(module):
            return nullcontext()
        if not self.of_all and calls_eager(module.__class__):
            self.left_out.add(module)
            return nullcontext()
        return Tracer(module, recording, self.known)


def _writes_attention(module: Any) -> bool:
    """Whether it is the innermost module whose own code holds a softmax and matrix products."""
    if not writes_softmax(module.__class__):
        return False
    parts = (part for part in module.modules() if part is not module)
    return not any(writes_softmax(part.__class__) for part in parts)


class Tracer(TorchFunctionMode):
    """Notes what one module does while it is entered, and adds the attention in it."""

    def __init__(self, module: nn.Module, recording: Recording, known: Known) -> None:
        super().__init__()
        self.module, self.recording, self.known = module, recording, known
        self._computed: dict[int, Computed] = {}  # by the ids of what came out
        self._in_order: list[Computed] = []
        self._softmaxes: list[Computed] = []
        self._calls: dict[Computed, Call] = {}  # by their softmax
        self._is_unread = False

    def __torch_function__(
        self, func: Function, types: Any, args: Args = (), kwargs: Kwargs | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.recording.in_hooks_of is not None:
            return result
        if isinstance(result, Tensor):
            one = self._note(func, args, kwargs, result)
            if one.name == "softmax" and _is_over_last(args, kwargs) and result.ndim > 2:
                one.weights_of, one.is_of_softmax = one, True
                self._softmaxes.append(one)
            elif one.name in MATRIX_PRODUCTS:
                return self._followed(one)
            elif one.name == "scaled_dot_product_attention":
                self._is_unread = True  # which gives its weights to nobody
        elif isinstance(result, tuple | list):
            for part in result:
                if isinstance(part, Tensor):
                    self._note(func, args, kwargs, part)
        return result

    def _note(self, function: Function, args: Args, kwargs: Kwargs, result: Tensor) -> Computed:
        found = ((place, self._of(arg)) for place, arg in enumerate(args))
        sources = {place: source for place, source in found if source is not None}
        one = Computed(function, args, kwargs, result, sources)
        if self._softmaxes:
            given = map(self._of, tensors_in((*args, *kwargs.values())))
            one.is_of_softmax = any(source is not None and source.is_of_softmax for source in given)
            if one.name in CELLWISE or one.name in DROPS:
                weights = (source.weights_of for source in sources.values() if source.weights_of)
                one.weights_of = next(weights, None)
        self._computed[id(result)] = one
        self._in_order.append(one)
        return one

    def _of(self, value: Any) -> Computed | None:
        """How a tensor was computed; None for one that the module was given, or for no tensor."""
        return self._computed.get(id(value))

    def _is_own(self, tensor: Tensor) -> bool:
        return id(tensor) in self._computed

    def _followed(self, one: Computed) -> Tensor:
        """A product's result; one of weights and values remembers what is done to it next."""
        left, right = one.operands
        weights, values = self._of(left), self._of(right)
        softmax = None if weights is None else weights.weights_of
        if softmax is None:
            return one.result
        if softmax in self._calls:
            self._is_unread = True  # one matrix of weights, and no one update
            return one.result
        if values is not None and values.is_of_softmax:
            return one.result
        try:
            update = one.product(left, right)
            call = None if update is None else self._read(softmax, update)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return one.result  # what the model does cannot be done again to zeros: unread
        if update is None or call is None:
            return one.result
        self._calls[softmax] = call
        self.recording.add(call)
        path = (
            Operation(torch.transpose, (None, 1, 2), {}, 0),
            Operation(torch.reshape, (None, update.out.shape), {}, 0),
            *update.from_out,
        )
        handed_on = self.recording.handed_on(call.updated)
        if handed_on is not call.updated:  # a change of it, moved as the model moved its own
            return functools.reduce(lambda moved, step: step.on(moved), path, handed_on)
        return follow(one.result, call.joining, path)

    def _read(self, softmax: Computed, update: Product) -> Call | None:
        """The attention whose weights are this softmax and whose update is this product."""
        logits = softmax.args[0] if softmax.args else softmax.kwargs["input"]
        path = path_from_scores(self._of(logits))
        if path is None:
            return None
        scores, steps = path
        left, right = scores.operands
        left, left_factor = unscaled(self._of(left), left)
        right, right_factor = unscaled(self._of(right), right)
        product = scores.product(left, right)
        if product is None:
            return None
        scaling = product.factor * left_factor * right_factor
        for step, place in steps:
            scaling *= step.factor(place)
        q, k, v = by_head(product.left), by_head(product.right.mT), by_head(update.right)
        weights, updated = by_head(update.left), by_head(update.out)
        n_heads = q.shape[1]
        if not n_heads == weights.shape[1] == updated.shape[1]:
            return None
        if n_heads % k.shape[1] or n_heads % v.shape[1]:
            return None
        if k.shape[1] != v.shape[1]:
            k, v = for_each_head(k, n_heads), for_each_head(v, n_heads)
        if any(step.multiplies_cells for step, _ in steps):
            # A cell that was multiplied by zero (openai-gpt) holds nothing of its score.
            added = by_head(added_to(scores, product, steps))  # type: ignore[arg-type]
            rest = logits.reshape(weights.shape) - scaling * (q @ for_each_head(k, n_heads).mT)
            is_hidden = added < HIDDEN_BELOW
            mask, bias = split(rest.where(is_hidden, added), is_hidden)
        else:
            mask, bias = mask_and_bias(scores, product, steps, self.known, self._is_own)
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

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._finish()

    def _finish(self) -> None:
        """Say which tensors are whose weights; a module with an unread softmax has none."""
        calls = list(self._calls.values())
        for call in calls:
            call.beside = calls
        for one in self._in_order:
            if one.weights_of in self._calls:
                self._calls[one.weights_of].weights_as.append(one.result)
        if len(self._calls) < len(self._softmaxes) or self._is_unread:
            self.recording.drop(calls)
            self.recording.unread.append(self.module)
        for softmax in self._softmaxes:
            softmax.weights_of = None  # itself, which would keep all of it for the next collection


def _is_over_last(args: Args, kwargs: Kwargs) -> bool:
    tensor = args[0] if args else kwargs["input"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return dim in (-1, tensor.ndim - 1)
