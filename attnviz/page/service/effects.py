"""What models say, with heads and without them, shared by all visitors of this process.

A head that is selected is switched off at once; every head in turn in the background, one text at
a time. Between two of its passes whoever else needs a model has it. A sweep goes on while
somebody looks at it, and what it found is kept for all who ask the same.
"""

import json
import threading
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import pandas as pd
from cachetools import LRUCache

from attnviz.attention.trace import Trace
from attnviz.export import asking
from attnviz.export.screen import More, Screen, no_model
from attnviz.models import local
from attnviz.page.service import loading, settings
from attnviz.page.service.background import attempt
from attnviz.page.service.kept import read_once
from attnviz.text.errors import AttnvizError

_N_KEPT = 64  # sweeps; of a model with 1,000 heads 40 kB each
_LEFT_AFTER = 90.0  # seconds; a browser asks for what is in another tab once a minute
_ASIDE = 0.005  # seconds between two passes, in which another visitor takes the turn
_sweeps: LRUCache = LRUCache(_N_KEPT)
_sweeps_lock = threading.Lock()
_at_work = threading.Semaphore(1)


def question(trace: Trace) -> Any:
    """What this model is asked, and the usual position; None where it says nothing."""
    loaded = loading.loaded_of(trace)
    if loaded is None:
        return None
    from attnviz.effect.answers import usual_question

    return usual_question(loaded.model, loaded.tokenizer, trace)


def speaking() -> list[str]:
    """The models of the list that are on this machine and say something."""
    names = (offer.name for offer in settings.offers())
    return [name for name in names if loading.is_here(name) and _says_something(name)]


def _says_something(name: str) -> bool:
    """By its configuration, without loading it."""
    from attnviz.models import with_head

    try:
        place = local.find(name, allow_folder=settings.may_be_folder(name))
        if place is not None and place.gguf is not None:
            return True  # such files hold models that generate text
        config = json.loads((place.folder / "config.json").read_text()) if place else {}
    except (OSError, ValueError):
        return False
    return bool(with_head.speaking(config.get("architectures"), config.get("model_type", "")))


def both(screen: Screen, of: Trace) -> pd.DataFrame:
    """What the model says with the screen's head and without it.

    Raises AttnvizError for what it does not say, and for a text to patch with that does not fit.
    """
    alone = replace(screen, effect=replace(screen.effect, all_heads=False))
    key = "effect", screen.kind, screen.layer, screen.head, alone.effect

    def read() -> pd.DataFrame:
        loaded = loading.loaded_of(of)
        if loaded is None:
            raise no_model()
        with loading.passes:
            table = asking.asked(alone, loaded.model, loaded.tokenizer).effect
        assert table is not None
        return table

    return read_once(of, key, read)


def more(screen: Screen, of: Trace) -> More:
    """What a screen shows beside a trace, as `loading.more`, and of Effect what the model says."""
    if screen.view != "effect":
        return loading.more(screen, of)
    found = More(effect=both(screen, of))
    if not screen.effect.all_heads:
        return found
    one = known(screen, of)
    if one is None or one.is_under_way or one.table is None:
        one = begin(screen, of)
        one.wait()
    if one.error is not None:
        raise one.error
    return replace(found, sweep=one.table)


class Sweep:
    """What is known of a sweep; read by any thread, written by its own."""

    def __init__(self, screen: Screen, of: Trace) -> None:
        self.table: pd.DataFrame | None = None  # the heads that are done
        self.error: AttnvizError | None = None
        self._screen, self._model = screen, loading.asked_for(of)[0]
        self._is_stopped = False
        self._at_rest = threading.Event()
        self._looked_at = time.monotonic()
        threading.Thread(target=self._try, daemon=True).start()

    @property
    def is_under_way(self) -> bool:
        return not self._at_rest.is_set()

    @property
    def is_whole(self) -> bool:
        return self.table is not None and bool(self.table.attrs["is_whole"])

    def look(self) -> None:
        """Somebody sees it: it goes on."""
        self._looked_at = time.monotonic()

    def stop(self) -> None:
        """End it after the pass that is running; what it has is kept."""
        self._is_stopped = True

    def wait(self, seconds: float | None = None) -> None:
        self._at_rest.wait(seconds)

    def _try(self) -> None:
        self.error = attempt(
            self._sweep,
            _at_work,
            lambda kind: AttnvizError(
                f"The sweep failed in a way that was not foreseen ({kind})."
                "\n\nHint: try again, or choose another text or model."
            ),
        )
        self._at_rest.set()

    def _sweep(self) -> None:
        loaded = loading.model(*self._model)
        tables = asking.sweeping(self._screen, loaded.model, loaded.tokenizer)
        while not self._is_stopped and time.monotonic() - self._looked_at < _LEFT_AFTER:
            with loading.passes:
                table = next(tables, None)
            if table is None:
                return
            self.table = table
            time.sleep(_ASIDE)


def known(screen: Screen, of: Trace) -> Sweep | None:
    """The sweep of this text and question, if there is one."""
    with _sweeps_lock:
        return _sweeps.get(key_of(screen, of))


def begin(screen: Screen, of: Trace) -> Sweep:
    """The sweep of this text and question; a new one where none is whole or under way."""
    with _sweeps_lock:
        one = _sweeps.get(key := key_of(screen, of))
        if one is None or not (one.is_under_way or one.is_whole):
            one = _sweeps[key] = Sweep(screen, of)
        return one


def key_of(screen: Screen, of: Trace) -> Hashable:
    """What a sweep depends on: the selected head is not among it."""
    return loading.asked_for(of), replace(screen.effect, all_heads=True)
