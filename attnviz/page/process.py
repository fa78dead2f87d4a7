"""What lets one process serve many visitors, set once, before torch is imported.

Each was measured on two cores, with the page as it was before.
"""

import ctypes
import gc
import os
from contextlib import suppress
from functools import cache

# The threads of a forward pass sleep while they wait for one another. By default they spin, which
# takes the cores from other visitors: a short text took ten times as long on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Large arrays go back to the system when they are freed. By default glibc learns from the first of
# them to keep their place: ten texts of 512 tokens then took a gigabyte more.
_M_MMAP_THRESHOLD = -3  # malloc.h
with suppress(AttributeError, OSError, TypeError):  # on a system without it
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)


@cache
def import_torch() -> None:
    """Import torch and transformers, which only a load may wait for.

    Streamlit looks for garbage after every run of the page. What imports leave is never garbage;
    looking through it took 0.4 seconds a run, in which no other visitor was served.
    """
    import attnviz.models  # noqa: F401

    gc.collect()
    gc.freeze()
