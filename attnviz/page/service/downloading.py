"""Downloads in the background, one a model, shared by all visitors of this process.

A download first asks the Hub what there is, then waits until a visitor says that it may begin.
It goes on when the visitor who began it leaves; whoever asks for the same model meets it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from attnviz.models import hub, weights
from attnviz.page.service import loading, settings
from attnviz.page.service.background import attempt
from attnviz.text.errors import AttnvizError, ModelLoadError

_RATE_OVER, _RATE_AFTER = 10.0, 2.0  # seconds
_FORGOTTEN_AFTER = 300.0  # seconds: then the Hub is asked anew
_AT_ONCE = 4  # however many models visitors ask for
_at_work = threading.Semaphore(_AT_ONCE)


class Download:
    """What is known of one model's download; read by any thread, written by one at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.remote: hub.Remote | None = None  # None: the Hub has not answered yet
        self.error: AttnvizError | None = None
        self.is_done = False
        self.n_bytes = 0  # so far
        self.n_bytes_in_all = 0
        self.is_begun = False
        self._at_rest = threading.Event()
        self._changed = time.monotonic()
        self._progress: deque[tuple[float, int]] = deque()  # seconds, bytes so far

    @property
    def is_under_way(self) -> bool:
        """Whether a thread is at work on it."""
        return not self._at_rest.is_set()

    def wait(self, seconds: float) -> None:
        """Until no thread is at work on it, but no longer than this."""
        self._at_rest.wait(seconds)

    @property
    def is_old(self) -> bool:
        return not self.is_under_way and time.monotonic() - self._changed > _FORGOTTEN_AFTER

    def seconds_left(self) -> float | None:
        """At the rate of the last seconds; None while that is not known."""
        moments = list(self._progress)
        if not moments:
            return None
        (began, before), (_, now) = moments[0], moments[-1]
        took = time.monotonic() - began
        if took < _RATE_AFTER or now <= before:
            return None
        return (self.n_bytes_in_all - now) * took / (now - before)

    def seconds_without_news(self) -> float:
        """Since the last byte came."""
        return time.monotonic() - self._changed

    def ask(self) -> None:
        self._in_background(self._ask)

    def begin(self) -> None:
        self.is_begun = True
        self._in_background(self._download)

    def _ask(self) -> None:
        remote = hub.look(self.name)
        dtype = "float32" if len(loading.devices()) == 1 else "bfloat16"  # the least it can take
        n_bytes = remote.n_bytes_of_weights
        if remote.n_parameters is not None:
            n_bytes = weights.n_bytes_of_parameters(remote.n_parameters, dtype)
        weights.check_fits(self.name, n_bytes, dtype, settings.max_model_bytes(), None)
        self.remote = remote

    def _download(self) -> None:
        self._note_progress(0, self.remote.n_bytes if self.remote else 0)
        hub.download(self.name, on_progress=self._note_progress)
        self.is_done = True

    def _in_background(self, step: Callable[[], object]) -> None:
        self._at_rest.clear()
        threading.Thread(target=self._try, args=(step,), daemon=True).start()

    def _try(self, step: Callable[[], object]) -> None:
        error = attempt(
            step,
            _at_work,
            lambda kind: ModelLoadError(
                f"{self.name} could not be downloaded ({kind})."
                "\n\nHint: try again, or choose another model."
            ),
        )
        self.error = error or self.error
        self._changed = time.monotonic()
        self._at_rest.set()

    def _note_progress(self, n_bytes: int, n_bytes_in_all: int) -> None:
        now = time.monotonic()
        self.n_bytes, self.n_bytes_in_all, self._changed = n_bytes, n_bytes_in_all, now
        self._progress.append((now, n_bytes))
        while len(self._progress) > 2 and now - self._progress[0][0] > _RATE_OVER:
            self._progress.popleft()


_downloads: dict[str, Download] = {}
_lock = threading.Lock()


def of(name: str) -> Download:
    """This model's download; where there is none, the Hub is asked about it, in the background.

    Raises ModelLoadError for what is no name of a model.
    """
    hub.check(name)
    with _lock:
        for old in [name for name, download in _downloads.items() if download.is_old]:
            del _downloads[old]
        download = _downloads.get(name)
        if download is None or download.is_done:
            download = _downloads[name] = Download(name)
            download.ask()
        return download


def known(name: str) -> Download | None:
    """This model's download, if there is one."""
    return _downloads.get(name)


def begin(name: str) -> None:
    """Begin this model's download, unless somebody has."""
    with _lock:
        download = _downloads.get(name)
        if download is not None and download.remote is not None and not download.is_begun:
            download.begin()


def forget(name: str) -> None:
    """Ask the Hub anew; for trying again after an error."""
    with _lock:
        if name in _downloads and not _downloads[name].is_under_way:
            del _downloads[name]
