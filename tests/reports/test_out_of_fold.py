"""Out of fold: numbers by the actual rule, from a file that is believed only as far as it can be checked."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from inspection.config import DecisionParams, EnsembleParams
from inspection.decision.combination import combine_across_folds
from inspection.decision.rule_fitting import FittedRules, fit_rules
from inspection.decision.rules import decide
from inspection.errors import ModelsError
from inspection.files import write_csv
from inspection.labels import CLASS_NAMES
from inspection.reports.tables.out_of_fold import VERDICT_COLUMNS, read_out_of_fold, summarise_out_of_fold

N_IMAGES = 240
VOTERS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def rows():
    """Training rows: half defective, every image a group of its own."""
    numbers = np.arange(N_IMAGES)
    return pd.DataFrame(
        {
            "path": [f"data/{number}.png" for number in numbers],
            "label": numbers % 2,
            "weight": np.where(numbers % 5, 1.0, 0.5),
            "fold": numbers // 2 % 4,
            "group": [f"g{number}" for number in numbers],
            "split": "train",
        }
    )


@pytest.fixture(scope="module")
def proba(rows):
    """Three useful voters and one that guesses: an even number, so that votes can be tied."""
    random = np.random.default_rng(0)
    signs = 2 * rows["label"].to_numpy() - 1
    return expit(np.outer(signs, [1.5, 1.0, 0.7, 0.0]) + random.normal(size=(N_IMAGES, 4)))


def fit(proba, rows, voting="hard", threshold=0.5, **changes) -> FittedRules:
    values = {
        "max_escape_rate": 0.0, "max_overkill_rate": 0.0, "confidence": 0.95, "cost": None, "false_alarm_rate": 0.01
    }  # fmt: skip
    ensemble = EnsembleParams(voting=voting, threshold=threshold)
    return fit_rules(proba, rows, ensemble, DecisionParams(**values | changes))


def judge(fitted: FittedRules, proba, rows, voters=VOTERS) -> pd.DataFrame:
    """The content of models/out_of_fold.csv."""
    decisions = decide(proba, fitted.rules, defect_proba=fitted.out_of_fold)
    table = pd.DataFrame(
        {
            "path": rows["path"],
            "actual": [CLASS_NAMES[label] for label in rows["label"]],
            "verdict": decisions.verdicts,
            "defect_proba": decisions.defect_proba,
            "confidence": decisions.confidence,
            "cause": decisions.causes,
        }
    )
    return pd.concat([table, pd.DataFrame(proba, columns=voters)], axis=1).round(6)


def summarised(proba, rows, **rule) -> dict:
    fitted = fit(proba, rows, **rule)
    return summarise_out_of_fold(judge(fitted, proba, rows), rows, fitted.rules)


RULES = {
    "hard": {},
    "soft": {"voting": "soft"},
    "weighted": {"voting": "weighted"},
    "promise": {"max_escape_rate": 0.05},
    "band": {"max_escape_rate": 0.05, "max_overkill_rate": 0.05},
}


def test_every_rule_has_its_own_numbers(rows, proba):
    summaries = {name: summarised(proba, rows, **rule) for name, rule in RULES.items()}
    keys = ("accuracy", "escape_rate", "overkill_rate", "review_rate")
    assert len({tuple(summary[key] for key in keys) for summary in summaries.values()}) == len(RULES)
    # A tie is a review, and soft voting knows none; a promise costs good parts, a band reviews.
    assert summaries["hard"]["review_rate"] > 0 == summaries["soft"]["review_rate"]
    assert summaries["promise"]["escape_rate"] <= 0.05 < summaries["soft"]["escape_rate"]
    assert summaries["band"]["overkill_rate"] < summaries["promise"]["overkill_rate"]
    assert summaries["band"]["review_rate"] > summaries["hard"]["review_rate"]


def test_the_numbers_are_counted_from_the_verdicts(rows, proba):
    fitted = fit(proba, rows, **RULES["band"])
    verdicts = judge(fitted, proba, rows)
    summary = summarise_out_of_fold(verdicts, rows, fitted.rules)
    counts = pd.crosstab(verdicts["actual"], verdicts["verdict"])
    assert summary["escape_rate"] == round(counts.loc["defective", "non_defective"] / 120, 4)
    assert summary["overkill_rate"] == round(counts.loc["non_defective", "defective"] / 120, 4)
    assert summary["review_rate"] == round(counts["review"].sum() / 240, 4)
    assert summary["per_1000"]["reviews"] == round(1000 * counts["review"].sum() / 240, 1)
    assert summary["roc_auc"] == pytest.approx(roc_auc_score(rows["label"], verdicts["defect_proba"]), abs=5e-5)
    [point] = summary["operating_point"]
    assert (point["max_escape_rate"], point["confidence"], point["n_defects"]) == (0.05, 0.95, 120)
    assert json.loads(json.dumps(summary)) == summary


def test_voters_are_worth_what_is_lost_without_them(rows, proba):
    fitted = fit(proba, rows)
    summary = summarise_out_of_fold(judge(fitted, proba, rows), rows, fitted.rules)
    labels, weights, folds, groups = (rows[name].to_numpy() for name in ("label", "weight", "fold", "group"))
    assert [line["voter"] for line in summary["voters"]] == VOTERS
    for position, line in enumerate(summary["voters"]):
        others = combine_across_folds(
            np.delete(proba, position, 1), labels, weights, folds, groups, np.zeros(len(VOTERS) - 1, bool)
        )
        assert line["coefficient"] == round(fitted.rules.combination.coefficients[position], 4)
        assert line["roc_auc"] == pytest.approx(roc_auc_score(labels, proba[:, position]), abs=6e-5)
        assert line["roc_auc_of_others"] == pytest.approx(roc_auc_score(labels, others), abs=1e-3)
    best, *_, guessing = summary["voters"]
    assert best["roc_auc_of_others"] < summary["roc_auc"] - 0.03, "the best voter is missed"
    assert guessing["roc_auc_of_others"] > summary["roc_auc"] - 0.01, "who guesses is not"


def test_an_ensemble_of_one_has_no_others(rows, proba):
    alone = proba[:, :1]
    fitted = fit(alone, rows)
    [line] = summarise_out_of_fold(judge(fitted, alone, rows, ["alone"]), rows, fitted.rules)["voters"]
    assert line["roc_auc_of_others"] == 0.5
    assert line["roc_auc"] > 0.8


def test_copies_in_other_folds_are_confessed(rows, proba):
    assert summarised(proba, rows)["n_leaking_test_images"] == 0
    shared = rows.assign(group=rows["group"].mask(rows.index.isin([0, 2, 4]), "one part"))
    assert summarised(proba, shared)["n_leaking_test_images"] == 3, "images 0, 2 and 4 lie in three folds"


# The file


@pytest.fixture(scope="module")
def verdicts(rows, proba):
    return judge(fit(proba, rows, **RULES["band"]), proba, rows)


@pytest.fixture
def written(tmp_path, verdicts):
    path = tmp_path / "out_of_fold.csv"
    write_csv(path, verdicts)
    return path


def test_what_was_written_is_read(written, rows, proba):
    table = read_out_of_fold(written, rows)
    assert list(table) == [*VERDICT_COLUMNS, *VOTERS]
    assert table["path"].tolist() == rows["path"].tolist()
    assert table[VOTERS].to_numpy() == pytest.approx(proba, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[::-1], "holds other images than the training part of the manifest"),
        (lambda table: table.head(5), "holds other images than the training part of the manifest"),
        (lambda table: table.assign(actual="defective"), "holds other labels than the manifest"),
        (lambda table: table.assign(verdict="perhaps"), "the unknown verdict 'perhaps'"),
        (lambda table: table.assign(a=1.5), "something else than probabilities in the column a"),
        (
            lambda table: table.assign(defect_proba=np.nan),
            "something else than probabilities in the column defect_proba",
        ),
        (lambda table: table.assign(b="high"), "something else than probabilities in the column b"),
        (lambda table: table.drop(columns=["cause", "verdict"]), "has no column verdict, cause"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_error(written, rows, change, message):
    write_csv(written, change(pd.read_csv(written)))
    with pytest.raises(ModelsError, match=f"{message}; run `dvc repro fit-ensemble`") as caught:
        read_out_of_fold(written, rows)
    assert written.name in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'"path'])
def test_a_damaged_file_is_one_clear_error(written, rows, content):
    written.write_bytes(content)
    with pytest.raises(ModelsError, match="run `dvc repro fit-ensemble`"):
        read_out_of_fold(written, rows)


def test_a_missing_file_is_one_clear_error(tmp_path, rows):
    with pytest.raises(ModelsError, match=r"out\.csv is missing; run `dvc repro fit-ensemble`"):
        read_out_of_fold(tmp_path / "out.csv", rows)
