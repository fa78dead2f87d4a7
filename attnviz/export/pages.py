"""A view as an HTML page that needs nothing else."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import altair as alt

from attnviz.attention.agreement import NOT_EXACT, check_line, check_of_output, not_shown
from attnviz.attention.explained.arithmetic import arithmetic, products
from attnviz.attention.explained.sentences import (
    about_row,
    changes,
    effect,
    explanation,
    given_to,
    headline,
    look_for,
    nearest_values,
    no_output,
    sentence,
)
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.matrix import is_in_blocks, matrix_chart
from attnviz.charts.parts.axes import AXIS_TITLES, is_of_pairs
from attnviz.charts.parts.blocks import MAX_DIMENSIONS
from attnviz.charts.parts.document import Picture, document
from attnviz.charts.parts.figure import Figure, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.pair import Pair, pair_of
from attnviz.charts.parts.palette import IDENTITY, PALETTES, DisplayMode, configuration
from attnviz.charts.parts.tables import heads_table, query_table, step_table
from attnviz.charts.parts.window import strongest_outside, window_around
from attnviz.charts.row import row_chart
from attnviz.charts.shares import shares_chart
from attnviz.charts.what_if import TITLES, compared
from attnviz.export.captions import caption
from attnviz.export.markup import formula, paragraphs, table, words
from attnviz.export.screen import (
    NOTHING_MORE,
    OF_ALL_HEADS,
    VIEWS,
    More,
    Screen,
    drawn,
    following,
    other_head,
    tabulated,
)
from attnviz.heads.definitions import MEASURES
from attnviz.text.errors import InputError
from attnviz.text.phrases import plain, token_at

# px, below which it scrolls: a matrix in a narrow place, any other figure, a whole view
NARROW, FIGURE, WIDE = 280, 480, 760
HOW_TO = {
    "neurons": "Point at a query token to see it meet every key, at a key token to see who attends "
    "to it; click to keep it, or choose one from the list below.",
    "heads": "Click a head to switch it off or on, double-click it to see it alone. Point at a "
    "token on either side to see its lines; click to keep it.",
    "model": "A row a query, a column a key in each thumbnail. Point at one to see its numbers.",
    "find": "Point at a head to see its numbers.",
    "compare": "Point at a cell to see it in both heads, with both weights and their difference.",
    "steps": "Point at a cell to see its number.",
}

TITLES_OF_MEASURES = {measure.name: measure.title for measure in MEASURES}

Pieces = Iterator[str | Picture]


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
        shown = [*_steps(screen, trace, head)]
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
        "find": "Which head links two tokens" if screen.find.by == "pair" else "What heads do",
        "compare": f"Layer {screen.layer}, head {screen.head}, beside another",
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


# Steps


def _steps(screen: Screen, trace: Trace, head: HeadTrace) -> Pieces:
    in_order = steps_of(head, screen.convention)
    for number, steps in groupby(in_order, key=lambda step: step.number):
        yield f"<section><h2>{headline(number)}</h2>"
        yield paragraphs(explanation(head, number, screen.convention))
        yield from _group(screen, trace, head, list(steps))
        yield "</section>"
    if head.output is None:
        yield f"<section><h2>{headline('beyond')}</h2>{paragraphs(no_output(head))}</section>"
    if screen.change:
        yield from _what_if(screen, head)


def _group(screen: Screen, trace: Trace, head: HeadTrace, steps: list[Step]) -> Pieces:
    """The steps that share a number, laid out as on the page of attnviz."""
    pair = Pair(screen.query, screen.key)
    query, key = _both(pair)
    first = steps[0]
    if len(steps) > 1 and not is_of_pairs(first):
        yield '<div class="beside">'
        for step in steps:
            yield f"<div>{_titled(step)}"
            yield _matrix(screen, head, step, pair, is_narrow=True)
            yield paragraphs(sentence(head, step, query, key)) + _table(head, step) + "</div>"
        yield "</div>"
        for step in steps:
            yield paragraphs(arithmetic(head, step, query, key) or "")
        yield _look_for(screen, head, first)
        return
    for step in steps:
        yield f'<div class="step"><div>{_titled(step)}'
        yield paragraphs(sentence(head, step, query, key))
        yield paragraphs(arithmetic(head, step, query, key) or "")
        if step.name == "output":
            yield paragraphs(check_of_output(trace, head, query))
        yield _look_for(screen, head, step)
        if step.name == "scores":
            numbers = products(head, query, key)
            names = {"product": "q × k", "sum": "sum so far"}
            yield table(numbers.rename(columns=names), f"All {len(numbers)} products")
        yield _table(head, step) + "</div><div>"
        yield _matrix(screen, head, step, pair)
        if step.name == "weights" and screen.large == "window":
            yield _outside(head, query, key)
        yield "</div></div>"
        if not is_of_pairs(step) and step.array.shape[1] > MAX_DIMENSIONS:
            yield from _row(screen, head, step, key if step.axes[0] == "key_pos" else query)
    if first.name == "updated":
        name = "What each value adds to the update of the query token"
        yield _picture(screen, shares_chart(head, query, key), name)
        yield paragraphs(nearest_values(head, query))


def _both(pair: Pair) -> tuple[int, int]:
    assert pair.query is not None
    assert pair.key is not None
    return pair.query, pair.key


def _titled(step: Step) -> str:
    letter = step.name.partition("_")[0]
    colour = f' style="color: {IDENTITY[letter]}"' if letter in IDENTITY else ""
    return f"<h3><span{colour}>{words(step.title)}</span> {formula(step.formula)}</h3>"


def _look_for(screen: Screen, head: HeadTrace, step: Step) -> str:
    return paragraphs(f"**Look for** {look_for(head, step, screen.convention)}")


def _table(head: HeadTrace, step: Step) -> str:
    """Every value, where the picture has them all too."""
    return "" if is_in_blocks(step) else table(step_table(head, step), "As a table")


def _matrix(
    screen: Screen, head: HeadTrace, step: Step, pair: Pair, *, is_narrow: bool = False
) -> Picture:
    figure = matrix_chart(head, step, pair, large=screen.large, is_narrow=is_narrow)
    name = f"{step.title}: {' by '.join(AXIS_TITLES[axis] for axis in step.axes)}"
    return _picture(screen, figure, name, NARROW if is_narrow else FIGURE)


def _row(screen: Screen, head: HeadTrace, step: Step, row: int) -> Pieces:
    side = "key" if step.axes[0] == "key_pos" else "query"
    yield paragraphs(about_row(head, step, row))
    yield _picture(screen, row_chart(head, step, row), f"{step.title} of the {side} token")


def _outside(head: HeadTrace, query: int, key: int) -> str:
    """What the query gives to keys that its window does not show, if there are any."""
    shown = window_around(query, key, len(head.query_tokens), len(head.key_tokens))
    outside = strongest_outside(head.weights[query], shown)
    return paragraphs(f"{given_to(head, query, outside)}.") if outside else ""


def _what_if(screen: Screen, head: HeadTrace) -> Pieces:
    query, key = _both(Pair(screen.query, screen.key))
    changed = screen.change(head)
    pictures = compared(head, changed, query, key, screen.convention)
    name = token_at(head.query_tokens, query)
    yield "<section><h2>What if?</h2>"
    yield paragraphs(changes(head, screen.change)) + paragraphs(effect(head, changed, query))
    yield '<div class="beside">'
    for label, matrix in zip(TITLES, pictures.matrices, strict=True):
        yield f"<div><h3>Weights {label}</h3>"
        yield _picture(screen, matrix, f"weights {label}", NARROW)
        yield "</div>"
    yield "</div>"
    for label, strip in (
        ("The weights of", pictures.weights),
        ("The update x′ of", pictures.update),
    ):
        yield f"<div><h3>{label} {words(plain(name))}</h3>"
        yield _picture(screen, strip, f"{label} {plain(name)} before and after")
        yield "</div>"
    yield "</section>"


def _picture(
    screen: Screen, figure: Figure | alt.LayerChart, name: str, least_width: int = FIGURE
) -> Picture:
    """A figure as wide as its place, and called by what is to be seen on it."""
    specification: dict[str, Any] = (
        figure.to_dict() if isinstance(figure, Figure) else structure_of(figure)
    )
    specification["description"] = name
    specification["config"] = configuration(screen.display_mode)
    if "layer" not in specification:
        return Picture(specification)
    return Picture(specification | {"width": "container"}, least_width)


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
