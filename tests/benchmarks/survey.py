"""How fast a survey of short texts is beside the bare forward passes, and what memory it takes.

    python -m tests.benchmarks.survey

Run it where the repository lies, with what tests/requirements.txt installs. It takes ten minutes.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from attnviz.heads import survey
from attnviz.heads.batching import Encoded, _batches
from attnviz.heads.surveying import BUFFER, buffers
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.memory import resident
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import TEXT
from tests.benchmarks.timing import in_turns
from tests.watched_page import memory

N_TEXTS = 10_000
N_AT_ONCE = 500  # texts of a turn
N_WORDS = (4, 24)
BATCH_TOKENS = 1024

NOTE = f"""Texts of {N_WORDS[0]} to {N_WORDS[1]} words. Both read the same {N_TEXTS:,} texts,
{N_AT_ONCE} at a time, in turns in one process; what is quoted are medians of these turns. The bare
passes are those of the same eager model with the same batches, padded and masked, and split the
texts into tokens too. A survey also finds out first whether batches are exact, in every turn."""

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
    parts = iter([part for part in _parts(list(texts(N_TEXTS + N_AT_ONCE))) for _ in range(2)])
    seconds = in_turns(
        {
            "bare": lambda: bare(model, tokenizer, next(parts)),
            "survey": lambda: survey(model, tokenizer, next(parts), progress=False),
        },
        N_TEXTS // N_AT_ONCE,
    )
    speeds = [N_AT_ONCE / seconds[way] for way in ("bare", "survey")]
    return [name, *speeds, speeds[1] / speeds[0]]


def _parts(all_texts: Sequence[str]) -> list[Sequence[str]]:
    return [all_texts[at : at + N_AT_ONCE] for at in range(0, len(all_texts), N_AT_ONCE)]


def bare(model: Any, tokenizer: Any, some: Sequence[str]) -> None:
    """The forward passes alone, with the batches of a survey."""
    for buffer in buffers(iter(some)):
        ids = tokenizer(buffer)["input_ids"]
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
