"""Every benchmark in one run, as the tables in docs/measured.md.

    python -m tests.benchmarks
    python -m tests.benchmarks tracing pages
    python -m tests.benchmarks --scripts folder --write

Run it where the repository lies, with what tests/requirements.txt installs, and with
`pip install bertviz==1.4.1` where BertViz is to be compared. Its page is opened where `--scripts`
names the folder with its scripts, as hover.py says. `--write` puts the tables between
the document's markers, if every benchmark was run.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks import (
    growth,
    hover,
    measures,
    memory,
    pages,
    sizes,
    start,
    survey,
    tracing,
)
from tests.benchmarks.table import Table
from tests.support.places import ROOT

DOCUMENT = ROOT / "docs" / "measured.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

PARTS: dict[str, Callable[..., list[Table]]] = {
    "start": start.tables,
    "tracing": tracing.tables,
    "measures": measures.tables,
    "survey": survey.tables,
    "memory": memory.tables,
    "growth": growth.tables,
    "sizes": sizes.tables,
    "pages": pages.tables,
    "hover": hover.tables,
}
OPEN_BERTVIZ = ("pages", "hover")  # and are given the scripts of its page


def machine() -> str:
    """What the numbers were measured on."""
    import torch

    n_bytes = psutil.virtual_memory().total
    return (
        f"Measured on {psutil.cpu_count(logical=False)} cores, {n_bytes / 1e9:.0f} GB, without a "
        f"GPU, with Python {platform.python_version()} and torch {torch.__version__}."
    )


def write(tables: str) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + tables + END + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="by default all")
    parser.add_argument("--scripts", type=Path, help="folder with the scripts of BertViz's page")
    parser.add_argument("--write", action="store_true", help="into docs/measured.md")
    options = parser.parse_args()
    if options.write and options.parts:
        parser.error("--write needs every part: they stand in one table, from one run")
    given = dict.fromkeys(OPEN_BERTVIZ, (options.scripts,))
    written = [f"{machine()}\n"]
    for name in options.parts or PARTS:
        written += [table.markdown() for table in PARTS[name](*given.get(name, ()))]
        print("\n".join(written), flush=True)  # as far as it is known
    if options.write:
        write("\n".join(written))


if __name__ == "__main__":
    main()
