"""Voters with nothing to learn."""

import numpy as np
import pandas as pd
import pytest

from inspection.errors import ModelsError
from inspection.voters.abstention import voting_cards, why_abstain, write_abstention
from inspection.voters.cards import TrainedFiles, read_cards, write_card


@pytest.mark.parametrize(
    ("labels", "parts", "reason"),
    [
        ([0, 0, 0, 0], [0, 0, 1, 1], "no training image is defective"),
        ([1, 0, 0, 0], [0, 0, 1, 1], "one of the parts left out in turn holds all 1 training images"),
        ([1, 1, 0, 0], [0, 0, 1, 1], "one of the parts left out in turn holds all 2 training images"),
        ([1, 0, 1, 0], [0, 0, 1, 1], ""),
    ],
)
def test_defects_are_needed_whichever_fold_is_left_out(labels, parts, reason):
    assert why_abstain(np.array(labels), np.array(parts)).startswith(reason)
    assert bool(why_abstain(np.array(labels), np.array(parts))) == bool(reason)


def test_an_abstention_is_told_from_a_vote(tmp_path, capsys):
    rows = pd.DataFrame({"path": ["a", "b"], "label": [0, 1]})
    (tmp_path / "c.onnx").write_bytes(b"network")
    write_card(
        tmp_path / "cards", tmp_path, "c", TrainedFiles("cnn", {"network": "c.onnx"}, {}), rows, np.array([0, 1.0])
    )
    write_abstention(tmp_path / "cards", tmp_path, "b_svm", "svm", ["b_svm.pkl"], "no training image is defective")
    assert capsys.readouterr().out == "b_svm abstains: no training image is defective\n"
    for name in ("b_svm.pkl", "out_of_fold/b_svm.csv"):
        assert (tmp_path / name).read_bytes() == b""
    cards, notice = voting_cards(read_cards(tmp_path / "cards", ["c", "b_svm"]))
    assert [card["name"] for card in cards] == ["c"]
    assert notice == "b_svm abstain: no training image is defective."
    cards, notice = voting_cards(read_cards(tmp_path / "cards", ["c"]))
    assert (len(cards), notice) == (1, "")


def test_every_reason_is_said_with_the_voters_that_have_it():
    reasons = {"cnn": "too dark", "a": "too late", "b": "too late"}
    cards = [{"name": name, "abstains": reason} for name, reason in reasons.items()] + [{"name": "c"}]
    assert voting_cards(cards) == ([{"name": "c"}], "cnn abstain: too dark. a, b abstain: too late.")


@pytest.mark.parametrize("n_abstaining", [0, 2])
def test_an_ensemble_of_nobody_says_what_to_do(n_abstaining):
    abstaining = [{"name": f"v{number}", "kind": "svm", "abstains": "it is late"} for number in range(n_abstaining)]
    reason = "it is late" if n_abstaining else "params.yaml names none"
    with pytest.raises(ModelsError, match=rf"^no voter learned anything: {reason}\. Name patch_memory in detectors"):
        voting_cards(abstaining)
