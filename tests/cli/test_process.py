"""The shell as a process of its own: what it loads, how it ends, and that it ends quietly."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from attnviz.cli import main as shell
from tests.support.places import ROOT

pytestmark = pytest.mark.process

SENTENCE = "time flies like an arrow"
HEAVY = ("torch", "transformers", "altair", "numpy", "pandas", "vl_convert", "huggingface_hub")


def command(*arguments, **options):
    given = [sys.executable, "-m", "attnviz", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)  # bars have to be silent without it
    return subprocess.run(given, capture_output=True, env=environment, timeout=120, **options)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["--version"], 0), (["a", "--layer", "x"], 2), (["a", "-o", "a.gif"], 1)],
)
def test_help_and_mistakes_wait_for_no_library(arguments, status):
    code = (
        f"import sys, attnviz.cli.main as shell\ntry: sys.exit(shell.main({arguments}))\n"
        f"finally: print('loaded:', *[m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stdout.endswith("loaded:\n")


def test_the_command_of_the_readme_writes_its_figure_in_silence(tmp_path):
    of_view = ("--layer", 0, "--head", 8, "--view", "neurons", "-o", "figure.svg")
    done = command(SENTENCE, *of_view, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "figure.svg").read_text().startswith("<svg")
    assert os.listdir(tmp_path) == ["figure.svg"]


def test_a_process_ends_with_the_status_of_what_went_wrong(tmp_path):
    done = command(b"\xff\xfe".decode("utf-8", "surrogateescape"), cwd=tmp_path)
    assert done.returncode == 1
    assert b"is not valid Unicode" in done.stderr
    assert b"Traceback" not in done.stderr
    missing = command(SENTENCE, "--model", "nobody/nothing", cwd=tmp_path)
    assert missing.returncode == 1
    assert b"\n\nHint: " in missing.stderr
    assert b"Traceback" not in missing.stderr


def test_a_closed_pipe_is_quiet():
    reads, writes = os.pipe()
    os.close(reads)
    given = [sys.executable, "-m", "attnviz", SENTENCE]
    done = subprocess.run(given, stdout=writes, stderr=subprocess.PIPE, cwd=ROOT, timeout=120)
    os.close(writes)
    assert (done.returncode, done.stderr) == (shell.PIPE_CLOSED, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_a_sentence():
    with open("/dev/full", "w") as full:
        given = [sys.executable, "-m", "attnviz", SENTENCE]
        done = subprocess.run(given, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(b"The summary cannot be printed (No space left on device).\n")
    assert b"Exception" not in done.stderr


def test_an_interrupted_process_says_nothing():
    given = [sys.executable, "-m", "attnviz", "-"]
    waiting = subprocess.Popen(
        given,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        # what a shell runs in the background ignores it, and so does all that this starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.write(waiting.stdin.fileno(), b"a")
    while n_unread(waiting.stdin):  # until it reads, and waits for more
        with suppress(subprocess.TimeoutExpired):
            waiting.wait(0.05)
    waiting.send_signal(signal.SIGINT)
    printed, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, printed, said) == (shell.INTERRUPTED, b"", b"")


def n_unread(pipe):
    """How many bytes are in a pipe."""
    [n] = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return n
