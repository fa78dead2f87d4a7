"""One forward pass → query, key, value, mask and weights of every attention call, as arrays."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.attention.call import Again, LayerTrace, Origin, Projection
from attnviz.attention.tolerance import TOLERANCE
from attnviz.attention.trace import Trace
from attnviz.capture import inputs as inputs_module
from attnviz.capture.eager import observe
from attnviz.capture.handwritten import tracing
from attnviz.capture.inputs import Inputs, model_name, takes_target
from attnviz.capture.recording import Call, for_each_head, modules_of, parameters_of, recording
from attnviz.capture.rotary import Orders, before_rotary
from attnviz.capture.several_devices import one_at_a_time
from attnviz.text.errors import (
    AttnvizError,
    InputError,
    NoAttentionError,
    UnsupportedModelError,
    gist,
)
from attnviz.text.tokens import Tokens, numbered


def trace(
    model: Any,
    tokenizer: Any,
    text: str,
    *,
    pair: str | None = None,
    target: str | None = None,
    max_tokens: int | None = None,
) -> Trace:
    """Everything that every attention head computes for a text, in one forward pass.

    `pair` is the second text of a sentence pair; `target` is what an encoder-decoder's decoder
    is given. Without one the model writes it, greedily, at most 32 tokens, and the trace says
    so in `target_is_decoded`.

    Raises InputError for a text that cannot be shown (blank, or longer than the model's
    positions or `max_tokens`), UnsupportedModelError for a model that cannot be observed, and
    NoAttentionError for one without softmax attention.
    """
    modules = checked_modules(model)
    with _running(model, modules):
        inputs = inputs_module.from_text(model, tokenizer, text, pair, target, max_tokens)
        return _trace(model, modules, inputs)


def trace_inputs(
    model: Any,
    inputs: Mapping[str, Tensor],
    tokens: Sequence[str] | None = None,
    target_tokens: Sequence[str] | None = None,
) -> Trace:
    """The same for inputs that are tensors already: what a tokenizer returns, a batch of one.

    `tokens` and `target_tokens` name the positions; without them they are their numbers.
    """
    modules = checked_modules(model)
    with _running(model, modules):
        given = inputs_module.from_tensors(model, inputs, tokens, target_tokens)
        return _trace(model, modules, given)


@contextmanager
def _running(model: PreTrainedModel, modules: list[nn.Module]) -> Iterator[None]:
    try:
        with one_at_a_time(modules):
            yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            "This text needs more memory than the GPU has left."
            "\n\nHint: shorten it, or load the model in bfloat16 or on the CPU."
        ) from error.with_traceback(None)  # which holds what fills the GPU
    except AttnvizError:
        raise
    except Exception as error:  # of the model's own code, for what it was not made for
        raise UnsupportedModelError(
            f"{model_name(model)} (model type {model.config.model_type!r}) does not run on what it "
            f"was given ({gist(error)}).\n\nHint: choose a model that reads text, with a tokenizer "
            "that belongs to it; what others need can be passed to attnviz.trace_inputs."
        ) from error


def _trace(model: PreTrainedModel, modules: list[nn.Module], inputs: Inputs) -> Trace:
    parameters = parameters_of(type(model).forward)
    keeps_weights = inputs_module.keeps_weights(model, modules)
    options = {
        name: value
        for name, value in (
            ("output_attentions", keeps_weights),
            ("return_dict", True),
            ("use_cache", False),
        )
        if name in parameters or ("**" in parameters and name != "use_cache")
    }
    observe(modules)
    with (
        torch.no_grad(),
        recording(keeps_weights=keeps_weights) as recorded,
        tracing(recorded) as left_out,
    ):
        outputs = model(**inputs.tensors, **options)
    if left_out - {call.module for call in recorded.calls}:  # they did not call what is observed
        with torch.no_grad(), recording() as recorded, tracing(recorded, of_all=True):
            outputs = model(**inputs.tensors, **options)
    calls, parts = _whole(_merged(_by_stream(recorded.calls)), inputs)
    unread = [*recorded.unread, *parts]
    outputs = outputs if isinstance(outputs, Mapping) else {}
    if not calls:
        raise _nothing_read(model, unread)
    orders: Orders = {}
    trace = Trace(
        model_name=model_name(model),
        revision=getattr(model.config, "_commit_hash", None),
        dtype=_dtype(model),
        source=inputs.source,
        target=inputs.target,
        target_is_decoded=inputs.target_is_decoded,
        calls={
            (kind, layer): _as_arrays(call, *_tokens_of(kind, call, inputs), orders)
            for (kind, layer), call in _by_kind_and_layer(model, calls, outputs).items()
        },
        not_shown=_named(unread),
    )
    for call in (*recorded.calls, *calls):
        call.beside = []  # each other: their tensors would stay for the next garbage collection
    return trace


# Whose call it was


def _by_kind_and_layer(
    model: PreTrainedModel, calls: list[Call], outputs: Mapping[str, Any]
) -> dict[tuple[str, int], Call]:
    """Each call under its kind and layer.

    The weights that an attention function returned are the very tensors in the model's output,
    in `encoder_attentions` and its like; that tells the kind. Where they are not, the module's
    place in the model and what it was given tell it.
    """
    is_encoder_decoder = takes_target(model)
    own = "decoder" if is_encoder_decoder else "self"
    fields = {
        "encoder_attentions": "encoder",
        "decoder_attentions": "decoder",
        "attentions": own,
        "cross_attentions": "cross",
        "decoder_ngram_attentions": "predict",  # of prophetnet's streams of future tokens
    }
    kind_of = {
        id(weights): kind
        for name, kind in fields.items()
        for weights in (outputs.get(name) or ())
        if weights is not None
    }
    encoder_modules: set[nn.Module] = set()
    if is_encoder_decoder:
        encoder_modules.update(model.get_encoder().modules())

    def given_back(call: Call) -> str | None:
        kinds = (kind_of.get(id(weights)) for weights in call.weights_as)
        return next((kind for kind in kinds if kind), None)

    def kind(call: Call) -> str:
        kinds = [given_back(other) for other in (call, *call.beside)]
        if kinds[0] is not None:
            return f"{kinds[0]}, stream {call.stream + 1}" if call.stream else kinds[0]
        if any(kinds):  # lilt has an attention over the layout beside that over the text
            return f"{next(filter(None, kinds))}, second"
        if call.is_cross:
            return "cross"
        return "encoder" if call.module in encoder_modules else own

    by_kind: dict[str, list[Call]] = {}
    for call in calls:
        by_kind.setdefault(kind(call), []).append(call)
    order = sorted(by_kind, key=lambda name: (_ORDER.index(name.partition(",")[0]), name))
    return {
        (name, layer): call
        for name in order
        for layer, call in zip(_layer_numbers(by_kind[name]), by_kind[name], strict=True)
    }


# In which a model computes them.
_ORDER = ("encoder", "self", "decoder", "predict", "cross")


def _layer_numbers(calls: list[Call]) -> list[int]:
    """The modules' own numbers where they tell the calls apart, else the order of the calls.

    A hybrid model's softmax layers keep their places among all layers; a module that is called
    several times (albert) has one number for all its calls.
    """
    own = [getattr(call.module, "layer_idx", None) for call in calls]
    numbers = [number for number in own if isinstance(number, int)]
    tell_apart = len(numbers) == len(calls) and numbers == sorted(set(numbers))
    return numbers if tell_apart else list(range(len(calls)))


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
    return dataclasses.replace(call, **parts, updated=call.updated[:, :, heads], stream=stream)


def _merged(calls: list[Call]) -> list[Call]:
    """One call where a module asked twice for the same weights, on two parts of the values.

    diffllama does; the values and the updates then stand side by side.
    """
    merged: list[Call] = []
    for call in calls:
        last = merged[-1] if merged else None
        if last is not None and last.q is call.q and last.k is call.k:
            last.v = torch.cat([last.v, call.v], dim=-1)
            last.updated = torch.cat([last.updated, call.updated], dim=-1)
            last.weights_as += call.weights_as
        else:
            merged.append(call)
    return merged


def _whole(calls: list[Call], inputs: Inputs) -> tuple[list[Call], list[nn.Module]]:
    """The calls that are one text's whole attention, and the modules of the others.

    A module that is called again and again for windows of the text (canine, for long ones), or
    that folds windows or heads into another axis, has no whole matrix of weights.
    """
    times = Counter(call.module for call in calls)
    lengths = {len(tokens) for tokens in (inputs.source, inputs.target) if tokens is not None}

    def is_whole(call: Call) -> bool:
        n_queries = call.q.shape[-2]
        is_window = times[call.module] > max(1, len(call.beside)) and n_queries not in lengths
        has_other_x = (
            call.captured == "traced"
            and len(call.beside) == 1
            and call.x_query is not None
            and _by_position(call.x_query, n_queries) is None
        )
        return call.q.shape[0] == 1 and not is_window and not has_other_x

    parts = dict.fromkeys(call.module for call in calls if not is_whole(call))
    return [call for call in calls if call.module not in parts], list(parts)


# From tensors to arrays


def _tokens_of(kind: str, call: Call, inputs: Inputs) -> tuple[Tokens, Tokens]:
    """Whose tokens the queries of a call are, and whose the keys.

    Positions that are not those of a text (what a caller passed as encoder states, memory that
    a model adds) are called by their numbers.
    """
    kind = kind.partition(",")[0]
    n_queries, n_keys = call.q.shape[-2], call.k.shape[-2]
    is_of_source = inputs.target is None or kind == "encoder"
    queries = inputs.source if is_of_source else inputs.target
    assert queries is not None
    keys = inputs.source if kind == "cross" else queries
    is_of_no_text = kind == "cross" and inputs.target is None
    return (
        queries if len(queries) == n_queries else numbered(n_queries),
        keys if len(keys) == n_keys and not is_of_no_text else numbered(n_keys),
    )


def _as_arrays(call: Call, query_tokens: Tokens, key_tokens: Tokens, orders: Orders) -> LayerTrace:
    n_queries, n_keys = call.q.shape[-2], call.k.shape[-2]
    made = call.made.get("q")
    if made is not None and call.x_query is not None and made.given.shape != call.x_query.shape:
        call.x_query = call.x_key = None  # the query is made of something else (lilt's layout)
    x_query = _array(_by_position(call.x_query, n_queries))
    q_before_rotary, k_before_rotary, origins = _before(call, orders)
    return LayerTrace(
        query_tokens=query_tokens,
        key_tokens=key_tokens,
        x_query=x_query,
        x_key=x_query if call.x_key is call.x_query else _array(_by_position(call.x_key, n_keys)),
        q=_row(call.q),
        k=_row(call.k),
        v=_row(call.v),
        q_before_rotary=_row(q_before_rotary),
        k_before_rotary=_row(k_before_rotary),
        origins=origins,
        scaling=call.scaling,
        softcap=call.softcap,
        bias=_added_to_scores(call.bias, n_queries, n_keys),
        mask=_added_to_scores(call.mask, n_queries, n_keys),
        sink_logits=None
        if call.sink_logits is None
        else np.broadcast_to(_array(call.sink_logits), (call.q.shape[1], n_queries)),
        weights_from=_weights_from(call),
        own_updated=_row(call.updated),
        projection=_projection(call),
        captured=call.captured,
    )


def _weights_from(call: Call) -> np.ndarray | Again:
    """The weights of a call where they were kept, else what computes them again."""
    if call.weights is not None:
        return _row(_weights_applied(call, call.weights))
    assert call.again is not None
    return Again(partial(_array_of, call.again))


def _array_of(again: Callable[[slice, slice], Tensor], *part: slice) -> np.ndarray:
    return _row(again(*part))


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


def _by_position(x: Tensor | None, n_positions: int) -> Tensor | None:
    """(position, d_model): some models put the batch (xlnet) or the positions (squeezebert) last.

    None where no axis is that long.
    """
    if x is None or 1 not in x.shape:
        return None
    x = x.squeeze(0 if x.shape[0] == 1 else 1)
    if len(x) == n_positions:
        return x
    return x.T if x.shape[1] == n_positions else None


def _before(call: Call, orders: Orders) -> tuple[Tensor | None, Tensor | None, dict[str, Origin]]:
    """Query and key before their rotary embedding, both or neither, and what q, k and v are of x.

    Where there was a rotary embedding this is told of query and key before it.
    """
    made = dict(call.made)
    q, made_q = before_rotary(call.q, call.rotations, orders)
    k, made_k = before_rotary(call.k, call.rotations, orders) if q is not None else (None, None)
    if q is not None and k is not None:
        made |= {"q": made_q, "k": made_k}
    else:
        q = k = None
    x = {"q": call.x_query, "k": call.x_key, "v": call.x_key}
    origins = {
        name: Origin(one.has_bias, one.is_normed)
        for name, one in made.items()
        if one is not None and one.given is x[name]
    }
    return q, k, origins


def _projection(call: Call) -> Projection | str:
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
        weight_of=partial(_weight_of, joining.read, rows),
        bias=_array(joining.bias),
        gate=None if gate is None else _array(gate[:, rows]),
        own_output=_array(joining.output.reshape(shape[0], -1)),
    )


def _weight_of(read: Callable[[], Tensor | None], rows: Tensor, head: int) -> Any:
    """A head's part of W_O, read when it is asked for; None once the model was changed."""
    weight = read()
    return None if weight is None else _array(weight[rows[head]])


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


# What can be traced


def checked_modules(model: Any) -> list[nn.Module]:
    """The model's modules. Raises UnsupportedModelError for one that cannot be traced."""
    if not isinstance(model, PreTrainedModel):
        raise UnsupportedModelError(
            f"attnviz reads models of the transformers library; received {type(model).__name__}."
            "\n\nHint: model, tokenizer = attnviz.load(name)"
        )
    modules = modules_of(model)
    if any(module.training for module in modules):
        raise UnsupportedModelError(
            f"{model_name(model)} is in training mode, where dropout changes the weights at random."
            "\n\nHint: model.eval()"
        )
    for module in modules:
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation != "eager":
            raise UnsupportedModelError(
                f"{model_name(model)} computes attention with "
                f"{module.config._attn_implementation!r}, which does not give its weights away."
                "\n\nHint: model.set_attn_implementation('eager')"
            )
    if _dtype(model) not in TOLERANCE:
        raise UnsupportedModelError(
            f"{model_name(model)} computes in {_dtype(model)}, which attnviz cannot replay."
            "\n\nHint: load it in float32: attnviz.load(name)"
        )
    return modules


# Model types whose layers mix tokens by something else than a softmax over keys.
_WITHOUT_SOFTMAX_ATTENTION = {
    *("falcon_mamba", "fnet", "mamba", "mamba2", "mra", "reformer", "rwkv", "xlstm", "yoso"),
}


def _nothing_read(model: PreTrainedModel, unread: list[nn.Module]) -> UnsupportedModelError:
    kind = model.config.model_type
    hint = "\n\nHint: choose a model such as bert, gpt2, llama or t5."
    if kind in _WITHOUT_SOFTMAX_ATTENTION:
        return NoAttentionError(
            f"{model_name(model)} (model type {kind!r}) has no softmax attention: there are no "
            f"queries, keys and weights to show.{hint}"
        )
    if unread:
        return UnsupportedModelError(
            f"The attention of {model_name(model)} (model type {kind!r}) has no matrix of weights "
            f"to show: that of {_named(unread)[0]} is sparse, or written in a way that could not "
            f"be read.{hint}"
        )
    return UnsupportedModelError(
        f"No softmax attention was seen in {model_name(model)} (model type {kind!r}): it has none, "
        f"or computes it in fused code.{hint}"
    )


def _named(unread: list[nn.Module]) -> tuple[str, ...]:
    """The attention modules that could not be read, by their classes."""
    times = Counter(type(module).__name__ for module in unread)
    return tuple(f"{name} ({n} layer{'s' * (n > 1)})" for name, n in times.items())


def _dtype(model: PreTrainedModel) -> str:
    return str(model.dtype).removeprefix("torch.")
