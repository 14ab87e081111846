"""Galleries: the right photographs in the right order, and a PNG whatever there is to show."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.data.images import AS_STORED, Decoding
from inspection.errors import ImageError
from inspection.reports.pictures import galleries
from inspection.reports.pictures.galleries import (
    N_SUSPECTS,
    Photograph,
    draw_gallery,
    in_rows,
    plot_misclassified,
    plot_mistakes,
    plot_sample_grid,
    plot_suspects,
)
from tests.parts import draw_part
from tests.reports.drawings import BLUE, VERMILION, WIDTH, read_png

NAMES = ["a$b.png", "$\\frac{1}{2}$.png", "<b>&.png", "größe_1^.png", "50%_{x}.png", "部品 деталь.png"]
LINES = {2: 208, 3: 222}
"""Height of a row by the lines of its captions: 1.8 inches and 0.14 a line, at 100 dots per inch."""


def write_parts(folder, names) -> list[str]:
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        draw_part(seed, seed % 2 == 1, 16).save(folder / name)
    return [(folder / name).as_posix() for name in names]


def make_mistakes(folder, probas, names=None) -> pd.DataFrame:
    """Parts that are defective where they were judged good."""
    labels = [int(p < 0.5) for p in probas]
    verdicts = ["non_defective" if label else "defective" for label in labels]
    paths = write_parts(folder, names or [f"part_{index:02d}.png" for index in range(len(probas))])
    return pd.DataFrame({"path": paths, "label": labels, "verdict": verdicts, "defect_proba": probas})


def make_neighbours(mistakes, n_neighbours) -> pd.DataFrame:
    """Of every mistake, itself so many times."""
    lines = [(path, path, 0, place / 8) for path in mistakes["path"] for place in range(n_neighbours)]
    return pd.DataFrame(lines, columns=["mistake", "path", "label", "distance"])


@pytest.fixture
def drawn(monkeypatch):
    """Record what would be drawn instead of drawing it: path, title, rows and decoding."""
    calls = []
    monkeypatch.setattr(galleries, "draw_gallery", lambda *arguments: calls.append(arguments))
    return calls


def captions_of(rows) -> list[str]:
    return [photograph.caption for row in rows for photograph in row]


# Drawing


@pytest.mark.parametrize("n_lines", [2, 3])
@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_a_gallery_is_as_high_as_it_needs(tmp_path, n_rows, n_lines):
    [path] = write_parts(tmp_path / "parts", ["a.png"])
    rows = [[Photograph(path, "\n".join("x" * n_lines))]] * n_rows
    draw_gallery(tmp_path / "plots" / "g.png", "title", rows, AS_STORED)
    picture = read_png(tmp_path / "plots" / "g.png")
    assert picture.shape == (60 + n_rows * LINES[n_lines], WIDTH, 3)
    assert (picture < 128).any(), "at least the title is drawn"
    assert [entry.name for entry in (tmp_path / "plots").iterdir()] == ["g.png"]


@pytest.mark.parametrize(("n_images", "lengths"), [(0, []), (1, [1]), (6, [6]), (7, [6, 1]), (12, [6, 6])])
def test_rows_are_filled_in_order(n_images, lengths):
    photographs = [Photograph(f"{index}.png", "") for index in range(n_images)]
    rows = in_rows(photographs)
    assert [len(row) for row in rows] == lengths
    assert [photograph for row in rows for photograph in row] == photographs


def test_photographs_of_other_shapes_stand_under_captions_of_one_height(tmp_path, figures):
    paths = write_parts(tmp_path / "parts", ["a.png", "b.png", "c.png"])
    for path, size in zip(paths, [(40, 16), (16, 40), (16, 16)], strict=True):
        Image.new("L", size).save(path)
    draw_gallery(tmp_path / "g.png", "title", [[Photograph(path, "a\nb") for path in paths]], AS_STORED)
    tops = [axis.get_position().y1 for axis in figures[0].axes if axis.images]
    assert tops == pytest.approx([tops[0]] * 3)


def test_only_what_is_framed_has_a_frame(tmp_path, figures):
    [path] = write_parts(tmp_path / "parts", ["a.png"])
    row = [Photograph(path, "one", 0, is_framed=True), Photograph(path, "two", 1)]
    draw_gallery(tmp_path / "g.png", "title", [row], AS_STORED)
    assert [axis.axison for axis in figures[0].axes] == [True, False, False, False, False, False]


def test_photographs_stand_under_the_colour_of_their_class(tmp_path):
    paths = write_parts(tmp_path / "parts", ["red.png", "green.png"])
    for path, colour in zip(paths, [(255, 0, 0), (0, 255, 0)], strict=True):
        Image.new("RGB", (16, 16), colour).save(path)
    row = [Photograph(path, "a caption\n", label) for label, path in enumerate(paths)]
    draw_gallery(tmp_path / "g.png", "", [row], AS_STORED)
    picture = read_png(tmp_path / "g.png")
    columns = [
        np.argwhere((np.abs(picture - colour) < 30).all(axis=-1))[:, 1].mean()
        for colour in ((255, 0, 0), BLUE, (0, 255, 0), VERMILION)
    ]
    assert columns[0] == pytest.approx(columns[1], abs=30)
    assert columns[2] == pytest.approx(columns[3], abs=30)
    assert columns[0] < WIDTH / 6 < columns[2] < WIDTH / 3


def test_photographs_are_decoded_as_they_were_indexed(tmp_path):
    Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / "part.png")
    brightest = []
    for decoding in (Decoding(bit_depth=12), AS_STORED):
        row = [Photograph(str(tmp_path / "part.png"), "a\nb")]
        draw_gallery(tmp_path / "g.png", "", [row], decoding)
        brightest.append(read_png(tmp_path / "g.png")[130:200, 60:120].max())
    assert brightest == [255, 15]


# A font that lacks a letter draws a box.
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_names_are_drawn_as_they_are(tmp_path, figures):
    mistakes = make_mistakes(tmp_path / "parts", [0.1] * len(NAMES), NAMES)
    plot_mistakes(tmp_path / "out" / "m.png", mistakes, make_neighbours(mistakes, 1), {}, AS_STORED)
    titles = [axis.title for axis in figures[0].axes]
    assert {title.get_text().split("\n")[0] for title in titles} == {*NAMES, ""}
    assert not any(title.get_parse_math() for title in titles if title.get_text())


def test_image_that_is_gone_leaves_the_old_gallery(tmp_path):
    mistakes = make_mistakes(tmp_path / "parts", [0.1, 0.9])
    path = tmp_path / "plots" / "m.png"
    plot_misclassified(path, mistakes, AS_STORED)
    before = path.read_bytes()
    (tmp_path / "parts" / "part_01.png").unlink()
    with pytest.raises(ImageError, match=r"part_01\.png: cannot be read"):
        plot_misclassified(path, mistakes, AS_STORED)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["m.png"]


def test_same_arguments_same_bytes(tmp_path):
    mistakes = make_mistakes(tmp_path / "parts", [0.1, 0.7])
    for name in ("1.png", "2.png"):
        plot_mistakes(tmp_path / name, mistakes, make_neighbours(mistakes, 2), {}, AS_STORED)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


# Samples


def make_rows(n_good, n_bad) -> pd.DataFrame:
    labels = [0] * n_good + [1] * n_bad
    probabilities = [0.0] + [1 / 3] * (n_good - 1) + [1.0] * n_bad
    paths = [f"part_{index:02d}.png" for index in range(len(labels))]
    return pd.DataFrame({"path": paths, "label": labels, "defect_probability": probabilities})


@pytest.mark.parametrize(("n_good", "n_bad", "lengths"), [(20, 15, [6, 6, 6, 6]), (1, 7, [1, 6, 1])])
def test_sample_grid_shows_two_rows_of_each_class(tmp_path, drawn, n_good, n_bad, lengths):
    plot_sample_grid(tmp_path / "g.png", make_rows(n_good, n_bad), 0, AS_STORED)
    [(path, title, rows, decoding)] = drawn
    assert (path, title, decoding) == (tmp_path / "g.png", "Training images", AS_STORED)
    assert [len(row) for row in rows] == lengths
    for row in rows:
        assert len({photograph.label for photograph in row}) == 1
    assert set(captions_of(rows)) <= {
        "non_defective\np(defect) = 0", "non_defective\np(defect) = 0.33", "defective\np(defect) = 1"
    }  # fmt: skip
    paths = [photograph.path for row in rows for photograph in row]
    assert len(paths) == len(set(paths))


def test_seed_chooses_the_sample(tmp_path, drawn):
    for seed in (0, 0, 1):
        plot_sample_grid(tmp_path / "g.png", make_rows(20, 15), seed, AS_STORED)
    first, again, other = ([photograph.path for row in call[2] for photograph in row] for call in drawn)
    assert first == again
    assert first != other


# Mistakes


def test_most_confident_mistakes_come_first(tmp_path, drawn):
    # Distances from one half: 0.1, 0.48, 0.4, 0.0, 0.4; the two of 0.4 go by name.
    plot_misclassified(tmp_path / "m.png", make_mistakes(tmp_path / "p", [0.6, 0.02, 0.9, 0.5, 0.1]), AS_STORED)
    [(_, title, rows, _)] = drawn
    assert title == "Misclassified test images, most confident first (5 of 5)"
    assert captions_of(rows) == [
        "part_01.png\nescape: p = 0.02",
        "part_02.png\noverkill: p = 0.90",
        "part_04.png\nescape: p = 0.10",
        "part_00.png\noverkill: p = 0.60",
        "part_03.png\noverkill: p = 0.50",
    ]


def test_only_the_worst_thirty_are_drawn(tmp_path, drawn):
    probas = [round(0.5 - 0.01 * index, 2) for index in range(40)]
    plot_misclassified(tmp_path / "m.png", make_mistakes(tmp_path / "p", probas), AS_STORED)
    [(_, title, rows, _)] = drawn
    assert title == "Misclassified test images, most confident first (30 of 40)"
    assert [caption[-4:] for caption in captions_of(rows)] == [f"{p:.2f}" for p in sorted(probas)[:30]]


def test_no_mistake_is_a_gallery_without_photographs(tmp_path):
    # A selection of nothing from a whole table keeps its column types.
    mistakes = make_mistakes(tmp_path / "parts", [0.1])[[False]]
    plot_misclassified(tmp_path / "a.png", mistakes, AS_STORED)
    plot_mistakes(tmp_path / "b.png", mistakes, make_neighbours(mistakes, 1), {}, AS_STORED)
    for name in ("a.png", "b.png"):
        assert read_png(tmp_path / name).shape == (60, WIDTH, 3)


def test_mistakes_come_with_their_own_neighbours(tmp_path, drawn):
    mistakes = make_mistakes(tmp_path / "parts", [0.6, 0.02, 0.9])
    neighbours = pd.DataFrame(
        [(path, f"near_{place}.png", place % 2, 0.5 + place) for place, path in enumerate(mistakes["path"])] * 2,
        columns=["mistake", "path", "label", "distance"],
    )
    plot_mistakes(tmp_path / "m.png", mistakes, neighbours, {}, AS_STORED)
    [(_, title, rows, _)] = drawn
    assert "most confident first (3 of 3)" in title
    assert [[photograph.caption for photograph in row] for row in rows[:2]] == [
        ["part_01.png\nlabel defective\nverdict non_defective, p = 0.02"] + ["near_1.png\ndefective\ndistance 1.5"] * 2,
        ["part_02.png\nlabel non_defective\nverdict defective, p = 0.90"]
        + ["near_2.png\nnon_defective\ndistance 2.5"] * 2,
    ]
    assert [[photograph.is_framed for photograph in row] for row in rows] == [[True, False, False]] * 3


@pytest.mark.parametrize(("n_mistakes", "n_rows"), [(1, 1), (6, 6), (7, 6)])
def test_mistakes_fit_a_page(tmp_path, n_mistakes, n_rows):
    mistakes = make_mistakes(tmp_path / "parts", [0.3] * n_mistakes)
    plot_mistakes(tmp_path / "m.png", mistakes, make_neighbours(mistakes, 7), {}, AS_STORED)
    assert read_png(tmp_path / "m.png").shape == (60 + n_rows * LINES[3], WIDTH, 3)


# Suspects


@pytest.mark.parametrize(("n_suspects", "n_shown"), [(0, 0), (2, 2), (N_SUSPECTS + 1, N_SUSPECTS)])
def test_first_suspects_are_drawn(tmp_path, drawn, n_suspects, n_shown):
    suspects = pd.DataFrame({"path": [f"x/{index}.png" for index in range(n_suspects)]})
    plot_suspects(tmp_path / "s.png", suspects.assign(label=1, defect_proba=0.043, self_confidence=0.043), AS_STORED)
    [(path, title, rows, decoding)] = drawn
    assert (path, decoding) == (tmp_path / "s.png", AS_STORED)
    assert title == f"Labels to look at again, most suspicious first ({n_shown} of {n_suspects})"
    assert captions_of(rows) == [f"{index}.png\nlabel defective\np(defect) = 0.04" for index in range(n_shown)]


def test_long_names_keep_both_ends(tmp_path, drawn):
    path = "camera_7_line_b_2026-01-31T12-00-00_0042.png"
    suspects = pd.DataFrame({"path": [path], "label": 0, "defect_proba": 0.9, "self_confidence": 0.1})
    plot_suspects(tmp_path / "s.png", suspects, AS_STORED)
    assert captions_of(drawn[0][2]) == ["camera_7_li…-00_0042.png\nlabel non_defective\np(defect) = 0.90"]
