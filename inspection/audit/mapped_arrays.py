"""Large arrays in temporary files that all processes map: in memory once, and never copied from one to another."""

import os
import shutil
import tempfile
import weakref

import numpy as np
from numpy.typing import DTypeLike

from inspection.files import working_folder


def mapped_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array of zeros that joblib hands to other processes as the name of its file.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray of that shape and dtype
        The file goes with the last reference to it, and that of a killed process with the next one's first. Without
        room for a file, an array in memory.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not n_bytes:
        return np.zeros(shape, dtype)
    folder = working_folder(tempfile.gettempdir())
    handle = os.open(folder / "array", os.O_RDWR | os.O_CREAT)
    try:
        # Now, since later a full disk would end the process with a signal.
        os.posix_fallocate(handle, 0, n_bytes)
        array = np.memmap(folder / "array", dtype, "r+", shape=shape)
    except (OSError, AttributeError):
        # Not every system can reserve room.
        shutil.rmtree(folder, ignore_errors=True)
        return np.zeros(shape, dtype)
    finally:
        os.close(handle)
    weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
    return array
