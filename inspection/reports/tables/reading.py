"""Reading the CSV tables that stages hand to each other."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from inspection.errors import ModelsError


def read_table(path: str | Path, stage: str, texts: Collection[str]) -> pd.DataFrame:
    """Read a table that a stage wrote.

    Parameters
    ----------
    path : str or Path
        CSV.
    stage : str
        That writes it, for the message.
    texts : collection of str
        Columns that are text whatever they look like: a value may be called "NA" or "007". In all others an empty
        cell is NaN.

    Raises
    ------
    ModelsError
        If it is missing or no such table.
    """
    try:
        names = pd.read_csv(path, nrows=0).columns.astype(str).tolist()
        return pd.read_csv(
            path,
            keep_default_na=False,
            na_values={name: [""] for name in names if name not in texts},
            dtype={name: str for name in names if name in texts},
        )
    except FileNotFoundError as problem:
        raise ModelsError(f"{path} is missing; run `dvc repro {stage}`.") from problem
    except (ValueError, pd.errors.ParserError) as problem:
        raise ModelsError(f"{path} is no table of {stage} ({problem}); run `dvc repro {stage}`.") from problem
