"""Voting and deciding by hand: what sits exactly at a threshold is rejected, and a tie is never a pass."""

import math

import numpy as np
import pytest

from inspection.decision.combination import Combination, mean_log_odds
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Cause, Decisions, Rules, decide, majority
from inspection.errors import ConfigError
from inspection.labels import REVIEW

GOOD, BAD = "non_defective", "defective"


def majority_of(proba, voting="hard", threshold=0.5, weights=None):
    """What the majority says of one image."""
    return majority(np.array([proba]), rules_of(voting, threshold, [1.0] * len(proba) if weights is None else weights))[
        0
    ]


def rules_of(voting, threshold, weights, point=None, combination=None):
    return Rules(voting, threshold, tuple(weights), combination or mean_log_odds(len(weights) or 1), point)


def decide_one(proba, voting="hard", threshold=0.5, weights=None, point=None, combination=None, unlike=None):
    """Verdict, cause, probability and confidence for one image; the probability is by the mean log odds."""
    weights = (1.0,) * len(proba) if weights is None else tuple(weights)
    rules = Rules(voting, threshold, weights, combination or mean_log_odds(len(proba)), point)
    found = decide(np.array([proba]), rules, None if unlike is None else np.array([unlike]))
    return found.verdicts[0], found.causes[0], found.defect_proba[0], found.confidence[0]


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
    assert majority_of(proba, "hard", threshold) == verdict


@pytest.mark.parametrize("n_voters", range(1, 40))
def test_hard_voting_counts_votes_exactly(n_voters):
    votes = np.tril(np.ones((n_voters + 1, n_voters)), -1)  # row k: k voters say defective
    expected = [REVIEW if 2 * k == n_voters else BAD if 2 * k > n_voters else GOOD for k in range(n_voters + 1)]
    assert majority(votes, rules_of("hard", 0.5, np.ones(n_voters))).tolist() == expected


@pytest.mark.parametrize("weights", [[5.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_only_weighted_voting_looks_at_weights(voting, weights):
    assert majority_of([0.9, 0.2, 0.1], voting, weights=weights) == GOOD
    assert majority_of([0.9, 0.2, 0.1], "weighted", weights=[5.0, 1.0, 1.0]) == BAD


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
    assert majority_of(proba, "weighted", threshold, weights) == verdict


@pytest.mark.parametrize(
    ("proba", "threshold", "verdict"),
    [
        # Against the majority: log odds of 0.9 are 2.197, of 0.4 -0.405, of 0.3 -0.847; the mean is above 0.
        ([0.9, 0.4, 0.3], 0.5, BAD),
        ([0.1, 0.6, 0.6], 0.5, GOOD),
        # The mean of opposite log odds is 0, a probability of one half.
        ([0.25, 0.75], 0.5, BAD),
        ([0.25, 0.749], 0.5, GOOD),
        ([0.5], 0.5, BAD),
        ([0.9, 0.1], 0.75, GOOD),  # two voters cannot tie under soft voting
        ([0.6, 0.6], 0.61, GOOD),
        ([0.6, 0.6], 0.59, BAD),
    ],
)
def test_soft_voting_is_the_probability_against_the_threshold(proba, threshold, verdict):
    assert decide_one(proba, "soft", threshold)[:2] == (verdict, Cause.VOTE)


LEANING = Combination((1.0, 0.0, 0.0), 0.0)
"""Trusts the first of three voters alone."""


@pytest.mark.parametrize("voting", ["hard", "weighted"])
@pytest.mark.parametrize(
    ("proba", "verdict", "cause", "confidence"),
    [
        ([0.8, 0.9, 0.1], BAD, Cause.VOTE, 0.8),
        ([0.2, 0.1, 0.9], GOOD, Cause.VOTE, 0.8),
        # Two of three vote against what the ensemble's probability says: nobody can pass or fail that part.
        ([0.2, 0.9, 0.9], REVIEW, Cause.DISAGREEMENT, 0.8),
        ([0.8, 0.1, 0.1], REVIEW, Cause.DISAGREEMENT, 0.8),
        # Exactly at the threshold is defective, in the vote and in the probability.
        ([0.5, 0.5, 0.1], BAD, Cause.VOTE, 0.5),
        ([0.5, 0.1, 0.1], REVIEW, Cause.DISAGREEMENT, 0.5),
    ],
)
def test_without_an_operating_point_vote_and_probability_must_agree(voting, proba, verdict, cause, confidence):
    decided = decide_one(proba, voting, combination=LEANING)
    assert decided == (verdict, cause, pytest.approx(proba[0]), pytest.approx(confidence))


@pytest.mark.parametrize(
    ("proba", "voting", "weights", "defect_proba"),
    [
        ([0.9, 0.2], "hard", None, 0.6),  # odds of 9 and 1/4: sqrt(9/4) = 3/2
        ([0.8, 0.1], "hard", None, 0.4),  # odds of 4 and 1/9: 2/3
        ([0.9, 0.2, 0.2], "weighted", [2, 1, 1], None),
    ],
)
def test_a_tie_is_a_review(proba, voting, weights, defect_proba):
    verdict, cause, found, confidence = decide_one(proba, voting, weights=weights)
    assert (verdict, cause) == (REVIEW, Cause.TIE)
    assert defect_proba is None or found == pytest.approx(defect_proba)
    assert confidence == max(found, 1 - found)


def test_the_threshold_of_the_voters_holds_for_the_probability_too():
    # All voters at 0.4, below one half and above a threshold of 0.3.
    assert decide_one([0.4, 0.4, 0.4], "hard", 0.3)[:2] == (BAD, Cause.VOTE)
    assert decide_one([0.4, 0.4, 0.4], "hard", 0.5)[:2] == (GOOD, Cause.VOTE)


POINT = OperatingPoint(0.25, 0.75, 0.05, 0.95, 100, 1)
NO_BAND = OperatingPoint(0.25, 0.25, 0.05, 0.95, 100, 1)
NEVER_FAIL = OperatingPoint(0.25, float(np.nextafter(1, 2)), 0.05, 0.95, 100, 1)


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
@pytest.mark.parametrize(
    ("first", "others", "point", "verdict", "cause"),
    [
        (0.2, (0.1, 0.1), POINT, GOOD, Cause.THRESHOLD),
        (0.9, (0.9, 0.9), POINT, BAD, Cause.THRESHOLD),
        (0.5, (0.9, 0.9), POINT, REVIEW, Cause.BAND),
        (0.5, (0.1, 0.1), POINT, REVIEW, Cause.BAND),
        # Never passed against the majority ...
        (0.2, (0.9, 0.9), POINT, REVIEW, Cause.DISAGREEMENT),
        (0.2, (0.9, 0.9), NO_BAND, REVIEW, Cause.DISAGREEMENT),
        # ... but failed against it: the promise is about what passes.
        (0.9, (0.1, 0.1), POINT, BAD, Cause.THRESHOLD),
        (0.3, (0.1, 0.1), NO_BAND, BAD, Cause.THRESHOLD),
        (0.2, (0.1, 0.1), NO_BAND, GOOD, Cause.THRESHOLD),
        # Where no part fails, even the surest goes to review.
        (1.0, (1.0, 1.0), NEVER_FAIL, REVIEW, Cause.BAND),
    ],
)
def test_with_an_operating_point_the_thresholds_decide(voting, first, others, point, verdict, cause):
    decided = decide_one([first, *others], voting, point=point, combination=LEANING)
    assert decided[:2] == (verdict, cause)


@pytest.mark.parametrize(
    ("p", "verdict", "cause"),
    [
        (np.nextafter(0.25, 0), GOOD, Cause.THRESHOLD),
        (0.25, REVIEW, Cause.BAND),  # exactly there it does not pass
        (np.nextafter(0.75, 0), REVIEW, Cause.BAND),
        (0.75, BAD, Cause.THRESHOLD),  # exactly there it fails
    ],
)
def test_edges_of_the_operating_point(monkeypatch, p, verdict, cause):
    # The probability itself, not through log odds, which round.
    monkeypatch.setattr(Combination, "defect_proba", lambda self, proba: proba[:, 0])
    assert decide_one([p, 0.1, 0.1], point=POINT)[:2] == (verdict, cause)


@pytest.mark.parametrize(("p", "verdict"), [(np.nextafter(0.25, 0), GOOD), (0.25, BAD)])
def test_edge_without_a_band(monkeypatch, p, verdict):
    monkeypatch.setattr(Combination, "defect_proba", lambda self, proba: proba[:, 0])
    assert decide_one([p, 0.1, 0.1], point=NO_BAND)[:2] == (verdict, Cause.THRESHOLD)


@pytest.mark.parametrize(
    ("proba", "point", "cause"),
    [
        ([0.1, 0.9], POINT, Cause.BAND),  # in the band as well: that is what the reader must know
        ([0.0001, 0.6], POINT, Cause.TIE),
        ([0.9999, 0.4], POINT, Cause.TIE),
        ([0.9999, 0.4], NO_BAND, Cause.TIE),
    ],
)
def test_a_tie_is_a_review_beside_an_operating_point_too(proba, point, cause):
    assert decide_one(proba, point=point)[:2] == (REVIEW, cause)


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
@pytest.mark.parametrize("point", [None, POINT, NO_BAND])
@pytest.mark.parametrize("proba", [[0.1] * 3, [0.9] * 3, [0.5] * 3, [0.9, 0.9, 0.001], [0.9, 0.1]])
def test_unlike_beats_everything(voting, point, proba):
    verdict, cause, defect_proba, confidence = decide_one(proba, voting, point=point, unlike=True)
    assert (verdict, cause) == (REVIEW, Cause.UNLIKE)
    assert confidence == max(defect_proba, 1 - defect_proba)
    assert decide_one(proba, voting, point=point, unlike=False) == decide_one(proba, voting, point=point)


def test_no_part_passes_against_the_majority_or_the_promise():
    random = np.random.default_rng(0)
    proba = random.beta(0.5, 0.5, size=(3000, 5))
    for voting in ("hard", "soft", "weighted"):
        rules = Rules(voting, 0.5, (1.0, 0.5, 2.0, 1.0, 1.0), mean_log_odds(5), POINT)
        decisions = decide(proba, rules, random.uniform(size=3000) < 0.1)
        votes = majority(proba, rules)
        passed = decisions.verdicts == GOOD
        assert passed.sum() > 100
        assert (votes[passed] == GOOD).all()
        assert (decisions.defect_proba[passed] < 0.25).all()
        assert set(decisions.verdicts) == {GOOD, BAD, REVIEW}
        assert set(decisions.causes) <= set(Cause)
        assert ((decisions.verdicts == REVIEW) == ~np.isin(decisions.causes, [Cause.THRESHOLD, Cause.VOTE])).all()


def test_confidence_below_one_half_when_a_part_fails_for_the_promise():
    assert decide_one([0.3] * 3, point=NO_BAND) == (BAD, Cause.THRESHOLD, pytest.approx(0.3), pytest.approx(0.3))


@pytest.mark.parametrize(
    ("proba", "voting", "verdict", "defect_proba", "confidence"),
    [
        # Odds of 9, 4 and 2/3 multiply to 24, of one voter 24**(1/3) = 2.8845: 0.742567.
        ([0.9, 0.8, 0.4], "hard", BAD, 0.742567, 0.742567),
        ([0.1, 0.2, 0.6], "hard", GOOD, 0.2574334, 0.742567),
        ([0.9, 0.8, 0.4], "soft", BAD, 0.742567, 0.742567),
        ([0.1, 0.2, 0.6], "soft", GOOD, 0.2574334, 0.742567),
        # Nothing is surer than 0.9999.
        ([0.0, 0.0, 0.0], "hard", GOOD, 0.0001, 0.9999),
        ([1.0, 1.0, 1.0], "soft", BAD, 0.9999, 0.9999),
    ],
)
def test_probability_and_confidence(proba, voting, verdict, defect_proba, confidence):
    expected = (verdict, Cause.VOTE, pytest.approx(defect_proba), pytest.approx(confidence))
    assert decide_one(proba, voting) == expected


@pytest.mark.parametrize("point", [None, POINT])
@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
def test_rows_do_not_influence_one_another(voting, point):
    random = np.random.default_rng(0)
    proba, weights, unlike = random.uniform(size=(60, 4)), random.uniform(size=4), random.uniform(size=60) < 0.2
    together = decide(proba, Rules(voting, 0.4, tuple(weights), mean_log_odds(4), point), unlike)
    alone = [
        decide_one(row, voting, 0.4, weights, point, None, is_odd) for row, is_odd in zip(proba, unlike, strict=True)
    ]
    assert [one[0] for one in alone] == together.verdicts.tolist()
    assert [one[1] for one in alone] == together.causes.tolist()
    assert [one[2] for one in alone] == pytest.approx(together.defect_proba)
    assert [one[3] for one in alone] == pytest.approx(together.confidence)


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
def test_probabilities_stay_within_bounds(voting):
    for n_voters in range(1, 30):
        for proba, verdict in ((1.0, BAD), (0.0, GOOD)):
            found = decide_one([proba] * n_voters, voting, weights=[0.1] * n_voters)
            assert found[0] == verdict
            assert 0 <= found[2] <= 1
            assert 0 <= found[3] <= 1


@pytest.mark.parametrize("point", [None, POINT])
def test_no_images(point):
    decisions = decide(np.empty((0, 3)), Rules("hard", 0.5, (1.0,) * 3, mean_log_odds(3), point), np.empty(0, bool))
    assert isinstance(decisions, Decisions)
    lengths = [
        len(part) for part in (decisions.verdicts, decisions.causes, decisions.defect_proba, decisions.confidence)
    ]
    assert lengths == [0] * 4


@pytest.mark.parametrize(
    ("proba", "voting", "weights", "message"),
    [
        ([[0.9, math.nan]], "hard", [1, 1], r"probability is outside \[0, 1\]"),
        ([[0.9, math.nan]], "soft", [1, 1], r"probability is outside \[0, 1\]"),
        ([[0.9, 0.1], [0.2, 1.0001]], "hard", [1, 1], r"outside \[0, 1\]"),
        ([[-0.0001]], "hard", [1], r"outside \[0, 1\]"),
        ([[math.inf]], "hard", [1], r"outside \[0, 1\]"),
        ([[0.9, 0.1]], "hard", [1, 1, 1], r"probabilities \(1, 2\) and weights \(3,\) do not fit"),
        ([0.9, 0.1], "hard", [1, 1], r"probabilities \(2,\) and weights \(2,\) do not fit"),
        ([[]], "hard", [], r"probabilities \(1, 0\) and weights \(0,\) do not fit"),
    ],
)  # fmt: skip
def test_votes_that_cannot_be_counted(proba, voting, weights, message):
    with pytest.raises(ValueError, match=message):
        majority(np.array(proba), rules_of(voting, 0.5, weights))
    with pytest.raises(ValueError, match=message):
        decide(np.array(proba), Rules(voting, 0.5, tuple(weights), mean_log_odds(len(weights) or 1), POINT))


@pytest.mark.parametrize("weights", [[0, 0], [math.nan, 1], [-1, 1.5], [math.inf, 1]])
def test_weights_that_cannot_vote(weights):
    with pytest.raises(ValueError, match=r"weights \[.*\] cannot vote: none may be negative, and not all 0"):
        majority(np.array([[0.9, 0.9]]), rules_of("weighted", 0.5, weights))


@pytest.mark.parametrize(
    ("voting", "hint"), [("majority", "known: hard, soft, weighted"), ("Hard", "did you mean 'hard'"), ("", "known: ")]
)
@pytest.mark.parametrize("point", [None, POINT])
def test_an_unknown_voting_rule_is_named(voting, hint, point):
    with pytest.raises(ConfigError, match=f"ensemble.voting: unknown voting rule '{voting}'; {hint}"):
        decide(np.array([[0.9, 0.1]]), rules_of(voting, 0.5, [1, 1], point))


def test_the_probability_may_be_another_than_the_combination_gives():
    # The voters' mean is 0.9; out-of-fold the ensemble was less sure of the first image, and called the second good.
    proba, unseen = np.full((2, 3), 0.9), np.array([0.6, 0.2])
    decisions = decide(proba, rules_of("hard", 0.5, [1, 1, 1]), defect_proba=unseen)
    assert decisions.verdicts.tolist() == [BAD, REVIEW]
    assert decisions.causes.tolist() == [Cause.VOTE, Cause.DISAGREEMENT]
    assert decisions.defect_proba.tolist() == [0.6, 0.2]
    assert decisions.confidence.tolist() == [0.6, 0.8]
