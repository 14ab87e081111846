"""Picture of copies: leaks side by side and laid over each other, contradictions first, then groups and series."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from inspection.audit.findings import as_report, audit_images
from inspection.audit.indexing import index_images
from inspection.data.images import AS_STORED, Decoding
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED
from inspection.reports.pictures.copies import N_GROUPS, N_LEAKS, plot_copies
from tests.parts import draw_part
from tests.reports.drawings import BLUE, VERMILION, WIDTH, read_png

NAMES = ["a$b.png", "$\\frac{1}{2}$.png", "größe 1.png", "部品 деталь.png", "50%_{x}^.png", "$_$.png"]
# A font that lacks a letter draws a box.
boxes_are_fine = pytest.mark.filterwarnings("ignore:Glyph .* missing")


def write_parts(folder, names):
    for seed, name in enumerate(names):
        draw_part(seed, seed % 2 == 1, 16).save(folder / name)
    return [(folder / name).as_posix() for name in names]


def places_of(picture: np.ndarray, colour, tolerance: int = 0) -> np.ndarray:
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((np.abs(picture - colour) <= tolerance).all(axis=-1))


def audited(folder, splits=None, labels=None) -> tuple[dict, pd.DataFrame]:
    """Audit a folder as if the source had said so much about it, by name; return findings and photographs."""
    indexed = index_images(list_any(folder).records)
    names = [path.rsplit("/", 1)[1] for path in indexed.readable["path"]]
    indexed.readable["split"] = [(splits or {}).get(name, "") for name in names]
    audit = audit_images(indexed, np.array([(labels or {}).get(name, UNLABELLED) for name in names]))
    return as_report(audit, folder.as_posix(), ""), audit.images


def found(paths, photographs, splits, labels, series=None) -> tuple[dict, pd.DataFrame]:
    """Findings, and photographs, of images in one folder whose photographs and series are given by number."""
    images = pd.DataFrame({"path": paths, "photograph": photographs, "split": splits, "label": labels})
    images["series"] = images["photograph"] if series is None else series
    names = images["path"].str.rsplit("/", n=1).str[1]
    sets = {
        column: sorted((of[1].tolist() for of in names.groupby(images[column])), key=lambda members: -len(members))
        for column in ("photograph", "series")
    }
    several = [rows for _, rows in images.groupby("series") if rows["photograph"].nunique() > 1]
    leaks = [
        [names[test], names[train]]
        for test, train in product(images.index, images.index)
        if (images["split"][test], images["split"][train]) == ("test", "train")
        and images["photograph"][test] == images["photograph"][train]
    ]
    findings = {
        "folder": paths[0].rsplit("/", 1)[0] if len(paths) else "x",
        "groups": [members for members in sets["photograph"] if len(members) > 1],
        "series": sorted((names[rows.index].tolist() for rows in several), key=lambda members: -len(members)),
        "leaks": leaks,
        "n_leaks": len(leaks),
    }
    return findings, images


def headline(n_leaks: int, n_copies: int, n_series: int = 0) -> str:
    return (
        f"{n_leaks} pairs of test and training images are one photograph; {n_copies} photographs have copies; "
        f"{n_series} likely series"
    )


@pytest.fixture
def shown(figures):
    """Titles of what was drawn: one of the figure, then those of the axes in order, without the empty ones."""

    def titles() -> list[str]:
        return [figures[0].get_suptitle(), *(axis.get_title() for axis in figures[0].axes if axis.images)]

    return titles


def test_no_copies(tmp_path, shown):
    write_parts(tmp_path, ["a.png", "b.png"])
    plot_copies(tmp_path / "plots" / "c.png", *audited(tmp_path), AS_STORED)
    assert shown() == [headline(0, 0)]
    picture = read_png(tmp_path / "plots" / "c.png")
    assert picture.shape == (60, WIDTH, 3)
    assert (picture < 128).any(), "the title is drawn"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_image_at_all(tmp_path, shown):
    (tmp_path / "broken.png").write_bytes(b"no image")
    plot_copies(tmp_path / "c.png", *audited(tmp_path), AS_STORED)
    assert shown() == [headline(0, 0)]


def test_copies_without_a_leak(tmp_path, shown):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).save(tmp_path / "b.bmp")
    draw_part(1, True).save(tmp_path / "c.png")
    plot_copies(tmp_path / "c.png.png", *audited(tmp_path), AS_STORED)
    assert shown() == [
        headline(0, 1),
        "one of 2 copies\na.png",
        "\nb.bmp",
    ]
    assert read_png(tmp_path / "c.png.png").shape == (268, WIDTH, 3)


def test_a_leak_is_laid_over(tmp_path, shown):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).rotate(90).save(tmp_path / "b.png")
    audit = audited(tmp_path, {"a.png": "train", "b.png": "test"}, {"a.png": 0, "b.png": 1})
    plot_copies(tmp_path / "plots" / "c.png", *audit, AS_STORED)
    assert shown() == [
        headline(1, 1),
        "test: defective\nb.png",
        "train: non_defective\na.png",
        "the second, laid\nover the first",
        "one of 2 copies\na.png",
        "\nb.png",
    ]
    picture = read_png(tmp_path / "plots" / "c.png")
    assert picture.shape == (476, WIDTH, 3)
    # The captions have the colours of the labels: the test image, left, is the defective one.
    leak = picture[:235]
    assert places_of(leak, VERMILION, 29)[:, 1].mean() < WIDTH / 6 < places_of(leak, BLUE, 29)[:, 1].mean() < WIDTH / 3


def test_what_is_laid_over_looks_like_the_first(tmp_path, monkeypatch):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).rotate(90).save(tmp_path / "b.png")
    pictures, imshow = [], Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda axis, data, **options: pictures.append(data) or imshow(axis, data, **options)
    )
    plot_copies(tmp_path / "c.png", *audited(tmp_path, {"a.png": "train", "b.png": "test"}), AS_STORED)
    tested, trained, laid_over = pictures[:3]
    assert np.array_equal(tested, np.rot90(trained))
    inner = slice(40, 120)
    first = np.asarray(Image.fromarray(tested).convert("L").resize((160, 160), Image.Resampling.BILINEAR), float)
    assert np.corrcoef(first[inner, inner].ravel(), laid_over[inner, inner, 0].ravel())[0, 1] > 0.95


def test_pictures_that_cannot_be_laid_over(tmp_path, shown):
    # Copies of a copy may be too far apart; here the second shows nothing.
    draw_part(0, True).save(tmp_path / "a.png")
    Image.new("L", (64, 64), 90).save(tmp_path / "b.png")
    paths = [(tmp_path / name).as_posix() for name in ("a.png", "b.png")]
    plot_copies(tmp_path / "c.png", *found(paths, [0, 0], ["train", "test"], [0, 0]), AS_STORED)
    assert shown()[1:3] == ["test: non_defective\nb.png", "train: non_defective\na.png"]
    assert shown()[3] == "cannot be laid\nover each other"
    assert len(shown()) == 6


def test_each_photograph_leaks_once_and_contradictions_come_first(tmp_path, shown):
    # Photographs 0, 2 and 5; only the second test image of the last one has another label than its training image.
    paths = write_parts(tmp_path, [f"{index}.png" for index in range(8)])
    splits = ["test", "train", "train", "test", "test", "test", "test", "train"]
    audit = found(paths, [0, 0, 2, 2, 2, 5, 5, 5], splits, [0, 0, 1, 1, 1, 1, 0, 1])
    plot_copies(tmp_path / "c.png", *audit, AS_STORED)
    assert shown()[0] == headline(5, 3)
    leaks = [title for title in shown() if title.startswith(("test: ", "train: "))]
    assert leaks == [
        "test: non_defective\n6.png", "train: defective\n7.png",
        "test: non_defective\n0.png", "train: non_defective\n1.png",
        "test: defective\n3.png", "train: defective\n2.png",
    ]  # fmt: skip


def test_gallery_shows_the_first_leaks_and_the_largest_groups(tmp_path, shown):
    # Ten photographs in two copies each and one in eight: more groups and members than there is room for.
    n_pairs = 10
    paths = write_parts(tmp_path, [f"{index:02d}.png" for index in range(2 * n_pairs + 8)])
    photographs = [index // 2 * 2 for index in range(2 * n_pairs)] + [2 * n_pairs] * 8
    splits = ["test", "train"] * n_pairs + ["train"] * 8
    plot_copies(tmp_path / "c.png", *found(paths, photographs, splits, 0), AS_STORED)
    assert shown()[0] == headline(10, 11)
    assert sum(title.startswith("test: ") for title in shown()) == N_LEAKS
    groups = [title for title in shown() if title.startswith("one of")]
    assert groups == ["one of 8 copies\n20.png"] + [f"one of 2 copies\n{2 * i:02d}.png" for i in range(N_GROUPS - 1)]
    assert "\n25.png" in shown(), "six of the eight"
    assert "\n26.png" not in shown()
    # Two leaks a row, and a group a row, of 2.08 inches each below 0.6 inches.
    assert read_png(tmp_path / "c.png").shape == (60 + 208 * (N_LEAKS // 2 + N_GROUPS), WIDTH, 3)


def test_series_follow_the_copies(tmp_path, shown):
    # 0 and 1 are copies, in a series with 2; 3 to 5 are another series of three photographs.
    paths = write_parts(tmp_path, [f"{index}.png" for index in range(6)])
    plot_copies(tmp_path / "c.png", *found(paths, [0, 0, 2, 3, 4, 5], "", 0, [0, 0, 0, 3, 3, 3]), AS_STORED)
    assert shown() == [
        headline(0, 1, 2),
        *["one of 2 copies\n0.png", "\n1.png"],
        *["one of 3 in a likely series\n0.png", "\n1.png", "\n2.png"],
        *["one of 3 in a likely series\n3.png", "\n4.png", "\n5.png"],
    ]
    assert read_png(tmp_path / "c.png").shape == (684, WIDTH, 3)


def test_only_the_largest_series_are_shown(tmp_path, shown):
    paths = write_parts(tmp_path, [f"{index:02d}.png" for index in range(2 * N_GROUPS + 3)])
    series = [index // 2 * 2 for index in range(2 * N_GROUPS)] + [2 * N_GROUPS] * 3
    plot_copies(tmp_path / "c.png", *found(paths, range(len(paths)), "", 0, series), AS_STORED)
    rows = [title for title in shown() if title.startswith("one of")]
    assert rows[0] == f"one of 3 in a likely series\n{2 * N_GROUPS}.png"
    assert len(rows) == N_GROUPS


@boxes_are_fine
def test_unlabelled_images_and_file_names_of_any_kind(tmp_path, shown):
    for name in NAMES:
        draw_part(3, True, 32).save(tmp_path / name)
    audit = audited(tmp_path, {NAMES[0]: "test"} | dict.fromkeys(NAMES[1:], "train"))
    plot_copies(tmp_path / "plots" / "c.png", *audit, AS_STORED)
    assert shown()[1] == f"test\n{NAMES[0]}"
    assert {title.split("\n")[1] for title in shown() if title.startswith(("\n", "one of"))} == set(NAMES)
    assert read_png(tmp_path / "plots" / "c.png").shape == (476, WIDTH, 3)


def test_copies_are_decoded_as_they_were_indexed(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / name)
    seen = []
    monkeypatch.setattr(Axes, "imshow", lambda axis, data, **options: seen.append(data.max()))
    audit = audited(tmp_path, {"a.png": "test", "b.png": "train"})
    plot_copies(tmp_path / "c.png", *audit, Decoding(bit_depth=12))
    plot_copies(tmp_path / "c.png", *audit, AS_STORED)
    # A test and a training image, the white of what cannot be laid over them, and the two copies.
    assert seen == [255] * 5 + [15, 15, 255, 15, 15]
