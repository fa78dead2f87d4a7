"""Results that stay as they are, also where they are copied, pickled or sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

LastingT = TypeVar("LastingT", bound="Lasting")


class Lasting:
    """What cannot be changed is its own copy, and read-only again once it is unpickled."""

    def __copy__(self: LastingT) -> LastingT:
        return self

    def __deepcopy__(self: LastingT, memo: dict[int, Any]) -> LastingT:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return _once(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = _again(state)
        make_read_only(state)
        self.__dict__.update(state)


@dataclass(frozen=True)
class _SameAs:
    """Stands for an array that is there already, under this name: joblib would write it twice."""

    name: str


def _once(parts: Mapping[str, Any]) -> dict[str, Any]:
    first: dict[int, str] = {}
    state: dict[str, Any] = {}
    for name, part in parts.items():
        if isinstance(part, np.ndarray) and first.setdefault(id(part), name) != name:
            state[name] = _SameAs(first[id(part)])
        else:
            state[name] = _once(part) if isinstance(part, dict) else part
    return state


def _again(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: state[part.name]
        if isinstance(part, _SameAs)
        else (_again(part) if isinstance(part, dict) else part)
        for name, part in state.items()
    }


def make_read_only(value: Any) -> None:
    """Keep every array in this from being written into."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, dict):
        for part in value.values():
            make_read_only(part)
    elif isinstance(value, tuple | list):
        for part in value:
            make_read_only(part)
