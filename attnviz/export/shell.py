"""A screen as the shell command that draws it."""

import shlex
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from attnviz.attention.trace import Trace
from attnviz.export.options import EVERY, Option
from attnviz.export.screen import Beside, Screen, default_of, opened
from attnviz.models.bundled import BUNDLED

_PROGRAM = "python -m attnviz"
_ALWAYS = ("layer", "head")  # whatever a later version opens with
# What follows from what else is asked, unless it is named; of the views that have it.
_FOLLOWING = {
    "neurons": ("first_query", "first_key"),
    "heads": ("first_query", "first_key", "focus"),
}
_FOLLOW = _FOLLOWING["heads"]


def command(screen: Screen, trace: Trace, file: str = "figure.svg") -> str:
    """The command that draws the screen of this trace into a file, for a POSIX shell.

    It says only what the shell would do otherwise.
    """
    flagged = [option for option in EVERY if option.flag]
    whole = {option.name: attrgetter(option.name)(screen) for option in flagged}
    if (screen.revision or "").startswith("sha256:"):
        whole["revision"] = None  # of the bundled model; the Hub does not know it
    if screen.view == "compare" and screen.beside == Beside():
        whole["beside.layer"] = screen.layer  # the shell wants something that B is
    given = {
        name: value
        for name, value in whole.items()
        if name in _ALWAYS or (name not in _FOLLOW and value != _opens_with(name))
    }
    without = opened({"model": screen.model, "text": screen.text, **given}, trace)
    following = _FOLLOWING.get(screen.view, ())
    given |= {name: whole[name] for name in following if getattr(without, name) != whole[name]}
    words = [word for option in flagged if option.name in given for word in _spelled(option, given)]
    options = " ".join(map(shlex.quote, [*words, "-o", file]))
    text = shlex.quote(screen.text)
    if screen.text == "-":
        return f"printf %s - | {_PROGRAM} - {options}"
    if screen.text.startswith("-"):
        return f"{_PROGRAM} {options} -- {text}"
    return f"{_PROGRAM} {text} {options}"


def _opens_with(name: str) -> Any:
    return BUNDLED if name == "model" else default_of(name)


def _spelled(option: Option, given: dict[str, Any]) -> Iterator[str]:
    """The words that ask for an option."""
    flag, value = option.flag.partition(" ")[0], given[option.name]
    if "[no-]" in flag:
        yield flag.replace("[no-]", "" if value else "no-")
    elif not option.takes and not option.choices:
        yield flag
    elif option.is_many:
        yield from (flag, *map(str, value))
    else:
        said = "".join("AB"[one] for one in value) if option.takes == "AB" else str(value)
        yield from ([f"{flag}={said}"] if said.startswith("-") else [flag, said])
