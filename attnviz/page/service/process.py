"""What lets one process serve many visitors, set once by the page's script.

Importing this changes nothing: tests and notebooks import what is behind the page too. Each was
measured on two cores, with the page as it was before.
"""

import ctypes
import gc
import os
from contextlib import suppress
from functools import cache

from attnviz.models import compat

_M_MMAP_THRESHOLD = -3  # malloc.h


@cache
def prepare() -> None:
    """Set up this process, which is the page's own, before torch is imported."""
    # The threads of a forward pass sleep while they wait for one another. By default they spin,
    # which takes the cores from other visitors: a short text took ten times as long on a busy
    # machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Large arrays go back to the system when they are freed. By default glibc learns from the first
    # of them to keep their place: ten texts of 512 tokens then took a gigabyte more.
    with suppress(AttributeError, OSError, TypeError):  # on a system without it
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    # What imports leave is no garbage, and looking for it took a quarter of their time. Streamlit
    # looks after every run of the page; on its own Python does so only where much is made in one
    # run.
    gc.set_threshold(100_000)
    compat.prepare_process()


@cache
def import_torch() -> None:
    """Import torch and transformers, which only a load may wait for.

    In the page's own process what they leave is put where nobody looks for garbage. Looking through
    it after every run took 0.4 seconds, in which no other visitor was served.
    """
    import attnviz.models.loader  # noqa: F401

    if prepare.cache_info().currsize:
        gc.freeze()
