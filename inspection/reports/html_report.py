"""A report as one HTML file: pictures and styles inside, no script, nothing loaded from anywhere.

It opens offline, prints on A4, reads on a phone and with a screen reader, and the same content gives the same bytes.
"""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

from inspection.files import DIGITS, write_bytes

LANGUAGE = "en"
NO_VALUE = "–"
"""Shown for NaN: an empty cell looks like a fault of the report."""
PNG_START = b"\x89PNG\r\n\x1a\n"

STYLE = """
:root { color-scheme: light; --ink: #1b2733; --quiet: #52606d; --line: #d5dbe1; --accent: #1f5f93; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 68rem; background: #fff; color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .25rem; border-bottom: 2px solid var(--accent); font-size: 1.3rem; }
h1, h2, p, figcaption, caption, nav { overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; max-width: 46rem; white-space: pre-line; }
nav ul { margin: 0; padding-left: 1.2rem; columns: 18rem; }
a { color: var(--accent); }
figure { margin: 1.25rem 0; }
img { display: block; max-width: 100%; height: auto; }
figcaption, caption { color: var(--quiet); font-size: .9rem; }
figcaption { margin-top: .4rem; max-width: 46rem; }
caption { caption-side: top; padding-bottom: .4rem; text-align: left; }
.scroll { margin: 1rem 0; overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid var(--quiet); vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody th:not(.number) { min-width: min(11rem, 36vw); }
.number { text-align: right; }
td.number { white-space: nowrap; }
@media print {
  @page { size: A4; margin: 15mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h1, h2 { break-after: avoid; }
  p { max-width: none; orphans: 3; widows: 3; }
  section > p:last-of-type { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  caption { break-after: avoid; }
  img { max-height: 235mm; width: auto; margin: 0 auto; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding-right: 1.5mm; }
  tbody th:not(.number) { min-width: 25mm; }
}
"""


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
    body = "\n".join(_section(number, section) for number, section in enumerate(sections, start=1))
    page = f"""<!DOCTYPE html>
<html lang="{LANGUAGE}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{_paragraphs(introduction)}</header>
{_contents(sections)}<main>
{body}
</main>
</body>
</html>
"""
    # Names of files that are no Unicode hold lone surrogates, which UTF-8 has no place for.
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < 2:
        return ""
    lines = "\n".join(
        f'<li><a href="#section-{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(sections, start=1)
    )
    return f'<nav aria-label="Contents">\n<ul>\n{lines}\n</ul>\n</nav>\n'


def _section(number: int, section: Section) -> str:
    parts = "\n".join(_picture(part) if isinstance(part, Picture) else _table(part) for part in section.parts)
    name = f"section-{number}"
    heading = f'<h2 id="{name}">{escape(section.title)}</h2>'
    return f'<section aria-labelledby="{name}">\n{heading}\n{_paragraphs(section.text)}{parts}\n</section>'


def _paragraphs(text: str) -> str:
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    return "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in paragraphs if paragraph)


def _picture(picture: Picture) -> str:
    if not picture.alt.strip():
        raise ValueError(f"{picture.path} needs a text that says what it shows")
    data = Path(picture.path).read_bytes()
    width, height = _png_size(data, picture.path)
    source = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    caption = f"\n<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    # The size keeps the text from jumping while a phone decodes the pictures.
    image = f'<img src="{source}" alt="{escape(picture.alt)}" width="{width}" height="{height}">'
    return f"<figure>\n{image}{caption}\n</figure>"


def _png_size(data: bytes, path: str | Path) -> tuple[int, int]:
    """Return width and height, which every PNG states in its first chunk."""
    if not data.startswith(PNG_START) or len(data) < 24:
        raise ValueError(f"{path} is no PNG")
    return struct.unpack(">II", data[16:24])


def _table(table: Table) -> str:
    if not table.caption.strip():
        raise ValueError(f"a table of {', '.join(map(str, table.frame))} needs a caption")
    columns = [(table.frame.iloc[:, place], place == 0) for place in range(table.frame.shape[1])]
    styles = [' class="number"' if _is_number(column) else "" for column, _ in columns]
    names = zip(table.frame.columns, styles, strict=True)
    head = "".join(f'<th scope="col"{style}>{_breakable(str(name))}</th>' for name, style in names)
    cells = [_cells(column, is_first, style) for (column, is_first), style in zip(columns, styles, strict=True)]
    rows = "\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    caption = escape(table.caption)
    # A table wider than the screen scrolls by itself, with the keyboard too.
    return f"""<div class="scroll" role="region" aria-label="{caption}" tabindex="0">
<table>
<caption>{caption}</caption>
<thead>
<tr>{head}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""


def _is_number(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _cells(column: pd.Series, is_first: bool, style: str) -> list[str]:
    tag, scope = ("th", ' scope="row"') if is_first else ("td", "")
    return [f"<{tag}{scope}{style}>{_breakable(text)}</{tag}>" for text in _texts(column)]


def _breakable(text: str) -> str:
    """Return escaped text that may break after the marks of names and paths, which hold no spaces to break at."""
    return re.sub(r"([_/\\])", r"\1<wbr>", escape(text))


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
