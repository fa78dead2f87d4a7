"""One forward pass → query, key, value, mask and weights of every attention call, as arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from attnviz.attention.tolerance import TOLERANCE
from attnviz.attention.trace import Trace
from attnviz.capture import inputs as inputs_module
from attnviz.capture.accelerate_hooks import device_of, one_at_a_time
from attnviz.capture.arrays import OfPass, as_arrays
from attnviz.capture.calls import Answering, Call, Place, Recording
from attnviz.capture.compat import revision
from attnviz.capture.given import CACHE, copied
from attnviz.capture.handwritten import Tracing
from attnviz.capture.inputs import Inputs, model_name
from attnviz.capture.kinds_and_layers import by_kind_and_layer, has_cached_keys, tokens_of
from attnviz.capture.modules import modules_of, parameters_of
from attnviz.capture.recording import recording
from attnviz.capture.stopped import because, check_reads_text, check_tokenizer, is_of_memory
from attnviz.capture.traceable import checked, dtype_name, named, nothing_read
from attnviz.capture.whole_calls import whole_calls
from attnviz.text.errors import AttnvizError

KEPT = "logits_to_keep"  # how a model's forward is asked for the logits of some positions alone


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
    return observed(model, tokenizer, text, pair, target, max_tokens).trace


def observed(
    model: Any,
    tokenizer: Any,
    text: str,
    pair: str | None = None,
    target: str | None = None,
    max_tokens: int | None = None,
    *,
    answers: Callable[[Inputs], list[int]] | None = None,
) -> "Observed":
    """The pass that `trace` shows, and what the model returned in it.

    `answers` says at which positions logits are asked for, and then it computes no others.
    """
    model, modules = checked(model)
    check_reads_text(model)
    check_tokenizer(tokenizer)
    with running(model, modules) as given:
        inputs = inputs_module.from_text(model, tokenizer, text, pair, target, max_tokens)
        given |= inputs.tensors
        return _observed(model, modules, inputs, answers and answers(inputs))


def trace_inputs(
    model: Any,
    inputs: Any,
    tokens: Sequence[str] | None = None,
    target_tokens: Sequence[str] | None = None,
    tokenizer: Any = None,
) -> Trace:
    """The same for what the model is given, a batch of one: what a tokenizer or processor returns.

    By name all that the model's forward takes: ids or `inputs_embeds`, masks, pictures, sounds,
    `past_key_values`, `encoder_outputs` … as tensors, arrays or lists, on any device; ids alone
    may come without a name. With the `tokenizer` positions are named as `trace` names them.
    `tokens` and `target_tokens` name them otherwise; marks of a tokenizer in these names are read
    as what they mean. Without either, positions are called by their numbers. With a cache `tokens`
    are those of the text, or of all that was ever read.

    Raises InputError, beside what `trace` raises, for an input that the model does not read.
    """
    model, modules = checked(model)
    with running(model, modules) as given:
        made = inputs_module.from_tensors(model, inputs, tokens, target_tokens, tokenizer)
        given |= made.tensors
        return _observed(model, modules, made).trace


@contextmanager
def running(model: PreTrainedModel, modules: list[nn.Module]) -> Iterator[dict[str, Any]]:
    """What is known of a pass, to be filled with what the model is given, for when it stops."""
    given: dict[str, Any] = {}
    try:
        with one_at_a_time(modules):
            yield given
    except AttnvizError:
        raise
    except Exception as error:  # of the model's own code, for what it was not made for
        # Its traceback holds what fills the memory.
        cause = error.with_traceback(None) if is_of_memory(error) else error
        raise because(model, given, error) from cause


@dataclass(frozen=True, eq=False)
class Observed:
    """One pass of a model over one text, and what it takes to run it again."""

    model: PreTrainedModel
    modules: list[nn.Module]
    inputs: Inputs
    trace: Trace
    outputs: Mapping[str, Any]  # what the model returned
    options: Mapping[str, Any]  # how it was told what to return
    answering: Answering | None  # what was told so, where it is not the model itself
    is_of_all: bool  # whether every attention was read from torch's operations
    places: Mapping[tuple[str, int], tuple[Place, ...]]  # by kind and layer


def _observed(
    model: PreTrainedModel,
    modules: list[nn.Module],
    inputs: Inputs,
    answers: list[int] | None = None,
) -> Observed:
    recorded, outputs, options, is_of_all = _recorded(model, modules, inputs, answers)
    calls, parts = whole_calls(recorded.calls, inputs)
    unread = [*recorded.unread, *parts]
    if not calls:
        raise nothing_read(model, unread)
    dtype = _dtype_of(model, calls)
    of_pass = OfPass(modules, dtype, recorded.is_seen)
    read = by_kind_and_layer(model, calls, outputs, inputs)
    for (kind, _), call in read.items():
        if has_cached_keys(kind, inputs):
            call.x_key = None
    by_kind = {
        (kind, layer): as_arrays(call, *tokens_of(kind, call, inputs), of_pass)
        for (kind, layer), call in read.items()
    }
    trace = Trace(
        model_name=model_name(model),
        revision=revision(model),
        dtype=dtype,
        source=inputs.source or next(iter(by_kind.values())).query_tokens,
        target=inputs.target,
        target_is_decoded=inputs.target_is_decoded,
        calls=by_kind,
        not_shown=named(unread),
    )
    for call in (*recorded.calls, *calls):
        call.beside = []  # each other: their tensors would stay for the next garbage collection
    return Observed(
        model,
        modules,
        inputs,
        trace,
        outputs,
        options,
        recorded.answering,
        is_of_all,
        {at: call.places for at, call in read.items()},
    )


def _dtype_of(model: PreTrainedModel, calls: list[Call]) -> str:
    """What the model computed attention in; under autocast that is less than what it is in."""
    computed = (str(one.dtype) for call in calls for one in (call.q, call.k, call.v, call.updated))
    names = [dtype_name(model), *(name.removeprefix("torch.") for name in computed)]
    return max(dict.fromkeys(names), key=lambda name: TOLERANCE.get(name, 0))


def _recorded(
    model: PreTrainedModel, modules: list[nn.Module], inputs: Inputs, answers: list[int] | None
) -> tuple[Recording, Mapping[str, Any], Mapping[str, Any], bool]:
    """What was recorded while the model ran, what it returned, and how it was run."""
    parameters = parameters_of(type(model).forward)
    given = inputs.tensors
    # Under autocast what is computed again later would be computed in another precision.
    keeps_weights = inputs_module.keeps_weights(model, modules) or torch.is_autocast_enabled(
        device_of(model).type
    )
    wanted: dict[str, Any] = {
        "output_attentions": keeps_weights,
        "return_dict": True,
        "use_cache": False,
    }
    if answers is not None:
        wanted[KEPT] = torch.tensor(answers, device=device_of(model))
    options = {
        name: value
        for name, value in wanted.items()
        if name in parameters or ("**" in parameters and name not in ("use_cache", KEPT))
    }
    if CACHE in given:
        options.pop("use_cache", None)
    answering = None
    if answers is not None and KEPT not in options:
        answering = _answering(model, inputs, answers)

    def run(
        modules: list[nn.Module], *, of_all: bool = False, copies: bool = False
    ) -> tuple[Recording, Mapping[str, Any], set[nn.Module]]:
        tracing = Tracing(of_all)
        recorded = Recording(
            keeps_weights or of_all, copies=copies, around=tracing, answering=answering
        )
        with recording(modules, recorded):
            earlier = {CACHE: copied(given[CACHE])} if CACHE in given else {}
            outputs = model(**given | options | earlier)
        missed = tracing.left_out - {call.module for call in recorded.calls}
        return recorded, outputs if isinstance(outputs, Mapping) else {}, missed

    of_all = False
    recorded, outputs, missed = run(modules)
    if (now := modules_of(model)) != modules:  # it exchanged some while it ran (big_bird)
        recorded, outputs, missed = run(now)
    if missed:  # they can call an eager attention function, and did not
        of_all = True
        recorded, outputs, _ = run(now, of_all=True)
    if not all(call.is_untouched for call in recorded.calls):  # the model wrote into what it had
        recorded, outputs, _ = run(now, of_all=of_all, copies=True)
    return recorded, outputs, options, of_all


def _answering(model: PreTrainedModel, inputs: Inputs, positions: list[int]) -> Answering | None:
    """What makes the logits of a model whose forward cannot be asked for some of them."""
    tokens = inputs.source if inputs.target is None else inputs.target
    try:
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    except (AttributeError, NotImplementedError):
        return None
    if type(head) is not nn.Linear or tokens is None:
        return None
    return Answering(head, positions, len(tokens))
