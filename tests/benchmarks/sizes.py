"""How many bytes a view takes on its way to the browser, beside BertViz's pages.

    python -m tests.benchmarks.sizes
    python -m tests.benchmarks.sizes --sizes 7,128 --views Steps,Neurons

Run it where the repository lies, with what tests/requirements.txt installs. BertViz is compared
where it is installed too (`pip install bertviz==1.4.1`). It takes five minutes with it, and one
without.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks import models
from tests.benchmarks.hover import MOST_MEMORY, bertviz_file
from tests.benchmarks.table import Cell, Table
from tests.benchmarks.views import VIEWS, choices
from tests.support.serving import serving
from tests.support.visitors import Shown, run, visiting

SIZES = (7, 32, 128, 512, 1024)
MOST_OF_BUNDLED = 512  # tokens that the bundled model reads
# As large as the bundled one, for longer texts.
LONG = dict(
    num_hidden_layers=6,
    num_attention_heads=12,
    hidden_size=384,
    intermediate_size=1536,
    max_position_embeddings=1024,
)
BERTVIZ = {"Neurons": "neuron_view", "Heads": "head_view", "Model": "model_view"}
PATIENCE = 60.0  # seconds, to make a page of BertViz in

COLUMNS = ["tokens", "view", "its charts", "all of the page", "BertViz's page", "to its charts"]
NOTE = f"""Bytes that the server sends over its WebSocket to a visitor who opens the page at this
view: those of the view's charts with their numbers, and all of them, with controls and words.
Scripts and fonts are not counted. BertViz's page is the HTML that its view of the same name makes
of the same text and model; the last column is its bytes divided by those of our charts. It has no
number where that takes more than {PATIENCE:.0f} seconds or {MOST_MEMORY / 1e9:.0f} GB. Texts of
more than {MOST_OF_BUNDLED} tokens are read by a random model with the shape of the bundled one.
Compare has another text that is as long."""


def tables(sizes: Sequence[int] = SIZES, views: Sequence[str] = VIEWS) -> list[Table]:
    rows: list[list[Cell]] = []
    compared = dict(BERTVIZ) if find_spec("bertviz") else {}
    for n_tokens in sizes:
        with model_for(n_tokens) as model, served(n_tokens, model) as address:
            for view in views:
                shown = visit(address, **choices(view, n_tokens))
                charts = sum(chart.proto.ByteSize() for chart in shown.get("vega_lite_chart"))
                theirs = of_bertviz(compared[view], n_tokens, model) if view in compared else None
                if theirs is None:
                    compared.pop(view, None)  # longer texts take more still
                ratio = None if theirs is None else theirs / charts
                rows.append([n_tokens, view, charts, shown.n_bytes, theirs, ratio])
    return [Table("What a view sends, in bytes", COLUMNS, rows, NOTE)]


@contextmanager
def model_for(n_tokens: int) -> Iterator[Path | None]:
    """The folder of a model that reads so many tokens; None: the bundled one does."""
    if n_tokens <= MOST_OF_BUNDLED:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield models.save(Path(folder) / "long", **LONG)


@contextmanager
def served(
    n_tokens: int, model: Path | None, program: tuple[str, ...] = ("streamlit",)
) -> Iterator[str]:
    """The address of the page, on a server that takes texts of so many tokens."""
    settings = {"ATTNVIZ_MAX_TOKENS": str(n_tokens)}
    if model is not None:
        settings["ATTNVIZ_MODELS"] = str(model)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), program=program, **settings) as server,
    ):
        yield server.address


def at(address: str, **choices: object) -> str:
    """The page's address with these choices."""
    return f"{address}?{urlencode(choices)}"


def visit(address: str, **choices: str) -> Shown:
    """What a visitor is sent who opens the page with these choices."""

    async def visiting_once() -> Shown:
        async with visiting(address, **choices) as (_, shown):
            assert not shown.errors
            return shown

    return run(visiting_once())


def of_bertviz(view: str, n_tokens: int, model: Path | None) -> int | None:
    """The bytes of its page; None where it cannot be made within these limits."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        is_made = bertviz_file(file, view, n_tokens, model, PATIENCE)
        return file.stat().st_size if is_made else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="tokens, with commas")
    parser.add_argument("--views", default=",".join(VIEWS), help="separated by commas")
    asked = parser.parse_args()
    for table in tables([int(n) for n in asked.sizes.split(",")], asked.views.split(",")):
        print(table.markdown())


if __name__ == "__main__":
    main()
