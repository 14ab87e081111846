"""The report: one file that loads nothing, says everything a sighted reader sees, and lets no text become markup."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.reports.html_report import NO_VALUE, Picture, Section, Table, write_report

EVIL = '<script src="https://example.org/x.js">alert("a & b")</script>'
VOID = {"meta", "link", "img", "wbr", "br"}
LOADING = ("src", "href", "srcset", "data", "action", "poster", "background", "style", "ping", "xlink:href")


class Page(HTMLParser):
    """What a browser would make of the report; text and attributes come unescaped."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "curve <b> $x$.png"
    Image.new("RGB", (30, 20), "red").save(path)
    return path


@pytest.fixture
def full_report(tmp_path, picture):
    """A report with every kind of content, each with text that is markup."""
    frame = pd.DataFrame({EVIL: [EVIL, "b"], "rate": [0.25, np.nan]})
    sections = [
        Section(EVIL, f"{EVIL}\n\nsecond", (Picture(picture, EVIL, EVIL), Table(frame, EVIL))),
        Section("Last", "", (Picture(picture, "A red square."),)),
    ]
    write_report(tmp_path / "out" / "report.html", EVIL, sections, introduction=EVIL)
    return tmp_path / "out" / "report.html"


def write_table(tmp_path, frame) -> Page:
    write_report(tmp_path / "report.html", "t", [Section("s", parts=(Table(frame, "c"),))])
    return Page(tmp_path / "report.html")


# Safety


def test_nothing_is_loaded_from_outside(full_report):
    page = Page(full_report)
    references = [
        (tag, name, value) for tag, attributes in page.elements for name, value in attributes.items() if name in LOADING
    ]
    assert {(tag, name) for tag, name, _ in references} == {("link", "href"), ("a", "href"), ("img", "src")}
    anchors = [value for tag, _, value in references if tag == "a"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert anchors == [f"#{name}" for name in ids] == ["#section-1", "#section-2"]
    assert all(value.startswith("data:") for tag, _, value in references if tag != "a")
    [style] = page.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    policies = [attributes["content"] for attributes in page.all("meta") if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_text_never_becomes_markup(full_report):
    page = Page(full_report)
    assert b"<script" not in full_report.read_bytes().lower()
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "b"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    # All of it is there to read, as it was written.
    for tag in ("title", "h1", "figcaption", "caption"):
        assert page.texts[tag] == [EVIL]
    assert page.texts["h2"] == [EVIL, "Last"]
    assert page.texts["p"] == [EVIL, EVIL, "second"]
    assert page.texts["a"] == [EVIL, "Last"]
    assert page.texts["th"] == [EVIL, "rate", EVIL, "b"]
    assert page.all("img")[0]["alt"] == EVIL
    assert [attributes["aria-label"] for attributes in page.all("div")] == [EVIL]


# Content


def test_pictures_are_inside_with_their_size(full_report, picture):
    images = Page(full_report).all("img")
    assert [image["src"] for image in images] == [images[0]["src"]] * 2
    kind, _, data = images[0]["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True) == picture.read_bytes()
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (30, 20)
    assert (images[1]["width"], images[1]["height"], images[1]["alt"]) == ("30", "20", "A red square.")


def test_reads_with_a_screen_reader(full_report):
    page = Page(full_report)
    assert page.all("html") == [{"lang": "en"}]
    assert [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2"]
    assert [attributes["aria-labelledby"] for attributes in page.all("section")] == ["section-1", "section-2"]
    assert [attributes["scope"] for attributes in page.all("th")] == ["col", "col", "row", "row"]
    assert len(page.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_prints_on_a4(full_report):
    [style] = Page(full_report).texts["style"]
    printed = style.partition("@media print {")[2]
    assert "@page { size: A4;" in printed
    assert "figure, tr { break-inside: avoid; }" in printed


def test_figures_keep_the_order_given(tmp_path, picture):
    table = Table(pd.DataFrame({"a": [1]}), "numbers")
    parts = (table, Picture(picture, "one"), table, Picture(picture, "two"))
    write_report(tmp_path / "report.html", "t", [Section("s", "text", parts)])
    tags = [tag for tag, _ in Page(tmp_path / "report.html").elements if tag in ("p", "table", "img")]
    assert tags == ["p", "table", "img", "table", "img"]


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [("", []), (" \n\n ", []), ("one", ["one"]), ("one\nline\n\n\n\ntwo ", ["one\nline", "two"])],
)
def test_an_empty_line_ends_a_paragraph(tmp_path, text, paragraphs):
    write_report(tmp_path / "report.html", "t", [Section("s", text)])
    assert Page(tmp_path / "report.html").texts.get("p", []) == paragraphs


def test_report_without_sections(tmp_path):
    write_report(tmp_path / "report.html", "Nothing yet", [])
    page = Page(tmp_path / "report.html")
    assert page.texts["h1"] == ["Nothing yet"]
    assert page.all("nav") == page.all("section") == []


# Tables


def test_cells_as_they_are_read(tmp_path):
    frame = pd.DataFrame(
        {
            "voter": ["a_b/c.png", "$x$"],
            "rate": [0.5, 0.12346],
            "whole": [3.0, np.nan],
            "n": [1000000, 7],
            "rejects": [True, False],
            "zero": [-0.00001, 0.0],
        },
        index=["never", "shown"],
    )
    page = write_table(tmp_path, frame)
    assert page.texts["th"] == ["voter", "rate", "whole", "n", "rejects", "zero", "a_b/c.png", "$x$"]
    assert page.texts["td"] == ["0.5000", "3", "1000000", "yes", "0", "0.1235", NO_VALUE, "7", "no", "0"]
    is_number = ["class" in attributes for attributes in page.all("th")[:6]]
    assert is_number == [False, True, True, True, False, True]


def test_decimals_are_what_the_column_needs(tmp_path):
    page = write_table(tmp_path, pd.DataFrame({"x": ["a", "b"], "p": [0.5, 0.25], "q": [np.inf, 10.0]}))
    assert page.texts["td"] == ["0.50", "inf", "0.25", "10"]


def test_names_may_break_where_they_are_joined(tmp_path):
    page = write_table(tmp_path, pd.DataFrame({"a_b": ["c/d\\e"]}))
    assert len(page.all("wbr")) == 3


def test_table_without_rows_keeps_its_head(tmp_path):
    page = write_table(tmp_path, pd.DataFrame({"a": [], "b": []}))
    assert page.texts["th"] == ["a", "b"]
    assert page.all("td") == []


def test_columns_of_one_name_are_both_shown(tmp_path):
    page = write_table(tmp_path, pd.DataFrame([["x", 1, 2]], columns=["a", "n", "n"]))
    assert page.texts["td"] == ["1", "2"]


# The file


def test_same_content_same_bytes(tmp_path, picture, full_report):
    parts = (Picture(picture, "one"), Table(pd.DataFrame({"a": [0.1]}), "numbers"))
    for name in ("first.html", "second.html"):
        write_report(tmp_path / name, "t", [Section("s", "text", parts)])
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert (tmp_path / "first.html").read_bytes() != full_report.read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "first.html").read_bytes()


def test_name_that_is_no_unicode_is_written(tmp_path, picture):
    parts = (Picture(picture, "größe 部品.png", "part_\udcff.png"),)
    write_report(tmp_path / "report.html", "t", [Section("s", parts=parts)])
    page = Page(tmp_path / "report.html")
    assert page.texts["figcaption"] == ["part_?.png"]
    assert page.all("img")[0]["alt"] == "größe 部品.png"


def test_failure_leaves_the_old_report(tmp_path, full_report):
    before = full_report.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        write_report(full_report, "t", [Section("s", parts=(Picture(tmp_path / "gone.png", "gone"),))])
    assert full_report.read_bytes() == before
    assert [entry.name for entry in full_report.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0 a photograph", b"\x89PNG\r\n\x1a\n"])
def test_picture_that_is_no_png_is_refused(tmp_path, data):
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.png is no PNG"):
        write_report(tmp_path / "report.html", "t", [Section("s", parts=(Picture(tmp_path / "x.png", "x"),))])
    assert not (tmp_path / "report.html").exists()


def test_picture_needs_a_description(tmp_path, picture):
    with pytest.raises(ValueError, match="needs a text that says what it shows"):
        write_report(tmp_path / "report.html", "t", [Section("s", parts=(Picture(picture, " "),))])


def test_table_needs_a_caption(tmp_path):
    with pytest.raises(ValueError, match="table of a, b needs a caption"):
        frame = pd.DataFrame({"a": [1], "b": [2]})
        write_report(tmp_path / "report.html", "t", [Section("s", parts=(Table(frame, ""),))])
