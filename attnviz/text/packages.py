"""Packages that something needs and that are not installed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from attnviz.text.errors import InputError

_COMMAND = re.compile(r"pip3?\s+install\s+(?:-\S+\s+)*['\"]?([\w.-]+(?:\[[\w,]+\])?)")
_WORDS = re.compile(
    r"install ([\w-]+)\S* to (?:use|specify)|The (\w+) dictionary|requires the ([\w-]+) library"
)
_INSTALLED_AS = {"google": "protobuf", "Mykytea": "kytea"}  # others have the name of their module


def missing(error: BaseException) -> str | None:
    """The package that a call failed without, as pip calls it; None where it failed otherwise.

    What failed says it in its own words, which name the command, the package or the module.
    """
    causes = list(_causes(error))
    for cause in causes:
        if command := _COMMAND.search(str(cause)):
            return str(command[1]).rstrip(".")
    for cause in causes:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            module = str(cause.name).partition(".")[0]
            return _INSTALLED_AS.get(module, module)
    for cause in causes:
        if isinstance(cause, ImportError) and (named := _WORDS.search(str(cause))):
            return str(named[named.lastindex or 0]).lower()
    return None


def needed(who: str, package: str) -> str:
    """The sentence for it, and the command that installs it."""
    return (
        f"{who} needs the package {package}, which is not installed.\n\nHint: pip install {package}"
    )


@contextmanager
def of_extra(extra: str, who: str) -> Iterator[None]:
    """Imports of packages that are installed with an extra of attnviz alone.

    Raises InputError, which names the command, where one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise InputError(without_extra(extra, who, package)) from error


def without_extra(extra: str, who: str, package: str) -> str:
    """The sentence for it, and the command that installs it."""
    return (
        f"{who} needs the package {package}, which is not installed."
        f'\n\nHint: pip install "attnviz[{extra}]"'
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
