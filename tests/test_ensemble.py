"""Voting by hand: what sits exactly at the threshold is rejected, and a tie is never a pass."""

import json
import math

import numpy as np
import pytest

from inspection.ensemble import decide, describe_ensemble, vote_weight
from inspection.errors import ModelsError
from inspection.images import AS_STORED, Decoding
from inspection.labels import REVIEW

GOOD, BAD = "non_defective", "defective"


def decide_one(proba, voting="hard", threshold=0.5, weights=None):
    """Verdict, probability and confidence for one image."""
    decisions = decide(np.array([proba]), voting, threshold, [1.0] * len(proba) if weights is None else weights)
    return decisions.verdicts[0], decisions.defect_proba[0], decisions.confidence[0]


@pytest.mark.parametrize(
    ("proba", "threshold", "verdict"),
    [
        ([0.9, 0.8, 0.1], 0.5, BAD),
        ([0.9, 0.2, 0.1], 0.5, GOOD),
        ([0.5, 0.5, 0.1], 0.5, BAD),  # exactly at the threshold votes defective
        ([0.5, 0.49999999, 0.1], 0.5, GOOD),
        ([0.3, 0.3, 0.1], 0.3, BAD),
        ([0.69, 0.69, 1.0], 0.7, GOOD),
        ([0.5], 0.5, BAD),
        ([0.49], 0.5, GOOD),
        ([0.0] * 7, 0.5, GOOD),
        ([1.0] * 7, 0.5, BAD),
        ([1.0] * 4 + [0.0] * 3, 0.5, BAD),
        ([1.0] * 3 + [0.0] * 4, 0.5, GOOD),
        ([1.0, 0.0], 0.5, REVIEW),
        ([0.6, 0.6, 0.4, 0.4], 0.5, REVIEW),
        ([0.5, 0.0], 0.5, REVIEW),
        ([1.0] * 25 + [0.0] * 25, 0.5, REVIEW),
        ([1.0] * 26 + [0.0] * 25, 0.5, BAD),
    ],
)
def test_hard_voting(proba, threshold, verdict):
    assert decide_one(proba, "hard", threshold)[0] == verdict


@pytest.mark.parametrize("n_voters", range(1, 40))
def test_hard_voting_counts_votes_exactly(n_voters):
    votes = np.tril(np.ones((n_voters + 1, n_voters)), -1)  # row k: k voters say defective
    expected = [REVIEW if 2 * k == n_voters else BAD if 2 * k > n_voters else GOOD for k in range(n_voters + 1)]
    assert decide(votes, "hard", 0.5, np.ones(n_voters)).verdicts.tolist() == expected


@pytest.mark.parametrize("weights", [[5.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_only_weighted_voting_looks_at_weights(voting, weights):
    assert decide_one([0.9, 0.2, 0.1], voting, weights=weights) == decide_one([0.9, 0.2, 0.1], voting)


@pytest.mark.parametrize(
    ("proba", "weights", "threshold", "verdict"),
    [
        ([0.9, 0.1, 0.1], [3.0, 1.0, 1.0], 0.5, BAD),  # 3 of 5
        ([0.9, 0.1, 0.1], [2.0, 1.0, 1.0], 0.5, REVIEW),  # 2 of 4
        ([0.9, 0.1, 0.1], [1.9, 1.0, 1.0], 0.5, GOOD),  # 1.9 of 3.9
        ([0.9, 0.1, 0.9], [0.0, 1.0, 0.0], 0.5, GOOD),  # the only voter that counts
        ([0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.1, 0.3], 0.5, REVIEW),  # 0.1 + 0.1 + 0.1 is not 0.3 in floating point
        ([0.9] * 7 + [0.1], [0.7] * 7 + [4.9], 0.5, REVIEW),
        ([0.3, 0.2, 0.9], [2.0, 1.0, 0.5], 0.3, BAD),  # exactly at the threshold votes defective: 2.5 of 3.5
        ([0.9, 0.1], [1.000001, 1.0], 0.5, BAD),
        ([0.9, 0.1], [1.0, 1.000001], 0.5, GOOD),
        ([0.9], [0.001], 0.5, BAD),
    ],
)
def test_weighted_voting(proba, weights, threshold, verdict):
    assert decide_one(proba, "weighted", threshold, weights)[0] == verdict


@pytest.mark.parametrize(
    ("proba", "threshold", "verdict"),
    [
        ([0.9, 0.4, 0.3], 0.5, BAD),  # mean 1.6 / 3, against the majority
        ([0.1, 0.6, 0.6], 0.5, GOOD),  # mean 1.3 / 3, against the majority
        ([0.25, 0.75], 0.5, BAD),  # mean exactly 0.5
        ([0.25, 0.749], 0.5, GOOD),
        ([0.125, 0.375], 0.25, BAD),  # mean exactly 0.25
        ([0.5], 0.5, BAD),
        ([0.9, 0.1], 0.75, GOOD),  # two voters cannot tie under soft voting
    ],
)
def test_soft_voting(proba, threshold, verdict):
    assert decide_one(proba, "soft", threshold)[0] == verdict


def test_soft_voting_when_all_sit_at_the_threshold():
    cases = [(n_voters, threshold) for n_voters in range(1, 30) for threshold in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert [case for case in cases if decide_one([case[1]] * case[0], "soft", case[1])[0] != BAD] == []


@pytest.mark.parametrize(
    ("proba", "voting", "weights", "verdict", "defect_proba", "confidence"),
    [
        # Means 2.1/3 and 0.9/3; a verdict of non-defective is held with 1 - mean.
        ([0.9, 0.8, 0.4], "hard", None, BAD, 0.7, 0.7),
        ([0.1, 0.2, 0.6], "hard", None, GOOD, 0.3, 0.7),
        # A narrow majority less sure than the minority: mean 1.2/3.
        ([0.6, 0.6, 0.0], "hard", None, BAD, 0.4, 0.4),
        # Review takes the larger of the two: means 0.7 and 0.4.
        ([1.0, 0.4], "hard", None, REVIEW, 0.7, 0.7),
        ([0.5, 0.3], "hard", None, REVIEW, 0.4, 0.6),
        ([0.9, 0.8, 0.4], "soft", None, BAD, 0.7, 0.7),
        ([0.1, 0.2, 0.6], "soft", None, GOOD, 0.3, 0.7),
        # Weighted mean (2 * 0.9 + 0.4 + 0.2) / 4; two of four weights say defective.
        ([0.9, 0.4, 0.2], "weighted", [2, 1, 1], REVIEW, 0.6, 0.6),
        # (3 * 0.2 + 0.8) / 4
        ([0.2, 0.8], "weighted", [3, 1], GOOD, 0.35, 0.65),
        ([0.0, 0.0, 0.0], "hard", None, GOOD, 0.0, 1.0),
        ([1.0, 1.0, 1.0], "soft", None, BAD, 1.0, 1.0),
    ],
)
def test_probability_and_confidence(proba, voting, weights, verdict, defect_proba, confidence):
    assert decide_one(proba, voting, weights=weights) == (
        verdict,
        pytest.approx(defect_proba),
        pytest.approx(confidence),
    )


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
def test_rows_do_not_influence_one_another(voting):
    random = np.random.default_rng(0)
    proba, weights = random.uniform(size=(50, 5)), random.uniform(size=5)
    together = decide(proba, voting, 0.4, weights)
    alone = [decide_one(row, voting, 0.4, weights) for row in proba]
    assert [verdict for verdict, _, _ in alone] == together.verdicts.tolist()
    assert [mean for _, mean, _ in alone] == pytest.approx(together.defect_proba)
    assert [confidence for _, _, confidence in alone] == pytest.approx(together.confidence)


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
def test_probabilities_stay_within_bounds(voting):
    for n_voters in range(1, 30):
        decisions = decide(np.ones((1, n_voters)), voting, 0.5, np.full(n_voters, 0.1))
        assert decisions.defect_proba[0] <= 1
        assert 0 <= decisions.confidence[0] <= 1
        assert decisions.verdicts[0] == BAD


def test_no_images():
    decisions = decide(np.empty((0, 3)), "hard", 0.5, [1, 1, 1])
    assert len(decisions.verdicts) == len(decisions.defect_proba) == len(decisions.confidence) == 0


@pytest.mark.parametrize(
    ("proba", "voting", "weights", "message"),
    [
        ([[0.9, math.nan]], "hard", [1, 1], r"probability is outside \[0, 1\]"),
        ([[0.9, math.nan]], "soft", [1, 1], r"probability is outside \[0, 1\]"),
        ([[0.9, 0.1], [0.2, 1.0001]], "hard", [1, 1], r"outside \[0, 1\]"),
        ([[-0.0001]], "hard", [1], r"outside \[0, 1\]"),
        ([[math.inf]], "hard", [1], r"outside \[0, 1\]"),
        ([[0.9, 0.1]], "majority", [1, 1], "unknown voting rule 'majority'"),
        ([[0.9, 0.1]], "Hard", [1, 1], "unknown voting rule 'Hard'"),
        ([[0.9, 0.1]], "hard", [1, 1, 1], r"probabilities \(1, 2\) and weights \(3,\) do not fit"),
        ([0.9, 0.1], "hard", [1, 1], r"probabilities \(2,\) and weights \(2,\) do not fit"),
        ([[]], "hard", [], r"probabilities \(1, 0\) and weights \(0,\) do not fit"),
    ],
)  # fmt: skip
def test_decide_refuses(proba, voting, weights, message):
    with pytest.raises(ValueError, match=message):
        decide(np.array(proba), voting, 0.5, weights)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("weights", [[0, 0], [math.nan, 1], [-1, 1.5], [math.inf, 1]])
def test_decide_refuses_weights_that_cannot_vote(weights):
    with pytest.raises(ValueError, match="weight"):
        decide(np.array([[0.9, 0.9]]), "weighted", 0.5, weights)


@pytest.mark.parametrize(
    ("accuracy", "n_images", "weight"),
    [
        # log odds of (n_right + 0.5) / (n_images + 1)
        (1.0, 9, math.log(9.5 / 0.5)),
        (0.9, 100, math.log(90.5 / 10.5)),
        (0.75, 4, math.log(3.5 / 1.5)),
        (0.5, 10, 0.0),
        (0.4, 10, 0.0),
        (0.0, 10, 0.0),
        (0.51, 100, math.log(51.5 / 49.5)),
    ],
)
def test_vote_weight(accuracy, n_images, weight):
    assert vote_weight(accuracy, n_images) == pytest.approx(weight)


def test_vote_weight_grows_with_accuracy_and_evidence():
    weights = [vote_weight(n_right / 50, 50) for n_right in range(51)]
    assert weights[:26] == [0.0] * 26
    assert all(low < high for low, high in zip(weights[25:], weights[26:], strict=False))
    assert vote_weight(1.0, 10) < vote_weight(1.0, 100) < math.inf
    assert vote_weight(0.9, 10) < vote_weight(0.9, 1000) < math.log(9)


def card(name: str) -> dict:
    files = {"network": {"path": f"{name}.onnx", "sha256": "0" * 64}}
    return {"name": name, "kind": "cnn", "files": files, "out_of_fold": {"path": "x"}, "hyperparameters": {"C": 1}}


def test_describe_ensemble():
    data = {"source": "data/raw", "n_images": 3}
    description = describe_ensemble([card("a"), card("b")], [1.23456789, 0], "weighted", 0.4, data, AS_STORED)
    assert description == {
        "format": 2,
        "classes": ["non_defective", "defective"],
        "voting": "weighted",
        "threshold": 0.4,
        "trained_on": data,
        "decoding": {"bit_depth": 16, "float_range": None},
        "voters": [
            {"name": "a", "kind": "cnn", "files": card("a")["files"], "weight": 1.234568},
            {"name": "b", "kind": "cnn", "files": card("b")["files"], "weight": 0},
        ],
    }
    assert json.loads(json.dumps(description)) == description


def test_the_ensemble_says_how_its_images_were_read():
    decoding = Decoding(bit_depth=12, float_range=(-0.5, 1000.0))
    described = describe_ensemble([card("a")], [1], "hard", 0.5, {}, decoding)["decoding"]
    assert json.loads(json.dumps(described)) == {"bit_depth": 12, "float_range": [-0.5, 1000.0]}


def test_weighted_ensemble_of_voters_no_better_than_chance():
    with pytest.raises(ModelsError, match="no voter beats chance .* use hard or soft voting"):
        describe_ensemble([card("a"), card("b")], [0.0, 0.0], "weighted", 0.5, {}, AS_STORED)
    for voting in ("hard", "soft"):
        assert describe_ensemble([card("a")], [0.0], voting, 0.5, {}, AS_STORED)["voting"] == voting


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0]])
def test_every_voter_has_one_weight(weights):
    with pytest.raises(ValueError, match="zip"):
        describe_ensemble([card("a"), card("b")], weights, "hard", 0.5, {}, AS_STORED)
