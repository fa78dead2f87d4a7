"""A screen as Python: the script that draws it, and its head's four steps in plain PyTorch."""

import inspect
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attnviz.attention import filters, maths
from attnviz.attention.filters import NO_FILTERS, Filters
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.attention.what_if import what_if
from attnviz.charts.compare import compare_view
from attnviz.charts.find import find_view
from attnviz.charts.heads import head_view
from attnviz.charts.model import model_view
from attnviz.charts.neurons import neuron_view
from attnviz.charts.scatter import scatter_view
from attnviz.charts.steps import steps_view
from attnviz.charts.what_if import what_if_view
from attnviz.export.screen import Screen
from attnviz.text.phrases import ranges

LINE = 100  # characters
# Format characters without which emoji and words of several scripts fall apart.
_JOINERS = "\u200c\u200d"


def script(screen: Screen, file: str | None = "figure.svg") -> str:
    """The shortest script that draws the screen and saves it as this file.

    Without a file it ends with the chart, for a notebook. It writes only what differs from the
    defaults. Steps with a change are drawn twice: as `chart`, and beside the changed head as
    `comparison`, in a file of its own that ends in `_what_if`.
    """
    lines = ["import attnviz", "", *_traced(screen)]
    if screen.view != "steps":
        lines += _filtered(screen.filters)
    if screen.view in ("steps", "neurons"):
        lines.append(_head(screen))
    lines += {"find": _found, "compare": _compared}.get(screen.view, _chart)(screen)
    if screen.view == "steps" and screen.change:
        name, ending = os.path.splitext(file or "")
        lines += _shown("chart", file, is_last=False)
        lines += ["", "# What if?", *_what_if(screen)]
        lines += _shown("comparison", None if file is None else f"{name}_what_if{ending}")
    else:
        lines += _shown("chart", file)
    return "\n".join(lines) + "\n"


def four_steps(screen: Screen, trace: Trace, model: Any = None) -> str:
    """A script of the screen's head in four steps of plain PyTorch, which prints its weights.

    From the weights of a `model` of the BERT family, which has to be the one that was traced;
    otherwise, and without one, from the query, key and value that attnviz reads. Filters and a
    change are left out. Raises InputError for a layer or head that the trace does not have.
    """
    head = trace.head(screen.layer, screen.head, screen.kind)
    is_bert = model is not None and _is_of_bert(model, head)
    lines = ["import attnviz", "import torch", ""]
    lines += _projected(screen, model, head) if is_bert else _captured(screen, head)
    lines += [
        "",
        f"# 2 score: every query with every key, {_shape(head.scores)}",
        "scores = q @ k.T",
        "",
        *_weighed(head),
        "",
        f"# 4 update: the mean of the values, weighted, {_shape(head.updated)}",
        "updated = weights @ v",
    ]
    if not head.is_exact:
        lines += ["", f"# The model's own numbers are up to {head.max_error:.2g} away from these."]
    return "\n".join([*lines, "print(weights)"]) + "\n"


# The same in Python


def _traced(screen: Screen) -> list[str]:
    text = literal(screen.text)
    trace = _call("trace = attnviz.trace", "model", "tokenizer", text, *_texts(screen))
    return [_load(screen), trace]


def _texts(screen: Screen) -> list[str]:
    """A second text and a target, where there are some."""
    return _differing(_default_of_screen, pair=screen.pair, target=screen.target)


def _load(screen: Screen, names: str = "model, tokenizer") -> str:
    revision = screen.revision
    if revision is not None and revision.startswith("sha256:"):
        revision = None  # the checksum of the bundled model, which the Hub does not know
    options = _differing(
        _default_of_screen, revision=revision, dtype=screen.dtype, device=screen.device
    )
    return _call(f"{names} = attnviz.load", literal(screen.model), *options)


def _filtered(on: Filters, name: str = "trace") -> Iterator[str]:
    """The filters that are on, in the order in which they are applied, to what is called so."""
    return (_call(f"{name} = {function}", name, *given) for function, given in _filters(on))


def _filters(on: Filters) -> Iterator[tuple[str, list[str]]]:
    """Each filter's function and, as they are written, its arguments behind the trace."""

    def filtered(function: Callable, **values: Any) -> tuple[str, list[str]]:
        name = f"attnviz.filters.{function.__name__}"
        return name, _differing(_default_of(function), **values)

    if on.hidden_keys or on.hidden_queries:
        hidden = {"keys": on.hidden_keys, "queries": on.hidden_queries}
        yield filtered(filters.hide_tokens, **hidden, renormalise=on.renormalise)
    if on.segments is not None:
        segments = dict(zip(("queries", "keys"), on.segments, strict=True))
        yield filtered(filters.only_segments, **segments, renormalise=on.renormalise)
    if on.special:
        yield filtered(filters.hide_special, renormalise=on.renormalise)
    if on.words:
        yield filtered(filters.in_words)
    if on.top is not None or on.share is not None:
        yield filtered(filters.with_lines, top=on.top, share=on.share)


def _head(screen: Screen) -> str:
    kind = _differing(_default_of_screen, kind=screen.kind)
    return _call("head = trace.head", *_arguments(layer=screen.layer, head=screen.head), *kind)


def _chart(screen: Screen) -> list[str]:
    """The view's chart, as `attnviz.export.screen.drawn` makes it."""
    if screen.view == "steps":
        places = _differing(_default_of(steps_view), query=screen.query, key=screen.key)
        options: dict[str, Any] = {"convention": screen.convention, "large": screen.large}
        return [_view(screen, steps_view, "head", *places, **options)]
    if screen.view == "model":
        options = {"measure": screen.measure, "is_sorted": screen.is_by_measure}
        options |= {"layer": screen.layer, "head": screen.head}
        return [_view(screen, model_view, "trace", kind=screen.kind, **options)]
    lines, places = _places(screen)
    firsts = {"first_query": screen.first_query, "first_key": screen.first_key}
    if screen.view == "neurons":
        options = {"expanded": screen.is_expanded, "sort_dimensions": screen.is_sorted}
        options |= {"asked": screen.is_asked, **firsts}
        return [*lines, _view(screen, neuron_view, "head", *places, **options)]
    options = {"layer": screen.layer, "kind": screen.kind, "heads": screen.heads}
    options |= {"framed": screen.head, **firsts}
    return [*lines, _view(screen, head_view, "trace", *places, **options)]


def _found(screen: Screen) -> list[str]:
    """Find's table and its chart."""
    find, kind = screen.find, _given(screen)
    marked: dict[str, Any] = {"layer": screen.layer, "head": screen.head}
    if find.by == "measures":
        axes: dict[str, Any] = {"x": find.x, "y": find.y, "colour": find.colour, "size": find.size}
        given = []
        if "induction" in axes.values():
            given = ["induction=attnviz.heads.induction(model, tokenizer)"]
        return [
            _call("table = attnviz.heads.measures", "trace", *kind, *given),
            _view(screen, scatter_view, "table", **axes, **marked),
        ]
    lines, places = _places(screen)
    if not find.texts:
        return [
            *lines,
            _call("table = attnviz.heads.linking", "trace", *places, *kind),
            _view(screen, find_view, "table", **marked),
        ]
    query, key = (place.partition("=")[2] for place in places)
    labels = f"queries.labels[{query}]", f"keys.labels[{key}]"
    return [
        *(lines or [_tokens(screen)]),
        *_listed("texts", find.texts),
        "others = [attnviz.trace(model, tokenizer, text) for text in texts]",
        *(
            f"others = [{function}({', '.join(['other', *given])}) for other in others]"
            for function, given in _filters(screen.filters.elsewhere)
        ),
        _call("pairs = attnviz.heads.pairs_called", "others", *labels, *kind),
        _call("table = attnviz.heads.linking_over", f"[(trace, {query}, {key}), *pairs]", *kind),
        _view(screen, find_view, "table", **marked),
    ]


def _compared(screen: Screen) -> list[str]:
    """The head beside another one."""
    beside, kind = screen.beside, _given(screen)
    other = "other" if beside.is_of_another_trace else "trace"
    layer = screen.layer if beside.layer is None else beside.layer
    head = screen.head if beside.head is None else beside.head
    alignments = {"queries": beside.queries, "keys": beside.keys}
    by_hand = {name: one for name, one in alignments.items() if one is not None}
    lines, places = _places(screen)
    rows = [
        f"{name}=difference.{sides}.row_of({at})"
        for name, sides in _SIDES.items()
        for at in [place.partition("=")[2] for place in places if place.startswith(f"{name}=")]
    ]
    return [
        *(_other(screen) if beside.is_of_another_trace else []),
        _head(screen),
        _call(f"other_head = {other}.head", *_arguments(layer=layer, head=head), *kind),
        *lines,
        *(
            _call(f"aligned_{name} = attnviz.heads.Alignment.read", literal(str(one)))
            for name, one in by_hand.items()
        ),
        _call(
            "difference = attnviz.heads.difference",
            *("head", "other_head", *(f"{name}=aligned_{name}" for name in by_hand)),
        ),
        _view(screen, compare_view, "difference", *rows),
    ]


def _other(screen: Screen) -> Iterator[str]:
    """The trace that is compared with; of another model both in words."""
    beside = screen.beside
    loaded = ["model", "tokenizer"]
    if screen.is_by_words:
        loaded = ["other_model", "other_tokenizer"]
        yield _load(
            replace(screen, model=beside.model or screen.model, revision=None), ", ".join(loaded)
        )
    text = screen.text if beside.text is None else beside.text
    texts = _texts(screen) if beside.is_of_text(screen.text) else []
    yield _call("other = attnviz.trace", *loaded, literal(text), *texts)
    yield from _filtered(screen.filters.elsewhere, "other")
    if screen.is_by_words:
        yield from (f"{name} = attnviz.filters.in_words({name})" for name in ("trace", "other"))


def _given(screen: Screen) -> list[str]:
    """The kind of attention, where one is named."""
    return _differing(_default_of_screen, kind=screen.kind)


def _view(
    screen: Screen, function: Callable, *given: str, name: str = "chart", **options: Any
) -> str:
    options["display_mode"] = None if screen.display_mode == "light" else screen.display_mode
    arguments = _differing(_default_of(function), **options)
    return _call(f"{name} = attnviz.{function.__name__}", *given, *arguments)


_SIDES = {"query": "queries", "key": "keys"}


def _places(screen: Screen) -> tuple[list[str], list[str]]:
    """The query and key that are selected: as positions or, once filtered, where these are now."""
    chosen = {"query": screen.query, "key": screen.key}
    if screen.view == "heads":
        chosen = {name: at if name == screen.focus else None for name, at in chosen.items()}
    if screen.view == "find":
        chosen = dict(zip(chosen, screen.linked, strict=True))
    given = {name: at for name, at in chosen.items() if at is not None}
    less = replace(screen.filters, renormalise=False, top=None, share=None)
    are_as_they_were = less == NO_FILTERS and not (screen.view == "compare" and screen.is_by_words)
    if are_as_they_were or not given:
        return [], _arguments(**given)
    places = [f"{name}={_SIDES[name]}.place_of({literal(at)})" for name, at in given.items()]
    return [_tokens(screen, *given)], places


def _tokens(screen: Screen, *names: str) -> str:
    """The tokens of the queries and of the keys, of those that are named; without a name, both."""
    sides = ", ".join(side if name in (names or _SIDES) else "_" for name, side in _SIDES.items())
    return _call(f"{sides} = trace.tokens_of", *_arguments(layer=screen.layer), *_given(screen))


def _what_if(screen: Screen) -> list[str]:
    changes = _differing(_default_of(what_if), **vars(screen.change))
    pair = {"query": screen.query or 0, "key": screen.key}  # it needs a query; else the first
    options = {**pair, "convention": screen.convention}
    return [
        _call("changed = attnviz.what_if", "head", *changes),
        _view(screen, what_if_view, "head", "changed", name="comparison", **options),
    ]


def _shown(name: str, file: str | None, *, is_last: bool = True) -> list[str]:
    if file is not None:
        return [_call("attnviz.save", name, literal(file))]
    return [name if is_last else f"{name}.display()"]  # a notebook shows the last line alone


# The four steps


def _is_of_bert(model: Any, head: HeadTrace) -> bool:
    """Whether the head's q, k and v are x · W + b of weights that stand where BERT has them.

    x has to be what the layer is given: its parts are those of BERT, with no norm before the
    attention but one behind it. What the head does with q and k is a scaling and a softmax.
    """
    is_more = head.softcap or head.bias is not None or head.sink_logits is not None
    if head.kind != "self" or head.x_query is None or is_more or _mask_of(head) is not None:
        return False
    try:
        layer = model.encoder.layer[head.layer]
        own, after = layer.attention.self, _parts_of(layer.attention.output)
        makers = {"q": own.query, "k": own.key, "v": own.value}
        parts = _parts_of(layer), _parts_of(layer.attention)
        takes = inspect.signature(model.forward).parameters
    except (AttributeError, IndexError, TypeError):
        return False
    is_layer = parts == ({"attention", "intermediate", "output"}, {"self", "output"})
    if not is_layer or "LayerNorm" not in after or "token_type_ids" not in takes:
        return False
    return all(_makes(part, head.x_query, name, head) for name, part in makers.items())


def _parts_of(module: Any) -> set[str]:
    return {name for name, _ in module.named_children()}


def _makes(part: Any, x: np.ndarray, name: str, head: HeadTrace) -> bool:
    """Whether a projection makes this head's query, key or value."""
    made: np.ndarray = getattr(head, name)
    if part.weight.is_meta or part.bias is None:  # on the disk, while the model does not run
        return False
    rows = slice(head.head * made.shape[1], (head.head + 1) * made.shape[1])
    weight, bias = (each[rows].detach().float().cpu().numpy() for each in (part.weight, part.bias))
    if weight.shape != (made.shape[1], x.shape[1]):
        return False
    return bool(np.abs(x @ weight.T + bias - made).max() <= head.tolerance * np.abs(made).max())


def _projected(screen: Screen, model: Any, head: HeadTrace) -> list[str]:
    """From the text to q, k and v, by the model's own weights."""
    texts = [literal(text) for text in (screen.text, screen.pair) if text is not None]
    inputs = "inputs" if screen.device == Screen.device else f"inputs.to({literal(screen.device)})"
    is_precise = head.dtype in ("float32", "float64")
    as_float = "" if is_precise else ".float()"  # so that no step is rounded anew
    of_layer = f"hidden_states[{head.layer}][0]{as_float}"
    d_head = head.q.shape[1]
    assert head.x_query is not None
    given = "the embeddings" if head.layer == 0 else f"what layer {head.layer} is given"
    return [
        _load(screen),
        "model.requires_grad_(False)  # it is read, not trained",
        _call("inputs = tokenizer", *texts, 'return_tensors="pt"'),
        f"x = model(**{inputs}, output_hidden_states=True).{of_layer}",
        f"attention = model.encoder.layer[{head.layer}].attention.self{as_float}",
        f"rows = slice({head.head * d_head}, {(head.head + 1) * d_head})  # of head {head.head}",
        "",
        f"# 1 project: x, {given}, {_shape(head.x_query)}, to q, k and v, {_shape(head.q)} each",
        *(
            f"{name} = x @ attention.{part}.weight[rows].T + attention.{part}.bias[rows]"
            for name, part in (("q", "query"), ("k", "key"), ("v", "value"))
        ),
    ]


def _captured(screen: Screen, head: HeadTrace) -> list[str]:
    """From the text to q, k and v, as the model made them."""
    shapes = ", ".join(f"{name} {_shape(getattr(head, name))}" for name in "qkv")
    more = []
    if head.q_before_rotary is not None:
        more.append("# q and k are turned by their positions already.")
    if len(head.readers) > 1:
        more.append(f"# k and v are shared by heads {ranges(head.readers)}.")
    return [
        *_traced(screen),
        _head(screen),
        "",
        f"# 1 project: what the model made of x, {shapes}",
        *more,
        "q, k, v = torch.tensor(head.q), torch.tensor(head.k), torch.tensor(head.v)",
    ]


def _weighed(head: HeadTrace) -> list[str]:
    """From the scores to the weights, by what this head has."""
    done, lines, last = [], [], "scores"
    d_head = head.q.shape[1]
    if head.scaling != 1:
        is_usual = math.isclose(head.scaling, d_head**-0.5, rel_tol=1e-6)
        factor = f"/ {d_head}**0.5" if is_usual else f"* {literal(head.scaling)}"
        lines.append(f"scaled = scores {factor}")
        done, last = ["scale"], "scaled"
    if head.softcap is not None:
        cap = literal(head.softcap)
        lines.append(f"capped = {cap} * torch.tanh({last} / {cap})")
        done, last = [*done, "soft-cap"], "capped"
    if head.bias is not None:
        lines.append(f"biased = {last} + torch.tensor(head.bias)")
        done, last = [*done, "bias"], "biased"
    mask = _mask_of(head)
    if mask is not None and _is_causal(mask):
        lines += [
            f"is_later = torch.ones{_shape(mask)}.triu(1).bool()",
            f"masked = {last}.masked_fill(is_later, -torch.inf)",
        ]
    elif mask is not None:
        lines.append(f"masked = {last} + torch.tensor(head.mask)")
    if mask is not None:
        done, last = [*done, "mask"], "masked"
    if head.sink_logits is None:
        lines.append(f"weights = torch.softmax({last}, dim=-1)")
    else:
        lines += [
            "sink = torch.tensor(head.sink_logits)[:, None]  # a key more, which is no token",
            f"weights = torch.softmax(torch.cat([{last}, sink], dim=-1), dim=-1)[:, :-1]",
        ]
    done.append("softmax" if mask is not None else "softmax (no key is masked)")
    whole = "each row sums to 1" if head.sink_logits is None else "each row and its sink sum to 1"
    return [f"# 3 {', '.join(done)}: {whole}, {_shape(head.weights)}", *lines]


def _mask_of(head: HeadTrace) -> np.ndarray | None:
    """The head's mask; None where it changes nothing."""
    return head.mask if head.mask is not None and head.mask.any() else None


def _is_causal(mask: np.ndarray) -> bool:
    """Whether the mask hides every later key and does nothing else."""
    is_later = np.triu(np.ones(mask.shape, dtype=bool), k=1)
    hides = np.array_equal(maths.hidden(mask, mask.shape), is_later)
    return bool(hides and not mask[~is_later].any())


def _shape(array: np.ndarray) -> str:
    return f"({', '.join(map(str, array.shape))})"


# Writing


def literal(value: Any) -> str:
    """The value as Python has it: a text in quotes, in which what cannot be seen is escaped.

    Letters of every script and emoji stay as they are.
    """
    if isinstance(value, str):
        quote = "'" if value.count('"') > value.count("'") else '"'
        return quote + "".join(_in_quotes(character, quote) for character in value) + quote
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _in_quotes(character: str, quote: str) -> str:
    if character == quote:
        return f"\\{quote}"
    return character if character in _JOINERS else repr(character)[1:-1]


def _call(start: str, *arguments: str) -> str:
    """A call as a formatter writes it: on one line, its arguments on the next, or one a line."""
    joined = ", ".join(arguments)
    split = f"{start}(\n    {joined}\n)"
    for written in (f"{start}({joined})", split):
        if max(map(len, written.split("\n"))) <= LINE:
            return written
    if len(arguments) == 1:
        return split
    return "\n".join([f"{start}(", *(f"    {argument}," for argument in arguments), ")"])


def _listed(name: str, values: Sequence[str]) -> list[str]:
    return [f"{name} = [", *(f"    {literal(value)}," for value in values), "]"]


def _differing(default_of: Callable[[str], Any], **values: Any) -> list[str]:
    """The arguments that are not the defaults, as they are written."""
    differing = {name: value for name, value in values.items() if value != default_of(name)}
    return _arguments(**differing)


def _arguments(**values: Any) -> list[str]:
    return [f"{name}={literal(value)}" for name, value in values.items()]


def _default_of(function: Callable) -> Callable[[str], Any]:
    return lambda name: inspect.signature(function).parameters[name].default


def _default_of_screen(name: str) -> Any:
    """Those of `attnviz.load`, `trace` and `head` as well, which are not imported for this."""
    return getattr(Screen, name)
