"""What Effect shows of a model: asked of it once, for the page, the shell and notebooks."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from attnviz.export.screen import More, Screen

OnProgress = Callable[[int, int], bool | None]


def asked(
    screen: Screen, model: Any, tokenizer: Any, on_progress: OnProgress | None = None
) -> More:
    """What the model says with the screen's head and without it, and of a sweep without each head.

    Raises InputError where the model says nothing, and for a token, position or text to patch with
    that it does not have.
    """
    from attnviz.effect.ablation import without  # torch, which the options alone do not wait for
    from attnviz.effect.sweeping import sweep

    options = _options(screen)
    head = (screen.layer, screen.head)
    heads = [head if screen.kind is None else (screen.kind, *head)]
    both = without(model, tokenizer, screen.text, heads, **options).both
    if not screen.effect.all_heads:
        return More(effect=both)
    swept = sweep(model, tokenizer, screen.text, **options, on_progress=on_progress)
    return More(effect=both, sweep=swept)


def sweeping(screen: Screen, model: Any, tokenizer: Any) -> Iterator[pd.DataFrame]:
    """The table of all heads again and again, each time with more of them."""
    from attnviz.effect.sweeping import growing

    return growing(model, tokenizer, screen.text, **_options(screen))


def _options(screen: Screen) -> dict[str, Any]:
    """What is asked, as the functions of `attnviz.effect` call it."""
    asking = screen.effect
    return {
        "token": asking.token,
        "position": asking.position,
        "how": asking.patch or "zero",
        "pair": screen.pair,
        "target": screen.target,
    }
