"""Fingerprints, and writing that never leaves half a file behind."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inspection.errors import InspectionError

if TYPE_CHECKING:
    from pandas import DataFrame

DIGITS = 4
"""Decimals kept in metrics files: more would show jitter, not knowledge."""


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` and rename it to ``path`` on success.

    The folder is made when missing. When the block raises, the temporary file is removed and an earlier file of
    that name stays as it was.

    Yields
    ------
    Path
        Where to write; it keeps the suffix of ``path``, which many writers go by.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, content) -> None:
    """Write ``content`` as readable JSON, keys in the order given; NaN is refused because JSON has none."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, error: type[InspectionError] = InspectionError):
    """Read a JSON file; one that is damaged raises ``error`` with its name."""
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
