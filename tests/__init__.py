"""Tests, in the rooms of the library. Made-up photographs are small: threads and processes cost more than work."""

import os
import sys

# Before NumPy and torch are imported. One thread each: others would mostly wait, and waiting is done by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# joblib's processes would each import the library anew.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
# Workers, and the processes that tests start, would each compile torch, DVC and the project anew: seconds of each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
