"""Visitors who come, change models and texts, and leave: does the page's memory grow?

    python -m tests.soak
    python -m tests.soak --seconds 90 --visitors 6

The page offers tiny random models of several families, and its caches are so small that models
and traces are dropped all the time. Each visitor makes a few changes and leaves, and another
comes. Streamlit keeps those who left for two minutes, and forgets them when the next one leaves;
here it is three seconds, so that many such times pass. The first half fills the caches; grown is
what the last quarter of the time needs more than the quarter before it.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from transformers import AutoTokenizer
from websockets.exceptions import WebSocketException

from attnviz.models import bundled
from tests.load import WATCHED, WORDS
from tests.support import tiny_models
from tests.support.serving import Server, serving
from tests.support.visitors import PageFailed, visiting
from tests.support.watched_page import Diary

FAMILIES = ("bert", "gpt2", "llama", "t5", "bart", "modernbert")
SMALL = {"ATTNVIZ_MODEL_CACHE_MB": "20", "ATTNVIZ_TRACE_CACHE_MB": "2", "ATTNVIZ_KEEP_SECONDS": "3"}
N_CHANGES = 6  # by one visitor
TOLERATED = 0.03  # of the memory, between two quarters of the time


def save_families(folder: Path) -> str:
    """A tiny model of each family, listed as ATTNVIZ_MODELS lists them."""
    tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
    for family in FAMILIES:
        tiny_models.build(family, vocab_size=len(tokenizer)).save_pretrained(folder / family)
        tokenizer.save_pretrained(folder / family)
    return ",".join(str(folder / family) for family in FAMILIES)


async def come_and_go(address: str, end: float, seed: int, errors: list[str]) -> int:
    """One visitor after the other until the time is over: how many they were."""
    drawn = random.Random(seed)
    n_visitors = 0
    while time.monotonic() < end:
        n_visitors += 1
        try:
            async with visiting(address) as (visitor, shown):
                errors.extend(shown.errors)
                for _ in range(N_CHANGES):
                    if time.monotonic() > end:
                        break
                    text = " ".join(drawn.choices(WORDS, k=drawn.randint(2, 30)))
                    choice = {"model": drawn.choice(FAMILIES)} if drawn.random() < 0.3 else {}
                    errors.extend((await visitor.choose(**(choice or {"text": text}))).errors)
        except (PageFailed, WebSocketException, OSError) as error:
            errors.append(f"{type(error).__name__}: {error}")
    return n_visitors


async def soak(server: Server, seconds: float, n_visitors: int) -> tuple[int, list[str]]:
    """How many visitors came, and every error they saw."""
    errors: list[str] = []
    end = time.monotonic() + seconds
    came = await asyncio.gather(
        *(come_and_go(server.address, end, seed, errors) for seed in range(n_visitors))
    )
    return sum(came), errors


def quarters(states: list[dict]) -> list[list[dict]]:
    n = len(states) // 4
    return [states[place * n : (place + 1) * n] for place in range(4)]


def grown(states: list[dict]) -> float:
    """How much more memory the last quarter needs than the third, as a share."""
    *_, third, last = ([state["now"] for state in quarter] for quarter in quarters(states))
    return median(last) / median(third) - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--visitors", type=int, default=6, help="at any time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        diary = Diary(folder / "diary")
        listed = save_families(folder)
        settings = {"ATTNVIZ_DIARY": str(diary.path), "ATTNVIZ_MODELS": listed, **SMALL}
        with serving(folder, program=WATCHED, **settings) as server:
            began = time.time()
            n_came, errors = asyncio.run(soak(server, options.seconds, options.visitors))
            ended = time.time()
            time.sleep(4)
            asyncio.run(come_and_go(server.address, time.monotonic() + 1, 0, errors))
            time.sleep(2)
            after = diary.read("state")[-1]
        states = [state for state in diary.read("state") if began < state["time"] < ended]
        n_loads, n_passes = len(diary.read("load")), len(diary.read("pass"))
    print(f"{n_came} visitors, {n_loads} loads, {n_passes} forward passes, {len(errors)} errors")
    print("   s      MB  sessions  models  traces")
    for state in states[:: max(1, len(states) // 16)]:
        print(
            f"{state['time'] - began:4.0f} {state['now']:7.0f} {state['sessions']:9} "
            f"{state['models']:7} {state['traces']:7}"
        )
    print(f"all gone but the last: {after['now']:.0f} MB, {after['sessions']} sessions")
    growth = grown(states)
    print(f"from the third to the last quarter of the time: {growth:+.1%}")
    for error in sorted(set(errors))[:10]:
        print("WRONG:", error)
    return 0 if not errors and growth < TOLERATED else 1


if __name__ == "__main__":
    sys.exit(main())
