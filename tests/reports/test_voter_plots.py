"""Charts of voters: agreement, calibration, and what more training images bring."""

import numpy as np
import pandas as pd
import pytest

from inspection.reports.pictures.voter_plots import plot_agreement, plot_calibration, plot_learning_curve
from inspection.reports.tables.evaluation import curves
from tests.reports.drawings import WIDTH, legend_of, read_png, texts_of

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


def calibration(is_defect, proba_by_model, groups=None) -> pd.DataFrame:
    groups = np.arange(len(is_defect)) if groups is None else groups
    return curves(np.array(is_defect), pd.DataFrame(proba_by_model), groups)["calibration"]


def test_calibration_draws_the_ensemble_with_its_intervals(tmp_path, figures):
    # Two bins: four images of 0.25, one of them defective, and one image of 0.9, defective.
    proba = [0.25, 0.25, 0.25, 0.25, 0.9]
    table = calibration([True, False, False, False, True], {"a": proba, "b": proba, "ensemble": proba})
    plot_calibration(tmp_path / "c.png", table)
    curve, counts = figures[0].axes
    assert legend_of(curve) == ["perfectly calibrated", "2 voters, each alone", "95% interval", "ensemble"]
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
    plot_calibration(tmp_path / "c.png", calibration([True, False], {"ensemble": [1.0, 0.0]}))
    assert legend_of(figures[0].axes[0]) == ["perfectly calibrated", "95% interval", "ensemble"]


def test_calibration_without_images_says_so(tmp_path, figures):
    plot_calibration(tmp_path / "c.png", calibration([True, False], {"ensemble": [1.0, 0.0]}).head(0))
    assert texts_of(figures[0].axes[0]) == ["no images"]
    assert read_png(tmp_path / "c.png").shape == (660, 700, 3)


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


def test_same_arguments_same_bytes(tmp_path):
    for name in ("one", "two"):
        plot_agreement(tmp_path / name / "a.png", pd.DataFrame([[1, 0.5], [0.5, 1]]))
        plot_calibration(tmp_path / name / "c.png", calibration([True, False], {"a": [0.9, 0.2], "ensemble": [1, 0.1]}))
    for name in ("a.png", "c.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
