"""Pictures of insight: what is drawn is what was counted, for any number of images, and the same bytes every time."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.data.images import AS_STORED
from inspection.errors import ImageError
from inspection.reports.pictures import insight_plots
from inspection.reports.pictures.insight_plots import (
    N_SUSPECTS,
    plot_agreement,
    plot_calibration,
    plot_learning_curve,
    plot_mistakes_with_neighbours,
    plot_rates_by_value,
    plot_scores,
    plot_suspects,
    plot_tradeoff,
)
from inspection.reports.tables.insight import agreement, rates_by_value, tradeoff
from tests.parts import draw_part

WIDTH = 1050  # 10.5 inches at 100 dots per inch
BLUE, VERMILION = (0x1F, 0x77, 0xB4), (0xD5, 0x5E, 0x00)
PASS_AREA, FAIL_AREA = (0xDB, 0xE9, 0xF4), (0xF9, 0xDF, 0xD0)
IS_DEFECT = np.array([False, False, False, True, True, True])
PROBA = np.array([0.05, 0.15, 0.45, 0.3, 0.75, 0.95])
NAMES = ["a$b.png", "$\\frac{1}{2}$.png", "<b>&.png", "größe_1^.png", "50%_{x}.png", "$_$.png"]


def read_png(path) -> np.ndarray:
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count_pixels(picture: np.ndarray, colour, tolerance: int = 0) -> int:
    return int((np.abs(picture - colour) <= tolerance).all(axis=-1).sum())


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are saved, and save them too."""
    kept = []
    save = insight_plots._save

    def keep(figure, path):
        kept.append(figure)
        save(figure, path)

    monkeypatch.setattr(insight_plots, "_save", keep)
    return kept


def texts_of(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def legend_of(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def make_rates() -> pd.DataFrame:
    """Four mono parts (two defects, one escapes) and two poly parts (both good, one fails)."""
    bad, good = "defective", "non_defective"
    predictions = pd.DataFrame(
        {
            "path": [f"{index}.png" for index in range(6)],
            "actual": [bad, bad, good, good, good, good],
            "verdict": [good, bad, good, good, good, bad],
        }
    )
    rows = predictions[["path"]].assign(defect_probability=1.0, stratum=["mono"] * 4 + ["p$o$ly_x^"] * 2)
    return rates_by_value(predictions, rows, ["stratum"])


@pytest.fixture
def images(tmp_path):
    """Make a table of parts with a path and a label."""

    def make(n_images, names=None):
        names = names or [f"part_{index:02d}.png" for index in range(n_images)]
        for seed, name in enumerate(names):
            draw_part(seed, seed % 2 == 1, 16).save(tmp_path / name)
        paths = [(tmp_path / name).as_posix() for name in names]
        return pd.DataFrame({"path": paths, "label": np.arange(n_images) % 2})

    return make


@pytest.fixture
def mistakes(images):
    """Make rows and neighbours of plot_mistakes_with_neighbours."""

    def make(probas, n_neighbours, names=None):
        rows = images(len(probas), names)
        verdicts = np.where(rows["label"] == 1, "non_defective", "defective")
        rows = rows.assign(verdict=verdicts, defect_proba=probas)
        distances = np.arange(n_neighbours) / 8
        nearest = [pd.DataFrame({"path": path, "label": 0, "distance": distances}) for path in rows["path"]]
        return rows, nearest

    return make


# All of them


def draw_everything(folder, mistakes):
    rows, neighbours = mistakes([0.1, 0.7], 2)
    votes = pd.DataFrame({"a": PROBA >= 0.5, "b": PROBA >= 0.2})
    lessons = pd.DataFrame(
        {"n_images": [10, 20], "accuracy": [0.5, 0.7], "accuracy_sd": [0.1, 0.05], "roc_auc": 0.8, "roc_auc_sd": 0.1}
    )
    suspects = rows[["path", "label", "defect_proba"]].assign(self_confidence=0.1)
    plot_scores(folder / "scores.png", IS_DEFECT, PROBA, (0.2, 0.5))
    plot_tradeoff(folder / "tradeoff.png", tradeoff(IS_DEFECT, PROBA), {"now": (1 / 3, 0.0)})
    plot_agreement(folder / "agreement.png", agreement(votes))
    plot_calibration(folder / "calibration.png", IS_DEFECT, {"ensemble": PROBA, "a": PROBA**2})
    plot_rates_by_value(folder / "rates.png", make_rates())
    plot_suspects(folder / "suspects.png", suspects, AS_STORED)
    plot_mistakes_with_neighbours(folder / "mistakes.png", rows, neighbours, AS_STORED)
    plot_learning_curve(folder / "learning.png", lessons)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_arguments_same_bytes(tmp_path, mistakes):
    first = draw_everything(tmp_path / "one", mistakes)
    assert len(first) == len(set(first.values())) == 8
    assert draw_everything(tmp_path / "two", mistakes) == first


# Scores


def test_scores_count_what_each_area_holds(tmp_path, figures):
    plot_scores(tmp_path / "s.png", IS_DEFECT, PROBA, (0.3, 0.75))
    good, bad = figures[0].axes
    # A part at the first threshold is reviewed, one at the second fails.
    assert legend_of(good) == ["PASS 2 (67%)", "REVIEW 1 (33%)", "FAIL 0 (0%)"]
    assert legend_of(bad) == ["PASS 0 (0%)", "REVIEW 1 (33%)", "FAIL 2 (67%)"]
    assert (good.get_title(loc="left"), bad.get_title(loc="left")) == ("non_defective: 3 images", "defective: 3 images")
    assert bad.get_xlabel() == "probability of a defect; passes below 0.3, fails from 0.75"
    picture = read_png(tmp_path / "s.png")
    assert picture.shape == (520, WIDTH, 3)
    for colour in (BLUE, VERMILION, PASS_AREA, FAIL_AREA):
        assert count_pixels(picture, colour) > 1000


def test_one_threshold_names_no_areas(tmp_path, figures):
    plot_scores(tmp_path / "s.png", IS_DEFECT, PROBA, (0.5,))
    assert all(axis.get_legend() is None for axis in figures[0].axes)
    assert figures[0].axes[1].get_xlabel() == "probability of a defect; threshold 0.5"
    picture = read_png(tmp_path / "s.png")
    assert count_pixels(picture, PASS_AREA) == count_pixels(picture, FAIL_AREA) == 0


def test_histogram_counts_every_image_once(tmp_path, figures):
    proba = np.array([0.0, 0.5, 1.0, 1.0])
    plot_scores(tmp_path / "s.png", np.zeros(4, bool), proba, (0.5,))
    heights = [patch.get_height() for patch in figures[0].axes[0].patches]
    assert len(heights) == 40
    assert (heights[0], heights[20], heights[39], sum(heights)) == (1, 1, 2, 4)


def test_second_threshold_above_one_fails_nothing(tmp_path, figures):
    plot_scores(tmp_path / "s.png", np.array([True]), np.array([1.0]), (0.2, float(np.nextafter(1, 2))))
    bad = figures[0].axes[1]
    assert legend_of(bad) == ["PASS 0 (0%)", "REVIEW 1 (100%)", "FAIL 0 (0%)"]
    assert bad.get_xlabel() == "probability of a defect; passes below 0.2, none fails"
    assert count_pixels(read_png(tmp_path / "s.png")[80:240, 40:], FAIL_AREA) == 0


@pytest.mark.parametrize("thresholds", [(0.3, 0.3), (0.0, 1.0), (0.2, float(np.nextafter(1, 2))), (0.2, 1.5)])
@pytest.mark.parametrize("n_images", [0, 1, 6])
def test_scores_of_any_number_and_band(tmp_path, n_images, thresholds):
    plot_scores(tmp_path / "s.png", IS_DEFECT[:n_images], PROBA[:n_images], thresholds)
    assert read_png(tmp_path / "s.png").shape == (520, WIDTH, 3)


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.2), (0.1, 0.2, 0.3)])
def test_thresholds_that_make_no_areas_are_refused(tmp_path, thresholds):
    with pytest.raises(ValueError, match="thresholds must be one, or two that ascend"):
        plot_scores(tmp_path / "s.png", IS_DEFECT, PROBA, thresholds)


# Trade-off


def test_tradeoff_names_its_points(tmp_path, figures):
    points = {"now $x$": (0.25, 0.05), "then": (0.0, 1.0)}
    plot_tradeoff(tmp_path / "t.png", tradeoff(IS_DEFECT, PROBA), points)
    [axis] = figures[0].axes
    assert legend_of(axis) == [
        "all thresholds",
        "now $x$:\nescape 25.0%, overkill 5.0%",
        "then:\nescape 0.0%, overkill 100.0%",
    ]
    assert not any(text.get_parse_math() for text in axis.get_legend().get_texts())
    curve, *drawn = axis.lines
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in drawn] == [(0.05, 0.25), (1.0, 0.0)]
    assert len({line.get_marker() for line in drawn}) == 2
    # From nothing passes (all good parts rejected) to everything passes.
    assert (curve.get_xdata()[0], curve.get_ydata()[0]) == (1, 0)
    assert (curve.get_xdata()[-1], curve.get_ydata()[-1]) == (0, 1)


@pytest.mark.parametrize("is_defect", [[], [True], [False, False]])
def test_tradeoff_without_both_classes_says_so(tmp_path, figures, is_defect):
    table = tradeoff(IS_DEFECT, PROBA).head(0)
    if is_defect:
        table = tradeoff(np.array(is_defect), PROBA[: len(is_defect)])
    plot_tradeoff(tmp_path / "t.png", table, {})
    assert texts_of(figures[0].axes[0]) == ["needs defective and good parts"]
    assert read_png(tmp_path / "t.png").shape == (560, 700, 3)


# Agreement


def test_agreement_writes_every_share(tmp_path, figures):
    table = pd.DataFrame([[1, 0.925], [0.25, 1]], index=["a", "b"], columns=["a", "$b$_very_" + "long_" * 20])
    plot_agreement(tmp_path / "a.png", table)
    [axis] = figures[0].axes
    assert texts_of(axis) == ["100%", "92%", "25%", "100%"]
    names = [text.get_text() for text in axis.get_xticklabels()]
    assert names[0] == "a"
    assert len(names[1]) == 40
    assert "…" in names[1]


def test_numbers_can_be_read_on_their_colour(tmp_path, figures):
    plot_agreement(tmp_path / "a.png", pd.DataFrame(np.linspace(0, 1, 16).reshape(4, 4)))
    [axis] = figures[0].axes
    [heat] = axis.images
    luminance = heat.cmap(heat.norm(np.linspace(0, 1, 16)))[:, :3] @ [0.2126, 0.7152, 0.0722]
    is_white = [text.get_color() == "white" for text in axis.texts]
    assert max(luminance[is_white]) < 0.5 < min(luminance[~np.array(is_white)])


@pytest.mark.parametrize(("n_voters", "shape"), [(0, (260, 360, 3)), (1, (310, 422, 3)), (7, (610, 794, 3))])
def test_agreement_is_as_large_as_it_needs(tmp_path, n_voters, shape):
    plot_agreement(tmp_path / "a.png", pd.DataFrame(np.ones((n_voters, n_voters))))
    assert read_png(tmp_path / "a.png").shape == shape


# Calibration


def test_calibration_draws_the_ensemble_with_its_intervals(tmp_path, figures):
    # Two bins: four images of 0.25, one of them defective, and one image of 0.9, defective.
    proba = np.array([0.25, 0.25, 0.25, 0.25, 0.9])
    is_defect = np.array([True, False, False, False, True])
    plot_calibration(tmp_path / "c.png", is_defect, {"ens$e$mble": proba, "a": proba, "b": proba})
    curve, counts = figures[0].axes
    assert legend_of(curve) == ["perfectly calibrated", "2 voters, each alone", "95% interval (Wilson)", "ens$e$mble"]
    ensemble = curve.lines[-1]
    assert ensemble.get_xdata().tolist() == pytest.approx([0.25, 0.9])
    assert ensemble.get_ydata().tolist() == pytest.approx([0.25, 1])
    [intervals] = curve.collections
    # Wilson's interval of 1 of 4, and of 1 of 1: n / (n + z^2) to 1.
    assert [segment[:, 1].tolist() for segment in intervals.get_segments()] == [
        pytest.approx([0.0456, 0.6994], abs=1e-4),
        pytest.approx([0.2065, 1], abs=1e-4),
    ]
    assert texts_of(counts) == ["4", "1"]


def test_ensemble_alone_has_no_voters_in_the_legend(tmp_path, figures):
    plot_calibration(tmp_path / "c.png", np.array([True]), {"ensemble": np.array([1.0])})
    assert legend_of(figures[0].axes[0]) == ["perfectly calibrated", "95% interval (Wilson)", "ensemble"]


@pytest.mark.parametrize("models", [{}, {"ensemble": np.array([])}, {"ensemble": np.array([]), "a": np.array([])}])
def test_calibration_without_images_says_so(tmp_path, figures, models):
    plot_calibration(tmp_path / "c.png", np.array([], bool), models)
    assert texts_of(figures[0].axes[0]) == ["no images"]
    assert read_png(tmp_path / "c.png").shape == (660, 700, 3)


# Rates by value


def test_rates_are_written_with_what_they_rest_on(tmp_path, figures):
    plot_rates_by_value(tmp_path / "r.png", make_rates())
    escapes, overkill = figures[0].axes
    names = escapes.get_yticklabels()
    assert [text.get_text() for text in names] == ["stratum", "mono  (n = 4)", "p$o$ly_x^  (n = 2)"]
    assert [text.get_fontweight() for text in names] == ["bold", "normal", "normal"]
    assert texts_of(escapes) == ["50.0%  (1 of 2)", "no defective part"]
    assert texts_of(overkill) == ["0.0%  (0 of 2)", "50.0%  (1 of 2)"]
    assert [bar.get_width() for bar in escapes.patches] == [0.5]
    assert [bar.get_width() for bar in overkill.patches] == [0, 0.5]
    assert escapes.get_xlim() == overkill.get_xlim()
    assert max(escapes.get_xticks()) <= 1.001


def test_many_parts_are_counted_exactly(tmp_path, figures):
    # To four decimals the rate would be 0.3333, of which 16,665 parts.
    line = {"column": "line", "value": "A", "n_images": 50_000, "n_defects": 0, "overkill_rate": 16_667 / 50_000}
    plot_rates_by_value(tmp_path / "r.png", pd.DataFrame([line]).reindex(columns=make_rates().columns))
    assert texts_of(figures[0].axes[1]) == ["33.3%  (16667 of 50000)"]


def test_rates_of_many_values_have_room(tmp_path):
    one = make_rates().head(1)
    table = pd.concat([one.assign(value=f"line {index}") for index in range(30)], ignore_index=True)
    plot_rates_by_value(tmp_path / "r.png", table)
    # 31 lines of 0.3 inches and 1.3 inches around them.
    assert read_png(tmp_path / "r.png").shape == (1060, WIDTH, 3)


def test_no_rates_are_a_picture_that_says_so(tmp_path, figures):
    plot_rates_by_value(tmp_path / "r.png", make_rates().head(0))
    assert [texts_of(axis) for axis in figures[0].axes] == [["no column sorts these images"]] * 2
    assert read_png(tmp_path / "r.png").shape == (250, WIDTH, 3)


# Suspects


@pytest.mark.parametrize(("n_suspects", "n_shown"), [(0, 0), (2, 2), (N_SUSPECTS + 1, N_SUSPECTS)])
def test_first_suspects_are_drawn(tmp_path, monkeypatch, n_suspects, n_shown):
    calls = []
    monkeypatch.setattr(insight_plots, "draw_gallery", lambda *arguments: calls.append(arguments))
    suspects = pd.DataFrame({"path": [f"x/{index}.png" for index in range(n_suspects)]})
    plot_suspects(tmp_path / "s.png", suspects.assign(label=1, defect_proba=0.043, self_confidence=0.043), AS_STORED)
    [(path, title, rows, captions, decoding)] = calls
    assert (path, decoding) == (tmp_path / "s.png", AS_STORED)
    assert title == f"Labels to look at again, most suspicious first ({n_shown} of {n_suspects})"
    assert captions == [f"{index}.png\nlabel defective\np(defect) = 0.04" for index in range(n_shown)]
    assert rows["path"].tolist() == suspects["path"].tolist()[:n_shown]


def test_long_names_keep_both_ends(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(insight_plots, "draw_gallery", lambda *arguments: calls.append(arguments))
    path = "camera_7_line_b_2026-01-31T12-00-00_0042.png"
    suspects = pd.DataFrame({"path": [path], "label": 0, "defect_proba": 0.9, "self_confidence": 0.1})
    plot_suspects(tmp_path / "s.png", suspects, AS_STORED)
    assert calls[0][3] == ["camera_7_li…-00_0042.png\nlabel non_defective\np(defect) = 0.90"]


# Mistakes


@pytest.mark.parametrize(("n_mistakes", "n_rows"), [(0, 1), (1, 1), (6, 6), (7, 6)])
def test_mistakes_are_as_high_as_they_need(tmp_path, mistakes, figures, n_mistakes, n_rows):
    rows, neighbours = mistakes([0.3] * n_mistakes, 1)
    plot_mistakes_with_neighbours(tmp_path / "m.png", rows, neighbours, AS_STORED)
    assert read_png(tmp_path / "m.png").shape == (220 * n_rows + 70, WIDTH, 3)
    drawn = min(n_mistakes, 6)
    assert f"({drawn} of {n_mistakes})" in figures[0].get_suptitle()
    assert sum(len(axis.images) for axis in figures[0].axes) == 2 * drawn


def test_mistakes_come_with_their_own_neighbours(tmp_path, mistakes, figures):
    rows, _ = mistakes([0.6, 0.02, 0.9], 0)
    neighbours = [
        pd.DataFrame({"path": rows["path"].iloc[[place] * 6], "label": [place % 2] * 6, "distance": 0.5 + place})
        for place in range(3)
    ]
    plot_mistakes_with_neighbours(tmp_path / "m.png", rows, neighbours, AS_STORED, n_shown=2)
    captions = [axis.get_title() for axis in figures[0].axes]
    # Distances from one half: 0.1, 0.48, 0.4. Of six neighbours there is room for five.
    assert (
        captions[:6]
        == ["part_01.png\nlabel defective\nverdict non_defective, p = 0.02"]
        + ["part_01.png\ndefective\ndistance 1.5"] * 5
    )
    assert (
        captions[6:]
        == ["part_02.png\nlabel non_defective\nverdict defective, p = 0.90"]
        + ["part_02.png\nnon_defective\ndistance 2.5"] * 5
    )


def test_only_the_mistake_is_framed(tmp_path, mistakes, figures):
    rows, neighbours = mistakes([0.3, 0.1], 3)
    plot_mistakes_with_neighbours(tmp_path / "m.png", rows, neighbours, AS_STORED)
    assert [axis.axison for axis in figures[0].axes] == [True, False, False, False, False, False] * 2


def test_mistakes_without_neighbours_are_drawn(tmp_path, mistakes, figures):
    rows, neighbours = mistakes([0.3], 0)
    plot_mistakes_with_neighbours(tmp_path / "m.png", rows, neighbours, AS_STORED)
    assert [len(axis.images) for axis in figures[0].axes] == [1, 0, 0, 0, 0, 0]


def test_mistakes_need_as_many_tables(tmp_path, mistakes):
    rows, neighbours = mistakes([0.3, 0.4], 1)
    with pytest.raises(ValueError, match="2 mistakes need as many tables of neighbours, got 1"):
        plot_mistakes_with_neighbours(tmp_path / "m.png", rows, neighbours[:1], AS_STORED)


def test_file_names_are_drawn_as_they_are(tmp_path, mistakes, figures):
    rows, neighbours = mistakes([0.1] * len(NAMES), 1, NAMES)
    plot_mistakes_with_neighbours(tmp_path / "out" / "m.png", rows, neighbours, AS_STORED)
    titles = [axis.title for axis in figures[0].axes]
    assert {title.get_text().split("\n")[0] for title in titles} == {*NAMES, ""}
    assert not any(title.get_parse_math() for title in titles if title.get_text())


def test_image_that_is_gone_leaves_the_old_picture(tmp_path, mistakes):
    rows, neighbours = mistakes([0.3, 0.4], 1)
    path = tmp_path / "plots" / "m.png"
    plot_mistakes_with_neighbours(path, rows, neighbours, AS_STORED)
    before = path.read_bytes()
    (tmp_path / "part_01.png").unlink()
    with pytest.raises(ImageError, match=r"part_01\.png: cannot be read"):
        plot_mistakes_with_neighbours(path, rows, neighbours, AS_STORED)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["m.png"]


# Learning curve


def test_learning_curve_runs_from_few_to_many(tmp_path, figures):
    table = pd.DataFrame(
        {
            "n_images": [200, 100],
            "accuracy": [0.8, 0.7],
            "accuracy_sd": [np.nan, 0.1],
            "roc_auc": [0.9, 0.85],
            "roc_auc_sd": [0.0, 0.05],
        }
    )
    plot_learning_curve(tmp_path / "l.png", table)
    accuracy, area = figures[0].axes
    assert accuracy.lines[0].get_xydata().tolist() == [[100, 0.7], [200, 0.8]]
    assert area.lines[0].get_xydata().tolist() == [[100, 0.85], [200, 0.9]]
    [bars] = [segments for segments in accuracy.collections if hasattr(segments, "get_segments")]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    # One repetition has no standard deviation, and so no bar.
    assert ends == [pytest.approx([0.6, 0.8]), pytest.approx([0.8, 0.8])]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_learning_curve_of_hardly_anything(tmp_path, figures, n_rows):
    columns = ["n_images", "accuracy", "accuracy_sd", "roc_auc", "roc_auc_sd"]
    plot_learning_curve(tmp_path / "l.png", pd.DataFrame([[50, 0.7, 0.1, 0.8, 0.1]] * n_rows, columns=columns))
    assert read_png(tmp_path / "l.png").shape == (380, WIDTH, 3)
    assert [texts_of(axis) for axis in figures[0].axes] == [[] if n_rows else ["not measured"]] * 2
