"""Rules from out-of-fold scores: what was fitted, what is promised of it, and what is said when nothing can be."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from inspection.config import CostParams, DecisionParams, EnsembleParams
from inspection.decision.combination import combine_across_folds, fit_combination, vote_weights
from inspection.decision.ensemble import decide
from inspection.decision.operating_point import Costs, choose_operating_point
from inspection.decision.rule_fitting import fit_rules

N_IMAGES = 240
HARD = EnsembleParams(voting="hard", threshold=0.5)


def decision(**changes) -> DecisionParams:
    values = {
        "max_escape_rate": 0.0, "max_overkill_rate": 0.0, "confidence": 0.95, "cost": None, "false_alarm_rate": 0.01
    }  # fmt: skip
    return DecisionParams(**values | changes)


@pytest.fixture
def rows():
    """Training rows: half defective, every image a group of its own."""
    numbers = np.arange(N_IMAGES)
    return pd.DataFrame(
        {
            "label": numbers % 2,
            "weight": np.where(numbers % 5, 1.0, 0.5),
            "fold": numbers // 2 % 4,
            "group": [f"g{number}" for number in numbers],
        },
        index=numbers + 1000,
    )


@pytest.fixture
def proba(rows):
    """Two useful voters and one that guesses."""
    random = np.random.default_rng(0)
    signs = 2 * rows["label"].to_numpy() - 1
    return expit(np.outer(signs, [1.5, 1.0, 0.0]) + random.normal(size=(N_IMAGES, 3)))


def columns(rows):
    return [rows[name].to_numpy() for name in ("label", "weight", "fold", "group")]


def test_the_rules_are_those_of_the_scores(rows, proba):
    fitted = fit_rules(proba, rows, EnsembleParams(voting="weighted", threshold=0.4), decision())
    labels, weights, folds, _ = columns(rows)
    rules = fitted.rules
    assert (rules.voting, rules.threshold) == ("weighted", 0.4)
    assert rules.vote_weights == tuple(vote_weights(proba, labels, 0.4))
    assert rules.vote_weights[0] > rules.vote_weights[1] > rules.vote_weights[2]
    assert rules.combination == fit_combination(proba, labels, weights)
    assert np.array_equal(fitted.out_of_fold, combine_across_folds(proba, labels, weights, folds))
    assert (rules.operating_point, fitted.notice) == (None, "")


def test_without_a_promise_no_cost_and_no_overkill_rate_make_one(rows, proba):
    costs = CostParams(escape=100.0, overkill=5.0, review=1.0)
    fitted = fit_rules(proba, rows, HARD, decision(cost=costs, max_overkill_rate=0.1))
    assert (fitted.rules.operating_point, fitted.notice) == (None, "")


@pytest.mark.parametrize(
    ("changes", "costs"),
    [
        ({"max_overkill_rate": 0.0}, None),
        ({"max_overkill_rate": 0.1}, None),
        ({"confidence": 0.8}, None),
        ({"cost": CostParams(escape=20, overkill=5, review=1)}, Costs(20, 5, 1)),
    ],
    ids=["promise", "overkill", "confidence", "costs"],
)
def test_the_promise_is_made_on_scores_that_are_out_of_fold(rows, proba, changes, costs):
    params = decision(max_escape_rate=0.05, **changes)
    fitted = fit_rules(proba, rows, HARD, params)
    labels, _, _, groups = columns(rows)
    point = choose_operating_point(
        labels == 1, fitted.out_of_fold, groups, 0.05, params.max_overkill_rate, params.confidence, costs
    )
    assert fitted.rules.operating_point == point
    assert point.n_defects == N_IMAGES / 2
    assert fitted.notice == ""
    passes = fitted.out_of_fold < point.pass_below
    assert np.sum(passes & (labels == 1)) == point.n_escapes


def test_the_rules_decide(rows, proba):
    fitted = fit_rules(proba, rows, HARD, decision(max_escape_rate=0.1, max_overkill_rate=0.1))
    verdicts = decide(proba, fitted.rules).verdicts
    assert set(verdicts) == {"defective", "non_defective", "review"}
    assert np.mean(verdicts[rows["label"] == 1] == "non_defective") <= 0.1


@pytest.mark.parametrize(
    ("max_escape_rate", "confidence", "needed"), [(0.01, 0.95, 299), (0.005, 0.95, 598), (0.02, 0.99, 228)]
)
def test_the_notice_names_the_number_of_defects_needed(rows, proba, max_escape_rate, confidence, needed):
    fitted = fit_rules(proba, rows, HARD, decision(max_escape_rate=max_escape_rate, confidence=confidence))
    assert fitted.rules.operating_point is None
    assert fitted.notice == (
        f"decision.max_escape_rate = {max_escape_rate} with confidence {confidence} needs at least {needed} defective "
        "training parts that are no copies of one another, and there are 120. Nothing is promised: the vote decides. "
        "Add photographs of defects, or promise less."
    )


def test_the_notice_counts_groups_of_defects(rows, proba):
    # Every four images are one part: 120 defective images show 60 parts, and 59 are needed.
    of_four = rows.assign(group=[f"part {number // 4}" for number in range(N_IMAGES)])
    fitted = fit_rules(proba, of_four, HARD, decision(max_escape_rate=0.05))
    assert fitted.rules.operating_point.n_defects == 60
    # Every five images: 48 parts, each with defective ones.
    of_five = rows.assign(group=[f"part {number // 5}" for number in range(N_IMAGES)])
    fitted = fit_rules(proba, of_five, HARD, decision(max_escape_rate=0.05))
    assert fitted.rules.operating_point is None
    assert "needs at least 59 defective training parts" in fitted.notice
    assert "and there are 48." in fitted.notice


def test_with_as_many_defects_as_the_notice_asks_for_it_is_gone(rows, proba):
    numbers = np.arange(N_IMAGES)
    for n_defects, is_promised in ((58, False), (59, True)):
        chosen = (rows["label"].to_numpy() == 0) | (numbers < 2 * n_defects)
        fitted = fit_rules(proba[chosen], rows[chosen], HARD, decision(max_escape_rate=0.05))
        assert (fitted.notice == "") == is_promised == (fitted.rules.operating_point is not None)
