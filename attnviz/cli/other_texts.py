"""What a screen shows beside the trace of the text: other texts, another model, and its scores."""

from typing import Any

from attnviz.capture import forward_pass
from attnviz.export.asking import OnProgress, asked
from attnviz.export.screen import NOTHING_MORE, More, Screen
from attnviz.heads.induction_score import induction
from attnviz.models import loader
from attnviz.text.errors import InputError


def more_of(
    screen: Screen, model: Any, tokenizer: Any, on_progress: OnProgress | None = None
) -> More:
    """What the screen looks at besides; `model` is None for arrays of a file.

    `on_progress` is that of `attnviz.effect.sweep`.

    Raises InputError where another text is asked for and there is no model, and what
    `attnviz.load` and `attnviz.trace` raise.
    """
    find, beside = screen.find, screen.beside
    if screen.view == "find" and find.by == "measures":
        return NOTHING_MORE if model is None else More(induction=induction(model, tokenizer))
    if screen.view == "effect" and model is not None:
        return asked(screen, model, tokenizer, on_progress)
    is_more = {"find": bool(find.texts), "compare": beside.is_of_another_trace}
    if not is_more.get(screen.view):
        return NOTHING_MORE
    if model is None:
        raise InputError(
            "The arrays came from a file: there is no model to read another text."
            "\n\nHint: leave --texts, --other-text and --other-model out."
        )
    if screen.view == "find":
        return More([forward_pass.trace(model, tokenizer, text) for text in find.texts])
    if screen.is_by_words:
        model, tokenizer = loader.load(
            beside.model or screen.model, device=screen.device, dtype=screen.dtype
        )
    if not beside.is_of_text(screen.text):
        return More([forward_pass.trace(model, tokenizer, beside.text or "")])
    again = forward_pass.trace(
        model, tokenizer, screen.text, pair=screen.pair, target=screen.target
    )
    return More([again])
