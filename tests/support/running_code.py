"""Scripts that attnviz writes, run: in this process with models that are loaded once, or alone."""

import ast
import functools
import subprocess
import sys

import attnviz
from attnviz.models import bundled, loader
from tests.support import tiny_models
from tests.support.places import ROOT


def run(code):
    """What a script leaves in its names, its last line as `shown`."""
    *lines, last = ast.parse(code).body
    names = {}
    exec(compile(ast.Module(lines, []), "script", "exec"), names)
    if isinstance(last, ast.Expr):
        names["shown"] = eval(compile(ast.Expression(last.value), "script", "eval"), names)
    return names


def in_a_process(code, folder):
    """What a script prints that has a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def loaded(name, **options):
    """The bundled model, or a tiny one by the name of its family, with the bundled tokenizer."""
    if name == bundled.BUNDLED:
        return loader.load(name, **options)
    tokenizer = loaded(bundled.BUNDLED)[1]
    return tiny_models.build(name, vocab_size=len(tokenizer)), tokenizer


def traced(one):
    """A screen's model and its trace."""
    options = {"dtype": one.dtype} if one.dtype != "float32" else {}
    model, tokenizer = loaded(one.model, **options)
    return model, attnviz.trace(model, tokenizer, one.text, pair=one.pair, target=one.target)
