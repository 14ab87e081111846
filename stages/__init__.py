"""One thin script per DVC stage: read, call the library, write."""

import time

STARTED = time.perf_counter()
"""Taken before a stage imports its libraries, which take seconds of their own."""
