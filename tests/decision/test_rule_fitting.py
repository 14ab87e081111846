"""Rules from out-of-fold scores: what was fitted, what is promised of it, and what is said when nothing can be."""

import re

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.special import expit

from inspection.config import CostParams, DecisionParams, EnsembleParams
from inspection.decision.combination import fit_combination, mean_log_odds, vote_weights
from inspection.decision.operating_point import Costs, cheapest_thresholds, choose_operating_point
from inspection.decision.rule_fitting import fit_rules, out_of_fold_table
from inspection.decision.rules import decide
from inspection.errors import ConfigError

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
            "path": [f"{number}.png" for number in numbers],
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
    labels, weights, folds, groups = columns(rows)
    rules = fitted.rules
    assert (rules.voting, rules.threshold) == ("weighted", 0.4)
    assert rules.vote_weights == tuple(vote_weights(proba, labels, 0.4))
    assert rules.vote_weights[0] > rules.vote_weights[1] > rules.vote_weights[2]
    # What is served is the mean of what was scored.
    parts = [
        fit_combination(proba[rest], labels[rest], weights[rest], groups[rest], np.zeros(3, bool))
        for rest in (folds != fold for fold in range(4))
    ]
    assert rules.combination.coefficients == pytest.approx(np.mean([part.coefficients for part in parts], axis=0))
    assert rules.combination.intercept == pytest.approx(np.mean([part.intercept for part in parts]))
    for fold, part in enumerate(parts):
        assert np.array_equal(fitted.out_of_fold[folds == fold], part.defect_proba(proba[folds == fold]))
    assert (rules.operating_point, fitted.notice) == (None, "")


COST = {"escape": 20.0, "overkill": 5.0, "review": 1.0}


@pytest.mark.parametrize(
    ("promise", "overkill", "cost", "expected"),
    [
        # Nothing asked for: the vote decides.
        (0.0, 0.0, None, "vote"),
        # Costs alone: the cheapest thresholds, and no promise.
        (0.0, 0.0, COST, "cheapest"),
        (0.05, 0.0, None, "promise"),
        (0.05, 0.1, None, "promise and overkill"),
        (0.05, 0.0, COST, "promise and costs"),
        (0.0, 0.1, None, "overkill"),
        # Twice which parts fail.
        (0.0, 0.1, COST, "max_overkill_rate = 0.1 and cost both say where parts fail"),
        (0.05, 0.1, COST, "max_overkill_rate = 0.1 and cost both say where parts fail"),
    ],
)
def test_every_combination_means_something_or_is_an_error(rows, proba, promise, overkill, cost, expected):
    settings = {"max_escape_rate": promise, "max_overkill_rate": overkill, "cost": cost}
    if expected.startswith("max_overkill_rate"):
        with pytest.raises(ValidationError, match=expected):
            decision(**settings)
        return
    fitted = fit_rules(proba, rows, HARD, decision(**settings))
    labels, _, _, groups = columns(rows)
    is_defect, unseen, point = labels == 1, fitted.out_of_fold, fitted.rules.operating_point
    assert fitted.notice == ""
    if expected == "vote":
        assert point is None
        return
    if expected == "overkill":
        assert (point.max_escape_rate, point.max_overkill_rate, point.confidence) == (None, 0.1, 0.95)
        assert point.pass_below == point.fail_from
        assert point.n_good == N_IMAGES / 2
        assert point.n_overkill == np.sum(~is_defect & (unseen >= point.fail_from)) < 0.1 * point.n_good
        return
    assert (point.max_escape_rate, point.confidence) == ((None, None) if expected == "cheapest" else (0.05, 0.95))
    assert point.n_defects == N_IMAGES / 2
    assert point.n_escapes == np.sum(is_defect & (unseen < point.pass_below))
    alone = choose_operating_point(is_defect, unseen, groups, 0.05, 0.0, 0.95, None)
    if expected == "cheapest":
        assert (point.pass_below, point.fail_from) == cheapest_thresholds(is_defect, unseen, Costs(20, 5, 1))
    elif expected == "promise":
        assert point == alone
        assert point.pass_below == point.fail_from
    else:
        assert point.pass_below <= alone.pass_below
        assert point.fail_from > point.pass_below


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


def test_an_unknown_voting_rule_is_told_before_anything_is_fitted(rows, proba):
    with pytest.raises(ConfigError, match="unknown voting rule 'veto'"):
        fit_rules(proba, rows, EnsembleParams(voting="veto", threshold=0.5), decision())


@pytest.mark.parametrize("voting", ["hard", "soft", "weighted"])
@pytest.mark.parametrize("changes", [{}, {"max_escape_rate": 0.05, "max_overkill_rate": 0.1}], ids=["vote", "promise"])
def test_the_out_of_fold_verdicts_are_those_of_the_rule(rows, proba, voting, changes):
    fitted = fit_rules(proba, rows, EnsembleParams(voting=voting, threshold=0.4), decision(**changes))
    table = out_of_fold_table(fitted, proba, rows, ["a", "b", "c"])
    assert list(table) == ["path", "actual", "verdict", "defect_proba", "confidence", "cause", "a", "b", "c"]
    assert table["path"].tolist() == rows["path"].tolist()
    assert table["actual"].tolist() == ["non_defective", "defective"] * (N_IMAGES // 2)
    assert table["defect_proba"].to_numpy() == pytest.approx(fitted.out_of_fold, abs=6e-7)
    assert table[["a", "b", "c"]].to_numpy() == pytest.approx(proba, abs=6e-7)
    point, votes = fitted.rules.operating_point, (proba >= 0.4) @ np.array(fitted.rules.vote_weights)
    half = sum(fitted.rules.vote_weights) / 2
    is_majority = votes > half if voting == "weighted" else (proba >= 0.4).sum(1) >= 2
    passes, fails = fitted.out_of_fold < 0.4, fitted.out_of_fold >= 0.4
    if point:
        passes, fails = (fitted.out_of_fold < point.pass_below) & ~is_majority, fitted.out_of_fold >= point.fail_from
    elif voting != "soft":
        passes, fails = passes & ~is_majority, fails & is_majority
    expected = np.select([passes, fails], ["non_defective", "defective"], "review")
    assert table["verdict"].tolist() == expected.tolist()


def test_the_out_of_fold_verdicts_differ_by_rule(rows, proba):
    settings = [("hard", {}), ("soft", {}), ("hard", {"max_escape_rate": 0.05}), ("hard", {"cost": COST})]
    verdicts = {
        tuple(
            out_of_fold_table(
                fit_rules(proba, rows, EnsembleParams(voting=voting, threshold=0.4), decision(**changes)),
                proba, rows, ["a", "b", "c"],
            )["verdict"]
        )
        for voting, changes in settings
    }  # fmt: skip
    assert len(verdicts) == len(settings)


# Few defects, or none


def test_without_defects_the_voters_count_alike_and_overkill_is_promised(rows, proba):
    good = (rows["label"] == 0).to_numpy()
    fitted = fit_rules(proba[good], rows[good], HARD, decision(max_overkill_rate=0.1))
    assert fitted.rules.combination == mean_log_odds(3)
    point = fitted.rules.operating_point
    assert np.mean(fitted.out_of_fold >= point.fail_from) <= 0.1
    assert (point.n_defects, point.n_escapes, point.n_good) == (0, 0, good.sum())
    assert fitted.notice == ""


@pytest.mark.parametrize(
    ("changes", "is_decided_by_overkill", "notice"),
    [
        ({"max_escape_rate": 0.05}, False, "there are 0. Nothing is promised: the vote decides. Add photographs of"),
        ({"max_escape_rate": 0.05, "max_overkill_rate": 0.1}, True, "there are 0. Nothing is promised of defects."),
        ({"max_overkill_rate": 1e-4}, False, "needs at least 29956 good training parts .* the vote decides. Add"),
        ({"cost": CostParams(escape=1, overkill=1, review=1)}, False, "decision.cost weighs escapes, and no training"),
    ],
)
def test_what_good_parts_alone_cannot_support_is_said(rows, proba, changes, is_decided_by_overkill, notice):
    good = (rows["label"] == 0).to_numpy()
    fitted = fit_rules(proba[good], rows[good], HARD, decision(**changes))
    assert re.search(notice, fitted.notice)
    assert (fitted.rules.operating_point is not None) == is_decided_by_overkill
