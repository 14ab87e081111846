"""Large arrays in temporary files that all processes map: in memory once, and never copied from one to another."""

import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


def mapped_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array of zeros that joblib hands to other processes as the name of its file.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray of that shape and dtype
        The file goes with the last reference to it. Without room for a file, an array in memory.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not n_bytes:
        return np.zeros(shape, dtype)
    handle, name = tempfile.mkstemp(prefix="inspection-")
    try:
        # Now, since later a full disk would end the process with a signal.
        os.posix_fallocate(handle, 0, n_bytes)
        array = np.memmap(name, dtype, "r+", shape=shape)
    except (OSError, AttributeError):
        # Not every system can reserve room.
        _remove(name)
        return np.zeros(shape, dtype)
    finally:
        os.close(handle)
    weakref.finalize(array, _remove, name)
    return array


def _remove(name: str) -> None:
    with suppress(OSError):
        Path(name).unlink()
