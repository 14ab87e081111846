"""Charts of decisions: what is drawn is what was counted, for any number of images, and the same bytes every time."""

import numpy as np
import pandas as pd
import pytest

from inspection.reports.pictures.decision_plots import plot_rates_by_value, plot_scores, plot_tradeoff
from inspection.reports.tables.insight import rates_by_value, tradeoff
from tests.reports.drawings import BLUE, VERMILION, WIDTH, legend_of, read_png, texts_of

PASS_AREA, FAIL_AREA = (0xDB, 0xE9, 0xF4), (0xF9, 0xDF, 0xD0)
IS_DEFECT = np.array([False, False, False, True, True, True])
PROBA = np.array([0.05, 0.15, 0.45, 0.3, 0.75, 0.95])


def count_pixels(picture: np.ndarray, colour, tolerance: int = 0) -> int:
    return int((np.abs(picture - colour) <= tolerance).all(axis=-1).sum())


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
    rows = predictions[["path"]].assign(
        group=predictions["path"], defect_probability=1.0, stratum=["mono"] * 4 + ["p$o$ly_x^"] * 2
    )
    return rates_by_value(predictions, rows, ["stratum"])


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
    # Rounded as in its table the rate is 0.3333, of which 16,665 parts.
    line = {"column": "line", "value": "A", "n_images": 50_000, "n_defects": 0, "n_overkill": 16_667}
    line |= {"overkill_rate": 0.3333, "overkill_rate_low": 0.329, "overkill_rate_high": 0.337}
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


def test_intervals_are_those_of_the_table(tmp_path, figures):
    table = make_rates().assign(escape_rate_low=0.2, escape_rate_high=0.9)
    plot_rates_by_value(tmp_path / "r.png", table)
    [interval, *_] = [lines.get_segments()[0] for lines in figures[0].axes[0].collections]
    assert interval[:, 0].tolist() == pytest.approx([0.2, 0.9])


def test_same_arguments_same_bytes(tmp_path):
    for name in ("one", "two"):
        plot_scores(tmp_path / name / "s.png", IS_DEFECT, PROBA, (0.2, 0.5))
        plot_tradeoff(tmp_path / name / "t.png", tradeoff(IS_DEFECT, PROBA), {"now": (1 / 3, 0.0)})
        plot_rates_by_value(tmp_path / name / "r.png", make_rates())
    for name in ("s.png", "t.png", "r.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
