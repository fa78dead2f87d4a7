"""A view as an HTML page that needs nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import altair as alt

from attnviz.attention.agreement import NOT_EXACT, check_line, not_shown
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.parts.document import Picture, document
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.pair import pair_of
from attnviz.charts.parts.palette import PALETTES, DisplayMode, configuration
from attnviz.charts.parts.tables import heads_table, query_table
from attnviz.export.captions import caption
from attnviz.export.effect_words import found
from attnviz.export.markup import paragraphs, table, words
from attnviz.export.options import VIEWS
from attnviz.export.screen import (
    NOTHING_MORE,
    OF_ALL_HEADS,
    More,
    Screen,
    drawn,
    following,
    other_head,
    tabulated,
)
from attnviz.export.steps_page import Pieces, Steps
from attnviz.heads.definitions import MEASURES
from attnviz.text.errors import InputError
from attnviz.text.phrases import plain, token_at

WIDE = 760  # px, below which a view scrolls
HOW_TO = {
    "neurons": "Point at a query token to see its product with every key, at a key token to see "
    "which queries attend to it; click to keep it, or choose one from the list below.",
    "heads": "Click a head to switch it off or on, double-click it to see it alone. Point at a "
    "token on either side to see its lines; click to keep it.",
    "model": "Rows are queries, columns are keys. Point at a thumbnail to see its numbers.",
    "find": "Point at a head to see its numbers.",
    "effect": "Point at a bar or a head to see its numbers.",
    "compare": "Point at a cell to see it in both heads, with both weights and their difference.",
    "steps": "Point at a cell to see its number.",
}

TITLES_OF_MEASURES = {measure.name: measure.title for measure in MEASURES}


def to_html(
    chart: alt.TopLevelMixin, display_mode: DisplayMode = "light", title: str = "attnviz"
) -> str:
    """The chart as an HTML page that answers the pointer, in the colours of this display.

    The page holds all that it needs: its own policy forbids it the network and `eval`. In a
    frame of the same origin it gives the frame its own height. Raises InputError for a display
    mode that is not there.
    """
    specification = displayed(chart, display_mode).to_dict()
    return document(title, display_mode, [Picture(specification)])


def view_page(screen: Screen, trace: Trace, more: More = NOTHING_MORE) -> str:
    """What a screen shows of a trace, which is not filtered yet, as one HTML file.

    Steps is a page of all steps, with formulas and sentences; where the screen names no tokens, it
    follows those that attnviz opens with. The other views are their chart, what is to be seen
    on it, and a table of its numbers. The page needs no network, as that of `to_html`. Raises
    InputError for what the trace does not have.
    """
    check_view(screen.view)
    mode = screen.display_mode
    configuration(mode)  # refuses an unknown one
    head = trace.head(screen.layer, screen.head, screen.kind)
    if screen.view == "steps":
        pair_of(head, screen.query, screen.key)  # refuses one that is not there
        screen = following(screen, trace)
        assert screen.query is not None
        assert screen.key is not None
        shown = [*Steps(screen, trace, head, screen.query, screen.key).pieces()]
    else:
        shown = [*_chart(screen, trace, more)]
    body = ["<main>", *_header(screen, trace, more), *shown, "</main>"]
    return document(title(screen, trace), mode, body, _style(mode))


def check_view(view: str) -> None:
    """Raise InputError for a view that attnviz does not have."""
    if view not in VIEWS:
        raise InputError(
            f"There is no view {view!r}.\n\nHint: choose {', '.join(map(repr, VIEWS))}."
        )


def title(screen: Screen, trace: Trace) -> str:
    """What is shown, in a few words."""
    of_kind = f", {screen.kind or trace.kinds[0]} attention" if len(trace.kinds) > 1 else ""
    what = {
        "heads": f"Layer {screen.layer}, all heads",
        "model": "All layers, all heads",
        "find": "Which head links two tokens"
        if screen.find.by == "pair"
        else "Measures of all heads",
        "compare": f"Layer {screen.layer}, head {screen.head}, beside another",
        "effect": "What each head changes in what the model says"
        if screen.effect.all_heads
        else f"What layer {screen.layer}, head {screen.head}, changes in what the model says",
    }.get(screen.view, f"Layer {screen.layer}, head {screen.head}")
    return f"{what}{of_kind}: {trace.model_name}"


# What stands above


def _header(screen: Screen, trace: Trace, more: More) -> Iterator[str]:
    yield f"<header><h1>{words(title(screen, trace))}</h1>"
    yield f"<p>{words(caption(screen, trace))}</p>"
    head = trace.head(screen.layer, screen.head, screen.kind)
    if screen.view == "compare":
        yield _checked(head, "A: ")
        yield _checked(other_head(screen, more.other or trace), "B: ")
    else:
        of_many = screen.view in ("heads", *OF_ALL_HEADS)
        yield _checked(head, f"Layer {head.layer}, head {head.head}: " if of_many else "")
    yield paragraphs(not_shown(trace))
    yield f'<p class="how">{HOW_TO[screen.view]}</p></header>'


def _checked(head: HeadTrace, name: str) -> str:
    """How closely a head's replay agrees, behind what the head is called."""
    checked = check_line(head) if head.is_exact else f"{check_line(head)} {NOT_EXACT}"
    mark = "" if not head.is_compared else "✓ " if head.is_exact else "⚠ "
    return f'<p class="{"exact" if head.is_exact else "inexact"}">{mark}{words(name + checked)}</p>'


# All views but Steps


def _chart(screen: Screen, trace: Trace, more: More) -> Pieces:
    if screen.view == "effect":
        yield from _effect(screen, trace, more)
        return
    specification = drawn(screen, trace, more).to_dict()
    if screen.view in ("neurons", "heads"):
        specification["width"] = "container"
    yield f"<p>{words(specification['description'])}</p>"
    yield Picture(specification, WIDE)
    if screen.view == "compare" or screen.view in OF_ALL_HEADS:
        numbers = tabulated(screen, trace, more).rename(columns=TITLES_OF_MEASURES)
        what = "All pairs of tokens" if screen.view == "compare" else "All heads"
        yield table(numbers, f"{what}, as a table")
        return
    less = screen.filters(trace)
    queries, _ = less.tokens_of(screen.layer, screen.kind)
    place = screen.first_query if screen.query is None else queries.place_of(screen.query)
    assert place is not None  # it is drawn
    if screen.view == "heads":
        numbers = heads_table(less.layer(screen.layer, screen.kind), place)
    else:
        numbers = query_table(less.head(screen.layer, screen.head, screen.kind), place)
    name = words(plain(token_at(queries.labels, place)))
    yield table(numbers, f"What the query token {name} gives to each key, as a table")


def _effect(screen: Screen, trace: Trace, more: More) -> Pieces:
    """The bars, and with a sweep the grid of all heads, each with its words and its table."""
    yield paragraphs("\n\n".join(found(screen, trace, more)))
    of_head = replace(screen, effect=replace(screen.effect, all_heads=False))
    parts = {"The first tokens": of_head, "All heads": screen}
    for what, shown in parts.items() if screen.effect.all_heads else [*parts.items()][:1]:
        specification = drawn(shown, trace, more).to_dict()
        yield f"<h2>{what}</h2><p>{words(specification['description'])}</p>"
        yield Picture(specification, WIDE)
        yield table(tabulated(shown, trace, more), f"{what}, as a table")


def _style(mode: DisplayMode) -> str:
    return _STYLE.replace("TEXT", PALETTES[mode].text).replace("LINE", PALETTES[mode].sequential[3])


_STYLE = """\
body { color: TEXT; font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1240px; margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 2rem) 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 0.5rem; }
h3 { font-size: 1rem; margin: 0.75rem 0 0.5rem; }
h3 math { font-weight: normal; font-size: 1.1em; margin-left: 0.4em; }
p { margin: 0.5rem 0; max-width: 75ch; }
em { unicode-bidi: isolate; }
header p { font-size: 0.9rem; max-width: 110ch; }
section { border-top: 1px solid LINE; margin-top: 2rem; padding-top: 1.25rem; }
.step { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 0 2rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
.beside > div { flex: 1 1 280px; min-width: 0; }
details { margin: 0.75rem 0; }
.scrolled { overflow: auto; max-height: 32rem; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; unicode-bidi: isolate; }
tbody th { text-align: left; }
tr { border-bottom: 1px solid LINE; }
@media (max-width: 800px) { .step { grid-template-columns: minmax(0, 1fr); } }
.inexact { font-weight: bold; }
@media print {
  :root { print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  figure, .step, .beside > div, tr { break-inside: avoid; }
  h1, h2, h3, section > p { break-after: avoid; }
  .chart { min-width: 0 !important; }
  .chart :is(svg, canvas) {
    max-width: 100%; max-height: 95vh; height: auto !important; object-fit: contain;
  }
  .how, .vega-bindings, details:not([open]) { display: none; }
}
"""
