"""A view in a notebook, by one call, and every chart of attnviz by itself."""

from textwrap import shorten
from typing import Any

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.parts.in_notebook import Shown, of_chart
from attnviz.charts.parts.pair import pair_of
from attnviz.charts.parts.palette import DisplayMode, configuration
from attnviz.export.asking import asked
from attnviz.export.options import View
from attnviz.export.pages import check_view, view_page
from attnviz.export.screen import NOTHING_MORE, More, drawn, opened
from attnviz.text.errors import InputError


def show(
    model: Any,
    tokenizer: Any,
    text: str,
    layer: int | None = None,
    head: int | None = None,
    display_mode: DisplayMode = "light",
    view: View = "neurons",
    *,
    query: int | None = None,
    key: int | None = None,
    pair: str | None = None,
    target: str | None = None,
    kind: str | None = None,
    other_text: str | None = None,
    other_layer: int | None = None,
    other_head: int | None = None,
    token: str | None = None,
    position: int | None = None,
    patch: str | None = None,
    all_heads: bool = False,
) -> Shown:
    """A view of a text, for the last line of a notebook's cell.

    `view` is "steps", "neurons" (of one head), "heads" (of one layer), "model", "find" (which head
    links `query` to `key`), "compare" (with the head of `other_text`, `other_layer` and
    `other_head`, one of which has to be given; of two models `attnviz.compare_view` draws it) or
    "effect" (what the model says with the head and without it, at `position` and of `token`, its
    update zero or that of the text `patch`; with `all_heads` every head is switched off in turn).
    `query` and `key` are positions of tokens: those that Steps follows, that Neurons selects, that
    Compare frames and to or from which Heads shows lines. Without `layer` or `head` it is that of
    the head in which the text's second word, of a decoder its last token, gives most to another
    word. `pair`, `target` and `kind` are those of `attnviz.trace` and of `Trace.head`;
    `display_mode` is "light" or "dark". Raises InputError for a view, display mode, layer, head,
    kind or token that is not there, and what `attnviz.trace` raises.
    """
    from attnviz.capture import forward_pass  # torch, which the name alone does not wait for

    configuration(display_mode)  # refuses an unknown one before the model runs
    check_view(view)
    if view == "compare" and (other_text, other_layer, other_head) == (None, None, None):
        raise InputError(
            "Compare sets another head beside this one, and none is named.\n\nHint: pass "
            "other_text, other_layer or other_head; of two models, call attnviz.compare_view."
        )
    trace = forward_pass.trace(model, tokenizer, text, pair=pair, target=target)
    given = {
        **{"model": trace.model_name, "text": text, "pair": pair, "target": target, "kind": kind},
        **{"layer": layer, "head": head, "view": view, "query": query, "key": key},
        **{"display_mode": display_mode, "beside.text": other_text},
        **{"beside.layer": other_layer, "beside.head": other_head, "effect.token": token},
        **{"effect.position": position, "effect.patch": patch, "effect.all_heads": all_heads},
    }
    screen = opened(given, trace)
    head_trace = trace.head(screen.layer, screen.head, kind)
    pair_of(head_trace, query, key)
    description = _description(trace, head_trace)
    if view == "steps":
        return Shown(description, view_page(screen, trace))
    more = NOTHING_MORE
    if view == "compare" and other_text is not None:
        more = More([forward_pass.trace(model, tokenizer, other_text)])
    if view == "effect":
        more = asked(screen, model, tokenizer)
    return of_chart(drawn(screen, trace, more), description)


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
