"""Many visitors at once: are their answers right, and how long do they wait?

    python -m tests.load
    python -m tests.load --sessions 50 --changes 3 --pause 10

Starts the page on a server of its own and lets one visitor use it alone, then many at once.
A change is a new text, then another layer, then another head. Each answer is compared with what
attnviz computes here, beforehand. Of each visitor's texts every other one is asked for by many,
the rest by them alone. Before each request a visitor looks at the page for `--pause` seconds on
average; without a pause all of them wait for the page all the time.

At last one visitor asks for a text whose forward pass is made slow, while others change heads.
"""

import argparse
import asyncio
import dataclasses
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
from websockets.exceptions import WebSocketException

import attnviz
from attnviz.page.controls.sidebar import DEFAULT_TEXT
from tests.support.serving import Server, serving
from tests.support.visitors import PageFailed, Shown, visiting
from tests.support.watched_page import SLOW, Diary, memory_of

N_LAYERS, N_HEADS = 6, 12  # of the model that the page opens with
A_TEXT = (
    "time flies like an arrow and fruit a banana but the old man in boat saw light on hill dog "
    "ran to river before sun went down over small town where nobody reads letters from far away"
)
WORDS = A_TEXT.split()
WATCHED = ("tests.support.watched_page",)


@dataclass(frozen=True)
class Asked:
    """What a visitor has chosen."""

    text: str
    layer: int
    head: int


FIRST = Asked(DEFAULT_TEXT, 5, 11)  # as the page opens


@dataclass
class Answers:
    """What visitors were shown, and how long they waited for it."""

    given: dict[str, list[tuple[Asked, Shown]]] = field(
        default_factory=lambda: {"opening": [], "new text": [], "redraw": []}
    )
    failures: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[tuple[Asked, Shown]]:
        return [answer for answers in self.given.values() for answer in answers]

    @property
    def errors(self) -> list[str]:
        return self.failures + [error for _, shown in self.all for error in shown.errors]

    @property
    def n_requests(self) -> int:
        return len(self.all) + len(self.failures)

    def seconds(self, what: str) -> list[float]:
        return [shown.seconds for _, shown in self.given[what]]


# What they do


def plans(n_sessions: int, n_changes: int, seed: int) -> list[list[Asked]]:
    """For each visitor the changes that they make."""
    drawn = random.Random(seed)

    def sentence() -> str:
        return " ".join(drawn.choices(WORDS, k=drawn.randint(4, 12)))

    shared = [sentence() for _ in range(n_changes)]
    return [
        [
            Asked(
                sentence() if (visitor + number) % 2 else shared[number],
                drawn.randrange(N_LAYERS),
                drawn.randrange(N_HEADS),
            )
            for number in range(n_changes)
        ]
        for visitor in range(n_sessions)
    ]


async def visit(address: str, plan: list[Asked], answers: Answers, pause: float) -> None:
    """Open the page and make the changes of a plan, one control at a time."""
    looks = random.Random(str(plan))
    try:
        await asyncio.sleep(looks.uniform(0, 2 * pause))
        async with visiting(address) as (visitor, shown):
            now = FIRST
            answers.given["opening"].append((now, shown))
            for asked in plan:
                for control in ("text", "layer", "head"):
                    await asyncio.sleep(looks.uniform(0, 2 * pause))
                    value = getattr(asked, control)
                    now = dataclasses.replace(now, **{control: value})
                    shown = await visitor.choose(**{control: str(value)})
                    what = "new text" if control == "text" else "redraw"
                    answers.given[what].append((now, shown))
    except (PageFailed, WebSocketException, OSError) as error:
        answers.failures.append(f"{type(error).__name__}: {error}")


async def visit_all(address: str, plans: list[list[Asked]], pause: float = 0) -> Answers:
    """All plans at once."""
    answers = Answers()
    await asyncio.gather(*(visit(address, plan, answers, pause) for plan in plans))
    return answers


# Whether it was right


def traces_of(plans: list[list[Asked]]) -> dict[str, attnviz.Trace]:
    """The trace of every text, as attnviz gives it outside the page."""
    model, tokenizer = attnviz.load()
    texts = {FIRST.text, *(asked.text for plan in plans for asked in plan)}
    return {text: attnviz.trace(model, tokenizer, text) for text in texts}


def wrong_answers(answers: Answers, traces: dict[str, attnviz.Trace]) -> list[str]:
    """A line for each answer that is not what was asked for."""
    return [
        f"{asked}: {shown.headings}"
        for asked, shown in answers.all
        if not shown.errors and not is_right(asked, shown, traces[asked.text])
    ]


def is_right(asked: Asked, shown: Shown, trace: attnviz.Trace) -> bool:
    heading = f"Layer {asked.layer}, head {asked.head}"
    return heading in shown.headings and has_weights(shown, trace.head(asked.layer, asked.head))


def has_weights(shown: Shown, head: attnviz.HeadTrace) -> bool:
    """Whether the weights sent to the visitor are this head's."""
    sent = np.array(shown.constants.get("weights", []), dtype=np.float32)
    return sent.shape == head.weights.shape and np.allclose(sent, head.weights, atol=1e-5)


def passes(diary: Diary) -> Counter[str]:
    """How often each text's forward pass was made."""
    return Counter(entry["text"] for entry in diary.read("pass"))


# Whether one who waits makes others wait


@dataclass(frozen=True)
class Beside:
    """Head changes of some visitors: before, and while another waits for a slow forward pass."""

    before: list[float]
    meanwhile: list[float]
    slow: float

    @property
    def ratio(self) -> float:
        return self.median / median(self.before)

    @property
    def median(self) -> float:
        return median(self.meanwhile or [self.slow])  # they waited as long


async def beside_a_slow_pass(address: str, n_visitors: int = 3) -> Beside:
    """Some visitors change heads, of a text that is known, while one asks for a slow one."""
    async with visiting(address) as (waiting, _):

        async def change_heads(until: asyncio.Event | None) -> list[float]:
            seconds = []
            async with visiting(address) as (visitor, _):
                for head in range(1, 9):
                    shown = await visitor.choose(head=str(head))
                    if until is not None and until.is_set():
                        break
                    seconds.append(shown.seconds)
            return seconds

        async def ask_slowly(done: asyncio.Event) -> float:
            shown = await waiting.choose(text=f"{SLOW} but surely")
            done.set()
            return shown.seconds

        before = await asyncio.gather(*(change_heads(None) for _ in range(n_visitors)))
        done = asyncio.Event()
        slow, *meanwhile = await asyncio.gather(
            ask_slowly(done), *(change_heads(done) for _ in range(n_visitors))
        )
    return Beside([*chain(*before)], [*chain(*meanwhile)], slow)


# The report


def _row(name: str, many: list[float], one: list[float]) -> str:
    if not many or not one:
        return f"{name:<10} no answer"

    def percentiles(seconds: list[float]) -> str:
        p50, p95 = np.percentile(seconds, [50, 95])
        return f"{p50:7.2f} {p95:7.2f} {max(seconds):7.2f}"

    ratio = np.percentile(many, 95) / np.percentile(one, 95)
    return f"{name:<10} {percentiles(many)}   {percentiles(one)}   {ratio:6.1f}"


async def _measure(server: Server, diary: Diary, options: argparse.Namespace) -> bool:
    """Print what was measured; whether nothing was wrong."""
    alone = plans(1, max(6, options.changes), seed=1)
    together = plans(options.sessions, options.changes, seed=2)
    traces = traces_of(alone + together)
    one = await visit_all(server.address, alone)
    many = await visit_all(server.address, together, options.pause)
    beside = await beside_a_slow_pass(server.address)
    times = passes(diary)
    errors = one.errors + many.errors
    wrong = wrong_answers(one, traces) + wrong_answers(many, traces)
    again = {text: n for text, n in times.items() if n > 1}
    tracebacks = server.log.read_text().count("Traceback")
    memory = memory_of(server.pid)
    shared = many.n_requests - len(many.given["redraw"])
    print(f"sessions {options.sessions}, requests {many.n_requests}, pause {options.pause:g} s")
    print(f"errors {len(errors)}, wrong answers {len(wrong)}, tracebacks in the log {tracebacks}")
    print(f"forward passes {times.total()} for {len(times)} texts, asked for {shared} times")
    print(f"\n{'seconds':<10} {options.sessions:>5} visitors: p50, p95, max   one: p50, p95, max")
    for what in many.given:
        print(_row(what, many.seconds(what), one.seconds(what)))
    print(
        f"\nhead changes beside a forward pass of {beside.slow:.1f} s: {len(beside.meanwhile)}, "
        f"median {beside.median:.2f} s, {beside.ratio:.2f} × that without it"
    )
    print(f"memory of the page's process: {memory['peak']:.0f} MB at most")
    for line in [*errors, *wrong, *(f"{n} passes for {text!r}" for text, n in again.items())][:20]:
        print("WRONG:", line)
    return not (errors or wrong or again or tracebacks)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--changes", type=int, default=3, help="by each visitor")
    parser.add_argument("--pause", type=float, default=0, help="seconds, on average")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        diary = Diary(Path(folder) / "diary")
        with serving(Path(folder), program=WATCHED, ATTNVIZ_DIARY=str(diary.path)) as server:
            is_fine = asyncio.run(_measure(server, diary, options))
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
