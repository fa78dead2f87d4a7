"""One download a model, in the background, whoever asks for it; and what a visitor reads of it."""

import threading

import pytest

from attnviz.models import hub
from attnviz.page.service import downloading, loading
from attnviz.page.views.download import progress_line
from attnviz.text.errors import ModelLoadError

NAME = "someone/model"
MB = 10**6


class FakeHub:
    """What `attnviz.models.hub` would do, step by step as a test says."""

    def __init__(self):
        self.looks = self.downloads = 0
        self.remote = hub.Remote(NAME, "c" * 40, 100 * MB, 25 * MB, 99 * MB)
        self.is_downloading, self.may_go_on = threading.Event(), threading.Event()
        self.fails = None

    def look(self, name):
        self.looks += 1
        if self.fails:
            raise self.fails
        return self.remote

    def download(self, name, on_progress):
        self.downloads += 1
        self.report = on_progress
        self.is_downloading.set()
        self.may_go_on.wait(20)
        if self.fails:
            raise self.fails


@pytest.fixture
def fake(monkeypatch):
    loading.devices()  # imports torch, which takes its time
    fake = FakeHub()
    monkeypatch.setattr(hub, "look", fake.look)
    monkeypatch.setattr(hub, "download", fake.download)
    downloading._downloads.clear()
    yield fake
    fake.may_go_on.set()
    downloading._downloads.clear()


def asked():
    download = downloading.of(NAME)
    download.wait(5)
    return download


def test_nothing_is_downloaded_before_a_visitor_says_so(fake):
    download = asked()
    assert download.remote == fake.remote
    assert not download.is_under_way
    assert asked() is download
    assert (fake.looks, fake.downloads) == (1, 0)


def test_whoever_asks_meets_the_same_download(fake):
    asked()
    for _ in range(5):
        downloading.begin(NAME)
    assert fake.is_downloading.wait(5)
    fake.report(40 * MB, 100 * MB)
    second = downloading.of(NAME)
    assert second.is_under_way
    assert (second.n_bytes, second.n_bytes_in_all) == (40 * MB, 100 * MB)
    fake.may_go_on.set()
    second.wait(5)
    assert second.is_done
    assert fake.downloads == 1


def test_an_error_is_kept_until_somebody_tries_again(fake):
    fake.fails = ModelLoadError("No.\n\nHint: later.")
    assert asked().error is fake.fails
    assert asked().error is fake.fails
    assert fake.looks == 1
    fake.fails = None
    downloading.forget(NAME)
    assert asked().error is None


def test_a_download_that_fails_can_be_tried_again(fake):
    asked()
    fake.fails = ModelLoadError("The connection broke.")
    fake.may_go_on.set()
    downloading.begin(NAME)
    assert asked().error is fake.fails
    fake.fails = None
    downloading.forget(NAME)
    download = asked()
    downloading.begin(NAME)
    download.wait(5)
    assert download.is_done


def test_what_nobody_expected_is_a_sentence_too(fake):
    fake.fails = RuntimeError("/secret/path hf_token")
    error = str(asked().error)
    assert error.startswith("someone/model could not be downloaded (RuntimeError).\n\nHint: ")
    assert "secret" not in error


def test_a_model_that_would_not_fit_is_refused_before_its_download(fake, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MAX_MODEL_MB", "99")  # 25 million parameters take 100 MB
    assert "takes 100 MB of memory in float32, and a model may take 99 MB here" in str(
        asked().error
    )
    downloading.begin(NAME)
    assert fake.downloads == 0
    monkeypatch.setenv("ATTNVIZ_MAX_MODEL_MB", "100")
    downloading.forget(NAME)
    assert asked().error is None


def test_a_wrong_setting_is_said_as_what_it_is(fake, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MAX_MODEL_MB", "lots")
    assert "ATTNVIZ_MAX_MODEL_MB must be a whole number" in str(asked().error)


def test_what_is_no_name_is_not_kept(fake):
    for name in ("x" * 5_000_000, "two words", "a/b/c"):
        with pytest.raises(ModelLoadError, match="is not the name of a model"):
            downloading.of(name)
    assert not downloading._downloads


def test_one_under_way_is_not_forgotten(fake):
    asked()
    downloading.begin(NAME)
    downloading.forget(NAME)
    assert downloading.of(NAME).is_begun


def test_old_answers_are_forgotten(fake, monkeypatch):
    asked()
    monkeypatch.setattr(downloading, "_FORGOTTEN_AFTER", -1)
    asked()
    assert fake.looks == 2
    assert len(downloading._downloads) == 1


def test_however_many_are_asked_for_few_are_asked_at_once(fake, monkeypatch):
    now, most = set(), []
    asked_for, may_go_on = threading.Condition(), threading.Event()

    def look(name):
        with asked_for:
            now.add(name)
            most.append(len(now))
            asked_for.notify()
        may_go_on.wait(20)
        with asked_for:
            now.discard(name)
        return fake.remote

    monkeypatch.setattr(hub, "look", look)
    asked = [downloading.of(f"someone/{number}") for number in range(12)]
    with asked_for:
        assert asked_for.wait_for(lambda: len(now) == downloading._AT_ONCE, timeout=5)
    may_go_on.set()
    for download in asked:
        download.wait(10)
    assert all(download.remote for download in asked)
    assert max(most) == downloading._AT_ONCE


# What is read of it


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(downloading.time, "monotonic", lambda: Clock.now)
    return Clock


def test_the_time_left_follows_the_rate_of_the_last_seconds(fake, clock):
    download = downloading.Download(NAME)
    download._note_progress(0, 100 * MB)
    assert progress_line(download) == "0 kB of 100 MB"
    for _ in range(5):
        clock.now += 1
        download._note_progress(download.n_bytes + 10 * MB, 100 * MB)
    assert download.seconds_left() == pytest.approx(5)
    assert progress_line(download) == "50 MB of 100 MB; 5 seconds left"
    for _ in range(20):  # slower now, and what was before is forgotten
        clock.now += 1
        download._note_progress(download.n_bytes + MB, 100 * MB)
    assert download.seconds_left() == pytest.approx(30, rel=0.1)


def test_a_file_that_begins_again_has_no_time_left_below_zero(fake, clock):
    download = downloading.Download(NAME)
    download._note_progress(50 * MB, 100 * MB)
    clock.now += 3
    download._note_progress(10 * MB, 100 * MB)
    assert download.seconds_left() is None


def test_a_silence_is_said(fake, clock):
    download = downloading.Download(NAME)
    download._note_progress(10 * MB, 100 * MB)
    clock.now += 12
    assert progress_line(download).endswith("; nothing has come for 10 seconds")


def test_when_all_has_come_it_is_checked(fake, clock):
    download = downloading.Download(NAME)
    download._note_progress(100 * MB, 100 * MB)
    assert progress_line(download).endswith("; checking what came")
