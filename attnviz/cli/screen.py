"""The screen that the options ask for, once the text's tokens are known."""

from argparse import Namespace
from dataclasses import replace

from attnviz.attention.filters import NO_FILTERS, Filters
from attnviz.attention.trace import Trace
from attnviz.attention.what_if import Change
from attnviz.charts.heads import Focus, most_tokens
from attnviz.charts.parts.window import MAX_TOKENS, window_around
from attnviz.export.notebook import DEFAULT_HEAD
from attnviz.export.screen import Beside, Finding, Screen, View, following
from attnviz.heads.aligning import Alignment
from attnviz.models.bundled import BUNDLED
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError
from attnviz.text.tokens import Tokens

_MOST_NAMED = 40  # tokens, in a message


def screen_of(asked: Namespace, trace: Trace) -> Screen:
    """What is asked for of a trace, with every token as its position.

    Raises InputError for what the trace does not have, and for filters and a change in views
    that have none.
    """
    layer = trace.layers(asked.kind)[0] if asked.layer is None else asked.layer
    head = asked.head
    if head is None:
        head = DEFAULT_HEAD if trace.n_heads(layer, asked.kind) > DEFAULT_HEAD else 0
    trace.head(layer, head, asked.kind)  # refuses one that is not there, in every view
    queries, keys = trace.tokens_of(layer, asked.kind)
    filters = _filters(asked, queries, keys)
    change = Change(
        scaling=asked.scaling,
        temperature=asked.temperature,
        hidden_keys=tuple(_position(keys, token, "key") for token in asked.mask_keys),
        is_causal=asked.causal,
        zeroed_dimensions=tuple(asked.zero_dimensions),
    )
    view: View = asked.view or ("steps" if filters == NO_FILTERS else "neurons")
    if view == "steps" and filters != NO_FILTERS:
        raise InputError(
            "Steps shows the whole head, and filters were asked for."
            "\n\nHint: leave them out, or choose another view: --view neurons."
        )
    if view == "model" and asked.measure == "induction":
        raise InputError(
            "The induction score is of a random sequence, and Model shows heads in the text."
            "\n\nHint: --view find --find-by measures --x induction."
        )
    if view != "steps" and change:
        raise InputError(
            f"What if? changes a whole head, in Steps; received the view {view!r}"
            f"{'' if asked.view else ', which filters ask for'}."
            "\n\nHint: leave out what is changed, or the filters and the view."
        )
    query = None if asked.query is None else _position(queries, asked.query, "query")
    key = None if asked.key is None else _position(keys, asked.key, "key")
    focus: Focus = "all" if query is key is None else "query" if query is not None else "key"
    screen_model = asked.model or (BUNDLED if asked.arrays is None else trace.model_name)
    screen = Screen(
        model=screen_model,
        text=asked.text or "",
        layer=layer,
        head=head,
        view=view,
        pair=asked.pair,
        target=asked.target,
        revision=asked.revision or trace.revision,
        device=asked.device or "cpu",
        dtype=asked.dtype or trace.dtype,
        kind=asked.kind if len(trace.kinds) == 1 else asked.kind or trace.kinds[0],
        query=query,
        key=key,
        display_mode="dark" if asked.dark else "light",
        filters=filters,
        convention="columns" if asked.columns else "rows",
        large=asked.large,
        change=change,
        is_expanded=not asked.lines_only,
        is_sorted=asked.sort_dimensions,
        is_asked=asked.asked,
        heads=None if asked.heads is None else tuple(dict.fromkeys(asked.heads)),
        focus=asked.focus or focus,
        measure=asked.measure,
        is_by_measure=asked.sort_heads,
        find=Finding(
            by=asked.find_by,
            texts=tuple(asked.texts),
            x=asked.x,
            y=asked.y,
            colour=asked.colour,
            size=asked.size,
        ),
        beside=Beside(
            model=None if asked.other_model == screen_model else asked.other_model,
            text=asked.other_text,
            layer=asked.other_layer,
            head=asked.other_head,
            queries=None if asked.align_queries is None else Alignment.read(asked.align_queries),
            keys=None if asked.align_keys is None else Alignment.read(asked.align_keys),
        ),
    )
    if view == "compare" and screen.beside == Beside():
        raise InputError(
            f"Compare sets another head beside layer {layer}, head {head}, and none is named."
            "\n\nHint: --other-text, --other-layer, --other-head or --other-model."
        )
    if view == "find":
        return following(screen, trace)
    if view not in ("neurons", "heads"):
        return screen
    first_query, first_key = _firsts(screen, trace)
    return replace(
        screen,
        first_query=first_query if asked.first_query is None else asked.first_query,
        first_key=first_key if asked.first_key is None else asked.first_key,
    )


def _firsts(screen: Screen, trace: Trace) -> tuple[int, int]:
    """Where the tokens begin of which a view shows the followed ones, once they are filtered."""
    call = screen.filters(trace).layer(screen.layer, screen.kind)
    query, key = (
        0 if position is None else tokens.place_of(position) or 0
        for tokens, position in ((call.query_tokens, screen.query), (call.key_tokens, screen.key))
    )
    size = most_tokens(call.n_heads) if screen.view == "heads" else MAX_TOKENS
    part = window_around(query, key, len(call.query_tokens), len(call.key_tokens), size=size)
    return part.queries.start, part.keys.start


def _filters(asked: Namespace, queries: Tokens, keys: Tokens) -> Filters:
    hidden = tuple(_position(keys, token, "key") for token in asked.hide)
    return Filters(
        hidden_keys=hidden,
        hidden_queries=hidden if keys is queries else (),  # as on the page
        segments=asked.segments,
        special=asked.hide_special,
        renormalise=asked.renormalise,
        words=asked.words,
        top=asked.top,
        share=asked.share,
    )


def _position(tokens: Tokens, asked: str, what: str) -> int:
    """Where a token is that is given by its position, or as it is written."""
    labels = tokens.labels
    if asked.isascii() and asked.isdigit() and len(asked) < 10 and int(asked) < len(labels):
        return int(asked)
    places = tokens.called(asked)
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(
            f"The text has the {what} token {quoted(asked)} {len(places)} times."
            f"\n\nHint: give the position of one: {_named(labels, places)}."
        )
    raise InputError(
        f"The text has no {what} token {quoted(asked)}."
        f"\n\nHint: its tokens are {_named(labels, range(len(labels)))}."
    )


def _named(labels: tuple[str, ...], places: range | list[int]) -> str:
    named = ", ".join(f"{place} {labels[place]}" for place in places[:_MOST_NAMED])
    more = len(places) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named
