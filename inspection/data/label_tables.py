"""The table of labels: one line per photograph, written by a spreadsheet or a script."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from inspection.errors import DataError
from inspection.labels import CLASS_NAMES, DEFECTIVE, SPLIT_NAMES, is_common_name, plain_name, split_part

TABLE_NAME = "labels.csv"
LABEL_COLUMNS = ("label", "defect_probability")
"""The two names of the column that says what a photograph shows."""
_DELIMITERS = (",", ";", "\t")


class Record(NamedTuple):
    """What a source says about one image; an empty string or NaN is what it does not say."""

    path: str
    defect_probability: float
    split: str = ""
    stratum: str = ""
    group: str = ""
    weight: float = math.nan
    defect_type: str = ""
    mask: str = ""


def read_table(table: str | Path, folder: str | Path, labels: Mapping[str, int]) -> pd.DataFrame:
    """Read a table of labels.

    The table is UTF-8 CSV with a header. Its delimiter is the comma, semicolon or tab under which the header has a
    column ``path``; beside semicolons and tabs, numbers may have a decimal comma. Columns:

    - ``path``: relative to ``folder``, with slashes or backslashes;
    - ``label`` (or ``defect_probability``): the name of a class, or the probability of a defect from 0 to 1;
    - ``split``, optional: `SPLIT_NAMES`, on every line or on none;
    - ``group``, ``weight`` (above 0), ``defect_type``, ``stratum`` and ``mask`` (a file, relative to ``folder``),
      optional and empty where not known. A label that is not a common name of its class, such as ``scratch``, is the
      defect type unless the table states another.

    Other columns and empty lines are passed over. Whether the photographs exist is left to whoever reads them.

    Parameters
    ----------
    table : str or Path
    folder : str or Path
    labels : mapping of str to int
        From `inspection.labels.class_labels`.

    Returns
    -------
    DataFrame
        The fields of `Record`, in the order of the table.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column or a line, or holds a value that cannot be used.
    """
    try:
        # newline="" leaves line breaks to the csv module, which needs them inside quotes.
        with Path(table).open(encoding="utf-8-sig", newline="") as stream:
            lines = list(_read_lines(stream.read(), table))
    except OSError as problem:
        raise DataError(
            f"{table} cannot be read ({problem.strerror}); correct its name or its permissions."
        ) from problem
    except (csv.Error, UnicodeDecodeError) as problem:
        raise DataError(f"{table} is not a UTF-8 CSV table ({problem}); save it as 'CSV UTF-8'.") from problem
    if not lines:
        raise DataError(f"{table} lists no image; add one line per photograph below the header.")
    _check_listed_once(lines)
    _check_split_on_all_or_none(lines)
    return pd.DataFrame([_to_record(line, Path(folder), labels) for line in lines], columns=Record._fields)


@dataclass(frozen=True)
class _Line:
    where: str
    cells: dict[str, str]
    decimal_comma: bool

    def text(self, column: str) -> str:
        # The line breaks of other systems: the manifest could not hold a carriage return.
        return self.cells.get(column, "").strip().replace("\r\n", "\n").replace("\r", "\n")

    def number(self, column: str) -> float:
        """NaN when it is none."""
        text = self.text(column)
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            return math.nan

    def path(self, column: str) -> str:
        """A path below the folder; Windows writes backslashes."""
        text = self.cells[column].replace("\\", "/")
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:/", text):
            raise self.refused(column, "it is not below the folder; use relative paths without '..'")
        if not path.name or "\0" in text:
            raise self.refused(column, "give the path of a file, relative to the folder")
        if "\r" in text:
            raise self.refused(column, "it holds a carriage return, which the manifest cannot hold; rename the file")
        return str(path)

    def refused(self, column: str, why: str) -> DataError:
        return DataError(f"{self.where}, {column} {self.cells[column]!r}: {why}.")


def _read_lines(text: str, table: str | Path) -> Iterator[_Line]:
    delimiter = next((sign for sign in _DELIMITERS if "path" in _read_header(text, sign)), ",")
    header = _read_header(text, delimiter)
    _check_header(header, table)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    for cells in reader:
        if not any(cells):
            continue
        where = f"{table}, line {reader.line_num}"
        if len(cells) != len(header):
            raise DataError(
                f"{where}: {len(cells)} fields {cells} where the header has {len(header)}; quote fields that hold a "
                f"{delimiter!r}."
            )
        yield _Line(where, dict(zip(header, cells, strict=True)), delimiter != ",")


def _read_header(text: str, delimiter: str) -> list[str]:
    # Not strict: a header quoted for one delimiter must not stop the try with another.
    cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    return [cell.strip().lower() for cell in cells]


def _check_header(header: list[str], table: str | Path) -> None:
    found = f"found {header or 'an empty file'}"
    if "path" not in header:
        raise DataError(f"{table}: column 'path' is missing; {found}. The header must name the columns.")
    stated = [name for name in LABEL_COLUMNS if name in header]
    if not stated:
        raise DataError(f"{table}: column 'label' (or 'defect_probability') is missing; {found}.")
    if len(stated) > 1:
        raise DataError(f"{table}: columns 'label' and 'defect_probability' mean the same; keep one of them, {found}.")
    repeated = [name for name in header if name in (*Record._fields, *LABEL_COLUMNS) and header.count(name) > 1]
    if repeated:
        raise DataError(f"{table}: column {repeated[0]!r} stands there twice; keep one, {found}.")


def _check_listed_once(lines: list[_Line]) -> None:
    first: dict[str, _Line] = {}
    for line in lines:
        earlier = first.setdefault(line.path("path"), line)
        if earlier is not line:
            raise line.refused("path", f"it is listed twice, first in {earlier.where}; keep one")


def _check_split_on_all_or_none(lines: list[_Line]) -> None:
    without = [line for line in lines if not line.text("split")]
    if 0 < len(without) < len(lines):
        raise without[0].refused(
            "split", f"{len(without)} of {len(lines)} lines have none; fill the column on every line or on none"
        )


def _to_record(line: _Line, folder: Path, labels: Mapping[str, int]) -> Record:
    probability, named_type = _read_label(line, labels)
    return Record(
        path=(folder / line.path("path")).as_posix(),
        defect_probability=probability,
        split=_read_split(line),
        stratum=line.text("stratum"),
        group=line.text("group"),
        weight=_read_weight(line),
        defect_type=line.text("defect_type") or named_type,
        mask=_read_mask(line, folder),
    )


def _read_label(line: _Line, labels: Mapping[str, int]) -> tuple[float, str]:
    """Return the probability of a defect and the defect type that the label names."""
    column = next(name for name in LABEL_COLUMNS if name in line.cells)
    text = line.text(column)
    label = labels.get(plain_name(text)) if text else None
    if label is not None:
        return float(label), text if label == DEFECTIVE and not is_common_name(text) else ""
    probability = line.number(column)
    if not 0 <= probability <= 1:
        known = " or ".join(repr(name) for name in CLASS_NAMES)
        raise line.refused(column, f"use a number from 0 to 1, {known}, or a name that data.classes explains")
    return probability, ""


def _read_split(line: _Line) -> str:
    part = split_part(line.text("split"))
    if line.text("split") and not part:
        raise line.refused("split", f"use one of {', '.join(SPLIT_NAMES)}")
    return part


def _read_weight(line: _Line) -> float:
    weight = line.number("weight")
    if line.text("weight") and not 0 < weight < math.inf:
        raise line.refused("weight", "use a number above 0, or leave it empty")
    return weight


def _read_mask(line: _Line, folder: Path) -> str:
    if not line.text("mask"):
        return ""
    mask = folder / line.path("mask")
    if not mask.is_file():
        raise line.refused("mask", f"no file {mask.as_posix()}; correct the path or leave it empty")
    return mask.as_posix()
