"""Cards of trained voters: exactly those declared, with fingerprints and out-of-fold scores that fit."""

import json

import numpy as np
import pandas as pd
import pytest

from inspection.errors import ModelsError
from inspection.files import sha256_file
from inspection.voters.cards import TrainedFiles, read_cards, read_out_of_fold, write_card

TRAINED = TrainedFiles("svm", {"network": "backbones/b.onnx", "classifier": "b_svm.pkl"}, {"C": 4, "gamma": "scale"})


@pytest.fixture
def folders(tmp_path):
    """The folders of cards and models, the latter with the files of ``TRAINED``."""
    models = tmp_path / "models"
    (models / "backbones").mkdir(parents=True)
    for name in TRAINED.files.values():
        (models / name).write_text(name, encoding="utf-8")
    return tmp_path / "cards", models


@pytest.fixture
def rows():
    return pd.DataFrame(
        {"path": ["d/1.png", "d/a,b.png", "d/部品.png", "d/NA"], "label": [0, 0, 1, 1], "fold": [0, 1, 0, 1]}
    )


PROBA = np.array([0.1, 0.4, 0.35, 0.8])


def test_card(folders, rows):
    cards, models = folders
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    content = json.loads((cards / "b_svm.json").read_text(encoding="utf-8"))
    assert content == {
        # Of four pairs, only 0.35 < 0.4 is lost: 3/4.
        "roc_auc": 0.75,
        # Precision at the two defects: 1/1 and 2/3, each worth a half: 0.83333...
        "average_precision": 0.8333,
        "n_images": 4,
        "voter": [
            {
                "name": "b_svm",
                "kind": "svm",
                "files": {
                    "network": {"path": "backbones/b.onnx", "sha256": sha256_file(models / "backbones/b.onnx")},
                    "classifier": {"path": "b_svm.pkl", "sha256": sha256_file(models / "b_svm.pkl")},
                },
                "out_of_fold": {
                    "path": "out_of_fold/b_svm.csv",
                    "sha256": sha256_file(models / "out_of_fold/b_svm.csv"),
                },
                "hyperparameters": {"C": 4, "gamma": "scale"},
            }
        ],
    }


def test_same_voter_same_bytes(folders, rows):
    cards, models = folders
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    files = [cards / "b_svm.json", models / "out_of_fold" / "b_svm.csv"]
    before = [path.read_bytes() for path in files]
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    assert [path.read_bytes() for path in files] == before
    assert b"\r" not in before[1]


def test_out_of_fold_scores_round_trip(folders, rows):
    cards, models = folders
    proba = np.array([1 / 3, 2e-7, 1.0, 0.9999996])
    write_card(cards, models, "b_svm", TRAINED, rows, proba)
    [card] = read_cards(cards, ["b_svm"])
    scores = read_out_of_fold(models, card, rows)
    assert scores.tolist() == [0.333333, 0.0, 1.0, 1.0]  # six decimals
    written = pd.read_csv(models / "out_of_fold" / "b_svm.csv", keep_default_na=False)
    assert list(written) == ["path", "label", "defect_proba"]
    assert written["path"].tolist() == rows["path"].tolist()
    assert written["label"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "others",
    [lambda rows: rows[::-1], lambda rows: rows[:3], lambda rows: rows.replace("d/1.png", "d/2.png")],
    ids=["other order", "fewer", "another path"],
)
def test_out_of_fold_scores_of_other_images(folders, rows, others):
    cards, models = folders
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    [card] = read_cards(cards, ["b_svm"])
    with pytest.raises(ModelsError, match=r"out_of_fold/b_svm\.csv holds the scores of other images; run `dvc repro`"):
        read_out_of_fold(models, card, others(rows))


def test_the_index_of_the_rows_does_not_matter(folders, rows):
    cards, models = folders
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    [card] = read_cards(cards, ["b_svm"])
    assert read_out_of_fold(models, card, rows.set_index(rows.index + 5)).tolist() == PROBA.tolist()


@pytest.mark.parametrize("damage", ["edit", "delete"])
def test_out_of_fold_scores_that_the_card_does_not_know(folders, rows, damage):
    cards, models = folders
    write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    [card] = read_cards(cards, ["b_svm"])
    path = models / "out_of_fold" / "b_svm.csv"
    if damage == "edit":
        path.write_text(path.read_text(encoding="utf-8").replace("0.400000", "0.300000"), encoding="utf-8")
    else:
        path.unlink()
    with pytest.raises(ModelsError, match=r"b_svm\.csv.*(is not the file ensemble\.json vouches for|cannot be read)"):
        read_out_of_fold(models, card, rows)


def test_card_of_a_model_that_was_not_written(folders, rows):
    cards, models = folders
    (models / "b_svm.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"b_svm\.pkl"):
        write_card(cards, models, "b_svm", TRAINED, rows, PROBA)
    assert not (cards / "b_svm.json").exists()


def test_cards_come_in_the_order_asked_for(folders, rows):
    cards, models = folders
    names = ["b_svm", "a_svm", "c_svm"]
    for name in sorted(names):
        write_card(cards, models, name, TRAINED, rows, PROBA)
    assert [card["name"] for card in read_cards(cards, names)] == names


def test_stale_cards_are_deleted(folders, rows, capsys):
    cards, models = folders
    for name in ("a_svm", "b_svm", "old_svm", "older.v2_svm"):
        write_card(cards, models, name, TRAINED, rows, PROBA)
    (cards / "notes.txt").write_text("mine", encoding="utf-8")
    assert [card["name"] for card in read_cards(cards, ["a_svm", "b_svm"])] == ["a_svm", "b_svm"]
    assert sorted(path.name for path in cards.iterdir()) == ["a_svm.json", "b_svm.json", "notes.txt"]
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "old_svm is no longer declared in params.yaml; its card is deleted",
        "older.v2_svm is no longer declared in params.yaml; its card is deleted",
    ]


@pytest.mark.parametrize("written", [[], ["a_svm"]])
def test_missing_card(folders, rows, written):
    cards, models = folders
    for name in written:
        write_card(cards, models, name, TRAINED, rows, PROBA)
    with pytest.raises(ModelsError, match=r"^b_svm has no card in .*cards/; run `dvc repro` to train it"):
        read_cards(cards, [*written, "b_svm", "c_svm"])


def test_damaged_card(folders):
    cards, _ = folders
    cards.mkdir()
    (cards / "b_svm.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelsError, match=r"b_svm\.json is not valid JSON .*delete it"):
        read_cards(cards, ["b_svm"])


@pytest.mark.parametrize("content", ["{}", '{"voter": []}', "[]"])
def test_card_of_another_layout(folders, content):
    cards, _ = folders
    cards.mkdir()
    (cards / "b_svm.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelsError, match=r"b_svm"):
        read_cards(cards, ["b_svm"])
