"""The neuron view in a notebook, by one call."""

from dataclasses import dataclass
from html import escape
from textwrap import shorten
from typing import Any

import altair as alt

import attnviz
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.export import to_html
from attnviz.results import HeadTrace, Trace

DEFAULT_HEAD = 8  # the source's
START_HEIGHT = 480  # pixels, until the page in the frame has set its own


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """What a notebook shows: `page`, an HTML page that needs no network, in a frame of its own.

    `description` says in one line what is on it.
    """

    description: str
    page: str

    def __repr__(self) -> str:
        return self.description

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.description)}" srcdoc="{escape(self.page)}"'
            f' style="display: block; width: 100%; height: {START_HEIGHT}px; border: 0"></iframe>'
        )


def show(
    model: Any,
    tokenizer: Any,
    text: str,
    layer: int = 0,
    head: int | None = None,
    display_mode: DisplayMode = "light",
    *,
    pair: str | None = None,
    target: str | None = None,
    kind: str | None = None,
) -> Shown:
    """The neuron view of one head on a text, for the last line of a notebook's cell.

    Without a `head` it is head 8, or head 0 of a layer that has fewer. `pair`, `target` and `kind`
    are those of `attnviz.trace` and of `Trace.head`; `display_mode` is "light" or "dark". Raises
    InputError for a display mode, layer, head or kind that is not there, and what `attnviz.trace`
    raises.
    """
    displayed(alt.Chart(), display_mode)  # refuses an unknown one before the model runs
    trace = attnviz.trace(model, tokenizer, text, pair=pair, target=target)
    if head is None:
        head = DEFAULT_HEAD if trace.n_heads(layer, kind) > DEFAULT_HEAD else 0
    head_trace = trace.head(layer, head, kind)
    chart = attnviz.neuron_view(head_trace, display_mode=display_mode)
    description = _description(trace, head_trace)
    return Shown(description, to_html(chart, display_mode, description))


def _description(trace: Trace, head: HeadTrace) -> str:
    """One line: model, layer, head, and the query's and the key's tokens where they differ."""
    of_kind = f", {head.kind} attention" if len(trace.kinds) > 1 else ""
    tokens = dict.fromkeys((head.query_tokens, head.key_tokens))
    return shorten(
        f"{trace.model_name}, layer {head.layer}, head {head.head}{of_kind}: "
        + " → ".join(" ".join(labels) for labels in tokens),
        120,
        placeholder=" …",
    )
