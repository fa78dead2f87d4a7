"""Being told of calls: what stands in a callable's place while a recording runs, and no longer.

A place is a name in a namespace: the globals of a modeling file, or the attributes of one module.
Recordings that run at once stand in it one before the other, and each leaves when it ends. What
somebody else puts there meanwhile stays. Should they have kept a stand-in and put that back later,
it only calls what it stood for, and the next recording takes it away.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch.compiler import is_dynamo_compiling

from attnviz.capture.operations import Args, Kwargs

NOTHING = object()  # stands in a place, or is recorded

# The recording of the running thread. Another thread's calls, of the same model too, are not told.
_current: ContextVar[object] = ContextVar("attnviz_recording", default=NOTHING)
_moving = threading.Lock()


def current() -> object:
    """The recording of the running thread, or NOTHING."""
    return _current.get()


class Standin:
    """Stands in one place for one recording, which it tells of the calls of its own thread."""

    __slots__ = ("module", "name", "namespace", "plain", "recording")

    def __init__(
        self, recording: object, namespace: dict[str, Any], name: str, module: Any = None
    ) -> None:
        self.recording: Any = recording  # None once it is over
        self.namespace, self.name, self.module = namespace, name, module
        self.plain: Any = NOTHING  # what it stands for

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # What is compiled in another thread meanwhile has nothing of the recording in it.
        if not is_dynamo_compiling():
            running, one = _current.get(), self
            while isinstance(one, Standin):
                if one.recording is running:
                    return one.told(args, kwargs)
                one = one.plain
        return self.untold(args, kwargs)

    @property
    def original(self) -> Any:
        """What the place had in it before any recording."""
        one = self.plain
        while isinstance(one, Standin):
            one = one.plain
        return one

    def untold(self, args: Args, kwargs: Kwargs) -> Any:
        """What everybody else gets."""
        return self.original(*args, **kwargs)

    def told(self, args: Args, kwargs: Kwargs) -> Any:
        """The same for the thread that records, with the recording told."""
        raise NotImplementedError


@contextmanager
def standing(recording: object, standins: Sequence[Standin]) -> Iterator[None]:
    """All of them in their places while the block runs, for this thread's calls."""
    token = _current.set(recording)
    try:
        with _moving:
            for one in standins:
                one.plain = one.namespace.get(one.name, NOTHING)
                one.namespace[one.name] = one
        yield
    finally:
        with _moving:
            for one in standins:
                one.recording = None
                _leave(one)
        _current.reset(token)


def _live(standing: Any) -> Any:
    """What stands there, or what that stands for where its recording is over."""
    while isinstance(standing, Standin) and standing.recording is None:
        standing = standing.plain
    return standing


def _leave(over: Standin) -> None:
    first = over.namespace.get(over.name, NOTHING)
    one = _live(first)
    if one is NOTHING:
        over.namespace.pop(over.name, None)
    elif one is not first:
        over.namespace[over.name] = one
    while isinstance(one, Standin):  # of recordings that still run
        one.plain = _live(one.plain)
        one = one.plain
