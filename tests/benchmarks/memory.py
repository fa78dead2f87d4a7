"""How much memory the page takes for ten long texts, and one trace for a text of each length.

    python -m tests.benchmarks.memory

Run it where the repository lies, with what tests/requirements.txt installs, on Linux. It takes
four minutes. `python -m tests.memory` says more about the page's memory.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import attnviz
import attnviz.page.service.process  # this process allocates memory as the page's does
from tests.benchmarks import models
from tests.benchmarks.fresh import in_fresh_process
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.texts import texts_of
from tests.memory import N_TOKENS, peaks
from tests.support.watched_page import memory

N_TEXTS, BUDGET_MB = 10, 1500
SHOWN = (1, 5, N_TEXTS)  # texts after which the peak is quoted
LENGTHS = (16, 128, 512)
N_PROCESSES = 3
N_FIRST = 3  # traces after which the process has what it needs for one more
N_KEPT = 8  # traces, on top of them, that are weighed together

NOTE_OF_PAGE = f"""The most memory that the page's process ever had, as the system counts it, after
so many different texts of {N_TOKENS} tokens in a random model as large as BERT-base. One visitor
asks for one after another; settings are those that the page comes with."""

NOTE_OF_TRACES = f"""A trace's arrays are its `nbytes`. “Kept” is what a process, with the page's
settings for its memory, gained with each of {N_KEPT} traces of different texts; medians of
{N_PROCESSES} fresh processes. The weights are no part of it: they are computed when they are
read."""


def tables() -> list[Table]:
    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as name:
        model = models.save(Path(name) / "bert-base", **models.BASE)
        peak = asyncio.run(peaks(Path(name) / "page", model, N_TEXTS))
    of_page = [[n, round(peak[n - 1]), peak[n - 1] / BUDGET_MB] for n in SHOWN]
    of_traces = [weighed(name, n) for name in models.NAMES for n in LENGTHS]
    return [
        Table(
            "How much memory the page takes",
            ["texts", "MB at most", f"of the budget of {BUDGET_MB:,} MB"],
            of_page,
            NOTE_OF_PAGE,
        ),
        Table(
            "How much memory a trace takes",
            ["model", "tokens", "arrays, MB", "kept, MB"],
            of_traces,
            NOTE_OF_TRACES,
        ),
    ]


def weighed(name: str, n_tokens: int) -> list[Cell]:
    """A row: the megabytes of a trace, each the median of a few processes."""
    rounds = [in_fresh_process(added, name, n_tokens) for _ in range(N_PROCESSES)]
    return [name, n_tokens, *map(statistics.median, zip(*rounds, strict=True))]


def added(name: str, n_tokens: int) -> tuple[float, float]:
    """The megabytes of a trace: of its arrays, and in this process."""
    model, tokenizer = models.named(name)
    texts = texts_of(n_tokens, N_FIRST + N_KEPT)
    first = [attnviz.trace(model, tokenizer, text) for text in texts[:N_FIRST]]
    before = resident()
    kept = [attnviz.trace(model, tokenizer, text) for text in texts[N_FIRST:]]
    n_bytes = statistics.median(trace.nbytes for trace in kept)
    gained = resident() - before
    assert len(first) == N_FIRST  # they are still there
    return n_bytes / 1e6, gained / N_KEPT


def resident() -> float:
    """This process's memory in MB, without garbage."""
    gc.collect()
    return memory()["now"]


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
