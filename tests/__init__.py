"""Tests, in the rooms of the library. Made-up photographs are small: threads and processes cost more than work."""

import os

# Before NumPy and torch are imported. One thread each: others would mostly wait, and waiting is done by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# joblib's processes would each import the library anew.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
