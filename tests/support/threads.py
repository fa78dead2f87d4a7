"""What another thread computes."""

from concurrent.futures import ThreadPoolExecutor


def in_another_thread(function, *given):
    """What a function returns, or raises, in a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *given).result()
