"""How long the measures of all heads take, beside the model's own forward pass.

    python -m tests.benchmarks.measures

Run it where the repository lies, with what tests/requirements.txt installs: two minutes.
"""

from typing import Any

import torch

import attnviz
from attnviz import heads
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.garbage import collected
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import text_of
from tests.benchmarks.timing import in_turns

N_ROUNDS = {128: 15, 512: 5, 1024: 3}  # by the number of tokens
TARGET = 0.5  # of the forward pass, at 128 tokens

FORWARD, MEASURES, WEIGHTS = "plain forward", "measures", "every weight read"

ROUNDS = ", ".join(f"{n} rounds at {n_tokens:,} tokens" for n_tokens, n in N_ROUNDS.items())
NOTE = f"""Medians of {ROUNDS}, after one that is not counted; in each, all are called in turns, in
one process, with a random model as large as BERT-base, of 12 layers × 12 heads. The plain forward
pass is the model's own, eager, without gradients; the other columns are times divided by its.
“measures” is `attnviz.heads.measures` of a trace that is there already. The weights that it reads
are computed anew from queries and keys; the last column is that alone, all of a layer at once. The
target is at most {TARGET} at 128 tokens."""


def tables() -> list[Table]:
    rows = [in_fresh_process(compared, n_tokens) for n_tokens in N_ROUNDS]
    columns = ["tokens", f"{FORWARD}, ms", MEASURES, WEIGHTS]
    return [Table("How long the measures of all heads take", columns, rows, NOTE)]


def compared(n_tokens: int) -> list[Cell]:
    """A row: milliseconds of the plain forward pass, and the others divided by it."""
    model, tokenizer = models.bert(**models.BASE, max_position_embeddings=max(N_ROUNDS))
    text = text_of(n_tokens)
    inputs = tokenizer(text, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, n_tokens)
    trace = attnviz.trace(model, tokenizer, text)

    def forward() -> Any:
        with torch.no_grad():
            return model(**inputs)

    def weights() -> None:
        for layer in trace.layers():
            assert trace.layer(layer).own_weights.size

    calls = {FORWARD: forward, MEASURES: lambda: heads.measures(trace), WEIGHTS: weights}
    medians = in_turns(collected(calls), N_ROUNDS[n_tokens])
    plain = medians[FORWARD]
    return [n_tokens, 1000 * plain, medians[MEASURES] / plain, medians[WEIGHTS] / plain]


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
