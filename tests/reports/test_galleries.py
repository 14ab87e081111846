"""Galleries: the right pictures in the right order, and a PNG whatever the number of mistakes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from inspection.data.images import AS_STORED, Decoding
from inspection.errors import ImageError
from inspection.reports.pictures import galleries as plots
from inspection.reports.pictures.galleries import plot_misclassified
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
    monkeypatch.setattr(plots, "draw_gallery", lambda *arguments: calls.append(arguments))
    return calls


def read_png(path):
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(("n_wrong", "n_rows"), [(0, 1), (1, 1), (6, 1), (7, 2), (30, 5), (31, 5)])
def test_misclassified_is_a_png_as_high_as_it_needs(tmp_path, mistakes, n_wrong, n_rows):
    path = tmp_path / "plots" / "misclassified.png"
    plot_misclassified(path, mistakes([0.01 + 0.03 * index for index in range(n_wrong)]), AS_STORED)
    picture = read_png(path)
    assert picture.shape == (HEIGHTS[n_rows], WIDTH, 3)
    assert (picture < 128).any(), "at least the title is drawn"
    assert [entry.name for entry in path.parent.iterdir()] == ["misclassified.png"]


def test_no_mistake_is_a_gallery_without_pictures(tmp_path, mistakes, drawn):
    plot_misclassified(tmp_path / "m.png", mistakes([]), AS_STORED)
    [(_, title, rows, captions, _)] = drawn
    assert title == "Misclassified test images, most confident first (0 of 0)"
    assert len(rows) == len(captions) == 0


def test_pictures_of_other_shapes_stand_under_captions_of_one_height(tmp_path, mistakes, monkeypatch):
    kept = []
    monkeypatch.setattr(plots, "Figure", lambda *given, **options: kept.append(Figure(*given, **options)) or kept[-1])
    rows = mistakes([0.1, 0.2, 0.3])
    for path, size in zip(rows["path"], [(40, 16), (16, 40), (16, 16)], strict=True):
        Image.new("L", size).save(path)
    plot_misclassified(tmp_path / "m.png", rows, AS_STORED)
    tops = [axis.get_position().y1 for axis in kept[0].axes if axis.images]
    assert tops == pytest.approx([tops[0]] * 3)


def test_no_mistake_as_evaluation_selects_it(tmp_path):
    # A selection of nothing from a whole table keeps its column types.
    columns = {"path": ["a.png"], "label": [1], "verdict": ["defective"], "defect_proba": [0.9]}
    plot_misclassified(tmp_path / "m.png", pd.DataFrame(columns)[[False]], AS_STORED)
    assert read_png(tmp_path / "m.png").shape == (HEIGHTS[1], WIDTH, 3)


def test_most_confident_mistakes_come_first(tmp_path, mistakes, drawn):
    # Distances from one half: 0.1, 0.48, 0.4, 0.0, 0.4; the two of 0.4 go by name.
    plot_misclassified(tmp_path / "m.png", mistakes([0.6, 0.02, 0.9, 0.5, 0.1]), AS_STORED)
    [(path, title, rows, captions, decoding)] = drawn
    assert (path, decoding) == (tmp_path / "m.png", AS_STORED)
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
    plot_misclassified(tmp_path / "m.png", mistakes(probas), AS_STORED)
    [(_, title, rows, captions, _)] = drawn
    assert title == "Misclassified test images, most confident first (30 of 40)"
    assert rows["defect_proba"].tolist() == sorted(probas)[:30]
    assert len(captions) == 30


def test_a_defect_sent_to_review_is_no_escape(tmp_path, mistakes, drawn):
    plot_misclassified(tmp_path / "m.png", mistakes([0.4]).assign(verdict="review"), AS_STORED)
    [(_, _, _, captions, _)] = drawn
    assert "escape" not in captions[0]


# A font that lacks a letter draws a box.
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize(
    "name",
    [
        "größe 1.png",
        "a_b^c.png",
        "50%.png",
        "{x}.png",
        "a$b.png",
        "$_$.png",
        "$\\frac{1}{2}$.png",
        "部品 деталь.png",
    ],
)
def test_file_names_are_drawn_as_they_are(tmp_path, name):
    [path] = write_parts(tmp_path, [name])
    rows = pd.DataFrame({"path": [path], "label": [1], "verdict": ["non_defective"], "defect_proba": [0.1]})
    plot_misclassified(tmp_path / "out" / "m.png", rows, AS_STORED)
    assert read_png(tmp_path / "out" / "m.png").shape == (HEIGHTS[1], WIDTH, 3)


def test_image_that_is_gone_leaves_the_old_gallery(tmp_path, mistakes):
    rows = mistakes([0.1, 0.9])
    path = tmp_path / "plots" / "m.png"
    plot_misclassified(path, rows, AS_STORED)
    before = path.read_bytes()
    (tmp_path / "part_01.png").unlink()
    with pytest.raises(ImageError, match=r"part_01\.png: cannot be read"):
        plot_misclassified(path, rows, AS_STORED)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["m.png"]


def test_pictures_are_decoded_as_they_were_indexed(tmp_path):
    Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / "part.png")
    rows = pd.DataFrame(
        {"path": [str(tmp_path / "part.png")], "label": [1], "verdict": ["non_defective"], "defect_proba": [0.1]}
    )
    darkest = []
    for decoding in (Decoding(bit_depth=12), AS_STORED):
        plot_misclassified(tmp_path / "m.png", rows, decoding)
        # The picture is below the two lines of its caption, in the first of six columns.
        darkest.append(read_png(tmp_path / "m.png")[130:200, 60:120].max())
    assert darkest == [255, 15]


def test_caption_has_the_colour_of_the_class(tmp_path, mistakes):
    plot_misclassified(tmp_path / "m.png", mistakes([0.1]), AS_STORED)
    picture = read_png(tmp_path / "m.png").astype(int)
    blue, vermilion = [0x1F, 0x77, 0xB4], [0xD5, 0x5E, 0x00]
    assert [(np.abs(picture - colour) < 30).all(axis=-1).any() for colour in (blue, vermilion)] == [False, True]
