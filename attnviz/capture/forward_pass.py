"""One forward pass → query, key, value, mask and weights of every attention call, as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.attention.trace import Trace
from attnviz.capture import inputs as inputs_module
from attnviz.capture.accelerate_hooks import one_at_a_time
from attnviz.capture.arrays import as_arrays
from attnviz.capture.calls import Recording
from attnviz.capture.compat import revision
from attnviz.capture.handwritten import Tracing
from attnviz.capture.inputs import Inputs, model_name
from attnviz.capture.kinds_and_layers import by_kind_and_layer, tokens_of
from attnviz.capture.modules import modules_of, parameters_of
from attnviz.capture.recording import recording
from attnviz.capture.rotary import Orders
from attnviz.capture.traceable import checked_modules, dtype_name, named, nothing_read
from attnviz.capture.whole_calls import whole_calls
from attnviz.text.errors import AttnvizError, InputError, UnsupportedModelError, gist


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
    tokenizer: Any = None,
) -> Trace:
    """The same for inputs that are tensors already: what a tokenizer returns, a batch of one.

    With the `tokenizer` they are named as `trace` names them. `tokens` and `target_tokens` name the
    positions otherwise; marks of a tokenizer in these names are read as what they mean. Without
    either, positions are called by their numbers.
    """
    modules = checked_modules(model)
    with _running(model, modules):
        given = inputs_module.from_tensors(model, inputs, tokens, target_tokens, tokenizer)
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
    recorded, outputs = _recorded(model, modules, inputs)
    calls, parts = whole_calls(recorded.calls, inputs)
    unread = [*recorded.unread, *parts]
    if not calls:
        raise nothing_read(model, unread)
    orders: Orders = {}
    trace = Trace(
        model_name=model_name(model),
        revision=revision(model),
        dtype=dtype_name(model),
        source=inputs.source,
        target=inputs.target,
        target_is_decoded=inputs.target_is_decoded,
        calls={
            (kind, layer): as_arrays(call, *tokens_of(kind, call, inputs), orders)
            for (kind, layer), call in by_kind_and_layer(model, calls, outputs).items()
        },
        not_shown=named(unread),
    )
    for call in (*recorded.calls, *calls):
        call.beside = []  # each other: their tensors would stay for the next garbage collection
    return trace


def _recorded(
    model: PreTrainedModel, modules: list[nn.Module], inputs: Inputs
) -> tuple[Recording, Mapping[str, Any]]:
    """What was recorded while the model ran, and what it returned."""
    parameters = parameters_of(type(model).forward)
    keeps_weights = inputs_module.keeps_weights(model, modules)
    wanted = {"output_attentions": keeps_weights, "return_dict": True, "use_cache": False}
    options = {
        name: value
        for name, value in wanted.items()
        if name in parameters or ("**" in parameters and name != "use_cache")
    }

    def run(
        modules: list[nn.Module], *, of_all: bool = False
    ) -> tuple[Recording, Mapping[str, Any], set[nn.Module]]:
        tracing = Tracing(of_all)
        recorded = Recording(keeps_weights or of_all, around=tracing)
        with recording(modules, recorded):
            outputs = model(**inputs.tensors, **options)
        missed = tracing.left_out - {call.module for call in recorded.calls}
        return recorded, outputs if isinstance(outputs, Mapping) else {}, missed

    recorded, outputs, missed = run(modules)
    if (now := modules_of(model)) != modules:  # it exchanged some while it ran (big_bird)
        recorded, outputs, missed = run(now)
    if missed:  # they can call an eager attention function, and did not
        recorded, outputs, _ = run(now, of_all=True)
    return recorded, outputs
