"""A recorded call as arrays: from the tensors of one pass to what a trace holds."""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnviz.attention.call import Again, LayerTrace, Origin, Projection
from attnviz.attention.input_projection import NOT_KNOWN, InputProjection, Part
from attnviz.attention.tolerance import TOLERANCE
from attnviz.capture.calls import Call, by_position, for_each_head
from attnviz.capture.compat import buffers, is_parameter
from attnviz.capture.input_projection import (
    Projected,
    before_norm,
    columns_of,
    weight_and_bias,
)
from attnviz.capture.rotary import Orders, before_rotary
from attnviz.text.tokens import Tokens


@dataclass(eq=False)
class OfPass:
    """What the arrays of all calls of one pass have in common."""

    modules: Sequence[nn.Module]
    dtype: str
    is_seen: bool  # as a recording has it
    orders: Orders = field(default_factory=dict)  # what its rotary functions do
    # With what they are copies of: while that is held, no other tensor has its place in memory.
    copies: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def own(self, tensor: Tensor | None) -> Tensor | None:
        """A tensor that nobody but the trace holds."""
        if tensor is None:
            return None
        is_others = self.is_seen or is_parameter(tensor) or _memory(tensor) in self._of_buffers
        return self.copied(tensor) if is_others else tensor

    def copied(self, tensor: Tensor | None) -> Tensor | None:
        """A copy, the same for all layers that are given the same."""
        if tensor is None:
            return None
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in self.copies:
            self.copies[key] = tensor, tensor.detach().clone()
        return self.copies[key][1]

    @functools.cached_property
    def _of_buffers(self) -> set[int]:
        tensors = (one for module in self.modules for one in buffers(module))
        return {_memory(one) for one in tensors if one is not None and not one.is_meta}


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def as_arrays(call: Call, query_tokens: Tokens, key_tokens: Tokens, of_pass: OfPass) -> LayerTrace:
    """All heads of a call."""
    n_queries, n_keys = call.q.shape[-2], call.k.shape[-2]
    made = call.projected.get("q")
    if made is not None and call.x_query is not None and made.given.shape != call.x_query.shape:
        call.x_query = call.x_key = None  # the query is made of something else (lilt's layout)
    q_before_rotary, k_before_rotary, projected = _unturned(call, of_pass.orders)
    reasons = _not_of_x(call, projected)
    known = {
        letter: one
        for letter, one in projected.items()
        if one is not None and letter not in reasons
    }
    x_query = _array(by_position(of_pass.own(call.x_of("query")), n_queries))
    x_key = x_query if n_keys == n_queries else None  # a cache has keys of more than x
    if call.x_key is not call.x_query:
        x_key = _array(by_position(of_pass.own(call.x_of("key")), n_keys))
    call.take_over(of_pass.own, of_pass.copied)
    q, k, v = map(_row, (call.q, call.k, call.v))
    q_before = _row(of_pass.own(q_before_rotary))
    k_before = _row(of_pass.own(k_before_rotary))
    before = {"q": q if q_before is None else q_before, "k": k if k_before is None else k_before}
    normed = _before_norm(known, of_pass)
    x = {"q": x_query, "k": x_key, "v": x_key}
    input_projections = _input_projections(known, before | {"v": v} | normed, x, of_pass)
    return LayerTrace(
        query_tokens=query_tokens,
        key_tokens=key_tokens,
        x_query=x_query,
        x_key=x_key,
        q=q,
        k=k,
        v=v,
        q_before_rotary=q_before,
        k_before_rotary=k_before,
        origins={letter: Origin(one.has_bias, one.is_normed) for letter, one in known.items()},
        input_projections={**reasons, **input_projections},
        before_norm=normed,
        scaling=call.scaling,
        softcap=call.softcap,
        bias=_added_to_scores(call.bias, n_queries, n_keys),
        mask=_added_to_scores(call.mask, n_queries, n_keys),
        sink_logits=None
        if call.sink_logits is None
        else np.broadcast_to(_array(call.sink_logits), (call.q.shape[1], n_queries)),
        weights_from=_weights_from(call),
        own_updated=_row(call.updated),
        projection=_projection(call, of_pass),
        captured=call.captured,
    )


def _weights_from(call: Call) -> np.ndarray | Again:
    """The weights of a call where they were kept, else what computes them again."""
    if call.weights is not None:
        weights: np.ndarray = _row(_weights_applied(call, call.weights))
        return weights
    assert call.again is not None
    return Again(partial(_array_of, call.again))


def _array_of(again: Callable[[slice, slice], Tensor], *part: slice) -> np.ndarray:
    weights: np.ndarray = _row(again(*part))
    return weights


def _weights_applied(call: Call, weights: Tensor) -> Tensor:
    """The weights that the values were really given.

    Where a sink's share is taken from the update instead of from the weights (granite_swa), the
    model returns weights that sum to 1; by how much its update is smaller than weights · v is
    then measured, row by row.
    """
    if call.sink_logits is None:
        return weights
    rounding = TOLERANCE[str(weights.dtype).removeprefix("torch.")]
    if (weights.sum(-1) < 1 - rounding).any():
        return weights
    given = (weights @ for_each_head(call.v, weights.shape[1])).transpose(1, 2)
    share = (call.updated * given).sum(-1) / (given * given).sum(-1)  # (1, query_pos, head)
    return weights * share.transpose(1, 2)[..., None]


def _unturned(
    call: Call, orders: Orders
) -> tuple[Tensor | None, Tensor | None, dict[str, Projected | None]]:
    """Query and key before their rotary embedding, both or neither, and what made q, k and v.

    Where there was a rotary embedding this is told of query and key before it.
    """
    made = dict(call.projected)
    q, made_q = before_rotary(call.q, call.rotations, orders)
    k, made_k = before_rotary(call.k, call.rotations, orders) if q is not None else (None, None)
    if q is not None and k is not None:
        made |= {"q": made_q, "k": made_k}
    else:
        q = k = None
    return q, k, made


def _not_of_x(call: Call, projected: Mapping[str, Projected | None]) -> dict[str, str]:
    """Why a query, key or value is no projection of x, of those that are none."""
    x = {"q": call.x_query, "k": call.x_key, "v": call.x_key}
    reasons = {}
    for letter, made in projected.items():
        if x[letter] is None:
            reasons[letter] = NOT_KNOWN
        elif made is None:
            reasons[letter] = "the module computes it by more than one plain projection of x"
        elif made.given is not x[letter]:
            reasons[letter] = "it is a projection of something else than x"
        elif not made.is_plain:
            reasons[letter] = "its projection has quantised weights"
    return reasons


def _before_norm(known: Mapping[str, Projected], of_pass: OfPass) -> dict[str, np.ndarray]:
    normed = {letter: made for letter, made in known.items() if made.is_normed}
    tensors = {letter: before_norm(made) for letter, made in normed.items()}
    return {
        letter: _row(of_pass.own(tensor))
        for letter, tensor in tensors.items()
        if tensor is not None
    }


def _input_projections(
    known: Mapping[str, Projected],
    projected: Mapping[str, np.ndarray],
    x: Mapping[str, np.ndarray | None],
    of_pass: OfPass,
) -> dict[str, InputProjection | str]:
    """What made those of q, k and v that are projections of x, or why W is not known."""
    made: dict[str, InputProjection | str] = {}
    for letter, one in known.items():
        columns, read = columns_of(one), weight_and_bias(one)
        shape, of = projected[letter].shape, x[letter]
        if of is None:
            made[letter] = NOT_KNOWN
        elif columns is None or tuple(columns.shape) != (shape[0], shape[2]):
            made[letter] = "which columns of the projection are this head's is not known"
        elif not one.projection.is_untouched:
            made[letter] = "the model wrote into what its projection returned"
        elif read is None:
            made[letter] = "its projection's weights are made anew in each pass"
        else:
            part = partial(_part_in, read, columns)
            made[letter] = InputProjection(part, projected[letter], of, TOLERANCE[of_pass.dtype])
    return made


def _part_in(
    read: Callable[[], tuple[Tensor, Tensor | None] | None], columns: Tensor, head: int
) -> Part | None:
    """The part of W and b that a head meets, as the model has them now."""
    both = read()
    if both is None:
        return None
    weight, bias = both
    of_head = columns[head].to(weight.device)
    return _array(weight[:, of_head]), None if bias is None else _array(bias[of_head])


def _projection(call: Call, of_pass: OfPass) -> Projection | str:
    """What joins the heads, or why they have no shares of their own."""
    joining = call.joining
    if joining.obstacle is not None:
        return f"{joining.obstacle} stands between the heads' updates and the module's output"
    if joining.weight is None or joining.read is None or joining.output is None:
        return "no projection of the heads' updates was observed"
    _, *shape = call.updated.shape
    d_model = joining.output.shape[-1]
    if call.x_query is not None and d_model != call.x_query.shape[-1]:
        return f"the projection of the heads' updates has {d_model} dimensions, not those of x"
    rows = joining.weight_rows(*shape)
    if rows is None:
        return "the output projection is not given each token's heads side by side"
    gate = joining.gate(*shape)
    return Projection(
        read=partial(_weights_in, joining.read, rows),
        bias=_array(of_pass.copied(joining.bias)),
        gate=None if gate is None else _array(gate[:, rows]),
        updated=_row(call.updated),
        own_output=_array(joining.output.reshape(shape[0], -1)),
        tolerance=TOLERANCE[of_pass.dtype],
    )


def _weights_in(read: Callable[[], Tensor | None], rows: Tensor) -> Any:
    """The part of W_O that each head meets, (head, d_value, d_model), as the model has it now."""
    weight = read()
    return None if weight is None else _array(weight[rows])


def _array(tensor: Tensor | None) -> Any:
    """The tensor as a float32 array that nobody can change; no copy where it is one already."""
    if tensor is None:
        return None
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype != torch.float32 or not tensor.is_cpu:
        tensor = tensor.to("cpu", torch.float32)
    array = tensor.numpy()
    array.flags.writeable = False
    return array


def _row(tensor: Tensor | None) -> Any:
    """The only row of a batch of one."""
    return None if tensor is None else _array(tensor)[0]


def _added_to_scores(tensor: Tensor | None, n_queries: int, n_keys: int) -> Any:
    """A mask or bias, (head or 1, query_pos, key_pos); it may have been made for more keys."""
    if tensor is None:
        return None
    array = _row(tensor)[..., :n_keys]
    return np.broadcast_to(array, (array.shape[0], n_queries, n_keys))
