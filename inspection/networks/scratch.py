"""A large array written batch by batch to the temporary folder, whose size is looked at first."""

import math
import shutil
import tempfile
from types import TracebackType

import numpy as np

from inspection.errors import ConfigError

_RESERVE = 2**30
"""Bytes of the temporary folder's disk that are left to others."""


class ScratchArray:
    """An array of float16 in a file without a name, which the operating system removes whatever ends the process.

    To be used in a ``with`` block, which closes the file; what `read` returned stays readable.

    Parameters
    ----------
    shape : tuple of int
        The first is the number of rows appended in all.
    max_gigabytes : float
        The array may not be larger.
    purpose : str
        What needs the space, for error messages.
    way_out : str
        How to need less of it, for error messages.

    Raises
    ------
    ConfigError
        If the array is larger than allowed or than the free space of the temporary folder less a reserve of 1 GiB.
    """

    def __init__(self, shape: tuple[int, ...], max_gigabytes: float, purpose: str, way_out: str):
        self._shape, self._way_out = shape, way_out
        n_bytes, folder = math.prod(shape) * np.dtype(np.float16).itemsize, tempfile.gettempdir()
        self._needed = f"{purpose} takes {n_bytes / 1e9:.1f} GB of the temporary folder {folder}"
        if n_bytes > max_gigabytes * 1e9:
            raise ConfigError(
                f"{self._needed}, and fine_tuning.max_scratch_gb allows {max_gigabytes:g}; raise it, or {way_out}."
            )
        free = shutil.disk_usage(folder).free
        if n_bytes > free - _RESERVE:
            raise self._no_space(f"where {free / 1e9:.1f} GB are free and 1 must stay so")

    def __enter__(self) -> "ScratchArray":
        # Open until the block ends.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows.

        Parameters
        ----------
        rows : ndarray of float, shape (n_rows, ...)
            Rounded to float16.

        Raises
        ------
        ConfigError
            If somebody else has filled the disk in the meantime.
        """
        try:
            # Not through memory mapping: there a full disk would kill the process.
            self._file.write(rows.astype(np.float16).tobytes())
        except OSError as problem:
            raise self._no_space(f"which cannot be written to ({problem.strerror})") from problem

    def read(self) -> np.ndarray:
        """Return the whole array, mapped from the file and not to be changed."""
        self._file.flush()
        return np.memmap(self._file, np.float16, "r", shape=self._shape)

    def _no_space(self, why: str) -> ConfigError:
        return ConfigError(f"{self._needed}, {why}; set TMPDIR to a folder on a larger disk, or {self._way_out}.")
