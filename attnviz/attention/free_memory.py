"""How much memory is free."""

from pathlib import Path

import psutil

_CGROUPS = (  # what a container may take, what it takes, and what of that could be given back
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory() -> int:
    """What this process can still take, in bytes: of the machine, or of the container it is in."""
    available: int = psutil.virtual_memory().available
    left = _left_in_container(Path("/sys/fs/cgroup"))
    return available if left is None else min(available, left)


def _left_in_container(root: Path) -> int | None:
    """None where no limit is set."""
    for limit, usage, given_back in _CGROUPS:
        try:
            most, taken = (int((root / file).read_text()) for file in (limit, usage))
            lines = (root / limit).with_name("memory.stat").read_text().splitlines()
            counts = dict(line.split() for line in lines)
            return max(0, most - taken + int(counts.get(given_back, 0)))
        except (OSError, ValueError):
            continue  # no such file, or "max": no limit
    return None
