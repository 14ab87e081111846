"""A report as one HTML file: pictures and styles inside, no script, nothing loaded from anywhere.

It opens offline, prints on A4, reads on a phone and with a screen reader, and the same content gives the same bytes.
The page is report.html.jinja with report.css; every text is escaped by Jinja.
"""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

from inspection.files import DIGITS, write_bytes

TEMPLATE = "report.html.jinja"
NO_VALUE = "–"
"""Shown for NaN: an empty cell looks like a fault of the report."""
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture of a section.

    Attributes
    ----------
    path : Path
        PNG.
    alt : str
        What the picture says, for who cannot see it; not empty.
    caption : str
        What to look at; may be empty.
    """

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a section.

    Attributes
    ----------
    frame : DataFrame
        Its first column heads the rows; the index is not shown. Floats get as many decimals as their column needs, at
        most four; NaN is a dash.
    caption : str
        What the table holds; not empty.
    """

    frame: pd.DataFrame
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report with its own heading.

    Attributes
    ----------
    title : str
    text : str
        Plain text; an empty line ends a paragraph, a line break stays.
    parts : tuple of Picture or Table
        Below the text, in this order.
    """

    title: str
    text: str = ""
    parts: tuple[Picture | Table, ...] = ()


def write_report(path: str | Path, title: str, sections: Sequence[Section], introduction: str = "") -> None:
    """Write one self-contained HTML file, in one step.

    Parameters
    ----------
    path : str or Path
        HTML to write.
    title : str
    sections : sequence of Section
    introduction : str
        Text below the title, above the list of sections; see `Section`.

    Raises
    ------
    ValueError
        If a picture is no PNG, or a picture or a table lacks its description.
    OSError
        If a picture cannot be read.
    """
    page = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title=title, introduction=_paragraphs(introduction), sections=[_describe(section) for section in sections]
        )
    )
    # Names of files that are no Unicode hold lone surrogates, which UTF-8 has no place for.
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("inspection.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Markup:
    """Return escaped text that may break after the marks of names and paths, which hold no spaces to break at."""
    # The marks are not among what escaping writes, so the markup put in stays whole.
    return Markup(re.sub(r"([_/\\])", r"\1<wbr>", str(escape(text))))


def _describe(section: Section) -> dict:
    parts = [_picture(part) if isinstance(part, Picture) else _table(part) for part in section.parts]
    return {"title": section.title, "paragraphs": _paragraphs(section.text), "parts": parts}


def _paragraphs(text: str) -> list[str]:
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    return [paragraph for paragraph in paragraphs if paragraph]


def _picture(picture: Picture) -> dict:
    if not picture.alt.strip():
        raise ValueError(f"{picture.path} needs a text that says what it shows")
    data = Path(picture.path).read_bytes()
    width, height = _png_size(data, picture.path)
    source = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return {"source": source, "alt": picture.alt, "caption": picture.caption, "width": width, "height": height}


def _png_size(data: bytes, path: str | Path) -> tuple[int, int]:
    """Return width and height, which every PNG states in its first chunk."""
    if not data.startswith(PNG_START) or len(data) < 24:
        raise ValueError(f"{path} is no PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _table(table: Table) -> dict:
    if not table.caption.strip():
        raise ValueError(f"a table of {', '.join(map(str, table.frame))} needs a caption")
    columns = [table.frame.iloc[:, place] for place in range(table.frame.shape[1])]
    return {
        "caption": table.caption,
        "columns": [{"name": str(column.name), "is_number": _is_number(column)} for column in columns],
        "rows": list(zip(*map(_texts, columns), strict=True)),
    }


def _is_number(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _texts(column: pd.Series) -> list[str]:
    if is_bool_dtype(column):
        column = column.map({True: "yes", False: "no"})
    if is_float_dtype(column):
        # Adding 0 makes -0 a plain 0.
        column = column.round(DIGITS) + 0.0
        decimals = _decimals(column)
        return [NO_VALUE if pd.isna(value) else f"{value:.{decimals}f}" for value in column]
    return [NO_VALUE if pd.isna(value) else str(value) for value in column]


def _decimals(column: pd.Series) -> int:
    """Return how many decimals a column needs, at most `DIGITS`: numbers below each other then line up."""
    written = [f"{value:.{DIGITS}f}".rstrip("0") for value in column.dropna()]
    return max((len(text.partition(".")[2]) for text in written), default=0)
