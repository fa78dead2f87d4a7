"""Notebooks, executed by a kernel of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT


def results(folder, *cells):
    """What each cell of a notebook shows for its last line: MIME type → data, or None."""
    notebook = folder / "notebook.ipynb"
    notebook.write_text(json.dumps(_unexecuted(cells)))
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-execute"), "--inplace", notebook],
        env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [_result(cell) for cell in json.loads(notebook.read_text())["cells"]]


def _unexecuted(cells):
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": cell,
            }
            for cell in cells
        ],
    }


def _result(cell):
    for output in cell["outputs"]:
        if output["output_type"] == "execute_result":
            return {mime: "".join(data) for mime, data in output["data"].items()}
    return None
