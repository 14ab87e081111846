"""Arrays in one file, whose bytes follow from the arrays alone."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from inspection.errors import ModelsError
from inspection.files import replacing

DAMAGED_ARRAYS_ERRORS = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile)
"""What reading arrays raises when the file is damaged or holds others.

RuntimeError covers zipfile's NotImplementedError for an archive whose directory is damaged.
"""

_UNIX = 3
"""Of the systems that the format of ZIP numbers: the one that is written down, whatever the machine has."""
_HEADER_BYTES = 4096
"""More than numpy writes before the values of an array."""


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an ``.npz`` that `numpy.load` reads, not compressed, in one step.

    The same arrays give the same bytes. Those of `numpy.savez` depend on the release of Python: it asks for entries of
    unlimited size, whose headers Python writes otherwise since 3.11.4.

    Parameters
    ----------
    path : str or Path
    arrays : mapping of str to ndarray
        Written in this order; none of objects.

    Raises
    ------
    ValueError
        If an array holds objects.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system = _UNIX
            # By it zipfile decides whether the entry may be larger than 2 GiB.
            entry.file_size = array.nbytes + _HEADER_BYTES
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


@contextmanager
def vouched_arrays(data: bytes, name: str, what: str) -> Iterator[Mapping[str, np.ndarray]]:
    """Open the arrays of a model file whose fingerprint was checked.

    Parameters
    ----------
    data : bytes
        Of the file.
    name : str
        Of the file, for messages.
    what : str
        That it should be, for messages.

    Yields
    ------
    mapping of str to ndarray

    Raises
    ------
    ModelsError
        If the content is damaged, or what is made of it in the block shows that it is something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            yield arrays
    except DAMAGED_ARRAYS_ERRORS as problem:
        raise ModelsError(f"{name} is not a {what} ({problem}); delete it and run `dvc repro`.") from problem
