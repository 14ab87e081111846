"""Every part passes, fails, or goes to review."""

import numpy as np
import pytest

from inspection.decision.outcomes import Outcomes


@pytest.mark.parametrize("kind", [list, np.array, lambda words: np.array(words, dtype=object)])
def test_outcomes_of_verdicts(kind):
    outcomes = Outcomes.of(kind(["defective", "review", "non_defective", "review"]))
    assert outcomes.passes.tolist() == [False, False, True, False]
    assert outcomes.fails.tolist() == [True, False, False, False]
    assert outcomes.reviewed.tolist() == [False, True, False, True]


def test_no_parts():
    outcomes = Outcomes.of([])
    assert [len(part) for part in (outcomes.passes, outcomes.fails, outcomes.reviewed)] == [0, 0, 0]


@pytest.mark.parametrize("word", ["", "Defective", "not inspected", None])
def test_a_word_that_is_no_verdict_is_not_overlooked(word):
    with pytest.raises(ValueError, match="is no verdict"):
        Outcomes.of(["defective", word])


def test_a_probability_at_the_threshold_fails():
    outcomes = Outcomes.at_threshold(np.array([0.29, 0.3, 0.31]), 0.3)
    assert outcomes.passes.tolist() == [True, False, False]
    assert outcomes.fails.tolist() == [False, True, True]
    assert not outcomes.reviewed.any()
