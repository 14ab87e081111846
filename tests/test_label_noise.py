"""Labels to look at again: ranked by hand."""

import pandas as pd
import pytest

from inspection.label_noise import label_suspects


def scores(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """A voter's out-of-fold scores."""
    return pd.DataFrame(rows, columns=["path", "label", "defect_proba"])


def suspects(voters: list[pd.DataFrame], max_suspects: int = 10) -> list[tuple]:
    return list(label_suspects(voters, max_suspects).itertuples(index=False, name=None))


def test_ranking_of_one_voter():
    voter = scores(("a", 0, 0.75), ("b", 1, 0.125), ("c", 0, 0.25), ("d", 1, 0.875), ("e", 1, 0.375), ("f", 0, 1.0))
    # Columns: path, label, defect_proba and the probability of the given label.
    assert suspects([voter]) == [
        ("f", 0, 1.0, 0.0),
        ("b", 1, 0.125, 0.125),
        ("a", 0, 0.75, 0.25),
        ("e", 1, 0.375, 0.375),
    ]
    assert list(label_suspects([voter], 1)) == ["path", "label", "defect_proba", "self_confidence"]


def test_voters_are_averaged():
    one = scores(("a", 0, 0.875), ("b", 0, 0.75), ("c", 1, 0.25))
    other = scores(("c", 1, 0.0), ("b", 0, 0.125), ("a", 0, 0.625))
    # Means: a 0.75, b 0.4375 (no suspect, though one voter doubts it), c 0.125.
    assert suspects([one, other]) == [("c", 1, 0.125, 0.125), ("a", 0, 0.75, 0.25)]


def test_voter_that_scored_a_part_of_the_images():
    whole = scores(("a", 0, 0.75), ("b", 1, 0.25), ("c", 1, 0.75))
    held_out = scores(("c", 1, 0.0), ("b", 1, 0.5))
    # a has one score; b's mean is 0.375 and c's 0.375 too.
    assert suspects([whole, held_out]) == [("a", 0, 0.75, 0.25), ("b", 1, 0.375, 0.375), ("c", 1, 0.375, 0.375)]
    assert suspects([held_out, whole]) == suspects([whole, held_out])


def test_ties_go_by_path():
    voter = scores(("c", 1, 0.25), ("a", 1, 0.25), ("d", 0, 0.75), ("b", 0, 0.75))
    assert [suspect[0] for suspect in suspects([voter])] == ["a", "b", "c", "d"]
    assert [suspect[0] for suspect in suspects([voter], 2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "proba", "is_suspect"),
    [(0, 0.5, False), (1, 0.5, False), (0, 0.51, True), (1, 0.49, True), (0, 0.49, False), (1, 0.51, False)],
)
def test_a_suspect_is_contradicted_by_more_than_half(label, proba, is_suspect):
    assert bool(suspects([scores(("a", label, proba))])) == is_suspect


@pytest.mark.parametrize(("max_suspects", "n_suspects"), [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_at_most_so_many(max_suspects, n_suspects):
    voter = scores(*((f"{index}", 1, 0.1 * index) for index in range(4)))
    assert [suspect[0] for suspect in suspects([voter], max_suspects)] == [f"{index}" for index in range(n_suspects)]


def test_no_suspect_keeps_the_columns():
    ranked = label_suspects([scores(("a", 0, 0.1), ("b", 1, 0.9))], 5)
    assert len(ranked) == 0
    assert list(ranked) == ["path", "label", "defect_proba", "self_confidence"]


def test_numbers_are_rounded_after_ranking():
    voter = scores(("a", 1, 0.12344), ("b", 1, 0.12341), ("c", 1, 0.12346))
    assert suspects([voter]) == [("b", 1, 0.1234, 0.1234), ("a", 1, 0.1234, 0.1234), ("c", 1, 0.1235, 0.1235)]


def test_the_voters_scores_are_left_alone():
    voters = [scores(("b", 0, 0.75), ("a", 1, 0.25)), scores(("a", 1, 0.5))]
    before = [voter.copy() for voter in voters]
    label_suspects(voters, 5)
    for voter, copy in zip(voters, before, strict=True):
        pd.testing.assert_frame_equal(voter, copy)
