"""The HTTP client that huggingface_hub has: requests in 0.x, httpx in 1.x, httpx2 in 2.x.

None of them is imported before huggingface_hub has, and none is needed that it does not bring.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Literal

from huggingface_hub.errors import HfHubHTTPError

Failure = Literal["silent", "broken", "unreachable"]
Before = Callable[[Any], float | None]
After = Callable[[Any], None]

# The library whose error huggingface_hub's own is made of.
library = import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
IS_REQUESTS = library.__name__ == "requests"

_TIMEOUTS = ("connect", "read", "write", "pool")  # what httpx waits for
_hooking = threading.Lock()


def failure(error: BaseException) -> Failure | None:
    """What went wrong on the way; None for what is no failure of the client.

    "silent": nothing more came. "broken": the connection ended too early. "unreachable": there
    was none.
    """
    if IS_REQUESTS:
        return _failure_of_requests(error)
    if isinstance(error, library.ReadTimeout | library.WriteTimeout | library.PoolTimeout):
        return "silent"
    if isinstance(error, library.ReadError | library.WriteError | library.ProtocolError):
        return "broken"
    return "unreachable" if isinstance(error, library.TransportError) else None


def _failure_of_requests(error: BaseException) -> Failure | None:
    """In the midst of an answer everything is a ConnectionError of what urllib3 says."""
    if isinstance(error, library.ReadTimeout):
        return "silent"
    if isinstance(error, library.exceptions.ChunkedEncodingError):
        return "broken"
    if isinstance(error, library.ConnectionError):
        reason = type(error.args[0]).__name__ if error.args else ""
        known: dict[str, Failure] = {"ReadTimeoutError": "silent", "ProtocolError": "broken"}
        return known.get(reason, "unreachable")
    return None


def answer(error: BaseException) -> Any:
    """The answer that was an error; None for what is none, or came without one."""
    is_http = isinstance(error, HfHubHTTPError | library.HTTPError)
    return getattr(error, "response", None) if is_http else None


@contextmanager
def hooked(client: Any, before: Before, after: After) -> Iterator[None]:
    """The client calls these around each request; afterwards it is as it was.

    `before` is given the request and says how many seconds it may wait, or None; `after` is given
    the answer.
    """
    around = _hooked_requests if IS_REQUESTS else _hooked_httpx
    with around(client, before, after):
        yield


@contextmanager
def _hooked_requests(client: Any, before: Before, after: After) -> Iterator[None]:
    """huggingface_hub has a client for each thread."""
    send, replaced = client.send, vars(client).get("send")

    def watched(request: Any, **given: Any) -> Any:
        if (seconds := before(request)) is not None:
            given["timeout"] = seconds
        received = send(request, **given)
        after(received)
        return received

    client.send = watched
    try:
        yield
    finally:
        del client.send
        if replaced is not None:
            client.send = replaced


@contextmanager
def _hooked_httpx(client: Any, before: Before, after: After) -> Iterator[None]:
    """huggingface_hub has one client, which several calls may hook at once."""

    def asked(request: Any) -> None:
        if (seconds := before(request)) is not None:
            timeout = dict.fromkeys(_TIMEOUTS, seconds)
            request.extensions = {**request.extensions, "timeout": timeout}

    answered = partial(after)  # one that no other call has
    with _hooking:
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], asked],
            "response": [answered, *hooks["response"]],
        }
    try:
        yield
    finally:
        with _hooking:
            client.event_hooks = {
                moment: [hook for hook in hooks if hook not in (asked, answered)]
                for moment, hooks in client.event_hooks.items()
            }
