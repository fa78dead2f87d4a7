"""Python as it is written: values, calls, and those arguments that are not the defaults."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LINE = 100  # characters
# Format characters without which emoji and words of several scripts fall apart.
_JOINERS = "\u200c\u200d"


def literal(value: Any) -> str:
    """The value as Python has it: a text in quotes, in which what cannot be seen is escaped.

    Letters of every script and emoji stay as they are.
    """
    if isinstance(value, str):
        quote = "'" if value.count('"') > value.count("'") else '"'
        return quote + "".join(_in_quotes(character, quote) for character in value) + quote
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _in_quotes(character: str, quote: str) -> str:
    if character == quote:
        return f"\\{quote}"
    return character if character in _JOINERS else repr(character)[1:-1]


def call(start: str, *arguments: str) -> str:
    """A call as a formatter writes it: on one line, its arguments on the next, or one a line."""
    joined = ", ".join(arguments)
    split = f"{start}(\n    {joined}\n)"
    for written in (f"{start}({joined})", split):
        if max(map(len, written.split("\n"))) <= LINE:
            return written
    if len(arguments) == 1:
        return split
    return "\n".join([f"{start}(", *(f"    {argument}," for argument in arguments), ")"])


def listed(name: str, values: Sequence[Any]) -> list[str]:
    """The lines of a list that is called so."""
    return [f"{name} = [", *(f"    {literal(value)}," for value in values), "]"]


def arguments(**values: Any) -> list[str]:
    """Arguments by their names."""
    return [f"{name}={literal(value)}" for name, value in values.items()]


def differing(of: Callable[..., Any], **values: Any) -> list[str]:
    """Those arguments of a function or a class that are not its defaults."""
    known = inspect.signature(of).parameters
    return arguments(**{name: v for name, v in values.items() if v != known[name].default})
