"""One thin script per DVC stage: read, call the library, write."""

import os
import time

STARTED = time.perf_counter()
"""Taken before a stage imports its libraries, which take seconds of their own."""

# Before torch is imported. Its threads wait for each other after every layer, by default by spinning; where another
# program needs a core, each waits for one that does not run, and training takes half as long again or more.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
