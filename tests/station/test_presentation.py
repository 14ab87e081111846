"""How a verdict is put into words and drawn, at the edges where rounding would mislead."""

import re
from dataclasses import replace

import pytest

from inspection.decision.combination import mean_log_odds
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Rules
from inspection.decision.verdict import Verdict, Vote
from inspection.station.ensemble_words import rule_facts
from inspection.station.presentation import (
    confidence_words,
    gauge_options,
    likeness_words,
    vote_table,
    weight_words,
    zone_scale,
)

POINT = OperatingPoint(0.12, 0.62, 0.05, 0.95, 148, 3)
VOTES = tuple(
    Vote(name, p, "defective" if p >= 0.5 else "non_defective", max(p, 1 - p))
    for name, p in zip("abc", (0.9, 0.2, 0.1), strict=True)
)
VERDICT = Verdict("part.png", "0" * 64, "review", 0.7, 0.3, "band", "", VOTES, 0.74)
HARD = Rules("hard", 0.5, (1.0, 1.0, 1.0), mean_log_odds(3))
BY_POINT = replace(HARD, operating_point=POINT)


@pytest.mark.parametrize(
    ("pass_below", "fail_from", "zones"),
    [
        (0.12, 0.62, "pass below 12.0%; review between; fail from 62.0%"),
        (0.12, 0.12, "pass below 12.0%; fail from 12.0%"),
        (0.12, 1.0000000000000002, "pass below 12.0%; review from 12.0%; fail never: a person decides"),
        (0.12, 1.0, "pass below 12.0%; review between; fail from 100.0%"),
    ],
)
def test_the_zones_cover_the_scale_without_gap_or_overlap(pass_below, fail_from, zones):
    scale = zone_scale(VERDICT, replace(POINT, pass_below=pass_below, fail_from=fail_from))
    assert f"from 0 to 100%: 30.0% for this part. Zones: {zones}." in scale
    spans = [(float(a), float(b)) for a, b in re.findall(r"left: ([\d.]+)%; width: ([\d.]+)%", scale)]
    assert [left for left, _ in spans] == pytest.approx([0, *(left + width for left, width in spans[:-1])])
    assert sum(width for _, width in spans) == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "rules", "words"),
    [
        ({"verdict": "defective", "cause": "vote", "confidence": 0.7, "defect_proba": 0.7}, HARD, "to this verdict."),
        (
            {"verdict": "defective", "cause": "threshold", "confidence": 0.3},
            replace(BY_POINT, operating_point=replace(POINT, fail_from=0.2)),
            "It is below 50%: the part is likelier non-defective, but parts fail from 20.0%.",
        ),
        (
            {"verdict": "non_defective", "cause": "threshold", "confidence": 0.4, "defect_proba": 0.6},
            replace(BY_POINT, operating_point=replace(POINT, pass_below=0.7, fail_from=0.8)),
            "It is below 50%: the part is likelier defective, but parts pass below 70.0%.",
        ),
        (
            {"verdict": "defective", "cause": "vote", "confidence": 0.3},
            replace(HARD, voting="soft", threshold=0.25),
            "but parts count as defective from a probability of 0.25 on.",
        ),
        ({}, BY_POINT, "to the likelier class, non-defective."),
        ({"cause": "tie", "defect_proba": 0.5, "confidence": 0.5}, HARD, "to the likelier class, defective."),
        ({"cause": "unlike"}, HARD, "It means little for a photograph unlike the training images."),
    ],
)
def test_the_meaning_of_the_confidence_follows_verdict_and_rules(changes, rules, words):
    said = confidence_words(replace(VERDICT, **changes), rules)
    assert said.startswith("Overall confidence: the calibrated probability that the ensemble gives to ")
    assert said.endswith(words)


def test_a_simulated_probability_is_not_called_calibrated():
    assert "calibrated" not in confidence_words(replace(VERDICT, simulated=True), HARD)


@pytest.mark.parametrize(
    ("unlikeness", "cause", "words"),
    [
        (0.74, "vote", "Like the training images: distance 0.74 of the allowed 1.00."),
        (1.0, "vote", "Like the training images: distance 1.00 of the allowed 1.00."),
        (1.0001, "unlike", "Unlike the training images: distance 1.01 of the allowed 1.00."),
        (3.2, "unlike", "Unlike the training images: distance 3.20 of the allowed 1.00."),
    ],
)
def test_a_distance_beyond_the_limit_looks_beyond_it(unlikeness, cause, words):
    assert likeness_words(replace(VERDICT, unlikeness=unlikeness, cause=cause)) == words


def test_a_single_escape_is_put_in_the_singular():
    rules = replace(BY_POINT, operating_point=replace(POINT, n_escapes=1))
    assert rule_facts(rules)["Promise"].endswith("rests on 148 defects, 1 of which passes")


def test_without_zones_to_fail_the_sidebar_says_that_none_fails():
    rules = replace(BY_POINT, operating_point=replace(POINT, fail_from=1.0000000000000002))
    assert rule_facts(rules)["Probability of a defect"] == "parts pass below 12.0%, none fails unseen"


def test_the_weight_of_the_votes_is_a_share():
    rules = replace(HARD, voting="weighted", vote_weights=(3.0, 1.0, 0.0))
    words = "The votes are weighted by how often each model was right: those for defective weigh 75.0% of all."
    assert weight_words(VERDICT, rules) == words


@pytest.mark.parametrize(
    ("weights", "share"), [((1.0, 0.6, 0.4), "50.0%"), ((0.3, 0.2, 0.1), "50.0%"), ((1.0004, 0.6, 0.4), "50.01%")]
)
def test_a_weight_that_decides_never_looks_like_a_tie(weights, share):
    # 0.3 is a little less than 0.2 and 0.1 together in floating point.
    rules = replace(HARD, voting="weighted", vote_weights=weights)
    assert f"those for defective weigh {share} of all" in weight_words(VERDICT, rules)


def test_what_the_votes_outweigh_is_not_said_of_the_majority():
    # By weights the vote may say defective though most models do not.
    assert "since the vote says defective" in zone_scale(replace(VERDICT, cause="disagreement"), POINT)


@pytest.mark.parametrize(
    ("proba", "threshold", "text"),
    [(0.4998, 0.5, "49.98%"), (0.5, 0.5, "50.0%"), (0.5002, 0.5, "50.02%"), (0.4998, 0.3, "50.0%")],
)
def test_a_vote_never_looks_as_if_it_missed_its_threshold(proba, threshold, text):
    label = "defective" if proba >= threshold else "non_defective"
    table = vote_table((Vote("a", proba, label, max(proba, 1 - proba)),), threshold)
    assert table.count(f'<td class="number">{text}</td></tr>') == 1


@pytest.mark.parametrize(("confidence", "text"), [(0.4998, "49.98%"), (0.5, "50.0%"), (0.71, "71.0%")])
def test_a_confidence_below_one_half_looks_below_it(confidence, text):
    assert gauge_options(confidence, "red")["series"][0]["detail"]["formatter"] == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "at most 5% of the defects pass, with confidence 95%; rests on 148 defects, 3 of which pass",
        ),
        ({"n_defects": 1, "n_escapes": 1}, "rests on 1 defect, 1 of which passes"),
        (
            {"max_escape_rate": None, "confidence": None},
            "none: the thresholds are the cheapest on the training images, with 148 defects, 3 of which pass",
        ),
    ],
)
def test_the_promise_is_told_and_its_absence_too(changes, words):
    assert rule_facts(replace(HARD, operating_point=replace(POINT, **changes)))["Promise"].endswith(words)
