"""Times of things done in turns, so that what else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def in_turns(calls: Mapping[str, Callable[[], Any]], n_rounds: int) -> dict[str, float]:
    """The median seconds of each call; a round calls each once, the first is not timed."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(1 + n_rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds = time.perf_counter() - start
            if number > 0:
                times[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in times.items()}
