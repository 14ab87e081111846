"""Threads that libraries start behind a call, beside those that this project starts itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def single_threaded_libraries() -> Iterator[None]:
    """Let BLAS and OpenMP work in the calling threads alone.

    Where every core has its work, several threads behind one call wait for each other many times as long as they
    compute.
    """
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> ThreadpoolController:
    """Return the handle of the libraries' threads, which takes milliseconds to make."""
    return ThreadpoolController()
