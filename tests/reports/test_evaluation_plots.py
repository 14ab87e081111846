"""The charts of an evaluation: each gets the numbers that belong to it, and the tables say the same."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.decision.combination import mean_log_odds
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Rules
from inspection.reports.pictures import evaluation_plots
from inspection.reports.pictures.evaluation_plots import COLUMNS, draw_evaluation
from inspection.reports.tables.evaluation import VERDICT_COLUMNS
from inspection.reports.tables.insight import agreement, rates_by_value, tradeoff

PICTURES = ["agreement.png", "calibration.png", "rates_by_value.png", "scores.png", "tradeoff.png"]
VERDICTS = ["defective", "review", "non_defective", "defective", "review", "non_defective", "non_defective", "review"]
LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 0])
PROBA = np.array([0.9, 0.6, 0.2, 0.7, 0.5, 0.1, 0.3, 0.4])


@pytest.fixture
def rows():
    return pd.DataFrame(
        {
            "path": [f"data/{index}.png" for index in range(8)],
            "label": LABELS,
            "defect_probability": [1.0, 1.0, 2 / 3, 0.0, 0.0, 0.0, 0.0, 1 / 3],
            "stratum": ["mono", "poly"] * 4,
            "defect_type": ["crack", "spot", "crack", "", "", "", "", ""],
            "stated_group": [f"{index}" for index in range(8)],
        },
        index=range(20, 28),
    )


@pytest.fixture
def predictions(rows):
    table = pd.DataFrame(
        {
            "path": rows["path"].to_numpy(),
            "actual": np.where(LABELS == 1, "defective", "non_defective"),
            "verdict": VERDICTS,
            "defect_proba": PROBA,
            "confidence": np.maximum(PROBA, 1 - PROBA),
            "cause": "vote",
            "unlikeness": 0.5,
        }
    )
    assert list(table) == list(VERDICT_COLUMNS)
    return table.assign(a_cnn=PROBA, b_svm=1 - PROBA)


def rules(threshold=0.5, point=None):
    return Rules("hard", threshold, (1.0, 1.0), mean_log_odds(2), point)


@pytest.fixture
def drawn(monkeypatch):
    """What each chart was given, by its name."""
    calls = {}
    for name in ("scores", "calibration", "agreement", "tradeoff", "rates_by_value"):
        monkeypatch.setattr(evaluation_plots, f"plot_{name}", lambda *given, name=name: calls.update({name: given}))
    return calls


def test_every_picture_is_drawn(tmp_path, rows, predictions):
    draw_evaluation(tmp_path / "metrics", rows, predictions, rules())
    assert sorted(path.name for path in (tmp_path / "metrics").iterdir()) == PICTURES
    for name in PICTURES:
        assert min(Image.open(tmp_path / "metrics" / name).size) > 100


def test_tables(tmp_path, rows, predictions, drawn):
    tables = draw_evaluation(tmp_path, rows, predictions, rules())
    assert list(tables) == ["tradeoff", "rates_by_value"]
    pd.testing.assert_frame_equal(tables["tradeoff"], tradeoff(LABELS == 1, PROBA))
    exact = rates_by_value(predictions, rows, COLUMNS)
    pd.testing.assert_frame_equal(tables["rates_by_value"], exact.round(4))
    assert 0.3333 in tables["rates_by_value"]["review_rate"].tolist()
    assert {"stratum", "defect_type"} <= set(tables["rates_by_value"]["column"])
    assert drawn["tradeoff"][1] is tables["tradeoff"]
    # The picture counts parts back from rates, which needs all digits.
    pd.testing.assert_frame_equal(drawn["rates_by_value"][1], exact)


def test_the_verdicts_lie_where_they_are(tmp_path, rows, predictions, drawn):
    draw_evaluation(tmp_path, rows, predictions, rules())
    # Of three defects one passes; of five good parts one fails. Reviews do neither.
    assert drawn["tradeoff"][2] == {"verdicts": (pytest.approx(1 / 3), pytest.approx(1 / 5))}


@pytest.mark.parametrize(
    ("threshold", "point", "lines"),
    [
        (0.5, None, (0.5,)),
        (0.3, None, (0.3,)),
        (0.5, OperatingPoint(0.1, 0.8, 0.05, 0.95, 100, 1), (0.1, 0.8)),
        # Without a band there is one line, not the same twice.
        (0.5, OperatingPoint(0.1, 0.1, 0.05, 0.95, 100, 1), (0.1,)),
    ],
)
def test_scores_are_drawn_with_the_thresholds_that_decide(tmp_path, rows, predictions, drawn, threshold, point, lines):
    draw_evaluation(tmp_path, rows, predictions, rules(threshold, point))
    _, is_defect, proba, thresholds = drawn["scores"]
    assert thresholds == lines
    assert is_defect.tolist() == (LABELS == 1).tolist()
    assert proba.tolist() == PROBA.tolist()


def test_voters_and_ensemble_are_compared(tmp_path, rows, predictions, drawn):
    draw_evaluation(tmp_path, rows, predictions, rules(0.3))
    _, _, models = drawn["calibration"]
    assert {name: proba.tolist() for name, proba in models.items()} == {
        "ensemble": PROBA.tolist(),
        "a_cnn": PROBA.tolist(),
        "b_svm": (1 - PROBA).tolist(),
    }
    # Votes at the voters' threshold: exactly 0.3 is a vote for defective.
    votes = pd.DataFrame({"a_cnn": PROBA >= 0.3, "b_svm": 1 - PROBA >= 0.3})
    pd.testing.assert_frame_equal(drawn["agreement"][1], agreement(votes))
