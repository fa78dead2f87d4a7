"""What was read of a whole trace, kept for as long as somebody has the trace."""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from attnviz.attention.trace import Trace

ReadT = TypeVar("ReadT")

_N_KEPT = 16  # of each trace
_kept: WeakKeyDictionary[Trace, LRUCache] = WeakKeyDictionary()
_keeping = threading.Lock()  # visitors share a trace, and such a cache moves what is read


def read_once(trace: Trace, key: Hashable, read: Callable[[], ReadT]) -> ReadT:
    """What `read` gives, or gave before under this key."""
    with _keeping:
        known = _kept.setdefault(trace, LRUCache(_N_KEPT))
        value = known.get(key)
    if value is None:
        value = read()
        with _keeping:
            known[key] = value
    return value
