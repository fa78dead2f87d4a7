"""How fast a survey of short texts is beside the bare forward passes, and what memory it takes.

    python -m tests.benchmarks.survey

Run it where the repository lies, with what tests/requirements.txt installs. It takes ten minutes.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from attnviz.heads import survey
from attnviz.heads.batching import Encoded, _batches
from attnviz.heads.texts import BUFFER, buffers
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.memory import resident
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import TEXT
from tests.support.watched_page import memory

N_TEXTS = 10_000
N_WORDS = (4, 24)
BATCH_TOKENS = 1024

NOTE = f"""Texts of {N_WORDS[0]} to {N_WORDS[1]} words. One survey reads {N_TEXTS:,}; before each
{BUFFER} of them the bare passes take the same. They are those of the same eager model with the same
batches, padded and masked, and split the texts into tokens too. A pass of a survey ends behind the
last attention, which makes up for measuring."""

NOTE_OF_MEMORY = """What the process took at most, as the system counts it, beyond what it took
after a survey of 500 texts."""


def tables() -> list[Table]:
    return [
        Table(
            "How fast a survey is",
            ["model", "bare passes, texts/s", "survey, texts/s", "of the bare speed"],
            [in_fresh_process(compared, models.NAMES[0])],
            NOTE,
        ),
        Table(
            "How much memory a survey takes",
            ["model", "texts", "MB more"],
            [in_fresh_process(grown, models.NAMES[0], n) for n in (1_000, 10_000)],
            NOTE_OF_MEMORY,
        ),
    ]


def texts(n: int) -> Iterator[str]:
    """Different short texts, the same ones every time."""
    drawn = random.Random(0)
    words = TEXT.split()
    return (" ".join(drawn.choices(words, k=drawn.randint(*N_WORDS))) for _ in range(n))


def compared(name: str) -> list[Cell]:
    """A row: texts in a second, bare and surveyed, and the one divided by the other."""
    model, tokenizer = models.named(name)
    seconds_bare = 0.0

    def both() -> Iterator[str]:
        nonlocal seconds_bare
        for some in buffers(texts(N_TEXTS)):
            start = time.perf_counter()
            bare(model, tokenizer, some)
            seconds_bare += time.perf_counter() - start
            yield from some

    bare(model, tokenizer, list(texts(BUFFER)))
    survey(model, tokenizer, texts(BUFFER), progress=False)
    start = time.perf_counter()
    survey(model, tokenizer, both(), progress=False)
    seconds = time.perf_counter() - start - seconds_bare
    speeds = [N_TEXTS / one for one in (seconds_bare, seconds)]
    return [name, *speeds, speeds[1] / speeds[0]]


def bare(model: Any, tokenizer: Any, some: Sequence[str]) -> None:
    """The forward passes alone, with the batches of a survey."""
    ids = tokenizer(list(some))["input_ids"]
    encoded = sorted((Encoded("", one, None) for one in ids), key=lambda one: len(one.ids))
    for batch in _batches(encoded, BATCH_TOKENS):
        lengths = np.array([len(one.ids) for one in batch])
        is_real = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(is_real.shape, np.int64)
        padded[is_real] = np.concatenate([one.ids for one in batch])
        given = {"input_ids": padded, "attention_mask": is_real.astype(np.int64)}
        with torch.no_grad():
            model(**{key: torch.from_numpy(array) for key, array in given.items()})


def grown(name: str, n_texts: int) -> list[Cell]:
    """A row: the megabytes that so many texts take beyond a few."""
    model, tokenizer = models.named(name)
    survey(model, tokenizer, texts(2 * BUFFER), progress=False)
    before = resident()
    survey(model, tokenizer, texts(n_texts), progress=False)
    return [name, n_texts, memory()["peak"] - before]


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
