"""How every stage runs: errors as one clear message, and the time it took."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from inspection.content_cache import ContentCache
from inspection.errors import InspectionError
from stages import STARTED

CACHE = ".cache/computed.sqlite"
"""What stages keep for the next run, so that only what is new is computed."""


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage's function; exit with status 1 and one message when the user can mend what went wrong."""
    try:
        stage()
    except InspectionError as problem:
        sys.exit(f"error: {problem}")
    print(f"{Path(sys.argv[0]).stem}: {time.perf_counter() - STARTED:.1f} s")


def progress(items, what: str, total: int | None = None, unit: str = "image"):
    """Wrap an iterable in a progress bar; where there is no terminal, it prints a line every few seconds."""
    every = 0.1 if sys.stderr.isatty() else 10
    return tqdm(items, desc=what, total=total, mininterval=every, unit=unit)


def progress_of(items, total: int, what: str):
    """`progress`, as the library calls it."""
    return progress(items, what, total, unit="it")


def open_cache(max_megabytes: int) -> ContentCache:
    """Return the cache of the stages."""
    return ContentCache(CACHE, max_megabytes * 10**6)
