"""One head, or one call, as a trace of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attnviz.errors import InputError
from attnviz.results import HeadTrace, LayerTrace, Trace
from attnviz.tokens import Tokens, plain, shown

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
    """The trace of a head alone, as head 0 of layer 0; what was filtered out or changed stays so.

    Its name says which head it was, of the model that is told `about` it, otherwise of `name`.
    Raises InputError for a what-if's temperature so small or large that no scaling can replace it.
    """
    text = {key: value for key, value in about.items() if isinstance(value, str) and value.strip()}
    attention_of = "" if head.kind == "self" else f"{head.kind} attention, "
    parts = f"{attention_of}layer {head.layer}, head {head.head}"
    if head.is_changed:
        parts += ", changed"
    call = _call_of(_as_given(head) if head.is_changed else head)
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


def _as_given(head: HeadTrace) -> HeadTrace:
    """A head that a what-if changed, as if it were given so: with nothing to compare with.

    Its temperature becomes part of all that the softmax is given.
    """
    t = np.float32(head.temperature)
    note = () if t == 1 else (f"the temperature, {t:g}, divides the scaling",)

    def divided(array: np.ndarray | None) -> np.ndarray | None:
        with np.errstate(over="ignore"):
            return None if array is None else array / t

    return dataclasses.replace(
        head,
        bias=divided(head.bias),
        mask=divided(head.mask),
        sink_logits=divided(head.sink_logits),
        scaling=head.scaling / head.temperature,
        softcap=None if head.softcap is None else head.softcap / head.temperature,
        temperature=1.0,
        own_weights=head.weights,
        own_updated=head.updated,
        notes=(*head.notes, *note),
        left_out=None,
        compared_with="nothing",
    )


def _call_of(head: HeadTrace) -> LayerTrace:
    def of_one(array: np.ndarray | None) -> Any:
        return None if array is None else array[None]

    return LayerTrace(
        query_tokens=_padded(head.query_tokens, head.query_is_padding),
        key_tokens=_padded(head.key_tokens, head.key_is_padding),
        x_query=head.x_query,
        x_key=head.x_key,
        q=head.q[None],
        k=head.k[None],
        v=head.v[None],
        scaling=head.scaling,
        softcap=head.softcap,
        bias=of_one(head.bias),
        mask=of_one(head.mask),
        sink_logits=of_one(head.sink_logits),
        weights_from=head.own_weights[None],
        own_updated=head.own_updated[:, None],
        projection=head.no_output_because or "the other heads of its layer are not in the file",
        captured="given",
        q_before_rotary=of_one(head.q_before_rotary),
        k_before_rotary=of_one(head.k_before_rotary),
        origins=head.origins,
        notes=head.notes,
        is_filtered=head.is_filtered,
        is_of_words=head.is_of_words,
        left_out=of_one(head.left_out),
        has_line=of_one(head.has_line),
        compared_with=head.compared_with,
    )


def _padded(labels: Sequence[str], is_padding: np.ndarray | None) -> Tokens:
    tokens = plain(labels)
    return tokens if is_padding is None else tokens.padded(is_padding.tolist())
