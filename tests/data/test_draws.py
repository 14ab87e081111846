"""Lots drawn by hash: even, independent, and the same on every machine."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from inspection.data.draws import Groups, Needs, choose_salt, draw_parts

NAMES = [f"{number:016x}" for number in range(20_000)]
NO_NEEDS = Needs(np.zeros((2, 2)), np.zeros((2, 2)))


def groups_of(labels, sizes=None, strata="") -> Groups:
    """A group for every label, of one image or of as many as said."""
    sizes = np.ones(len(labels), int) if sizes is None else np.asarray(sizes)
    table = pd.DataFrame({"group": NAMES[: len(labels)], "label": labels, "stratum": strata, "defect_type": ""})
    table["defect_probability"] = table["label"].astype(float)
    return Groups.among(table.loc[np.repeat(np.arange(len(labels)), sizes)])


def test_a_lot_is_the_first_53_bits_of_eight_bytes_of_the_hash():
    digest = hashlib.shake_128(b"part, seed 0\nabc").digest(24)
    lot = (int.from_bytes(digest[16:24], "big") >> 11) / 2**53
    assert draw_parts(["abc"], "part, seed 0", 2, [lot, 1 - lot]).tolist() == [1], "the part begins at its bound"
    above = np.nextafter(lot, 1)
    assert draw_parts(["abc"], "part, seed 0", 2, [above, 1 - above]).tolist() == [0]


@pytest.mark.parametrize("shares", [(0.25, 0.75), [0.2] * 5, (0.1, 0.2, 0.7)])
@pytest.mark.parametrize("salt", [0, 1000])
def test_parts_have_their_shares(shares, salt):
    numbers = np.bincount(draw_parts(NAMES, "part", salt, shares), minlength=len(shares))
    assert chisquare(numbers, 20_000 * np.asarray(shares)).pvalue > 0.001


@pytest.mark.parametrize(("purpose", "salt"), [("other", 0), ("part", 1)])
def test_draws_for_another_purpose_or_salt_are_independent(purpose, salt):
    one, other = draw_parts(NAMES, "part", 0, (0.5, 0.5)), draw_parts(NAMES, purpose, salt, (0.5, 0.5))
    # Of 20,000 half fall together, with a standard deviation of 71.
    assert abs((one == other).sum() - 10_000) < 4 * 71


def test_other_groups_have_no_influence():
    every = dict(zip(NAMES, draw_parts(NAMES, "part", 3, (0.3, 0.7)), strict=True))
    few = NAMES[5000:100:-7]
    assert draw_parts(few, "part", 3, (0.3, 0.7)).tolist() == [every[name] for name in few]


def test_groups_count_images_of_each_kind():
    table = pd.DataFrame(
        {
            "group": ["b", "a", "b", "b"],
            "label": [0, 1, 1, 0],
            "defect_probability": [0.0, 1.0, 0.6, 0.0],
            "stratum": ["x", "x", "y", "y"],
            "defect_type": ["", "scratch", "", ""],
        }
    )
    groups = Groups.among(table)
    assert groups.names.tolist() == ["a", "b"]
    assert groups.positions.tolist() == [1, 0, 1, 1]
    assert groups.classes.tolist() == [[0, 1], [2, 1]]
    # good at 0; defective at 0.6, 1 | good x, good y, defective x, y | good without type, defective without, scratch
    assert groups.strata.tolist() == [[0, 0, 1, 0, 0, 1, 0, 0, 0, 1], [2, 1, 0, 1, 1, 0, 1, 2, 1, 0]]
    assert [groups.number_of(label) for label in (0, 1)] == [1, 2]


@pytest.mark.parametrize("n_fixed", [0, 20])
def test_the_chosen_draw_is_closer_than_most(n_fixed):
    labels = np.arange(400) % 2
    groups, is_fixed = groups_of(labels), np.arange(400) < n_fixed

    def deviation(salt: int) -> int:
        """From a quarter of the 200 images of each class."""
        is_test = (draw_parts(groups.names, "part", salt, (0.25, 0.75)) == 0) | is_fixed
        return int(abs(np.bincount(labels[is_test]) - 50).sum())

    chosen = choose_salt(groups, "part", (0.25, 0.75), NO_NEEDS, is_fixed)
    assert deviation(chosen) <= np.quantile([deviation(salt) for salt in range(100)], 0.1)


def test_needs_go_before_closeness():
    # Two large groups and many small ones: without the large one the test part has no defect.
    groups = groups_of([1, 1, *[0] * 60], [30, 30, *[1] * 60])
    needs = Needs(np.array([[1, 1], [1, 1]]), np.zeros((2, 2)))
    parts = draw_parts(groups.names, "part", choose_salt(groups, "part", (0.1, 0.9), needs), (0.1, 0.9))
    assert sorted(parts[:2]) == [0, 1]
    assert choose_salt(groups, "part", (0.1, 0.9), Needs(np.array([[0, 31], [0, 30]]), np.zeros((2, 2)))) is None
    assert choose_salt(groups, "part", (0.1, 0.9), Needs(np.zeros((2, 2)), np.array([[0, 2], [0, 1]]))) is None


def test_every_chunk_counts(monkeypatch):
    groups = groups_of(np.arange(300) % 2, strata=["x", "y", "z"] * 100)
    whole = choose_salt(groups, "part", (0.25, 0.75), NO_NEEDS)
    monkeypatch.setattr("inspection.data.draws._CHUNK", 7)
    assert choose_salt(groups, "part", (0.25, 0.75), NO_NEEDS) == whole
