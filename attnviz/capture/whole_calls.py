"""The calls that are one text's whole attention, of all that were recorded in one pass."""

import dataclasses
from collections import Counter

import torch
from torch import nn

from attnviz.capture.calls import Call, by_position
from attnviz.capture.inputs import Inputs


def whole_calls(calls: list[Call], inputs: Inputs) -> tuple[list[Call], list[nn.Module]]:
    """The calls that are one text's whole attention, and the modules of the others.

    A module that is called again and again for windows of the text (canine, for long ones), or
    that folds windows or heads into another axis, has no whole matrix of weights.
    """
    calls = _merged(_by_stream(calls))
    times = Counter(call.module for call in calls)
    lengths = {len(tokens) for tokens in (inputs.source, inputs.target) if tokens is not None}

    def is_whole(call: Call) -> bool:
        n_queries = call.q.shape[-2]
        is_window = times[call.module] > max(1, len(call.beside)) and n_queries not in lengths
        has_other_x = (
            call.captured == "traced"
            and len(call.beside) == 1
            and call.x_query is not None
            and by_position(call.x_query, n_queries) is None
        )
        return call.q.shape[0] == 1 and not is_window and not has_other_x

    parts = dict.fromkeys(call.module for call in calls if not is_whole(call))
    return [call for call in calls if call.module not in parts], list(parts)


def _by_stream(calls: list[Call]) -> list[Call]:
    """A call for each stream of heads, where one product computes several."""
    return [
        call if call.n_streams == 1 else _stream(call, stream)
        for call in calls
        for stream in range(call.n_streams)
    ]


def _stream(call: Call, stream: int) -> Call:
    n_heads = call.q.shape[1]
    heads = slice(*(n_heads * place // call.n_streams for place in (stream, stream + 1)))
    parts = {
        name: tensor[:, heads]
        for name in ("q", "k", "v", "weights", "mask", "bias")
        if (tensor := getattr(call, name)) is not None and tensor.shape[1] == n_heads
    }
    made = {
        name: dataclasses.replace(one, tensor=one.tensor[:, heads])
        for name, one in call.projected.items()
        if one is not None and one.tensor.ndim == 4 and one.tensor.shape[1] == n_heads
    }
    updated = call.updated[:, :, heads]
    places = tuple(place._replace(first_head=heads.start) for place in call.places)
    projected = call.projected | made
    return dataclasses.replace(
        call, **parts, updated=updated, projected=projected, stream=stream, places=places
    )


def _merged(calls: list[Call]) -> list[Call]:
    """One call where a module asked twice for the same weights, on two parts of the values.

    diffllama does; the values and the updates then stand side by side.
    """
    merged: list[Call] = []
    for call in calls:
        last = merged[-1] if merged else None
        if last is not None and last.q is call.q and last.k is call.k:
            last.v = torch.cat([last.v, call.v], dim=-1)
            n_values = last.updated.shape[-1]
            last.places += tuple(one._replace(first_value=n_values) for one in call.places)
            last.updated = torch.cat([last.updated, call.updated], dim=-1)
            last.weights_as += call.weights_as
        else:
            merged.append(call)
    return merged
