"""One head, or one call, as a trace of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnviz.attention.call import LayerTrace
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.text.characters import shown
from attnviz.text.errors import InputError

_LONGEST_NAME = 200  # characters


def trace_of_call(
    call: LayerTrace, kind: str, name: str, dtype: str, revision: str | None = None
) -> Trace:
    """The trace of a single call. Queries of another text than the keys are its target."""
    is_cross = kind.startswith("cross")
    return Trace(
        model_name=name,
        revision=revision,
        dtype=dtype,
        source=call.key_tokens if is_cross else call.query_tokens,
        target=call.query_tokens if is_cross else None,
        target_is_decoded=False,
        calls={(kind, 0): call},
    )


def trace_of(head: HeadTrace, about: Mapping[str, Any], name: str) -> Trace:
    """The trace of a head that a file held, as head 0 of layer 0.

    What was filtered out or changed stays so. Its name says which head it was, of the model that
    is told `about` it, otherwise of `name`. Raises InputError for a what-if's temperature so small
    or large that no scaling can replace it.
    """
    text = {key: value for key, value in about.items() if isinstance(value, str) and value.strip()}
    attention_of = "" if head.kind == "self" else f"{head.kind} attention, "
    parts = f"{attention_of}layer {head.layer}, head {head.head}"
    if head.is_changed:
        parts += ", changed"
    call = _as_given(head) if head.is_changed else head.call
    model = shown(text.get("model", name)[:_LONGEST_NAME])
    revision = shown(text["revision"][:_LONGEST_NAME]) if "revision" in text else None
    trace = trace_of_call(call, head.kind, f"{model}, {parts}", head.dtype, revision)
    with np.errstate(all="ignore"):  # what overflows is refused
        is_same = np.allclose(trace.head(0, 0).weights, head.weights, atol=1e-3)
    if head.is_changed and not is_same:
        raise InputError(
            f"A softmax with a temperature of {head.temperature:g} cannot be shown by itself."
            "\n\nHint: a temperature that is nearer to 1."
        )
    return trace


def _as_given(head: HeadTrace) -> LayerTrace:
    """The call of a head that a what-if changed, as if it were given so: nothing to compare with.

    Its temperature becomes part of all that the softmax is given.
    """
    t = np.float32(head.temperature)
    note = () if t == 1 else (f"the temperature, {t:g}, divides the scaling",)

    def divided(array: np.ndarray | None) -> np.ndarray | None:
        with np.errstate(over="ignore"):
            return None if array is None else array / t

    return dataclasses.replace(
        head.call,
        bias=divided(head.call.bias),
        mask=divided(head.call.mask),
        sink_logits=divided(head.call.sink_logits),
        scaling=head.scaling / head.temperature,
        softcap=None if head.softcap is None else head.softcap / head.temperature,
        weights_from=head.weights[None],
        own_updated=head.updated[:, None],
        notes=(*head.notes, *note),
        left_out=None,
        compared_with="nothing",
    )
