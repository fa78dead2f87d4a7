"""What a screen shows beside the trace of the text: other texts, another model, and its scores."""

from typing import Any

import attnviz
from attnviz import heads
from attnviz.errors import InputError
from attnviz.screens import NOTHING_MORE, More, Screen


def more_of(screen: Screen, model: Any, tokenizer: Any) -> More:
    """What the screen looks at besides; `model` is None for arrays of a file.

    Raises InputError where another text is asked for and there is no model, and what
    `attnviz.load` and `attnviz.trace` raise.
    """
    find, beside = screen.find, screen.beside
    if screen.view == "find" and find.by == "measures":
        return NOTHING_MORE if model is None else More(induction=heads.induction(model, tokenizer))
    is_more = {"find": bool(find.texts), "compare": beside.is_of_another_trace}
    if not is_more.get(screen.view):
        return NOTHING_MORE
    if model is None:
        raise InputError(
            "The arrays came from a file: there is no model to read another text."
            "\n\nHint: leave --texts, --other-text and --other-model out."
        )
    if screen.view == "find":
        return More([attnviz.trace(model, tokenizer, text) for text in find.texts])
    if screen.is_by_words:
        model, tokenizer = attnviz.load(
            beside.model or screen.model, device=screen.device, dtype=screen.dtype
        )
    if not beside.is_of_text(screen.text):
        return More([attnviz.trace(model, tokenizer, beside.text or "")])
    again = attnviz.trace(model, tokenizer, screen.text, pair=screen.pair, target=screen.target)
    return More([again])
