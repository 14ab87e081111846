"""Fingerprints, and writing that never leaves half a file behind."""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from inspection.errors import InspectionError

if TYPE_CHECKING:
    from pandas import DataFrame

DIGITS = 4
"""Decimals kept in metrics files: more would show jitter, not knowledge."""

# By machine too: on a shared disk, processes of others are not known here.
_PREFIX = f".{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-"
_SUFFIX = ".part"


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Parameters
    ----------
    path : str or Path
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 lower-case hexadecimal digits.

    Parameters
    ----------
    data : bytes
    """
    return hashlib.sha256(data).hexdigest()


@contextmanager
def replacing(path: str | Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary file of the same name, and put it in the place of ``path`` on success.

    The folder is made when missing. The temporary file lies in a hidden folder ``.*.part`` beside ``path``, which git
    and DVC ignore and no pattern for models or metrics matches. When the block raises, it is removed and an earlier
    file of that name stays as it was; what a killed process left, the next one to write there removes.

    Parameters
    ----------
    path : str or Path
        File to be written or replaced.
    flush : bool
        Whether the content must be on the disk before the name is, so that a power failure leaves the old file or the
        new one, whole. It takes about 10 ms a file: do without where thousands are copied that can be copied again.

    Yields
    ------
    Path
        Where to write; writers that go by the suffix or store the name find the final ones.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = working_folder(path.parent)
    try:
        temporary = folder / path.name
        yield temporary
        if flush:
            _flush(temporary)
        temporary.replace(path)
        if flush:
            _flush(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def working_folder(parent: str | Path) -> Path:
    """Make a hidden folder for what this process needs for a while.

    Who asks for it removes it; what a killed process left, the next one to ask for one there removes.

    Parameters
    ----------
    parent : str or Path
        Folder in which it is made.

    Returns
    -------
    Path
    """
    _remove_leftovers(Path(parent).resolve())
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", suffix=_SUFFIX, dir=parent))


@cache
def _remove_leftovers(folder: Path) -> None:
    """Remove what dead processes of this machine left half-written; once per process, for folders can be large."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        process = leftover.name.removeprefix(_PREFIX).split("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and writes their lists at once.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file in one step.

    Parameters
    ----------
    path : str or Path
    data : bytes
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, content: Any) -> None:
    """Write a value as readable JSON, in one step.

    Parameters
    ----------
    path : str or Path
    content : object
        Anything that JSON has, so no NaN; keys are written in the order given.
    """
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, error: type[InspectionError] = InspectionError) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or Path
    error : type of InspectionError
        Raised, with the name of the file, when its content is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise error(f"{path} is not valid JSON ({problem}); delete it and run `dvc repro`.") from problem


def write_csv(path: str | Path, table: "DataFrame") -> None:
    """Write a table as UTF-8 CSV without its index, in one step.

    Parameters
    ----------
    path : str or Path
    table : DataFrame
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
