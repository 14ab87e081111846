"""The report of an audit: stable keys, paths below the folder, every count exact, every kind of finding printed."""

import json
from pathlib import Path

import pandas as pd
import pytest

from inspection.audit import findings
from inspection.audit.findings import Audit, as_report, audit_images, count_classes, summary
from inspection.audit.indexing import Unreadable, index_images
from inspection.audit.signatures import make_signatures
from inspection.data.manifest import label_of
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED
from tests.parts import draw_part

KEYS = [
    "folder", "layout", "images", "unreadable", "groups", "identical", "series", "leaks", "n_leaks", "conflicts",
    "n_conflicts", "health", "classes", "sizes", "modes",
]  # fmt: skip


def found(n_images: int, unreadable=(), **columns) -> Audit:
    """An audit of the images data/00.png, ...: all different and alike but for what the columns say."""
    different = list(range(n_images))
    facts = {"width": 64, "height": 48, "mode": "L", "brightness": 99.0, "contrast": 30.0, "sharpness": 500.0}
    images = pd.DataFrame(
        {
            "path": [f"data/{index:02d}.png" for index in different],
            "photograph": different,
            "series": columns.get("photograph", different),
            "pixels_sha256": [str(index) for index in different],
            "split": "",
            "label": UNLABELLED,
            "dark_share": 0.0,
            "bright_share": 0.0,
        }
        | facts
        | columns
    )
    return Audit(images, unreadable, (), make_signatures([]))


@pytest.fixture
def source(tmp_path):
    """Train and test folders with a leak, a copy, a contradiction and a file that is no image."""
    for seed, name in enumerate(
        ["train/ok/a.png", "train/ok/b.png", "train/ng/c.png", "test/ok/d.png", "test/ng/e.png"]
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        draw_part(seed, False, 32).save(tmp_path / name)
    draw_part(0, False, 32).save(tmp_path / "test" / "ok" / "größe 1.bmp")
    draw_part(2, False, 32).rotate(90).save(tmp_path / "train" / "ok" / "turned.png")
    (tmp_path / "test" / "ng" / "broken.png").write_bytes(b"no image")
    return tmp_path


def report_of(folder: str) -> dict:
    listing = list_any(folder)
    indexed = index_images(listing.records)
    return as_report(audit_images(indexed, label_of(indexed.readable["defect_probability"])), folder, listing.layout)


def test_report_of_a_folder(source):
    report = report_of(source.as_posix())
    assert list(report) == KEYS
    assert report == {
        "folder": source.as_posix(),
        "layout": "split_folders",
        "images": 7,
        "unreadable": [{"path": "test/ng/broken.png", "reason": report["unreadable"][0]["reason"]}],
        "groups": [["test/ok/größe 1.bmp", "train/ok/a.png"], ["train/ng/c.png", "train/ok/turned.png"]],
        "identical": [["test/ok/größe 1.bmp", "train/ok/a.png"]],
        "series": [],
        "leaks": [["test/ok/größe 1.bmp", "train/ok/a.png"]],
        "n_leaks": 1,
        "conflicts": [["train/ok/turned.png", "train/ng/c.png"]],
        "n_conflicts": 1,
        "health": [],
        "classes": {"test": {"non_defective": 2, "defective": 1}, "train": {"non_defective": 3, "defective": 1}},
        "sizes": {"32x32": 7},
        "modes": {"L": 7},
    }


@pytest.mark.parametrize(
    "spelling", ["{name}", "./{name}", "{name}/", "./{name}//", "../{parent}/{name}", "{path}", "{path}/"]
)
def test_paths_are_below_the_folder_however_it_is_spelled(source, monkeypatch, spelling):
    monkeypatch.chdir(source.parent)
    folder = spelling.format(name=source.name, parent=source.parent.name, path=source.as_posix())
    report, expected = report_of(folder), report_of(source.as_posix())
    assert report.pop("folder") == folder
    del expected["folder"]
    # The reason names the file as the folder was spelled.
    assert Path(report["unreadable"][0].pop("reason").split(": ")[0]).resolve() == source / "test/ng/broken.png"
    del expected["unreadable"][0]["reason"]
    assert report == expected


def test_paths_below_the_working_folder(source, monkeypatch):
    monkeypatch.chdir(source)
    assert report_of(".")["leaks"] == [["test/ok/größe 1.bmp", "train/ok/a.png"]]


def test_report_is_json(source):
    report = report_of(source.as_posix())
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_report_without_a_readable_image(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    report = report_of(tmp_path.as_posix())
    assert list(report) == KEYS
    assert {key: value for key, value in report.items() if value} == {
        "folder": tmp_path.as_posix(),
        "layout": "unlabelled",
        "unreadable": report["unreadable"],
    }
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert summary(report).splitlines()[:2] == [
        f"0 images in {tmp_path.as_posix()} (unlabelled) - none readable",
        "1 unreadable",
    ]


def test_health_is_reported():
    report = as_report(found(20, mode=["L"] * 19 + ["RGB"], width=[640] + [64] * 19), "data", "unlabelled")
    assert report["health"] == [
        {"path": "00.png", "reason": "pixels 640x48; 19 of 20 images have 64x48"},
        {"path": "19.png", "reason": "mode RGB; 19 of 20 images have L"},
    ]
    assert report["sizes"] == {"64x48": 19, "640x48": 1}
    assert report["modes"] == {"L": 19, "RGB": 1}


@pytest.mark.parametrize(
    ("splits", "labels", "classes"),
    [
        (["", "", ""], [0, 1, 1], {"all": {"defective": 2, "non_defective": 1}}),
        (["", "", ""], [UNLABELLED] * 3, {"all": {"unlabelled": 3}}),
        (["train", "test", "train"], [0, 1, 0], {"test": {"defective": 1}, "train": {"non_defective": 2}}),
        (["test", "", "test"], [0, 1, UNLABELLED],
         {"all": {"defective": 1}, "test": {"non_defective": 1, "unlabelled": 1}}),
        ([], [], {}),
    ],
)  # fmt: skip
def test_images_per_split_and_class(splits, labels, classes):
    counted = count_classes(pd.DataFrame({"split": pd.Series(splits, dtype=str), "label": labels}))
    assert counted == classes
    assert list(counted) == sorted(counted)


def test_lists_are_cut_but_counts_are_exact(monkeypatch):
    monkeypatch.setattr(findings, "MAX_LISTED", 4)
    # One photograph: 3 test images and 3 training images, of both labels on both sides.
    audited = found(6, photograph=0, split=["test", "train"] * 3, label=[0, 0, 1, 1, 1, 1])
    report = as_report(audited, "data", "split_folders")
    assert report["leaks"] == [["00.png", "01.png"], ["00.png", "03.png"], ["00.png", "05.png"], ["02.png", "01.png"]]
    assert report["conflicts"] == [["00.png", f"{index:02d}.png"] for index in (2, 3, 4, 5)]
    assert (report["n_leaks"], report["n_conflicts"]) == (9, 8)
    assert "  ... and 4 more" in summary(report).splitlines()


def test_summary_of_nothing_found():
    report = as_report(found(3, label=[0, 1, 1]), "data", "class_folders")
    assert summary(report).splitlines() == [
        "3 images in data (class_folders) - all: 2 defective, 1 non_defective",
        "0 unreadable",
        "0 photographs with copies (0 images are copies)",
        report_line("series", report),
        "0 leaks: pairs of a test and a training image that are one photograph (0 test images)",
        "0 conflicts: one photograph under two labels",
        "0 unlike the others",
    ]


def report_line(word: str, report: dict) -> str:
    """The line of the summary that counts the findings with this word."""
    [line] = [line for line in summary(report).splitlines() if f" {word}" in line and line[0].isdigit()]
    return line


def test_summary_shows_every_kind():
    audited = found(
        20,
        (Unreadable("data/broken.png", "data/broken.png: damaged."),),
        photograph=[0, 0, 0, 0, 4, 4, *range(6, 20)],
        series=[0, 0, 0, 0, 4, 4, 6, 6, *range(8, 20)],
        split=["test", "train", "train", "train", *["train"] * 15, "test"],
        label=[0, 0, 0, 1, 1, 1, *[0] * 14],
        mode=["L"] * 19 + ["RGB"],
    )
    lines = summary(as_report(audited, "data", "csv")).splitlines()
    series = next(place for place, line in enumerate(lines) if "series" in line)
    assert lines[:series] == [
        "20 images in data (csv) - test: 2 non_defective; train: 15 non_defective, 3 defective",
        "1 unreadable",
        "  data/broken.png: damaged.",
        "2 photographs with copies (4 images are copies)",
        "  4 images: 00.png, 01.png, 02.png, ...",
        "  2 images: 04.png, 05.png",
    ]
    assert lines[series].startswith("1 likely series")
    assert lines[series + 1 :] == [
        "  2 images: 06.png, 07.png",
        "3 leaks: pairs of a test and a training image that are one photograph (1 test images)",
        "  00.png = 01.png",
        "  00.png = 02.png",
        "  00.png = 03.png",
        "3 conflicts: one photograph under two labels",
        "  00.png = 03.png",
        "  01.png = 03.png",
        "  02.png = 03.png",
        "1 unlike the others",
        "  19.png: mode RGB; 19 of 20 images have L",
    ]


@pytest.mark.parametrize(("n_found", "more"), [(5, []), (6, ["  ... and 1 more"]), (12, ["  ... and 7 more"])])
def test_summary_shows_the_first_findings(n_found, more):
    audited = found(2 * n_found, photograph=[index // 2 * 2 for index in range(2 * n_found)])
    lines = summary(as_report(audited, "data", "unlabelled")).splitlines()
    head = lines.index(f"{n_found} photographs with copies ({n_found} images are copies)")
    shown = [line for line in lines[head + 1 :] if line.startswith("  ")]
    expected = [f"  2 images: {2 * index:02d}.png, {2 * index + 1:02d}.png" for index in range(5)]
    assert shown == expected + more
