"""The page on a server of its own, on this machine alone."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import ROOT

PATIENCE = 120.0  # seconds until it answers


@dataclass(frozen=True)
class Server:
    address: str
    pid: int
    log: Path


@contextmanager
def serving(
    folder: Path,
    *,
    program: tuple[str, ...] = ("streamlit",),
    script: str = "streamlit_app.py",
    **settings: str,
):
    """The page, its log written to a folder; settings are environment variables.

    `program` is what `python -m` runs, `streamlit` or something that is given its arguments.
    """
    yield from _serve(folder, program, script, settings)


def _serve(
    folder: Path, program: tuple[str, ...], script: str, settings: dict[str, str]
) -> Iterator[Server]:
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    path = folder / "log"
    with path.open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", *program, "run", script),
                "--server.headless=true",
                f"--server.port={port}",
                "--server.address=127.0.0.1",
            ],
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"} | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            answer(f"{address}_stcore/health", process, path)
            yield Server(address, process.pid, path)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """One that nobody on this machine listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def answer(url: str, process: subprocess.Popen, log: Path) -> bytes:
    """What a page that is starting answers, once it does."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url) as answered:
                content: bytes = answered.read()
                return content
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the page did not start:\n{log.read_text()}")
