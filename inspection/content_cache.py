"""What took long to compute, kept under what it was computed from: one bounded file that several processes may use.

The file is SQLite's, which keeps it whole when two stages write at once and when one is killed at any moment. Losing it
costs time only.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from inspection.files import sha256_bytes
from inspection.versions import installed_versions

T = TypeVar("T")

_ENTRIES = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL
)
"""
_CONTENTS = """
CREATE TABLE IF NOT EXISTS contents (
    id INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE, value BLOB NOT NULL
)
"""
"""Apart from the entries, so that to note a use does not rewrite what was used."""
_DROP_LEAST_RECENTLY_USED = """
DELETE FROM entries WHERE id IN (
    SELECT id FROM (SELECT id, SUM(size) OVER (ORDER BY used DESC, id DESC) AS total FROM entries) WHERE total > ?
)
"""
_ENTRY_BYTES = 200
"""What an entry takes beside its value, about."""
_WAIT_S = 60
"""For another process that writes."""
_PRIMARY_CODE = 0xFF
"""Of SQLite's extended result codes."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class ContentCache:
    """Values by origin and key.

    Parameters
    ----------
    path : str or Path
        The file, made with its folder when something is written.
    max_bytes : int, >= 0
        Of all values together, about; what was used least recently goes first. With 0 nothing is read or written.
    """

    def __init__(self, path: str | Path, max_bytes: int):
        self._path = Path(path)
        self._max_bytes = max_bytes

    def read(self, origin: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the values that are known.

        Parameters
        ----------
        origin : str
            What made the values, see `describe_origin`.
        keys : iterable of str
            What they were made from.

        Returns
        -------
        dict of str to bytes
            By key. A value that is damaged is not returned, and a notice printed.
        """
        names = {_name(origin, key): key for key in keys}
        if not names or not self._max_bytes or not self._path.is_file():
            return {}
        rows = self._transact(lambda database: _select(database, names)) or []
        found = {names[name]: value for name, digest, value in rows if _digest(value) == digest}
        if n_damaged := len(rows) - len(found):
            print(f"{self._path}: {n_damaged} entries are damaged; what they held is computed again")
        return found

    def write(self, origin: str, values: Mapping[str, bytes]) -> None:
        """Keep values, in one step; those of the same origin and key are replaced.

        Parameters
        ----------
        origin : str
        values : mapping of str to bytes
            By key.
        """
        if values and self._max_bytes:
            named = {_name(origin, key): value for key, value in values.items()}
            self._transact(lambda database: _insert(database, named, self._max_bytes))

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what work on the database gives; without a usable one, print a notice and return None."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)) as database:
                database.execute("PRAGMA foreign_keys = ON")
                # From the start, since a transaction that reads cannot always become one that writes.
                database.execute("BEGIN IMMEDIATE")
                with database:
                    return work(database)
        except (sqlite3.DatabaseError, OSError) as problem:
            if getattr(problem, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGED:
                for suffix in ("", "-journal"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                print(f"{self._path} was damaged ({problem}) and is deleted; what it held is computed again")
            else:
                print(f"{self._path} cannot be used ({problem}); results are computed and not kept")
            return None


NO_CACHE = ContentCache("", 0)
"""Keeps nothing."""


def describe_origin(code: Sequence[ModuleType], packages: Sequence[str], settings: Any = None) -> str:
    """Return what stands for everything that makes a value but its key.

    Parameters
    ----------
    code : sequence of module
        Whose source has a say in the value.
    packages : sequence of str
        Installed packages of which the version has one.
    settings : object, optional
        Anything else, with a ``repr`` that tells.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    sources = [sha256_bytes(Path(module.__file__).read_bytes()) for module in code if module.__file__]
    return sha256_bytes(repr((sources, installed_versions(packages), settings)).encode())


def _select(database: sqlite3.Connection, names: Iterable[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """Return name, digest and value of the entries there are, and note that they were used."""
    _make_tables(database)
    database.execute("CREATE TEMPORARY TABLE wanted (name BLOB PRIMARY KEY)")
    database.executemany("INSERT INTO wanted VALUES (?)", ((name,) for name in names))
    database.execute("UPDATE entries SET used = ? WHERE name IN (SELECT name FROM wanted)", (time.time_ns(),))
    return database.execute(
        "SELECT name, digest, value FROM wanted JOIN entries USING (name) JOIN contents USING (id)"
    ).fetchall()


def _insert(database: sqlite3.Connection, values: Mapping[bytes, bytes], max_bytes: int) -> None:
    """Put entries in the place of those of the same names, and drop others until all of them fit."""
    _make_tables(database)
    now = time.time_ns()
    database.executemany("DELETE FROM entries WHERE name = ?", ((name,) for name in values))
    database.executemany(
        "INSERT INTO entries (name, digest, size, used) VALUES (?, ?, ?, ?)",
        ((name, _digest(value), len(value) + _ENTRY_BYTES, now) for name, value in values.items()),
    )
    database.executemany(
        "INSERT INTO contents SELECT id, ? FROM entries WHERE name = ?",
        ((value, name) for name, value in values.items()),
    )
    database.execute(_DROP_LEAST_RECENTLY_USED, (max_bytes,))


def _make_tables(database: sqlite3.Connection) -> None:
    for table in (_ENTRIES, _CONTENTS):
        database.execute(table)


def _name(origin: str, key: str) -> bytes:
    return hashlib.sha256(f"{origin}\n{key}".encode()).digest()


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()
