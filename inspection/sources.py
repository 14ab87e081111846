"""What a folder of photographs says about itself: one record per image file, before any pixel is read."""

from pathlib import Path

import pandas as pd

from inspection.errors import DataError
from inspection.images import EXTENSIONS
from inspection.labels import CLASS_NAMES

TABLE_NAME = "labels.csv"
TABLE_COLUMNS = ("path", "defect_probability")
SPLITS = ("train", "test")
COLUMNS = ("path", "defect_probability", "split", "stratum")


def list_images(source: str | Path) -> pd.DataFrame:
    """List the labelled images of a source folder.

    Three layouts are told apart by what the folder holds:

    - a table ``labels.csv`` with the columns ``path`` (relative to the folder) and ``defect_probability`` (0 to 1),
      and optionally ``stratum`` (a product variant to balance over the split, such as the cell type);
    - ``{train,test}/{defective,non_defective}/``, whose split is kept;
    - ``{defective,non_defective}/``.

    Class folders are searched in depth, in sorted order. Hidden files and files that do not carry an image
    extension are passed over.

    Parameters
    ----------
    source : str or Path

    Returns
    -------
    DataFrame
        Columns ``path`` (as the source folder plus the path below it, POSIX), ``defect_probability`` (float in
        [0, 1]), ``split`` (``train``, ``test`` or empty: not decided by the source) and ``stratum`` (str).

    Raises
    ------
    DataError
        If the folder is missing, has none of the layouts, lacks a class or holds an empty class folder.
    """
    source = Path(source)
    if not source.is_dir():
        raise DataError(f"data.source: no folder {str(source)!r}; put the photographs there or correct params.yaml.")
    if (source / TABLE_NAME).is_file():
        return _from_table(source)
    if all((source / split).is_dir() for split in SPLITS):
        return pd.concat([_from_class_folders(source / split, split) for split in SPLITS], ignore_index=True)
    return _from_class_folders(source, "")


def _from_table(source: Path) -> pd.DataFrame:
    table_path = source / TABLE_NAME
    try:
        table = pd.read_csv(table_path, dtype={"path": str, "stratum": str}, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as problem:
        raise DataError(f"{table_path} is not a UTF-8 CSV table: {problem}") from problem
    missing = [name for name in TABLE_COLUMNS if name not in table]
    if missing:
        raise DataError(f"{table_path}: column {missing[0]!r} is missing; found {', '.join(table.columns)}.")
    probability = pd.to_numeric(table["defect_probability"], errors="coerce")
    wrong = table[~probability.between(0, 1) | table["path"].isna()]
    if len(wrong):
        raise DataError(
            f"{table_path}, line {wrong.index[0] + 2}: path {wrong['path'].iloc[0]!r} with defect_probability "
            f"{wrong['defect_probability'].iloc[0]!r}; a path and a number from 0 to 1 are needed."
        )
    repeated = table.loc[table["path"].duplicated(), "path"]
    if len(repeated):
        raise DataError(f"{table_path}: {repeated.iloc[0]!r} is listed twice; keep one line per image.")
    outside = [path for path in table["path"] if Path(path).is_absolute() or ".." in Path(path).parts]
    if outside:
        raise DataError(f"{table_path}: {outside[0]!r} is not below the folder; use relative paths without '..'.")
    return pd.DataFrame(
        {
            "path": [(source / path).as_posix() for path in table["path"]],
            "defect_probability": probability.astype(float),
            "split": "",
            "stratum": table["stratum"].fillna("") if "stratum" in table else "",
        }
    )


def _from_class_folders(folder: Path, split: str) -> pd.DataFrame:
    missing = [name for name in CLASS_NAMES if not (folder / name).is_dir()]
    if missing:
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{folder}: no folder {missing[0]!r} (found {found}). Known layouts: {{train,test}}/"
            f"{{{','.join(CLASS_NAMES)}}}, {{{','.join(CLASS_NAMES)}}}, or a table {TABLE_NAME}."
        )
    records = []
    for label, name in enumerate(CLASS_NAMES):
        paths = sorted(path for path in (folder / name).rglob("*") if _is_image_name(path))
        if not paths:
            raise DataError(
                f"{folder / name} holds no image ({', '.join(EXTENSIONS)}); add photographs or remove the split."
            )
        records += [(path.as_posix(), float(label), split, "") for path in paths]
    return pd.DataFrame(records, columns=COLUMNS)


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
