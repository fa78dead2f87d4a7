"""The page's own server, with a diary of what it computes and what it holds.

    python -m tests.support.watched_page run streamlit_app.py …

The arguments are Streamlit's. ATTNVIZ_DIARY names the file that gets a line, as JSON, for each
load and each forward pass, and one each second about the process. A text that begins with SLOW
takes SLOW_SECONDS longer.

Streamlit keeps what a visitor did for two minutes after they left, so that they can come back;
ATTNVIZ_KEEP_SECONDS makes that shorter, for a test that has less time.
"""

import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

SLOW, SLOW_SECONDS = "slowly", 4.0


def memory() -> dict[str, float]:
    """This process's memory in MB: now, and the most it has been."""
    return memory_of(os.getpid())


def memory_of(pid: int) -> dict[str, float]:
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        name: int(lines[line].split()[0]) * 1024 / 1e6
        for name, line in {"now": "VmRSS", "peak": "VmHWM"}.items()
    }


class Diary:
    """A file of lines, each a dictionary. Written by threads, read by another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, what: str, **facts: object) -> None:
        line = json.dumps({"what": what, "time": time.time(), **facts, **memory()})
        with self._lock, self.path.open("a") as file:
            file.write(line + "\n")

    def read(self, what: str) -> list[dict]:
        entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [entry for entry in entries if entry["what"] == what]


def watch(diary: Diary) -> None:
    """Write down every load and forward pass of this process, and what is alive each second."""
    from streamlit.runtime.app_session import AppSession

    from attnviz.page.service import process

    process.prepare()  # before torch, as on the page itself
    from attnviz.capture import forward_pass
    from attnviz.models import loader

    observed, load = forward_pass.observed, loader.load
    alive: dict[str, WeakSet] = {"traces": WeakSet(), "models": WeakSet(), "sessions": WeakSet()}

    @contextmanager
    def noted(what: str, **facts: str):
        start, before = time.perf_counter(), memory()["now"]
        yield
        diary.write(what, **facts, seconds=time.perf_counter() - start, before=before)

    def watched_pass(model, tokenizer, text, **options):
        with noted("pass", model=model.config.name_or_path, text=text):
            if text.startswith(SLOW):
                time.sleep(SLOW_SECONDS)
            made = observed(model, tokenizer, text, **options)
        alive["traces"].add(made.trace)
        return made

    def watched_load(*args, **options):
        with noted("load", model=str(args[0]) if args else "bundled"):
            model, tokenizer = load(*args, **options)
        alive["models"].add(model)
        return model, tokenizer

    forward_pass.observed, loader.load = watched_pass, watched_load
    began = AppSession.__init__

    def watched_beginning(session, *args, **options):
        began(session, *args, **options)
        alive["sessions"].add(session)

    AppSession.__init__ = watched_beginning

    def note_state():
        while True:
            diary.write("state", **{name: len(those) for name, those in alive.items()})
            time.sleep(1)

    threading.Thread(target=note_state, daemon=True).start()


def keep_sessions(seconds: float) -> None:
    from streamlit.runtime.memory_session_storage import MemorySessionStorage

    began = MemorySessionStorage.__init__
    MemorySessionStorage.__init__ = lambda self, **given: began(
        self, **(given | {"ttl_seconds": seconds})
    )


if __name__ == "__main__":
    from streamlit.web import cli

    watch(Diary(Path(os.environ["ATTNVIZ_DIARY"])))
    if seconds := os.environ.get("ATTNVIZ_KEEP_SECONDS"):
        keep_sessions(float(seconds))
    sys.argv[0] = "streamlit"
    cli.main()
