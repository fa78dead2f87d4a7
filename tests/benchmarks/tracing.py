"""How long a trace takes, beside the model's own forward pass and BertViz's reading of it.

    python -m tests.benchmarks.tracing

Run it where the repository lies, with what tests/requirements.txt installs. BertViz is compared
where it is installed too (`pip install bertviz==1.4.1`); at 512 tokens of the larger model it
takes a few gigabytes. All of it takes five minutes.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel

import attnviz
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.garbage import collected
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import text_of
from tests.benchmarks.timing import in_turns

N_ROUNDS = {16: 40, 128: 15, 512: 5}  # by the number of tokens
N_ROUNDS_OF_STEPS = 20
LAYER, HEAD = 0, 8

FORWARD = "plain forward"
TRACE, TRACE_INPUTS, EVERY_WEIGHT = "trace", "trace_inputs", "trace, every weight read"
WITH_ATTENTIONS, SDPA = "output_attentions", "sdpa"
BERTVIZ = "BertViz"
OTHERS = (TRACE, TRACE_INPUTS, EVERY_WEIGHT, WITH_ATTENTIONS, SDPA, BERTVIZ)

STEPS = "ms"
TARGET_MS = 5  # of a head's steps, at 128 tokens

ROUNDS = ", ".join(f"{n} rounds at {n_tokens} tokens" for n_tokens, n in N_ROUNDS.items())
NOTE = f"""Medians of {ROUNDS}, after one that is not counted; in each, all are called in turns, in
one process. The plain forward pass is the model's own, eager, without gradients, on a text that is
tokenized already; the other columns are times divided by its. `trace_inputs` is given the same
tensors. `trace` is given the text, as is BertViz's `get_attention`, which is asked for queries and
keys too, as its neuron view asks, and whose own BERT has the same weights. Weights that a trace did
not keep are computed when they are read: “every weight read” is `trace_inputs`, and then the
weights of all heads as arrays, which BertViz's lists hold. sdpa is the forward pass of a copy of
the model whose attention is one fused operation and gives no weights. Each time ends when what was
returned is dropped again. What attnviz puts around the calls of modules is there only while it
traces."""

NOTE_OF_STEPS = f"""Medians of {N_ROUNDS_OF_STEPS} rounds, each with a new trace: `trace.head` for
one head, the first that is asked for in its layer, and the arrays of all of its steps. The target
is under {TARGET_MS} ms at 128 tokens."""


def tables() -> list[Table]:
    traced = [
        in_fresh_process(compared, name, n_tokens) for name in models.NAMES for n_tokens in N_ROUNDS
    ]
    stepped = [
        in_fresh_process(steps, name, n_tokens) for name in models.NAMES for n_tokens in N_ROUNDS
    ]
    return [
        Table(
            "How long a trace takes", ["model", "tokens", f"{FORWARD}, ms", *OTHERS], traced, NOTE
        ),
        Table("A head's steps on demand", ["model", "tokens", STEPS], stepped, NOTE_OF_STEPS),
    ]


def compared(name: str, n_tokens: int) -> list[Cell]:
    """A row: milliseconds of the plain forward pass, and the others divided by it."""
    calls = calls_of(*models.named(name), text_of(n_tokens), n_tokens)
    medians = in_turns(collected(calls), N_ROUNDS[n_tokens])
    plain = medians[FORWARD]
    return [
        *(name, n_tokens, 1000 * plain),
        *(medians[other] / plain if other in medians else None for other in OTHERS),
    ]


def calls_of(
    model: PreTrainedModel, tokenizer: Any, text: str, n_tokens: int
) -> dict[str, Callable[[], Any]]:
    """What is compared, by the names of the columns."""
    fused = models.with_sdpa(model)
    inputs = tokenizer(text, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, n_tokens)

    def forward(model: PreTrainedModel, **options: bool) -> Any:
        with torch.no_grad():
            return model(**inputs, **options)

    calls: dict[str, Callable[[], Any]] = {
        FORWARD: lambda: forward(model),
        TRACE: lambda: attnviz.trace(model, tokenizer, text),
        TRACE_INPUTS: lambda: attnviz.trace_inputs(model, inputs),
        EVERY_WEIGHT: lambda: every_weight(attnviz.trace_inputs(model, inputs)),
        WITH_ATTENTIONS: lambda: forward(model, output_attentions=True),
        SDPA: lambda: forward(fused),
    }
    if find_spec("bertviz") is not None:
        from bertviz.neuron_view import get_attention

        its_model = models.of_bertviz(model)
        calls[BERTVIZ] = lambda: get_attention(
            its_model, "bert", tokenizer, text, include_queries_and_keys=True
        )
    return calls


def every_weight(trace: attnviz.Trace) -> list[Any]:
    """The weights of each layer."""
    return [trace.layer(layer).own_weights for layer in trace.layers()]


def steps(name: str, n_tokens: int) -> list[Cell]:
    """A row: milliseconds of the steps of a head of a new trace."""
    model, tokenizer = models.named(name)
    text = text_of(n_tokens)
    made: list[attnviz.Trace] = []

    def trace() -> None:
        made[:] = [attnviz.trace(model, tokenizer, text)]

    calls = {TRACE: trace, STEPS: lambda: arrays(made[0].head(LAYER, HEAD))}
    return [name, n_tokens, 1000 * in_turns(collected(calls), N_ROUNDS_OF_STEPS)[STEPS]]


def arrays(head: attnviz.HeadTrace) -> list[Any]:
    """The arrays of all steps of a head."""
    return [step.array for step in head.steps]


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
