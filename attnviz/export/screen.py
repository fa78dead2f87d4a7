"""What a screen shows, as plain values: what it is drawn, written as a script and called by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import altair as alt
import pandas as pd

from attnviz.attention.filters import NO_FILTERS, Filters, in_words
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention
from attnviz.attention.trace import Trace
from attnviz.attention.what_if import NO_CHANGE, Change
from attnviz.charts.compare import compare_view
from attnviz.charts.effect import effect_view, sweep_view
from attnviz.charts.find import find_view
from attnviz.charts.heads import Focus, head_view, most_tokens
from attnviz.charts.matrix import Large
from attnviz.charts.model import model_view
from attnviz.charts.neurons import neuron_view
from attnviz.charts.parts.opening_pair import opening
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.window import MAX_TOKENS, window_around
from attnviz.charts.scatter import scatter_view
from attnviz.charts.steps import steps_view
from attnviz.export.options import ARGUMENTS, FindBy, View
from attnviz.heads.aligning import Alignment
from attnviz.heads.comparing import Difference, difference
from attnviz.heads.finding import linking, linking_over, pairs_called
from attnviz.heads.measuring import measures
from attnviz.text.errors import InputError
from attnviz.text.tokens import Tokens

OF_TABLES = ("find", "compare", "effect")  # whose numbers are a table, not the arrays of a head
OF_ALL_HEADS = ("model", "find")  # the views in which no head is chosen, only marked


@dataclass(frozen=True)
class Finding:
    """What Find looks for: heads that link a pair, in more texts too, or all heads by measures."""

    by: FindBy = "pair"
    texts: tuple[str, ...] = ()
    x: str = "entropy"
    y: str = "distance"
    colour: str = "layer"
    size: str | None = None


@dataclass(frozen=True)
class Beside:
    """What Compare sets beside the head: what is None is the same as there.

    `queries` and `keys` pair places of the two texts' tokens where a visitor has mended that.
    """

    model: str | None = None
    text: str | None = None
    layer: int | None = None
    head: int | None = None
    queries: Alignment | None = None
    keys: Alignment | None = None

    @property
    def is_of_another_trace(self) -> bool:
        return self.model is not None or self.text is not None

    def is_of_text(self, text: str) -> bool:
        """Whether B reads this text too, and with it its second text or its target."""
        return self.text is None or self.text == text


@dataclass(frozen=True)
class Asking:
    """What Effect asks of the model: which position answers, and which token is followed.

    None is what the model answers by itself. `patch` is the text that updates are taken from,
    None for zeros. With `all_heads` every head is switched off in turn.
    """

    token: str | None = None
    position: int | None = None
    patch: str | None = None
    all_heads: bool = False


@dataclass(frozen=True)
class Screen:
    """One state of attnviz. `query` and `key` are positions in their texts, filtered or not."""

    model: str
    text: str
    layer: int
    head: int
    view: View = "steps"
    pair: str | None = None
    target: str | None = None
    revision: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    kind: str | None = None  # None: the first that the model has
    query: int | None = None
    key: int | None = None
    display_mode: DisplayMode = "light"
    filters: Filters = NO_FILTERS  # of all views but Steps
    # Steps
    convention: Convention = "rows"
    large: Large = "maximum"
    step: str | None = None  # alone, in a figure; None: all
    change: Change = NO_CHANGE  # of its What if?
    # Neurons, and its first tokens and those of Heads, for long texts
    is_expanded: bool = True
    is_sorted: bool = False  # the dimensions, by their share of the pair's score
    is_asked: bool = False
    first_query: int = 0
    first_key: int = 0
    # Heads
    heads: tuple[int, ...] | None = None  # those that are on; None: all
    focus: Focus = "query"
    # Model
    measure: str = "entropy"
    is_by_measure: bool = False
    find: Finding = Finding()
    beside: Beside = Beside()
    effect: Asking = Asking()

    @property
    def linked(self) -> tuple[int, int]:
        """The query and the key that Find links: the first token where none is named."""
        return self.query or 0, self.key or 0

    @property
    def other_place(self) -> tuple[int, int]:
        """The layer and the head that Compare sets beside the screen's own."""
        layer, head = self.beside.layer, self.beside.head
        return self.layer if layer is None else layer, self.head if head is None else head

    @property
    def is_by_words(self) -> bool:
        """Whether Compare compares words, for two models split texts each in their own way."""
        return self.beside.model not in (None, self.model)


@dataclass(frozen=True, eq=False)
class More:
    """What views look at besides a trace: others, not filtered, and what only the model tells.

    The others are those of Find's more texts, or the one that Compare sets beside. `effect` is
    `both` of `attnviz.effect.without` this head, and `sweep` what `attnviz.effect.sweep` gives.
    """

    traces: Sequence[Trace] = ()
    induction: pd.DataFrame | None = None
    effect: pd.DataFrame | None = None
    sweep: pd.DataFrame | None = None

    @property
    def other(self) -> Trace | None:
        return self.traces[0] if self.traces else None


NOTHING_MORE = More()


def opened(given: Mapping[str, Any], trace: Trace) -> Screen:
    """The screen of options by their names ("layer", "find.x"), of a trace that is not filtered.

    What is None or not named is as attnviz opens with it: the layer and the head of `opening`, or
    the last head of a layer that has fewer; the lines of the query token, or of the key where only
    that is named, and of a long text the part around them. Raises InputError for a kind, layer,
    head or token that the trace does not have.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in ("", *_PARTS)}
    for name, value in given.items():
        part, _, field = name.rpartition(".")
        if value is not None:
            parts[part][field] = value
    own = parts.pop("")
    kind = own.get("kind")
    if not {"layer", "head"} <= own.keys():
        start = opening(trace, kind)
        layer = own.setdefault("layer", start.layer)
        own.setdefault("head", min(start.head, trace.n_heads(layer, kind) - 1))
    trace.head(own["layer"], own["head"], kind)
    if len(trace.kinds) > 1:
        own.setdefault("kind", trace.kinds[0])
    own.setdefault("focus", "key" if "key" in own and "query" not in own else "query")
    screen = Screen(**own, **{part: _PARTS[part](**values) for part, values in parts.items()})
    if screen.view == "find":
        return following(screen, trace)
    if screen.view not in ("neurons", "heads"):
        return screen
    if screen.view == "heads":
        screen = _with_lines(screen, trace)
    firsts = _firsts(screen, trace)
    return replace(screen, **{name: own.get(name, first) for name, first in firsts.items()})


def _with_lines(screen: Screen, trace: Trace) -> Screen:
    """The screen with the token that Heads opens with, unless one is named or a filter hides it."""
    if screen.focus == "all" or getattr(screen, screen.focus) is not None:
        return screen
    position = getattr(following(screen, trace), screen.focus)
    queries, keys = screen.filters(trace).tokens_of(screen.layer, screen.kind)
    tokens = queries if screen.focus == "query" else keys
    if tokens.place_of(position) is None:
        return replace(screen, focus="all")
    return replace(screen, **{screen.focus: position})


_PARTS: Mapping[str, Any] = {
    "filters": Filters,
    "change": Change,
    "find": Finding,
    "beside": Beside,
    "effect": Asking,
}


def default_of(name: str) -> Any:
    """What a screen has where nothing is said of this option."""
    part, _, field = name.rpartition(".")
    return getattr(_PARTS.get(part, Screen), field)


def _firsts(screen: Screen, trace: Trace) -> dict[str, int]:
    """Where the tokens begin of which a view shows the followed ones, once they are filtered."""
    call = screen.filters(trace).layer(screen.layer, screen.kind)
    query, key = (
        0 if position is None else tokens.place_of(position) or 0
        for tokens, position in ((call.query_tokens, screen.query), (call.key_tokens, screen.key))
    )
    size = most_tokens(call.n_heads) if screen.view == "heads" else MAX_TOKENS
    part = window_around(query, key, len(call.query_tokens), len(call.key_tokens), size=size)
    return {"first_query": part.queries.start, "first_key": part.keys.start}


def following(screen: Screen, trace: Trace) -> Screen:
    """The screen with the tokens that attnviz opens with, where it names none.

    Raises InputError for a kind that the trace does not have.
    """
    start = opening(trace, screen.kind)
    return replace(
        screen,
        query=start.query if screen.query is None else screen.query,
        key=start.key if screen.key is None else screen.key,
    )


def view_options(screen: Screen) -> dict[str, Any]:
    """What the view's function is given beside tokens and colours."""
    name: str = screen.view
    if name == "find" and screen.find.by == "measures":
        name = "find measures"
    if name == "effect" and screen.effect.all_heads:
        name = "effect of all heads"
    names = ARGUMENTS[name]
    return {argument: attrgetter(name)(screen) for argument, name in names.items()}


def drawn(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> alt.TopLevelMixin:
    """The screen's view of a trace, which is not filtered yet, as an Altair chart.

    Raises InputError for what the trace does not have.
    """
    look = {**view_options(screen), "display_mode": screen.display_mode}
    if screen.view == "steps":
        head = trace.head(screen.layer, screen.head, screen.kind)
        return steps_view(head, screen.query, screen.key, **look)
    if screen.view == "compare":
        of = heads_compared(screen, trace, more)
        return compare_view(of.difference, query=of.row, key=of.column, **look)
    if screen.view == "find":
        if screen.find.by == "pair":
            return find_view(linked(screen, trace, more), **look)
        return scatter_view(measured(screen, trace, more), **look)
    if screen.view == "effect":
        view = sweep_view if screen.effect.all_heads else effect_view
        return view(told(screen, more), **look)
    trace = screen.filters(trace)
    if screen.view == "model":
        return model_view(trace, **look)
    queries, keys = trace.tokens_of(screen.layer, screen.kind)
    query, key = _place(queries, screen.query, "query"), _place(keys, screen.key, "key")
    if screen.view == "neurons":
        return neuron_view(trace.head(screen.layer, screen.head, screen.kind), query, key, **look)
    return head_view(
        trace,
        query=query if screen.focus == "query" else None,
        key=key if screen.focus == "key" else None,
        **look,
    )


def measured(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> pd.DataFrame:
    """Each head of the screen's kind in numbers."""
    kind = screen.kind or trace.kinds[0]
    return measures(screen.filters(trace), kind, induction=more.induction)


def linked(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> pd.DataFrame:
    """How much each head gives from the screen's query token to its key token.

    With more texts, over those of them that have tokens called the same.
    """
    kind = screen.kind or trace.kinds[0]
    less = screen.filters(trace)
    queries, keys = less.tokens_of(screen.layer, kind)
    query, key = (
        _place_of(tokens, position, what)
        for tokens, position, what in zip(
            (queries, keys), screen.linked, ("query", "key"), strict=True
        )
    )
    if not more.traces:
        return linking(less, query, key, kind)
    called = queries.labels[query], keys.labels[key]
    traces = (screen.filters.elsewhere(other) for other in more.traces)
    return linking_over([(less, query, key), *pairs_called(traces, *called, kind)], kind)


def tabulated(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> pd.DataFrame:
    """The numbers of a view of tables: a row a head, a pair of tokens, or a token that is said."""
    if screen.view == "compare":
        return heads_compared(screen, trace, more).difference.table()
    if screen.view == "effect":
        return told(screen, more)
    if screen.view == "find" and screen.find.by == "pair":
        return linked(screen, trace, more)
    return measured(screen, trace, more)


def told(screen: Screen, more: More) -> pd.DataFrame:
    """The table that Effect shows. Raises InputError where no model was asked."""
    table = more.sweep if screen.effect.all_heads else more.effect
    if table is None:
        raise no_model()
    return table


def no_model() -> InputError:
    return InputError(
        "Effect asks a model what it says, and these arrays came from a file, without one."
        "\n\nHint: choose another view, or give a text and a model."
    )


@dataclass(frozen=True, eq=False)
class Compared:
    """Two heads, what differs between them, and the pair that is followed."""

    difference: Difference
    first: tuple[Tokens, Tokens]  # the queries and keys of the screen's own head, as compared
    second: tuple[Tokens, Tokens]
    row: int | None  # of the difference; None where the token has no partner
    column: int | None


def heads_compared(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> Compared:
    """The screen's head and the one beside it, of the same trace where there is no other.

    Raises InputError for a head that is not there, and where no token has a partner.
    """
    beside, filters, other = screen.beside, screen.filters, more.other
    first, second = filters(trace), filters(trace) if other is None else filters.elsewhere(other)
    if screen.is_by_words:
        first, second = in_words(first), in_words(second)
    differs = difference(
        first.head(screen.layer, screen.head, screen.kind),
        other_head(screen, second),
        queries=beside.queries,
        keys=beside.keys,
    )
    tokens = first.tokens_of(screen.layer, screen.kind)
    row, column = (
        pairs.row_of(None if position is None else of.place_of(position))
        for pairs, of, position in zip(
            (differs.queries, differs.keys), tokens, (screen.query, screen.key), strict=True
        )
    )
    others = second.tokens_of(differs.b.layer, screen.kind)
    return Compared(differs, tokens, others, row, column)


def other_head(screen: Screen, trace: Trace) -> HeadTrace:
    """The head that Compare sets beside the screen's own, of this trace."""
    return trace.head(*screen.other_place, screen.kind)


def _place(tokens: Tokens, position: int | None, what: str) -> int | None:
    """Where a filter left the token of this position."""
    return None if position is None else _place_of(tokens, position, what)


def _place_of(tokens: Tokens, position: int, what: str) -> int:
    place = tokens.place_of(position)
    if place is None:
        raise InputError(
            f"There is no {what} token {position!r}, or a filter hides it."
            f"\n\nHint: there are {len(tokens)} tokens; positions count from 0."
        )
    return place
