"""What splits remember: how each was drawn, and every photograph that was ever in its test part.

The ledger is a small JSON file in git. A part that follows from hashes alone would lose a test photograph to the
training part whenever a new copy gives its group another name; the ledger holds it in the test part for ever.
"""

from pathlib import Path, PurePath
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspection.config import Params
from inspection.errors import DataError
from inspection.files import write_json

FORMAT = 1
_DIGITS = 12
"""Of a SHA-256 in a fingerprint. A hundred thousand photographs meet one of as many others by chance with a probability
of one in thirty thousand, and then one group too many becomes test."""


class LedgerKey(NamedTuple):
    """What makes two splits different ones: with another source, seed or test share a split starts afresh.

    Attributes
    ----------
    source : str
        ``data.source``, POSIX.
    seed : int
    test_share : float
    """

    source: str
    seed: int
    test_share: float

    @classmethod
    def of(cls, params: Params) -> "LedgerKey":
        """Return the key of the split that the params ask for.

        Parameters
        ----------
        params : Params
        """
        return cls(PurePath(params.data.source).as_posix(), params.seed, params.data.test_share)


class LedgerEntry(BaseModel):
    """What one split remembers.

    Attributes
    ----------
    split_salt : int or None
        Number of the draw that was chosen when the split was drawn first; None before that.
    fold_salts : dict of int to int
        The same for the folds, by their number.
    test : frozenset of str
        Fingerprints of every photograph that was ever in the test part, see `fingerprints`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    split_salt: Annotated[int, Field(ge=0)] | None = None
    fold_salts: dict[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=0)]] = {}
    test: frozenset[Annotated[str, Field(pattern=rf"^[0-9a-f]{{{_DIGITS}}} [0-9a-f]{{{_DIGITS}}}$")]] = frozenset()

    def holds(self, images: pd.DataFrame) -> np.ndarray:
        """Tell which images were ever in the test part: by their file, or by their pixels in another file.

        Parameters
        ----------
        images : DataFrame
            Columns ``sha256`` and ``pixels_sha256``.

        Returns
        -------
        ndarray of bool, shape (n_images,)
        """
        hashes = {part for fingerprint in self.test for part in fingerprint.split()}
        short = [images[column].str[:_DIGITS] for column in ("sha256", "pixels_sha256")]
        return np.logical_or(*(column.isin(hashes).to_numpy() for column in short))


UNDRAWN = LedgerEntry()
"""Of a split that nothing is remembered of."""


def fingerprints(images: pd.DataFrame) -> pd.Series:
    """Return what a ledger knows a photograph by: the first digits of the SHA-256 of its file and of its pixels.

    Both, because a new decoder or another ``data.decoding`` changes the pixels, and an edit of the metadata the file.

    Parameters
    ----------
    images : DataFrame
        Columns ``sha256`` and ``pixels_sha256``.

    Returns
    -------
    Series of str
    """
    return images["sha256"].str[:_DIGITS] + " " + images["pixels_sha256"].str[:_DIGITS]


class _Line(LedgerEntry):
    source: str
    seed: Annotated[int, Field(ge=0)]
    test_share: Annotated[float, Field(gt=0, lt=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    splits: list[_Line]


def read_ledger(path: str | Path) -> dict[LedgerKey, LedgerEntry]:
    """Read the ledger that `write_ledger` wrote; a missing file remembers nothing.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of LedgerKey to LedgerEntry

    Raises
    ------
    DataError
        If the file is damaged, names a split twice, or is of another format. It is never passed over: a new draw would
        train on photographs that were test images.
    """
    try:
        file = _File.model_validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise DataError(f"{path} cannot be read ({problem.strerror}); mend its permissions.") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{place}: {first['msg']}" if place else first["msg"]) from problem
    if file.format != FORMAT:
        raise DataError(f"{path} has format {file.format}, and this version reads {FORMAT}; use the one that wrote it.")
    ledger: dict[LedgerKey, LedgerEntry] = {}
    for line in file.splits:
        key = LedgerKey(line.source, line.seed, line.test_share)
        if key in ledger:
            raise _damaged(path, f"the split of {key.source} with seed {key.seed} stands there twice")
        ledger[key] = LedgerEntry(split_salt=line.split_salt, fold_salts=line.fold_salts, test=line.test)
    return ledger


def write_ledger(path: str | Path, ledger: dict[LedgerKey, LedgerEntry]) -> None:
    """Write a ledger in one step; the same content gives the same bytes.

    Parameters
    ----------
    path : str or Path
    ledger : dict of LedgerKey to LedgerEntry
    """
    splits = [
        {
            **key._asdict(),
            "split_salt": entry.split_salt,
            "fold_salts": {str(number): salt for number, salt in sorted(entry.fold_salts.items())},
            "test": sorted(entry.test),
        }
        for key, entry in sorted(ledger.items(), key=lambda item: item[0])
    ]
    write_json(path, {"format": FORMAT, "splits": splits})


def _damaged(path: str | Path, why: str) -> DataError:
    return DataError(
        f"{path} is damaged ({why}). Restore it with `git checkout -- {path}`, or after a merge keep the lines of both "
        "sides. Without it another split is drawn, which trains on photographs that were test images."
    )
