"""Models and traces, shared by all visitors of this process and bounded in bytes.

A trace is cached for its model, texts and target; behind it the model. A change of layer, head
or view never reaches torch. Of two visitors who ask for the same, one computes and one waits;
of two who ask for different ones, the second waits until the first is done, so that what is
needed while computing is bounded too.
"""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd
from cachetools import LRUCache, cached
from cachetools.keys import hashkey

from attnviz.attention import own_arrays
from attnviz.attention.free_memory import free_memory
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.export.screen import NOTHING_MORE, More, Screen
from attnviz.models import local
from attnviz.models.local import Place, is_path
from attnviz.page.service import process, settings
from attnviz.text.errors import ModelLoadError
from attnviz.text.tokenizing import takes_pair

_N_INDUCTIONS = 16  # models whose scores are kept
_LOADS_AT_ONCE = 1
_PASSES_AT_ONCE = 1


def is_here(name: str) -> bool:
    """Whether a model loads without network."""
    try:
        return _find(name) is not None
    except ModelLoadError:
        return False


def must_be_downloaded(name: str) -> bool:
    """Whether a model is to be had from the Hub alone. Raises ModelLoadError."""
    return _find(name) is None


def _find(name: str) -> Place | None:
    """Where a model is, None where it has to be downloaded; if this page offers it at all."""
    place = local.find(name, allow_folder=settings.may_be_folder(name))
    is_folder = place is not None and place.is_folder
    if not is_folder and not settings.may_be_of_hub(name):
        raise settings.not_offered(name)
    return place


def devices() -> tuple[str, ...]:
    """Where models can compute; the first is the CPU."""
    process.import_torch()
    from attnviz.models import loader

    return loader.devices()


class LoadedModel:
    """A model, its tokenizer, and what the page asks about them."""

    def __init__(self, name: str, device: str, dtype: str) -> None:
        process.import_torch()
        from attnviz.capture.inputs import takes_target
        from attnviz.models import loader

        self.key = (name, device, dtype)
        self.model, self.tokenizer = loader.load(
            name,
            device=device,
            dtype=dtype,
            allow_folder=settings.may_be_folder(name),
            max_bytes=settings.max_model_bytes(),
        )
        self.takes_target: bool = takes_target(self.model)
        self.takes_pair: bool = not self.takes_target and takes_pair(self.tokenizer)

    @property
    def nbytes(self) -> int:
        return self.model.get_memory_footprint()


# Sizes in the caches are shares of what is allowed, in billionths: settings are read when
# something is kept, and what alone is too large for a cache takes all of it.
_ALL = 10**9


def _share(n_bytes: int, allowed_bytes: int, at_most: int = _ALL) -> int:
    """The place of something in a cache of so many bytes, which holds `at_most` things."""
    return min(_ALL, max(_ALL * n_bytes // allowed_bytes, _ALL // at_most))


def _share_of_model(n_bytes: int) -> int:
    return _share(n_bytes, settings.model_cache_bytes(), settings.max_models())


class _Models(LRUCache):
    """Loaded models; with one that has to go, its traces go, for they hold parts of it."""

    def popitem(self) -> tuple[Any, LoadedModel]:
        key, gone = super().popitem()
        with _traces_lock:
            for kept in [kept for kept in _traces if kept[0] == gone.key]:
                del _traces[kept]
        return key, gone


def _make_room(cached: LRUCache, share: int) -> None:
    while cached and cached.currsize + share > cached.maxsize:
        cached.popitem()


_models = _Models(_ALL, getsizeof=lambda loaded: _share_of_model(loaded.nbytes))
_models_lock = threading.Condition()
_loads = threading.Semaphore(_LOADS_AT_ONCE)

_traces: LRUCache = LRUCache(
    _ALL, getsizeof=lambda t: _share(t.nbytes, settings.trace_cache_bytes())
)
_traces_lock = threading.Condition()
passes = threading.Semaphore(_PASSES_AT_ONCE)  # held while a model computes


@cached(_models, condition=_models_lock)
def model(name: str, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """The model of this name. Raises ModelLoadError."""
    with _loads:
        place = _find(name)
        if place is None:
            raise ModelLoadError(
                f"{name} is no longer on this machine.\n\nHint: choose it again to download it."
            )
        n_bytes = place.n_bytes(dtype)
        if n_bytes is not None and n_bytes <= settings.max_model_bytes():
            with _models_lock:
                _make_room(_models, _share_of_model(n_bytes))
                while _models and free_memory() < n_bytes:
                    _models.popitem()
        # transformers sets torch's default precision, for the whole process, while it loads.
        with nullcontext() if dtype == "float32" else passes:
            return LoadedModel(name, device, dtype)


@cached(
    _traces,
    key=lambda loaded, text, pair, target: hashkey(loaded.key, text, pair, target),
    condition=_traces_lock,
)
def trace(loaded: LoadedModel, text: str, pair: str | None, target: str | None) -> Trace:
    """The trace of a text. Raises AttnvizError for one that the model cannot take."""
    from attnviz.capture import forward_pass

    with passes:
        with _traces_lock:
            _make_room(_traces, _ALL // 2)  # it takes memory before it is kept
        made = forward_pass.observed(
            loaded.model,
            loaded.tokenizer,
            text,
            pair=pair,
            target=target,
            max_tokens=settings.max_tokens(),
            answers=lambda inputs: [-1],  # others would only take memory
        ).trace
    _asked_for[made] = (loaded.key, text, pair, target)
    return made


@cached(
    _traces,
    key=lambda name, content: hashkey("own arrays", name, content),
    condition=_traces_lock,
)
def arrays(name: str, content: bytes) -> Trace:
    """The trace of the arrays in a file. Raises AttnvizError for one that cannot be read."""
    made = own_arrays.read(BytesIO(content), name, _MOST_OF_ARRAYS, settings.max_tokens())
    _files[made] = name, content
    return made


_MOST_OF_ARRAYS = 64 * settings.MEGABYTE  # once they are unpacked

_asked_for: WeakKeyDictionary[Trace, tuple] = WeakKeyDictionary()
_files: WeakKeyDictionary[Trace, tuple[str, bytes]] = WeakKeyDictionary()


def again(of: Trace) -> Callable[[], Trace]:
    """A way to the same trace at a later time, which does not keep it in memory meanwhile."""
    if of in _files:
        file = _files[of]
        return lambda: arrays(*file)
    key, *texts = _asked_for[of]
    return lambda: trace(model(*key), *texts)


def more(screen: Screen, of: Trace) -> More:
    """What a screen shows beside a trace: of more texts, or of what it compares with.

    Raises AttnvizError for a text that the model cannot take.
    """
    if of in _files:
        return NOTHING_MORE
    if screen.view == "find" and screen.find.by == "pair":
        return More([beside(of, text=text) for text in screen.find.texts])
    if screen.view == "find":
        return More(induction=_induction(*_asked_for[of][0]))
    if screen.view == "compare" and screen.beside.is_of_another_trace:
        return More([beside(of, screen.beside.model, screen.beside.text)])
    return NOTHING_MORE


def beside(of: Trace, name: str | None = None, text: str | None = None) -> Trace:
    """The trace of another text, by another model, or both; what is None is as in this trace.

    A second text or a target stays with its text, where the other model takes one.
    """
    (own_name, device, dtype), own_text, pair, target = _asked_for[of]
    loaded = model(name or own_name, device, dtype)
    is_same_text = text is None or text == own_text
    return trace(
        loaded,
        text if text is not None else own_text,
        pair if is_same_text and loaded.takes_pair else None,
        target if is_same_text and loaded.takes_target else None,
    )


@cached(LRUCache(_N_INDUCTIONS), condition=threading.Condition())
def _induction(name: str, device: str, dtype: str) -> pd.DataFrame:
    from attnviz.heads.induction_score import induction

    loaded = model(name, device, dtype)
    with passes:
        return induction(loaded.model, loaded.tokenizer)


def name_of(trace: Trace) -> str:
    """The name that its model was chosen by."""
    return _asked_for[trace][0][0]


def text_of(trace: Trace) -> str:
    return _asked_for[trace][1]


def beside_text_of(trace: Trace) -> dict[str, str]:
    """The second text and the target that it was asked for with, by what the page calls them."""
    named = zip(("second text", "target text"), _asked_for[trace][2:], strict=True)
    return {what: text for what, text in named if text}


def model_of(trace: Trace) -> Any:
    """The model that computed a trace; None for somebody's own arrays."""
    loaded = loaded_of(trace)
    return None if loaded is None else loaded.model


def loaded_of(trace: Trace) -> LoadedModel | None:
    """The same with its tokenizer."""
    if trace in _files:
        return None
    key, *_ = _asked_for[trace]
    return model(*key)


def asked_for(trace: Trace) -> tuple:
    """What tells this trace from others: the model's key, the text, the pair and the target."""
    return _asked_for[trace]


def screen(trace: Trace, head: HeadTrace) -> Screen:
    """What it takes to compute a trace again, and a head of it."""
    if trace in _files:
        return Screen(model=trace.model_name, text="", layer=head.layer, head=head.head)
    (name, device, dtype), text, pair, target = _asked_for[trace]
    is_known = settings.takes_any_folder() or not is_path(name)
    return Screen(
        model=name if is_known else trace.model_name,  # where a folder is, is not told to visitors
        text=text,
        layer=head.layer,
        head=head.head,
        pair=pair,
        target=target,
        revision=trace.revision,
        device=device,
        dtype=dtype,
        kind=None if head.kind == trace.kinds[0] else head.kind,
    )
