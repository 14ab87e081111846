"""Galleries: the right pictures in the right order, and a PNG whatever the number of mistakes."""

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection import plots
from inspection.errors import ImageError
from inspection.plots import plot_misclassified, plot_sample_grid
from tests.parts import draw_part

WIDTH = 1050  # 6 columns of 1.75 inches at 100 dots per inch
HEIGHTS = {1: 275, 2: 490, 3: 705, 4: 920, 5: 1135}  # 0.6 inches, and 2.15 a row


def write_parts(folder, names):
    for seed, name in enumerate(names):
        draw_part(seed, seed % 2 == 1, 16).save(folder / name)
    return [(folder / name).as_posix() for name in names]


@pytest.fixture
def mistakes(tmp_path):
    """Make rows of plot_misclassified for some probabilities; the part is defective where it was judged good."""

    def make(probas):
        paths = write_parts(tmp_path, [f"part_{index:02d}.png" for index in range(len(probas))])
        labels = [int(p < 0.5) for p in probas]
        verdicts = ["non_defective" if label else "defective" for label in labels]
        return pd.DataFrame({"path": paths, "label": labels, "verdict": verdicts, "defect_proba": probas})

    return make


@pytest.fixture
def drawn(monkeypatch):
    """Record what would be drawn instead of drawing it."""
    calls = []
    monkeypatch.setattr(plots, "_draw_gallery", lambda *arguments: calls.append(arguments))
    return calls


def read_png(path):
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(("n_wrong", "n_rows"), [(0, 1), (1, 1), (6, 1), (7, 2), (30, 5), (31, 5)])
def test_misclassified_is_a_png_as_high_as_it_needs(tmp_path, mistakes, n_wrong, n_rows):
    path = tmp_path / "plots" / "misclassified.png"
    plot_misclassified(path, mistakes([0.01 + 0.03 * index for index in range(n_wrong)]))
    picture = read_png(path)
    assert picture.shape == (HEIGHTS[n_rows], WIDTH, 3)
    assert (picture < 128).any(), "at least the title is drawn"
    assert [entry.name for entry in path.parent.iterdir()] == ["misclassified.png"]


def test_no_mistake_is_a_gallery_without_pictures(tmp_path, mistakes, drawn):
    plot_misclassified(tmp_path / "m.png", mistakes([]))
    [(_, title, rows, captions)] = drawn
    assert title == "Misclassified test images, most confident first (0 of 0)"
    assert len(rows) == len(captions) == 0


def test_no_mistake_as_evaluation_selects_it(tmp_path):
    # A selection of nothing from a whole table keeps its column types.
    columns = {"path": ["a.png"], "label": [1], "verdict": ["defective"], "defect_proba": [0.9]}
    plot_misclassified(tmp_path / "m.png", pd.DataFrame(columns)[[False]])
    assert read_png(tmp_path / "m.png").shape == (HEIGHTS[1], WIDTH, 3)


def test_most_confident_mistakes_come_first(tmp_path, mistakes, drawn):
    # Distances from one half: 0.1, 0.48, 0.4, 0.0, 0.4; the two of 0.4 go by name.
    plot_misclassified(tmp_path / "m.png", mistakes([0.6, 0.02, 0.9, 0.5, 0.1]))
    [(path, title, rows, captions)] = drawn
    assert path == tmp_path / "m.png"
    assert title == "Misclassified test images, most confident first (5 of 5)"
    assert rows["defect_proba"].tolist() == [0.02, 0.9, 0.1, 0.6, 0.5]
    assert captions == [
        "part_01.png\nescape: p = 0.02",
        "part_02.png\noverkill: p = 0.90",
        "part_04.png\nescape: p = 0.10",
        "part_00.png\noverkill: p = 0.60",
        "part_03.png\noverkill: p = 0.50",
    ]


def test_only_the_worst_thirty_are_drawn(tmp_path, mistakes, drawn):
    probas = [round(0.5 - 0.01 * index, 2) for index in range(40)]
    plot_misclassified(tmp_path / "m.png", mistakes(probas))
    [(_, title, rows, captions)] = drawn
    assert title == "Misclassified test images, most confident first (30 of 40)"
    assert rows["defect_proba"].tolist() == sorted(probas)[:30]
    assert len(captions) == 30


def test_a_defect_sent_to_review_is_no_escape(tmp_path, mistakes, drawn):
    plot_misclassified(tmp_path / "m.png", mistakes([0.4]).assign(verdict="review"))
    [(_, _, _, captions)] = drawn
    assert "escape" not in captions[0]


@pytest.mark.parametrize(
    "name",
    [
        "größe 1.png",
        "a_b^c.png",
        "50%.png",
        "{x}.png",
        "a$b.png",
        "$_$.png",
    ],
)
def test_file_names_are_drawn_as_they_are(tmp_path, name):
    [path] = write_parts(tmp_path, [name])
    rows = pd.DataFrame({"path": [path], "label": [1], "verdict": ["non_defective"], "defect_proba": [0.1]})
    plot_misclassified(tmp_path / "out" / "m.png", rows)
    assert read_png(tmp_path / "out" / "m.png").shape == (HEIGHTS[1], WIDTH, 3)


def test_image_that_is_gone_leaves_the_old_gallery(tmp_path, mistakes):
    rows = mistakes([0.1, 0.9])
    path = tmp_path / "plots" / "m.png"
    plot_misclassified(path, rows)
    before = path.read_bytes()
    (tmp_path / "part_01.png").unlink()
    with pytest.raises(ImageError, match=r"part_01\.png: cannot be read"):
        plot_misclassified(path, rows)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["m.png"]


@pytest.fixture
def manifest(tmp_path):
    """Make training rows with so many good and so many defective parts."""

    def make(n_good, n_bad):
        paths = write_parts(tmp_path, [f"part_{index:02d}.png" for index in range(n_good + n_bad)])
        labels = [0] * n_good + [1] * n_bad
        probabilities = [0.0, *[1 / 3] * (n_good - 1), *[1.0] * n_bad]
        return pd.DataFrame(
            {"path": paths, "label": labels, "defect_probability": probabilities}, index=range(5, 5 + len(paths))
        )

    return make


@pytest.mark.parametrize(
    ("n_good", "n_bad", "n_rows"), [(1, 1, 1), (3, 3, 1), (3, 4, 2), (12, 12, 4), (14, 13, 4), (20, 1, 3)]
)
def test_sample_grid_is_a_png(tmp_path, manifest, n_good, n_bad, n_rows):
    path = tmp_path / "plots" / "grid.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_sample_grid(path, manifest(n_good, n_bad), seed=0)
    assert read_png(path).shape == (HEIGHTS[n_rows], WIDTH, 3)


def test_sample_grid_shows_two_rows_of_each_class(tmp_path, manifest, drawn):
    plot_sample_grid(tmp_path / "g.png", manifest(20, 15), seed=0)
    [(_, title, rows, captions)] = drawn
    assert title == "Training images"
    assert rows["label"].tolist() == [0] * 12 + [1] * 12
    assert rows["path"].is_unique
    assert set(captions[:12]) <= {"non_defective\np(defect) = 0", "non_defective\np(defect) = 0.33"}
    assert captions[12:] == ["defective\np(defect) = 1"] * 12


def test_seed_chooses_the_sample(tmp_path, manifest, drawn):
    rows = manifest(20, 15)
    for seed in (0, 0, 1):
        plot_sample_grid(tmp_path / "g.png", rows, seed)
    first, again, other = (call[2]["path"].tolist() for call in drawn)
    assert first == again
    assert first != other


def test_same_sample_same_bytes(tmp_path, manifest):
    rows = manifest(2, 2)
    for name in ("1.png", "2.png"):
        plot_sample_grid(tmp_path / name, rows, seed=0)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_pictures_are_drawn_under_the_colour_of_their_class(tmp_path):
    names = ("red.png", "green.png")
    for name, colour in zip(names, [(255, 0, 0), (0, 255, 0)], strict=True):
        Image.new("RGB", (16, 16), colour).save(tmp_path / name)
    rows = pd.DataFrame(
        {"path": [str(tmp_path / name) for name in names], "label": [0, 1], "defect_probability": [0.0, 1]}
    )
    plot_sample_grid(tmp_path / "g.png", rows, seed=0)
    picture = read_png(tmp_path / "g.png").astype(int)
    centres = [np.argwhere((picture == colour).all(axis=-1)).mean(axis=0) for colour in ([255, 0, 0], [0, 255, 0])]
    assert centres[0][1] < WIDTH / 6 < centres[1][1] < WIDTH / 3, "the good part left of the defective one"
    blue, vermilion = [0x1F, 0x77, 0xB4], [0xD5, 0x5E, 0x00]
    captions = [np.argwhere((np.abs(picture - colour) < 30).all(axis=-1)) for colour in (blue, vermilion)]
    assert captions[0][:, 1].mean() == pytest.approx(centres[0][1], abs=30)
    assert captions[1][:, 1].mean() == pytest.approx(centres[1][1], abs=30)
