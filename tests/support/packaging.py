"""attnviz as a package: built as for an index, installed, and its page started from elsewhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import ROOT
from tests.support.serving import Server, answer, free_port

NO_SOURCES = (
    *(".git", ".venv", "build", "dist", "*.egg-info", "*cache*", "__pycache__", ".hypothesis"),
    "secrets.toml",
)


def built(folder: Path) -> tuple[Path, Path]:
    """A source distribution, and the wheel that is built of it; with nothing from the network."""
    clone = folder / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*NO_SOURCES))
    (clone / "attnviz" / "__pycache__").mkdir()
    (clone / "attnviz" / "__pycache__" / "left.pyc").touch()
    (clone / ".streamlit" / "secrets.toml").write_text("HF_TOKEN = 'a secret'")
    source = folder / _build("sdist", clone, folder)
    shutil.unpack_archive(source, folder)
    unpacked = folder / source.name.removesuffix(".tar.gz")
    return source, folder / _build("wheel", unpacked, folder)


def _build(what: str, where: Path, folder: Path) -> str:
    """The name of the file, as the backend of pyproject.toml says it."""
    code = f"from setuptools.build_meta import *; print(build_{what}({str(folder)!r}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def installed(wheel: Path, folder: Path) -> Path:
    """A folder of its own with the wheel in it; what attnviz needs is where it is already."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True)
    return folder


@contextmanager
def serving_page(package: Path, elsewhere: Path, *options: str) -> Iterator[tuple[Server, object]]:
    """`attnviz page` of an installed package, in another folder: where it answers, its process."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    log = elsewhere / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "attnviz", "page", "--server.headless=true"),
                *(f"--server.port={port}", "--server.address=127.0.0.1", *options),
            ],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(package), "HF_HUB_OFFLINE": "1"},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            answer(f"{address}_stcore/health", process, log)
            yield Server(address, process.pid, log), process
        finally:
            process.kill()
            process.wait()
