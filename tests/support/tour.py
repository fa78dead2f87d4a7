"""A tour of the whole public API, and what it changed for everybody else in its process.

    python -m tests.support.tour FOLDER

Prints, as JSON, what was before and is after, by name; files are written into the folder.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

# What libraries change when they are imported is theirs.
import IPython.display  # noqa: F401
import numpy as np
import PIL.Image  # noqa: F401
import uharfbuzz  # noqa: F401
import vl_convert  # noqa: F401
from torch import nn
from transformers import PreTrainedModel

from tests.support import architectures
from tests.support.process_state import state

TEXT, OTHER = "time flies like an arrow", "fruit flies like a banana"


def tour(folder: Path, families: Iterable[PreTrainedModel]) -> None:
    """Ask for everything once, and for traces of these models."""
    import attnviz
    from attnviz import filters, heads

    model, tokenizer = attnviz.load()
    trace = attnviz.trace(model, tokenizer, TEXT)
    other = attnviz.trace(model, tokenizer, OTHER)
    pair = attnviz.trace(model, tokenizer, TEXT, pair=OTHER)
    attnviz.trace_inputs(model, tokenizer(TEXT, return_tensors="pt"))
    _refused(attnviz)
    for another in families:
        attnviz.trace_inputs(another, architectures.inputs_of(another))

    filters.hide_special(trace)
    filters.hide_tokens(trace, keys=[1])
    filters.only_segments(pair, 0, 1)
    filters.with_lines(filters.in_words(trace), top=2)
    head, of_other = trace.head(0, 8), other.head(0, 8)
    changed = attnviz.what_if(head, temperature=2.0, hidden_keys=[1])
    _ = (head.output, head.max_error, changed.weights)
    own = attnviz.from_arrays(np.eye(3), np.eye(3), np.eye(3)).head(0, 0)
    own.to_npz(folder / "head.npz")
    attnviz.HeadTrace.from_npz(folder / "head.npz")

    table = heads.measures(trace, induction=heads.induction(model, tokenizer, n_tokens=4))
    found = heads.linking(trace, 2, 5)
    heads.linking_over(heads.pairs_called([trace, other], "flies", "like"))
    difference = heads.difference(head, of_other)
    heads.difference(head, of_other, queries=heads.aligned(head.query_tokens, of_other.key_tokens))
    survey = heads.survey(
        model, tokenizer, [TEXT, OTHER, ""], progress=False, checkpoint=folder / "survey.npz"
    )
    survey.save(folder / "saved.npz")
    heads.Survey.read(folder / "saved.npz").table()

    charts = {
        "neurons": attnviz.neuron_view(head, 1),
        "heads": attnviz.head_view(trace),
        "model": attnviz.model_view(trace),
        "steps": attnviz.steps_view(head, 1, 2),
        "find": attnviz.find_view(found),
        "compare": attnviz.compare_view(difference),
        "scatter": attnviz.scatter_view(table),
        "what_if": attnviz.what_if_view(head, changed, 1),
    }
    for name, chart in charts.items():
        chart._repr_mimebundle_()
        attnviz.save(chart, folder / f"{name}.svg")
    for ending in ("pdf", "png"):
        attnviz.save(charts["neurons"], folder / f"neurons.{ending}")
    for view in ("steps", "neurons", "heads", "model", "find", "compare"):
        shown = attnviz.show(model, tokenizer, TEXT, view=view, query=1, key=2, other_text=OTHER)
        shown._repr_html_()


def _refused(attnviz) -> None:
    """What cannot be traced leaves nothing behind either."""
    for thing in (nn.ReLU(), None):
        try:
            attnviz.trace(thing, None, TEXT)
        except attnviz.UnsupportedModelError:
            continue
        raise AssertionError(thing)


def changes(folder: Path) -> dict[str, tuple[str, str]]:
    """What is another after the tour, by name: as it was and as it is."""
    # Rotary embeddings, attention written by hand, and an encoder with a decoder.
    families = [architectures.build(model_type) for model_type in ("llama", "bloom", "t5")]
    before = state()
    tour(folder, families)
    after = state()
    return {
        name: (_said(before.get(name)), _said(after.get(name)))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
        and (name in before or not name.startswith("logger "))
    }


def _said(value: object) -> str:
    return str(value)[:300]


if __name__ == "__main__":
    json.dump(changes(Path(sys.argv[1])), sys.stdout)
