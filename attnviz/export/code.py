"""A screen as Python: the script that draws it."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from attnviz.attention.filters import NO_FILTERS, Filters
from attnviz.attention.what_if import what_if
from attnviz.charts.compare import compare_view
from attnviz.charts.effect import effect_view, sweep_view
from attnviz.charts.find import find_view
from attnviz.charts.heads import head_view
from attnviz.charts.model import model_view
from attnviz.charts.neurons import neuron_view
from attnviz.charts.scatter import scatter_view
from attnviz.charts.steps import steps_view
from attnviz.charts.what_if import what_if_view
from attnviz.export.python import arguments, call, differing, listed, literal
from attnviz.export.screen import Asking, Screen, view_options


def script(screen: Screen, file: str | None = "figure.svg") -> str:
    """The shortest script that draws the screen and saves it as this file.

    Without a file it ends with the chart, for a notebook. It writes only what differs from the
    defaults. Steps with a change are drawn twice: as `chart`, and beside the changed head as
    `comparison`, in a file of its own that ends in `_what_if`.
    """
    if screen.view == "effect":
        lines = ["import attnviz", "", loaded(screen), *_asked(screen), *_shown("chart", file)]
        return "\n".join(lines) + "\n"
    lines = ["import attnviz", "", *traced(screen)]
    if screen.view != "steps":
        lines += _filtered(screen.filters)
    if screen.view in ("steps", "neurons"):
        lines.append(head_of(screen))
    lines += {"find": _found, "compare": _compared}.get(screen.view, _chart)(screen)
    if screen.view == "steps" and screen.change:
        name, ending = os.path.splitext(file or "")
        lines += _shown("chart", file, is_last=False)
        lines += ["", "# What if?", *_what_if(screen)]
        lines += _shown("comparison", None if file is None else f"{name}_what_if{ending}")
    else:
        lines += _shown("chart", file)
    return "\n".join(lines) + "\n"


# From the text to a head


def traced(screen: Screen) -> list[str]:
    """The model, the tokenizer and the trace."""
    given = "model", "tokenizer", literal(screen.text), *_given(screen, "pair", "target")
    return [loaded(screen), call("trace = attnviz.trace", *given)]


def loaded(screen: Screen, names: str = "model, tokenizer") -> str:
    """The model and its tokenizer, called so."""
    if (screen.revision or "").startswith("sha256:"):
        screen = replace(screen, revision=None)  # of the bundled model; the Hub does not know it
    options = _given(screen, "revision", "dtype", "device")
    return call(f"{names} = attnviz.load", literal(screen.model), *options)


def head_of(screen: Screen) -> str:
    """The screen's head, of the trace."""
    place = arguments(layer=screen.layer, head=screen.head)
    return call("head = trace.head", *place, *_given(screen, "kind"))


def _given(screen: Screen, *names: str) -> list[str]:
    """Those of these options of the screen that are not its defaults."""
    return differing(Screen, **{name: getattr(screen, name) for name in names})


def _filtered(on: Filters, name: str = "trace") -> Iterator[str]:
    """The filters that are on, in the order in which they are applied, to what is called so."""
    return (call(f"{name} = {function}", name, *given) for function, given in _filters(on))


def _filters(on: Filters) -> Iterator[tuple[str, list[str]]]:
    """Each filter's function and, as they are written, its arguments behind the trace."""
    for function, given in on.calls:
        yield f"attnviz.filters.{function.__name__}", differing(function, **given)


# The view


def _chart(screen: Screen) -> list[str]:
    """The view's chart, as `attnviz.export.screen.drawn` makes it."""
    lines, places = _places(screen)
    function, of = _DRAWN_BY[screen.view]
    return [*lines, _view(screen, function, of, *_named(places))]


_DRAWN_BY: Mapping[str, tuple[Callable[..., Any], str]] = {
    "steps": (steps_view, "head"),
    "neurons": (neuron_view, "head"),
    "heads": (head_view, "trace"),
    "model": (model_view, "trace"),
}


def _found(screen: Screen) -> list[str]:
    """Find's table and its chart."""
    find, kind = screen.find, _given(screen, "kind")
    if find.by == "measures":
        is_induction = "induction" in (find.x, find.y, find.colour, find.size)
        given = ["induction=attnviz.heads.induction(model, tokenizer)"] if is_induction else []
        return [
            call("table = attnviz.heads.measures", "trace", *kind, *given),
            _view(screen, scatter_view, "table"),
        ]
    lines, places = _places(screen)
    chart = _view(screen, find_view, "table")
    if not find.texts:
        linking = call("table = attnviz.heads.linking", "trace", *_named(places), *kind)
        return [*lines, linking, chart]
    query, key = places["query"], places["key"]
    labels = f"queries.labels[{query}]", f"keys.labels[{key}]"
    return [
        *(lines or [_tokens(screen)]),
        *listed("texts", find.texts),
        "others = [attnviz.trace(model, tokenizer, text) for text in texts]",
        *(
            f"others = [{function}({', '.join(['other', *given])}) for other in others]"
            for function, given in _filters(screen.filters.elsewhere)
        ),
        call("pairs = attnviz.heads.pairs_called", "others", *labels, *kind),
        call("table = attnviz.heads.linking_over", f"[(trace, {query}, {key}), *pairs]", *kind),
        chart,
    ]


def _compared(screen: Screen) -> list[str]:
    """The head beside another one."""
    beside = screen.beside
    other = "other" if beside.is_of_another_trace else "trace"
    layer, number = screen.other_place
    alignments = {"queries": beside.queries, "keys": beside.keys}
    by_hand = {name: one for name, one in alignments.items() if one is not None}
    lines, places = _places(screen)
    rows = {name: f"difference.{_SIDES[name]}.row_of({place})" for name, place in places.items()}
    place = arguments(layer=layer, head=number)
    return [
        *(_other(screen) if beside.is_of_another_trace else []),
        head_of(screen),
        call(f"other_head = {other}.head", *place, *_given(screen, "kind")),
        *lines,
        *(
            call(f"aligned_{name} = attnviz.heads.Alignment.read", literal(str(one)))
            for name, one in by_hand.items()
        ),
        call(
            "difference = attnviz.heads.difference",
            *("head", "other_head", *(f"{name}=aligned_{name}" for name in by_hand)),
        ),
        _view(screen, compare_view, "difference", *_named(rows)),
    ]


def _other(screen: Screen) -> Iterator[str]:
    """The trace that is compared with; of another model both in words."""
    beside = screen.beside
    names = ["model", "tokenizer"]
    if screen.is_by_words:
        names = ["other_model", "other_tokenizer"]
        other = replace(screen, model=beside.model or screen.model, revision=None)
        yield loaded(other, ", ".join(names))
    text = screen.text if beside.text is None else beside.text
    texts = _given(screen, "pair", "target") if beside.is_of_text(screen.text) else []
    yield call("other = attnviz.trace", *names, literal(text), *texts)
    yield from _filtered(screen.filters.elsewhere, "other")
    if screen.is_by_words:
        yield from (f"{name} = attnviz.filters.in_words({name})" for name in ("trace", "other"))


def _asked(screen: Screen) -> list[str]:
    """What the model says without the head, or without each of all heads, and its chart."""
    asking = screen.effect
    of = "model", "tokenizer", literal(screen.text)
    how = arguments(how=asking.patch) if asking.patch else []
    answer = differing(Asking, token=asking.token, position=asking.position)
    options = [*how, *answer, *_given(screen, "pair", "target")]
    if asking.all_heads:
        table = call("table = attnviz.effect.sweep", *of, *options)
        return [table, _view(screen, sweep_view, "table")]
    head = (screen.layer, screen.head)
    heads = literal([head if screen.kind is None else (screen.kind, *head)])
    without = call("found = attnviz.effect.without", *of, heads, *options)
    return [without, _view(screen, effect_view, "found.both")]


def _what_if(screen: Screen) -> list[str]:
    pair = {"query": screen.query or 0, "key": screen.key}  # it needs a query; else the first
    options = {**pair, "convention": screen.convention}
    return [
        call("changed = attnviz.what_if", "head", *differing(what_if, **vars(screen.change))),
        _view(screen, what_if_view, "head", "changed", name="comparison", options=options),
    ]


def _view(
    screen: Screen,
    function: Callable[..., Any],
    *given: str,
    name: str = "chart",
    options: dict[str, Any] | None = None,
) -> str:
    """A chart by a function of attnviz; by default with the options of the screen's view."""
    mode = None if screen.display_mode == "light" else screen.display_mode
    options = view_options(screen) if options is None else options
    return call(
        f"{name} = attnviz.{function.__name__}",
        *given,
        *differing(function, **options, display_mode=mode),
    )


def _shown(name: str, file: str | None, *, is_last: bool = True) -> list[str]:
    if file is not None:
        return [call("attnviz.save", name, literal(file))]
    return [name if is_last else f"{name}.display()"]  # a notebook shows the last line alone


# The tokens that are followed

_SIDES = {"query": "queries", "key": "keys"}


def _places(screen: Screen) -> tuple[list[str], dict[str, str]]:
    """The query and key that are selected: as positions or, once filtered, where these are now.

    What has to stand before them, and each as it is written.
    """
    ends: dict[str, int | None] = {"query": screen.query, "key": screen.key}
    if screen.view == "heads":
        ends = {name: at for name, at in ends.items() if name == screen.focus}
    if screen.view == "find":
        ends = dict(zip(ends, screen.linked, strict=True))
    places = {name: literal(at) for name, at in ends.items() if at is not None}
    if screen.view == "model":
        places = {}
    less = replace(screen.filters, renormalise=False, top=None, share=None)
    is_by_words = screen.view == "compare" and screen.is_by_words
    is_less = screen.view != "steps" and (less != NO_FILTERS or is_by_words)
    if not places or not is_less:
        return [], places
    now = {name: f"{_SIDES[name]}.place_of({at})" for name, at in places.items()}
    return [_tokens(screen, *places)], now


def _tokens(screen: Screen, *names: str) -> str:
    """The tokens of the queries and of the keys, of those that are named; without a name, both."""
    sides = ", ".join(side if name in (names or _SIDES) else "_" for name, side in _SIDES.items())
    of = *arguments(layer=screen.layer), *_given(screen, "kind")
    return call(f"{sides} = trace.tokens_of", *of)


def _named(expressions: dict[str, str]) -> list[str]:
    return [f"{name}={expression}" for name, expression in expressions.items()]
