"""Demo Mode: made up, but the same photograph always gets the same verdict."""

import numpy as np
import pytest

from inspection.errors import ImageError
from inspection.files import sha256_bytes
from inspection.station.demo import VOTERS, simulate
from tests.parts import draw_part, encode

PART = encode(draw_part(1, is_defective=True))


def test_the_same_file_gets_the_same_verdict_whatever_its_name_and_the_state_of_numpy():
    first = simulate(PART, "a.png")
    np.random.seed(5)
    second = simulate(PART, "b.png")
    assert (first.name, second.name) == ("a.png", "b.png")
    assert first.votes == second.votes
    assert (first.verdict, first.confidence) == (second.verdict, second.confidence)


def test_verdicts_are_the_same_in_every_process_and_release_of_numpy():
    # A bitmap has no encoder whose bytes could change between versions of Pillow.
    verdict = simulate(encode(draw_part(0, is_defective=False).point(lambda value: 128), "BMP"))
    pinned = [0.989957, 0.998646, 0.994444, 0.963549, 0.996135, 0.993502, 0.998124]
    assert [vote.defect_proba for vote in verdict.votes] == pytest.approx(pinned, abs=1e-6)


def test_a_simulated_verdict_says_so_and_has_the_votes_of_seven_models():
    verdict = simulate(PART, "part.png")
    assert verdict.simulated
    assert verdict.sha256 == sha256_bytes(PART)
    assert [vote.voter for vote in verdict.votes] == list(VOTERS)
    assert len(VOTERS) == 7
    assert verdict.unlikeness == 0


def test_a_simulated_verdict_follows_the_rules_of_real_ones():
    for seed in range(20):
        verdict = simulate(encode(draw_part(seed, is_defective=False)))
        log_odds = np.mean([np.log(vote.defect_proba / (1 - vote.defect_proba)) for vote in verdict.votes])
        assert verdict.defect_proba == pytest.approx(1 / (1 + np.exp(-log_odds)))
        most = "defective" if sum(vote.label == "defective" for vote in verdict.votes) >= 4 else "non_defective"
        agrees = (verdict.defect_proba >= 0.5) == (most == "defective")
        assert (verdict.verdict, verdict.cause) == ((most, "vote") if agrees else ("review", "disagreement"))


def test_different_photographs_get_different_votes_and_both_verdicts_occur():
    verdicts = [simulate(encode(draw_part(seed, is_defective=False))) for seed in range(20)]
    assert len({verdict.defect_proba for verdict in verdicts}) == 20
    assert {"defective", "non_defective"} <= {verdict.verdict for verdict in verdicts}


def test_a_damaged_file_gets_no_simulated_verdict_either():
    with pytest.raises(ImageError, match="part.png: damaged or incomplete"):
        simulate(PART[: len(PART) // 2], "part.png")
