"""What a function gives in a process of its own, whatever this one has imported.

The page sets how its process allocates memory, looks for garbage and waits for threads. Once
it is imported, everything that is timed or weighed after it is so under its settings.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.support.places import ROOT

CODE = """
import importlib, json, sys
module, name, given = sys.argv[1:]
print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(given))))
"""


def in_fresh_process(function: Callable, *given: Any) -> Any:
    """What a function of a module returns there; it takes and returns what JSON can hold."""
    module = function.__globals__["__spec__"].name  # its __name__ may be __main__
    command = [sys.executable, "-c", CODE, module, function.__name__, json.dumps(given)]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])
