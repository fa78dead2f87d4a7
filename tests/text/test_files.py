"""A file is there as a whole or as it was."""

import errno
from pathlib import Path

import numpy as np
import pytest

from attnviz.attention import npz
from attnviz.text import files
from attnviz.text.errors import InputError


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EROFS, "name a")],
)
def test_a_disk_that_is_full_leaves_what_was_there_and_nothing_else(
    tmp_path, monkeypatch, number, hint
):
    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:3])
        raise OSError(number, "No space left on device")

    path = tmp_path / "x.svg"
    files.write(path, b"old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=f"x.svg' cannot be written .No space.*\n\nHint: {hint}"):
        files.write(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["x.svg"]


def test_an_open_file_on_a_full_disk_is_named():
    with (
        open("/dev/full", "wb", buffering=0) as file,
        pytest.raises(
            InputError, match="'/dev/full' cannot be written .*\n\nHint: free some space"
        ),
    ):
        npz.write(file, {"a": np.zeros(9)})


def test_a_file_that_takes_little_at_once_gets_all():
    class Slow:
        content = b""

        def write(self, part):
            self.content += bytes(part[:7])
            return min(len(part), 7)

    slow = Slow()
    npz.write(slow, {"a": np.arange(9)})
    assert slow.content.endswith(b"\0\0")
    assert len(slow.content) > 100
