"""The screen that the options ask for, once the text's tokens are known."""

from argparse import Namespace
from typing import Any

from attnviz.attention.trace import Trace
from attnviz.export.options import OPTIONS, Option
from attnviz.export.screen import Beside, Screen, opened
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
    queries, keys = trace.tokens_of(layer, asked.kind)
    given = {
        "text": asked.text or "",
        "model": BUNDLED if asked.arrays is None else trace.model_name,
        "revision": trace.revision,
        "dtype": trace.dtype,
        **_given(asked, queries, keys, trace.target or trace.source),
    }
    is_filtered, is_changed = (
        any(name.startswith(part) for name in given) for part in ("filters.", "change.")
    )
    view = given.setdefault("view", "neurons" if is_filtered else "steps")
    if view == "steps" and is_filtered:
        raise InputError(
            "Steps shows the whole head, and filters were asked for."
            "\n\nHint: leave them out, or choose another view: --view neurons."
        )
    if view == "effect" and is_filtered:
        raise InputError(
            "Effect runs the whole model, and filters were asked for."
            "\n\nHint: leave them out, or choose another view: --view neurons."
        )
    if view == "model" and asked.measure == "induction":
        raise InputError(
            "The induction score is of a random sequence, and Model shows heads in the text."
            "\n\nHint: --view find --find-by measures --x induction."
        )
    if view != "steps" and is_changed:
        raise InputError(
            f"What if? changes a whole head, in Steps; received the view {view!r}"
            f"{'' if asked.view else ', which filters ask for'}."
            "\n\nHint: leave out what is changed, or the filters and the view."
        )
    if given.get("beside.model") == given["model"]:
        del given["beside.model"]
    screen = opened(given, trace)
    if view == "compare" and screen.beside == Beside():
        raise InputError(
            f"Compare sets another head beside layer {screen.layer}, head {screen.head}, and none "
            "is named.\n\nHint: --other-text, --other-layer, --other-head or --other-model."
        )
    return screen


def _given(asked: Namespace, queries: Tokens, keys: Tokens, answering: Tokens) -> dict[str, Any]:
    """What a screen has of each option that is given."""
    given: dict[str, Any] = {}
    for option in (option for group in OPTIONS.values() for option in group):
        value = getattr(asked, option.name)
        if value is not None and (value != "" or option.takes != "NAME"):
            if option.name == "effect.position":
                given[option.name] = _position(answering, value, "answering")
            else:
                given[option.name] = _read(option, value, queries, keys)
    if "heads" in given:
        given["heads"] = tuple(dict.fromkeys(given["heads"]))
    if "filters.hidden_keys" in given and keys is queries:  # as on the page
        given["filters.hidden_queries"] = given["filters.hidden_keys"]
    return given


def _read(option: Option, value: Any, queries: Tokens, keys: Tokens) -> Any:
    if isinstance(value, list):
        return tuple(_read(option, one, queries, keys) for one in value)
    if option.takes == "TOKEN":
        is_query = option.name == "query"
        return _position(queries if is_query else keys, value, "query" if is_query else "key")
    return Alignment.read(value) if option.takes == "PAIRS" else value


def _position(tokens: Tokens, asked: str, what: str) -> int:
    """Where a token is that is given by its position, or as it is written.

    In quotation marks a number is what is written: "2".
    """
    labels = tokens.labels
    if asked.isascii() and asked.isdigit() and len(asked) < 10 and int(asked) < len(labels):
        return int(asked)
    is_quoted = len(asked) > 2 and asked[0] == asked[-1] == '"'
    name = asked[1:-1] if is_quoted and not tokens.called(asked) else asked
    places = tokens.called(name)
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(
            f"The text has the {what} token {quoted(name)} {len(places)} times."
            f"\n\nHint: give the position of one: {_named(labels, places)}."
        )
    raise InputError(
        f"The text has no {what} token {quoted(name)}."
        f"\n\nHint: its tokens are {_named(labels, range(len(labels)))}."
    )


def _named(labels: tuple[str, ...], places: range | list[int]) -> str:
    named = ", ".join(f"{place} {labels[place]}" for place in places[:_MOST_NAMED])
    more = len(places) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named
