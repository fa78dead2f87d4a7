"""Twelve kinds of faults, planted one at a time, and the tests of every day that notice each.

    python -m tests.planted_faults
    python -m tests.planted_faults --only mask --whole

Each is planted in a copy of the tree, where the tests of the rooms that it may be seen from run;
with `--whole` all tests of every day do. It fails where a fault is noticed by none.
"""

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.places import ROOT


@dataclass(frozen=True)
class Fault:
    """A piece of code that is there once, and what is put in its place."""

    kind: str
    file: str
    right: str
    wrong: str
    seen_from: tuple[str, ...]  # folders or files of tests


ATTENTION = ("attention", "capture")
FAULTS = (
    Fault(
        "mask moved by one key",
        "attnviz/attention/replay.py",
        "return _at(self.call.mask, self.place)",
        "m = _at(self.call.mask, self.place); return None if m is None else np.roll(m, 1, axis=1)",
        ATTENTION,
    ),
    Fault(
        "two heads swapped",
        "attnviz/attention/trace.py",
        "return HeadTrace(call, int(head), kind",
        "return HeadTrace(call, int(head) ^ (call.n_heads > 1), kind",
        ATTENTION,
    ),
    Fault(
        "scaling 1/d instead of 1/√d",
        "attnviz/attention/replay.py",
        "maths.scale(self.scores, self.scaling)",
        "maths.scale(self.scores, self.scaling**2)",
        ATTENTION,
    ),
    Fault(
        "weights transposed in one chart",
        "attnviz/charts/heads.py",
        '"weights": [nested(of_head) for of_head in weights],',
        '"weights": [nested(of_head.T) for of_head in weights],',
        ("charts",),
    ),
    Fault(
        "bias dropped",
        "attnviz/attention/replay.py",
        "return _at(self.call.bias, self.place)",
        "return None",
        ATTENTION,
    ),
    Fault(
        "a tooltip naming another quantity",
        "attnviz/charts/head_layers.py",
        'alt.Tooltip("weight:Q", title="weight"),',
        'alt.Tooltip("weight:Q", title="score"),',
        ("charts",),
    ),
    Fault(
        "colour domain not symmetric",
        "attnviz/charts/parts/values.py",
        'ends = [alt.expr(f"-{limit}"), alt.expr(limit)]',
        'ends = [alt.expr(f"-{limit} / 2"), alt.expr(limit)]',
        ("charts",),
    ),
    Fault(
        "a window off by one",
        "attnviz/charts/parts/window.py",
        'return [tokens[at] if self.is_whole else f"{at} {tokens[at]}" for at in shown]',
        'return [tokens[at] if self.is_whole else f"{at} {tokens[at - 1]}" for at in shown]',
        ("charts",),
    ),
    Fault(
        "markup not escaped",
        "attnviz/text/phrases.py",
        'return _PUNCTUATION.sub(r"\\\\\\1", parted)',
        "return parted",
        ("text", "house", "attention"),
    ),
    Fault(
        "`streamlit` imported by a chart",
        "attnviz/charts/row.py",
        "import altair as alt\n",
        "import altair as alt\nimport streamlit as st\n",
        ("house",),
    ),
    Fault(
        "a link's parameter not read",
        "attnviz/page/views/model.py",
        'key="by_measure", bind="query-params"',
        'key="by_measure"',
        ("page",),
    ),
    Fault(
        "a cached trace shared between two texts",
        "attnviz/page/service/loading.py",
        "hashkey(loaded.key, text, pair, target)",
        "hashkey(loaded.key, pair, target)",
        ("page", "models"),
    ),
)


def noticed_by(fault: Fault, *, whole: bool) -> list[str]:
    """The tests of every day that fail with the fault in the tree, the first three."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "attnviz"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        file = copy / fault.file
        source = file.read_text()
        assert source.count(fault.right) == 1, f"{fault.right!r} is not once in {fault.file}"
        file.write_text(source.replace(fault.right, fault.wrong))
        where = [] if whole else [f"tests/{room}" for room in fault.seen_from]
        command = [sys.executable, "-m", "pytest", "-q", "--maxfail=3", *where]
        ran = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="kinds with this in their names")
    parser.add_argument("--whole", action="store_true", help="all tests of every day")
    asked = parser.parse_args()
    unnoticed = 0
    print("| fault | planted in | noticed by |\n| --- | --- | --- |", flush=True)
    for fault in FAULTS:
        if asked.only in fault.kind:
            tests = noticed_by(fault, whole=asked.whole)
            unnoticed += not tests
            named = "<br>".join(f"`{test}`" for test in tests) or "**nothing**"
            print(f"| {fault.kind} | `{fault.file}` | {named} |", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
