"""How long the Hub is waited for: every request ends, and what may pass by itself is repeated.

Left alone huggingface_hub waits without limit for an answer about a model, for as long as a busy
Hub asks (an hour, where it says so), and about six minutes for each file's size. While a call is
under way hooks on its client limit the requests that name attnviz as their sender; afterwards the
client is as it was.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from huggingface_hub import constants
from huggingface_hub.utils import get_session

from attnviz.models import compat, http_client

SENDER = "attnviz"

# Seconds.
LONGEST_WAIT = 10  # that the Hub may ask for; a longer one is told to the user
LONGEST_SILENCE = 45.0  # in which one request is repeated without any answer
PAUSES = (1, 2, 4)  # before a failure is tried again …
PERSISTENCE = 30  # … unless so much has gone by

T = TypeVar("T")


class AskedToWait(Exception):
    """The Hub asks for a longer wait than anyone would sit through."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Silent(Exception):
    """The Hub has not answered a request that was made again and again."""


def patiently(call: Callable[[], T]) -> T:
    """What a call of huggingface_hub returns, tried again where that may help.

    Raises AskedToWait, Silent, or what the call raised last, without the library's wrapping.
    """
    begun = time.monotonic()
    _asked.request = None
    for pause in (*PAUSES, None):
        try:
            with limits(get_session()):
                return call()
        except Exception as wrapped:
            error = _reason(wrapped)
            wait = _pause_for(error, pause)
            if wait is None or time.monotonic() - begun > PERSISTENCE:
                raise error from None
        time.sleep(wait)
    raise AssertionError("the last pause is None")


def _reason(error: Exception) -> Exception:
    """The failure itself, where huggingface_hub says only that nothing is in the cache either."""
    while isinstance(error, compat.not_here()) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _pause_for(error: Exception, pause: int | None) -> int | None:
    """How many seconds to wait before another try; None where there is none.

    Raises AskedToWait.
    """
    if pause is None:
        return None
    if (answer := http_client.answer(error)) is not None:
        if answer.status_code == 429:
            if (seconds := _requested_wait(answer)) > LONGEST_WAIT:
                raise AskedToWait(seconds) from None
            return seconds or pause
        return pause if answer.status_code >= 500 else None
    # The last of hf_xet, and of the client of all, which one call that cannot connect closes.
    is_broken = isinstance(error, RuntimeError) or http_client.failure(error) == "broken"
    return pause if is_broken else None


# Limits on each request

# Of each thread: .request, the one without an answer yet, and .since, when it was first made.
_asked = threading.local()


def limits(client: Any) -> AbstractContextManager[None]:
    """Limits what attnviz asks through a client, until the context is left."""
    return http_client.hooked(client, _before_request, _after_response)


def _is_ours(request: Any) -> bool:
    return str(request.headers.get("user-agent", "")).startswith(f"{SENDER}/")


def _before_request(request: Any) -> float | None:
    """How many seconds the request may wait for an answer, where it is one of attnviz's."""
    if not _is_ours(request):
        return None
    now, this = time.monotonic(), (request.method, request.url)
    if getattr(_asked, "request", None) != this:
        _asked.request, _asked.since = this, now
    elif now - _asked.since > LONGEST_SILENCE:
        _asked.request = None
        raise Silent
    return constants.HF_HUB_DOWNLOAD_TIMEOUT


def _after_response(response: Any) -> None:
    if not _is_ours(response.request):
        return
    _asked.request = None
    if response.status_code == 429 and (seconds := _requested_wait(response)) > LONGEST_WAIT:
        raise AskedToWait(seconds)


def _requested_wait(response: Any) -> int:
    """For how many seconds the Hub asks not to be asked; 0 where it does not say."""
    seconds = response.headers.get("retry-after", "").strip()
    return int(seconds) if seconds.isdecimal() else compat.seconds_to_reset(response.headers)
