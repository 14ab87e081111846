"""Voting rules are objects in a table; one more is a line, and everything that votes knows it."""

import numpy as np
import pytest

from inspection.decision.combination import mean_log_odds
from inspection.decision.rules import Rules, decide
from inspection.decision.verdict import make_verdicts
from inspection.decision.voting import VOTING_RULES, VotingRule, voting_rule
from inspection.errors import ConfigError

PROBA = np.array([[0.9, 0.2, 0.5], [0.4, 0.2, 0.1]])
WEIGHTS = np.array([2.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("name", "shares", "words"),
    [
        ("hard", [2 / 3, 0], "2 of 3 models say defective, 1 non-defective"),
        ("soft", [2 / 3, 0], "2 of 3 models say defective, 1 non-defective"),
        (
            "weighted",
            [3 / 4, 0],
            "2 of 3 models say defective, 1 non-defective (weighted by how often each model was right)",
        ),
    ],
)
def test_share_and_words(name, shares, words):
    rule = voting_rule(name)
    # The third voter of the first image sits exactly at the threshold: a vote for defective.
    assert rule.share(PROBA, 0.5, WEIGHTS) == pytest.approx(shares)
    assert rule.explain(PROBA[0], 0.5, WEIGHTS) == words


class Veto(VotingRule):
    """One voter is enough."""

    summary = "any model"

    def share(self, proba, threshold, weights):
        return (proba >= threshold).any(axis=1).astype(float)

    def explain(self, proba, threshold, weights):
        return f"{super().explain(proba, threshold, weights)} (one is enough)"


class Broken(Veto):
    def share(self, proba, threshold, weights):
        return np.full(len(proba), np.nan)


@pytest.fixture
def veto(monkeypatch):
    monkeypatch.setitem(VOTING_RULES, "veto", Veto())
    return Rules("veto", 0.5, (1.0, 1.0, 1.0), mean_log_odds(3))


def test_a_rule_of_ones_own(veto):
    # The first image: odds of 9, 1/4 and 1 multiply to 9/4, so that the probability is above one half as well.
    decisions = decide(PROBA, veto)
    assert decisions.verdicts.tolist() == ["defective", "non_defective"]
    verdict = make_verdicts(("a", "b", "c"), PROBA[:1], ["part.png"], [""], veto, np.zeros(1))[0]
    assert verdict.reason == "2 of 3 models say defective, 1 non-defective (one is enough)."
    # One sure voter fails no part that the ensemble's probability calls good: that is a review.
    assert decide(np.array([[0.6, 0.1, 0.1]]), veto).verdicts.tolist() == ["review"]


def test_a_rule_that_cannot_say_passes_nothing(monkeypatch):
    monkeypatch.setitem(VOTING_RULES, "broken", Broken())
    rules = Rules("broken", 0.5, (1.0, 1.0, 1.0), mean_log_odds(3))
    assert decide(PROBA, rules).verdicts.tolist() == ["review", "review"]


def test_without_its_plugin_the_rule_is_unknown():
    with pytest.raises(ConfigError, match="unknown voting rule 'veto'; known: hard, soft, weighted"):
        voting_rule("veto")
