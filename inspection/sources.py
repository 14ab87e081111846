"""What a folder of photographs says about itself: one record per image file, before any pixel is read."""

import csv
import glob
from pathlib import Path, PurePosixPath

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
    records, lines = [], {}
    try:
        with table_path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = [name for name in TABLE_COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{table_path}: column {missing[0]!r} is missing; found {reader.fieldnames or 'none'}.")
            for row in reader:
                where = f"{table_path}, line {reader.line_num}"
                path, probability = _check_row(row, where)
                if path in lines:
                    raise DataError(f"{where}: {path!r} is listed twice, first in line {lines[path]}; keep one.")
                lines[path] = reader.line_num
                records.append(((source / path).as_posix(), probability, "", row.get("stratum") or ""))
    except (csv.Error, UnicodeDecodeError) as problem:
        raise DataError(f"{table_path} is not a UTF-8 CSV table: {problem}") from problem
    return pd.DataFrame(records, columns=COLUMNS)


def _check_row(row: dict, where: str) -> tuple[str, float]:
    """Return path and defect probability of a line of the table."""
    if None in row or None in row.values():
        raise DataError(f"{where}: it has more or fewer fields than the header; quote fields that hold a comma.")
    try:
        probability = float(row["defect_probability"])
    except ValueError:
        probability = -1.0
    if not row["path"] or not 0 <= probability <= 1:
        raise DataError(
            f"{where}: path {row['path']!r} with defect_probability {row['defect_probability']!r}; a path and a number "
            "from 0 to 1 are needed."
        )
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: {row['path']!r} is not below the folder; use relative paths without '..'.")
    return str(path), probability


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
        # Unlike rglob, glob follows links to folders and passes over hidden folders.
        names = sorted(glob.glob("**/*", root_dir=folder / name, recursive=True))  # noqa: PTH207
        paths = [folder / name / file for file in names if _is_image(folder / name / file)]
        if not paths:
            raise DataError(
                f"{folder / name} holds no image ({', '.join(EXTENSIONS)}); add photographs or remove the split."
            )
        records += [(path.as_posix(), float(label), split, "") for path in paths]
    return pd.DataFrame(records, columns=COLUMNS)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() not in EXTENSIONS or not path.is_file():
        return False
    try:
        path.as_posix().encode()
    except UnicodeEncodeError as problem:
        raise DataError(f"{path.as_posix()!r}: the name is not UTF-8 and no table can hold it; rename it.") from problem
    return True
