"""The same pass again, in which the model goes on with something else than some heads computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnviz.capture.calls import Call, Recording
from attnviz.capture.forward_pass import Observed, running
from attnviz.capture.handwritten import Tracing
from attnviz.capture.recording import recording

# What becomes of a layer's updates, which it may write into: (text, query_pos, head, values), where
# values are the given part of d_value.
Change = Callable[[Tensor, slice], None]


def run_again(
    observed: Observed, changes: Mapping[tuple[str, int], Change], n_texts: int = 1
) -> Mapping[str, Any]:
    """What the model returns for the same text, as often as that is to be in the batch.

    Only what this thread runs in this call is changed: the model is as it was, for everybody.
    """
    by_number: dict[int, list[tuple[slice, slice, Change]]] = {}
    for (kind, layer), change in changes.items():
        call = observed.trace.layer(layer, kind)
        places = observed.places[kind, layer]
        starts = [place.first_value for place in places]
        ends = [*starts[1:], call.own_updated.shape[-1]]
        for place, start, end in zip(places, starts, ends, strict=True):
            heads = slice(place.first_head, place.first_head + call.n_heads)
            by_number.setdefault(place.number, []).append((heads, slice(start, end), change))
    tensors = {name: _repeated(value, n_texts) for name, value in observed.inputs.tensors.items()}
    changed = _Changing(
        around=Tracing(observed.is_of_all), of_number=by_number, answering=observed.answering
    )
    with running(observed.model, observed.modules), recording(observed.modules, changed):
        returned: Mapping[str, Any] = observed.model(**tensors, **observed.options)
    return returned


def _repeated(value: Any, n_texts: int) -> Any:
    if n_texts == 1 or not isinstance(value, Tensor):
        return value
    return value.expand(n_texts, *value.shape[1:])


@dataclass
class _Changing(Recording):
    """A recording that keeps nothing, and changes what calls of these numbers hand on."""

    of_number: Mapping[int, list[tuple[slice, slice, Change]]] = field(default_factory=dict)
    finds_projections: bool = False

    def add(self, call: Call) -> None:
        self.n_added += 1

    def handed_on(self, updated: Tensor) -> Tensor:
        changes = self.of_number.get(self.n_added - 1)
        if not changes:
            return updated
        handed_on = updated.clone(memory_format=torch.preserve_format)
        for heads, values, change in changes:
            change(handed_on[:, :, heads], values)
        return handed_on
