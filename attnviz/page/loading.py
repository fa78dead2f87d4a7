"""Models and traces, shared by all visitors of this process and bounded in bytes.

A trace is cached for its model, texts and target; behind it the model. A change of layer, head
or view never reaches torch. Of two visitors who ask for the same, one computes and one waits.
"""

import threading
from typing import Any

from cachetools import LRUCache, cached
from cachetools.keys import hashkey

import attnviz
from attnviz.page import settings
from attnviz.tokens import takes_pair


class LoadedModel:
    """A model, its tokenizer, and what the page asks about them."""

    def __init__(self, name: str) -> None:
        self.name = name
        from attnviz.inputs import takes_target  # with torch, which only a load may wait for

        self.model, self.tokenizer = attnviz.load(name)
        self.takes_target: bool = takes_target(self.model)
        self.takes_pair: bool = not self.takes_target and takes_pair(self.tokenizer)

    @property
    def nbytes(self) -> int:
        return self.model.get_memory_footprint()


def _nbytes(item: Any) -> int:
    return item.nbytes


@cached(LRUCache(settings.model_cache_bytes(), getsizeof=_nbytes), condition=threading.Condition())
def model(name: str) -> LoadedModel:
    """The model of this name. Raises ModelLoadError."""
    return LoadedModel(name)


@cached(
    LRUCache(settings.trace_cache_bytes(), getsizeof=_nbytes),
    key=lambda loaded, text, pair, target: hashkey(loaded.name, text, pair, target),
    condition=threading.Condition(),
)
def trace(loaded: LoadedModel, text: str, pair: str | None, target: str | None) -> attnviz.Trace:
    """The trace of a text. Raises AttnvizError for one that the model cannot take."""
    return attnviz.trace(
        loaded.model,
        loaded.tokenizer,
        text,
        pair=pair,
        target=target,
        max_tokens=settings.max_tokens(),
    )
