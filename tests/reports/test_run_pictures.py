"""Every picture of a run: each gets the table that belongs to it, and what is missing is one clear error."""

import json

import numpy as np
import pandas as pd
import pytest

from inspection.data.images import AS_STORED
from inspection.data.manifest import COLUMNS
from inspection.errors import DataError, ModelsError
from inspection.files import write_csv, write_json
from inspection.reports.pictures import run_pictures
from inspection.reports.pictures.run_pictures import draw_data, draw_evaluation
from inspection.reports.tables.defect_maps import write_maps
from inspection.reports.tables.evaluation import tabulate
from inspection.reports.tables.insight import agreement
from inspection.reports.tables.predictions import VERDICT_COLUMNS

VERDICTS = ["defective", "review", "non_defective", "defective", "review", "non_defective", "non_defective", "review"]
LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 0])
PROBA = np.array([0.9, 0.6, 0.2, 0.7, 0.5, 0.1, 0.3, 0.4])
POINT = {"pass_below": 0.1, "fail_from": 0.8}


@pytest.fixture
def run(tmp_path):
    """Folder with what ``evaluate`` leaves; kinds of parts have names that look like other things."""
    rows = pd.DataFrame(
        {
            "path": [f"data/{index}.png" for index in range(8)],
            "group": [f"{index}" for index in range(8)],
            "label": LABELS,
            "defect_probability": LABELS.astype(float),
            "stratum": ["NA", "007"] * 4,
            "defect_type": "",
            "stated_group": "",
        }
    )
    predictions = pd.DataFrame(
        {
            "path": rows["path"],
            "actual": np.where(LABELS == 1, "defective", "non_defective"),
            "verdict": VERDICTS,
            "defect_proba": PROBA,
            "confidence": np.maximum(PROBA, 1 - PROBA),
            "cause": "vote",
            "unlikeness": 0.5,
        }
    )
    assert list(predictions) == list(VERDICT_COLUMNS)
    predictions = predictions.assign(a_cnn=PROBA, b_svm=1 - PROBA)
    scores = dict.fromkeys(("ensemble", "a_cnn", "b_svm"), {"roc_auc": 0.5})
    for name, table in tabulate(predictions, rows, scores).items():
        write_csv(tmp_path / "curves" / f"{name}.csv", table)
    write_json(tmp_path / "ensemble.json", {"escape_rate": 0.3333, "overkill_rate": 0.2})
    write_json(tmp_path / "out_of_fold.json", {"operating_point": []})
    write_maps(tmp_path / "maps.npz", [], [])
    write_csv(tmp_path / "neighbours.csv", pd.DataFrame(columns=["mistake", "path", "label", "distance"]))
    write_csv(tmp_path / "label_suspects.csv", pd.DataFrame(columns=["path", "label", "defect_proba"]))
    return tmp_path


@pytest.fixture
def drawn(monkeypatch):
    """What each picture was given, by the name of its file."""
    calls = {}
    names = [name for name in vars(run_pictures) if name.startswith("plot_")]
    for name in names:
        monkeypatch.setattr(run_pictures, name, lambda path, *given: calls.update({path.name: given}))
    return calls


def test_every_picture_of_the_evaluation_is_drawn(run, drawn):
    draw_evaluation(run, 0.5, AS_STORED)
    assert sorted(drawn) == [
        "agreement.png", "calibration.png", "label_suspects.png", "maps.png", "misclassified.png", "mistakes.png",
        "rates_by_value.png", "scores.png", "tradeoff.png",
    ]  # fmt: skip


def test_every_picture_gets_its_table(run, drawn):
    draw_evaluation(run, 0.3, AS_STORED)
    is_defect, proba, _ = drawn["scores.png"]
    assert is_defect.tolist() == (LABELS == 1).tolist()
    assert proba.tolist() == PROBA.tolist()
    table, points = drawn["tradeoff.png"]
    assert points == {"verdicts": (0.3333, 0.2)}
    assert list(table) == ["threshold", "escape_rate", "overkill_rate"]
    [rates] = drawn["rates_by_value.png"]
    assert rates["value"].tolist() == ["007", "NA"]
    assert rates.select_dtypes("number").shape[1] == rates.shape[1] - 2
    # Votes at the voters' threshold: exactly 0.3 is a vote for defective.
    votes = pd.DataFrame({"a_cnn": PROBA >= 0.3, "b_svm": 1 - PROBA >= 0.3})
    pd.testing.assert_frame_equal(drawn["agreement.png"][0], agreement(votes))
    assert drawn["calibration.png"][0]["voter"].drop_duplicates().tolist() == ["a_cnn", "b_svm", "ensemble"]
    # A defect that passes and a good part that fails; reviews are no mistakes.
    assert drawn["misclassified.png"][0]["path"].tolist() == ["data/2.png", "data/3.png"]
    assert drawn["mistakes.png"][0] is drawn["misclassified.png"][0]


@pytest.mark.parametrize(
    ("points", "lines"),
    [
        ([], (0.4,)),
        ([POINT], (0.1, 0.8)),
        # Without a band there is one line, not the same twice.
        ([POINT | {"fail_from": 0.1}], (0.1,)),
    ],
)
def test_scores_are_drawn_with_the_thresholds_that_decide(run, drawn, points, lines):
    write_json(run / "out_of_fold.json", {"operating_point": points})
    draw_evaluation(run, 0.4, AS_STORED)
    assert drawn["scores.png"][2] == lines


@pytest.mark.parametrize("name", ["curves/predictions.csv", "curves/calibration.csv", "neighbours.csv", "maps.npz"])
def test_a_missing_table_is_one_clear_error(run, drawn, name):
    (run / name).unlink()
    with pytest.raises(ModelsError, match=rf"{name.split('/')[-1]} is missing.*; run `dvc repro evaluate`"):
        draw_evaluation(run, 0.5, AS_STORED)


@pytest.fixture
def data(tmp_path):
    """Folder with what ``prepare`` leaves."""
    manifest = pd.DataFrame({name: ["0", "0"] for name in COLUMNS}).assign(split=["train", "test"])
    write_csv(tmp_path / "manifest.csv", manifest)
    write_csv(tmp_path / "photographs.csv", pd.DataFrame({"path": ["a", "b", "c"], "split": "", "label": [0, 1, -1]}))
    (tmp_path / "audit.json").write_text(json.dumps({"n_leaks": 3}), encoding="utf-8")
    return tmp_path


def test_data_is_drawn_from_what_prepare_left(data, tmp_path, drawn):
    draw_data(data, tmp_path / "pictures", 7, AS_STORED)
    manifest, photographs = drawn["data.png"]
    assert (len(manifest), len(photographs)) == (2, 3)
    assert photographs["split"].tolist() == [""] * 3
    samples, seed, decoding = drawn["sample_grid.png"]
    assert (samples["split"].tolist(), seed, decoding) == (["train"], 7, AS_STORED)
    assert drawn["copies.png"][0] == {"n_leaks": 3}
    assert drawn["copies.png"][1] is photographs


def test_a_damaged_audit_is_one_clear_error(data, drawn):
    (data / "audit.json").write_text('{"n_le', encoding="utf-8")
    with pytest.raises(DataError, match=r"audit\.json is not valid JSON"):
        draw_data(data, data, 0, AS_STORED)
