"""The caches that visitors share: bounded in bytes and number, computed once, never in the way."""

import gc
import threading
import weakref

import pytest

from attnviz.capture import forward_pass
from attnviz.models import loader
from attnviz.page.service import loading
from attnviz.text.errors import ModelLoadError
from tests.support.tiny_models import save_tiny


@pytest.fixture(autouse=True)
def empty():
    loading.model.cache_clear()
    yield
    loading.model.cache_clear()
    loading.trace.cache_clear()


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three tiny models of one size, offered by the page."""
    names = [str(save_tiny(tmp_path / name)) for name in ("one", "two", "three")]
    monkeypatch.setenv("ATTNVIZ_MODELS", ",".join(names))
    return names


def loaded_models():
    return [key[0] for key in loading._models]


def test_a_model_is_loaded_once(three):
    assert loading.model(three[0]) is loading.model(three[0])
    assert loading.model(three[0]).nbytes > 4_000_000


def test_as_many_models_stay_as_are_allowed_and_the_one_not_used_longest_goes(three, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MAX_MODELS", "2")
    loading.model(three[0])
    loading.model(three[1])
    loading.model(three[0])
    loading.model(three[2])
    assert sorted(loaded_models()) == sorted([three[0], three[2]])


@pytest.mark.parametrize("n_models", [1, 3, 6, 7])
def test_the_number_of_models_is_counted_exactly(monkeypatch, n_models):
    monkeypatch.setenv("ATTNVIZ_MAX_MODELS", str(n_models))
    assert n_models * loading._share_of_model(1) <= loading._models.maxsize
    assert (n_models + 1) * loading._share_of_model(1) > loading._models.maxsize


def test_room_is_made_before_a_model_is_loaded(three, monkeypatch):
    """4 MB each, 9 MB for all: the third must not be there together with two others."""
    monkeypatch.setenv("ATTNVIZ_MODEL_CACHE_MB", "9")
    loading.model(three[0])
    loading.model(three[1])
    beside = []
    load = loader.load
    monkeypatch.setattr(
        loader,
        "load",
        lambda *a, **k: (beside.extend(loaded_models()), load(*a, **k))[1],
    )
    loading.model(three[2])
    assert beside == [three[1]]
    assert loaded_models() == [three[1], three[2]]


def test_a_model_that_is_too_large_is_refused_and_displaces_nobody(three, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MODEL_CACHE_MB", "9")
    loading.model(three[0])
    monkeypatch.setenv("ATTNVIZ_MAX_MODEL_MB", "3")
    with pytest.raises(ModelLoadError, match="takes 4 MB .* a model may take 3 MB here"):
        loading.model(three[1])
    assert loaded_models() == [three[0]]


def test_what_goes_is_freed_with_its_traces(three, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MAX_MODELS", "1")
    loaded = loading.model(three[0])
    trace = loading.trace(loaded, "hello", None, None)
    assert trace.head(0, 0).output is not None  # which reads the model's W_O
    weights = weakref.ref(next(loaded.model.parameters()))
    del loaded, trace
    loading.model(three[1])
    gc.collect()
    assert weights() is None
    assert not loading._traces


def test_traces_are_bounded_in_bytes_and_the_newest_always_stays(three, monkeypatch):
    loaded = loading.model(three[0])
    traces = [loading.trace(loaded, text, None, None) for text in ("one", "two", "three")]
    assert len(loading._traces) == 3
    monkeypatch.setattr(loading.settings, "trace_cache_bytes", lambda: 2 * traces[0].nbytes)
    loading.trace.cache_clear()
    for text in ("one", "two", "three"):
        loading.trace(loaded, text, None, None)
    assert [key[1] for key in loading._traces] == ["two", "three"]
    monkeypatch.setattr(loading.settings, "trace_cache_bytes", lambda: 1)
    newest = loading.trace(loaded, "four", None, None)
    assert [key[1] for key in loading._traces] == ["four"]
    assert loading.trace(loaded, "four", None, None) is newest


# Many at once


def at_once(n, call):
    threads = [threading.Thread(target=call, args=(place,)) for place in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Slow(threading.Semaphore):
    """Forward passes that take as long as a test wants, counted, and those who wait for one."""

    def __init__(self):
        super().__init__(loading._PASSES_AT_ONCE)
        self.passes = []
        self.most_at_once = self.now = self.n_asked_for = 0
        self.changed = threading.Condition()
        self.may_go_on = threading.Event()
        self.observed = forward_pass.observed

    def __enter__(self):
        with self.changed:
            self.n_asked_for += 1
            self.changed.notify_all()
        return super().__enter__()

    def wait_until_asked_for(self, n_passes):
        with self.changed:
            assert self.changed.wait_for(lambda: self.n_asked_for == n_passes, timeout=20)

    def slowly(self, model, tokenizer, text, **options):
        with self.changed:
            self.passes.append(text)
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        assert self.may_go_on.wait(20)
        try:
            return self.observed(model, tokenizer, text, **options)
        finally:
            with self.changed:
                self.now -= 1


@pytest.fixture
def slow(monkeypatch):
    slow = Slow()
    monkeypatch.setattr(loading, "passes", slow)
    monkeypatch.setattr(forward_pass, "observed", slow.slowly)
    return slow


def test_what_many_ask_for_is_computed_once(three, slow):
    loaded = loading.model(three[0])
    slow.may_go_on.set()
    traces = []
    at_once(20, lambda place: traces.append(loading.trace(loaded, "the same", None, None)))
    assert slow.passes == ["the same"]
    assert len(traces) == 20
    assert len(set(map(id, traces))) == 1


def test_few_forward_passes_run_at_once_and_each_visitor_has_their_own_answer(three, slow):
    loaded = loading.model(three[0])
    answers = {}

    def ask(place):
        answers[place] = loading.trace(loaded, "word " * (place + 1), None, None)

    asking = threading.Thread(target=at_once, args=(8, ask))
    asking.start()
    slow.wait_until_asked_for(8)
    slow.may_go_on.set()
    asking.join()
    assert slow.most_at_once == loading._PASSES_AT_ONCE
    assert {place: len(trace.tokens) for place, trace in answers.items()} == {
        place: place + 3 for place in range(8)
    }


def test_a_slow_pass_is_not_in_the_way_of_what_is_computed(three, slow):
    loaded = loading.model(three[0])
    slow.may_go_on.set()
    known = loading.trace(loaded, "known", None, None)
    slow.may_go_on.clear()
    waiting = [
        threading.Thread(target=loading.trace, args=(loaded, f"slow {place}", None, None))
        for place in range(5)
    ]
    for thread in waiting:
        thread.start()
    slow.wait_until_asked_for(1 + 5)
    assert loading.trace(loaded, "known", None, None) is known
    slow.may_go_on.set()
    for thread in waiting:
        thread.join()
