"""How the time of a trace and of each view's figures grows with tokens, layers and heads.

    python -m tests.benchmarks.growth

Run it where the repository lies, with what tests/requirements.txt installs. It takes two minutes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

import attnviz
from attnviz.charts.heads import heads_figure, most_tokens
from attnviz.charts.matrix import drawn_cells, matrix_chart
from attnviz.charts.model import model_figure
from attnviz.charts.neurons import neurons_figure
from attnviz.charts.parts.axes import is_of_pairs
from attnviz.charts.parts.blocks import MAX_DIMENSIONS
from attnviz.charts.parts.figure import Figure
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import window_around
from attnviz.charts.row import row_chart
from attnviz.charts.shares import shares_chart
from attnviz.heads import measures
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.garbage import collected
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import text_of
from tests.benchmarks.timing import in_turns

N_ROUNDS = 5
D_HEAD = 16
# One of these grows, the others stay as they are here.
SIZES = {"tokens": 128, "layers": 12, "heads": 12}
GROWING = {
    "tokens": (16, 32, 64, 128, 256, 512, 1024),
    "layers": (2, 4, 8, 16),
    "heads": (2, 4, 8, 16),
}
LAYER, HEAD = 1, 1
QUERY, KEY = 1, 5

FORWARD, TRACE, STEPS = "plain forward", "trace", "a head's steps"
MEASURES, VIEWS = "all heads' measures", ("Steps", "Neurons", "Heads", "Model")
COLUMNS = (FORWARD, TRACE, STEPS, MEASURES, *VIEWS)

NOTE = f"""Milliseconds, medians of {N_ROUNDS} rounds after one that is not counted. The models are
random BERTs of {SIZES["layers"]} layers × {SIZES["heads"]} heads with {D_HEAD} dimensions a head,
and texts have {SIZES["tokens"]} tokens, where that is not what grows. A round is what a visitor
does who types a text: the trace, beside the model's own eager forward pass, then the steps of one
head with their arrays, the numbers about all heads that the Model view shows, and the figures of
each view as the page sends them. What a chart looks like, apart from its numbers and names, is
built once for all texts of one length, in the round that is not counted."""
AS_BEFORE = "Measured as it is for tokens."


def tables() -> list[Table]:
    return [
        Table(
            f"How time grows with {what}",
            [what, *(f"{column}, ms" for column in COLUMNS)],
            in_fresh_process(rows, what),
            NOTE if what == "tokens" else AS_BEFORE,
        )
        for what in GROWING
    ]


def rows(what: str) -> list[list[Cell]]:
    """A row for each size; milliseconds of each column."""
    return [[size, *milliseconds(**SIZES | {what: size})] for size in GROWING[what]]


def milliseconds(tokens: int, layers: int, heads: int) -> list[Cell]:
    model, tokenizer = models.bert(
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_size=heads * D_HEAD,
        intermediate_size=4 * heads * D_HEAD,
        max_position_embeddings=tokens,
    )
    inputs = tokenizer(text_of(tokens), return_tensors="pt")
    assert inputs["input_ids"].shape == (1, tokens)
    medians = in_turns(collected(round_of(model, inputs)), N_ROUNDS)
    return [1000 * medians[column] for column in COLUMNS]


def round_of(model: PreTrainedModel, inputs: Any) -> dict[str, Callable[[], Any]]:
    """What is done in a round, in order: each reads what the ones before it made."""
    made: dict[str, Any] = {}

    def forward() -> Any:
        with torch.no_grad():
            return model(**inputs)

    def trace() -> None:
        made.clear()
        made[TRACE] = attnviz.trace_inputs(model, inputs)

    def steps() -> None:
        made[STEPS] = head = made[TRACE].head(LAYER, HEAD)
        assert all(step.array.size for step in head.steps)

    def measure() -> None:
        made[MEASURES] = measures(made[TRACE])

    def sent(view: Iterator[Figure]) -> list[Any]:
        return [figure.with_data() for figure in view]

    return {
        FORWARD: forward,
        TRACE: trace,
        STEPS: steps,
        MEASURES: measure,
        "Steps": lambda: sent(of_steps(made[STEPS])),
        "Neurons": lambda: sent(of_neurons(made[STEPS])),
        "Heads": lambda: sent(of_heads(made[TRACE], made[STEPS])),
        "Model": lambda: sent(of_model(made[TRACE], made[STEPS], made[MEASURES])),
    }


# As the page builds them


def of_steps(head: attnviz.HeadTrace) -> Iterator[Figure]:
    for step in head.steps:
        is_projection = step.number in ("1", "1b")  # these stand in columns
        yield matrix_chart(
            head, step, Pair(QUERY, KEY), reports_clicks=True, is_narrow=is_projection
        )
        drawn_cells(step, Pair(QUERY, KEY), "maximum")
        if not (is_projection or is_of_pairs(step)) and step.array.shape[1] > MAX_DIMENSIONS:
            yield row_chart(head, step, QUERY)
    yield shares_chart(head, QUERY, KEY)


def of_neurons(head: attnviz.HeadTrace) -> Iterator[Figure]:
    n_queries, n_keys = head.weights.shape
    yield neurons_figure(head, window_around(QUERY, KEY, n_queries, n_keys), QUERY, KEY)


def of_heads(trace: attnviz.Trace, head: attnviz.HeadTrace) -> Iterator[Figure]:
    call = trace.layer(head.layer)
    n_queries, n_keys = head.weights.shape
    shown = window_around(QUERY, KEY, n_queries, n_keys, size=most_tokens(call.n_heads))
    yield heads_figure(call, head.layer, shown, None, "all", QUERY, KEY, head.head)


def of_model(
    trace: attnviz.Trace, head: attnviz.HeadTrace, table: pd.DataFrame
) -> Iterator[Figure]:
    yield model_figure(trace, head.kind, "entropy", head.layer, head.head, table=table)


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
