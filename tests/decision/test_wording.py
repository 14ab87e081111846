"""Shares and probabilities as text, at the edges where rounding would mislead."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.decision.operating_point import OperatingPoint
from inspection.decision.wording import averaged_words, percent, percent_distinct, setting, threshold_words

POINT = OperatingPoint(0.12, 0.62, 0.05, 0.95, 148, 3)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0, "0.0%"),
        (0.0004, "<0.1%"),
        (0.001, "0.1%"),
        (0.5, "50.0%"),
        (0.9994, "99.9%"),
        (0.9996, ">99.9%"),
        (1, "100.0%"),
    ],
)
def test_percentages_never_round_to_certainty(probability, text):
    assert percent(probability) == text


def test_percentages_with_more_digits_are_as_careful():
    assert percent(0.99999, 2) == ">99.99%"
    assert percent(0.99994, 3) == "99.994%"


@pytest.mark.parametrize(("share", "text"), [(0.05, "5%"), (0.0025, "0.25%"), (0.999, "99.9%"), (0.07, "7%")])
def test_a_chosen_share_is_not_rounded(share, text):
    assert setting(share) == text


@pytest.mark.parametrize(
    ("pass_below", "fail_from", "proba", "texts"),
    [
        (0.12, 0.62, 0.4, ("12.0%", "62.0%", "40.0%")),
        (0.12, 0.62, 0.12, ("12.0%", "62.0%", "12.0%")),
        (0.12, 0.62, 0.11998, ("12.000%", "62.000%", "11.998%")),
        (0.12, 0.12, 0.3, ("12.0%", "12.0%", "30.0%")),
        (0.12, 1.0000000000000002, 0.3, ("12.0%", "", "30.0%")),
        (0.0004, 0.62, 0.3, ("0.04%", "62.00%", "30.00%")),
        (0.12, 0.62, 0.99999, ("12.0%", "62.0%", ">99.9%")),
        (0.12, 0.62, None, ("12.0%", "62.0%", "")),
    ],
)
def test_what_differs_from_a_threshold_looks_different(pass_below, fail_from, proba, texts):
    point = replace(POINT, pass_below=pass_below, fail_from=fail_from)
    assert threshold_words(point, proba) == texts


@pytest.mark.parametrize(
    ("probability", "limit", "text"),
    [
        (0.3, 0.5, "30.0%"),
        (0.4998, 0.5, "49.98%"),
        (0.5, 0.5, "50.0%"),
        (0.99996, 0.9999, ">99.99%"),
        (0.00001, 0.00002, "0.001%"),
        (0.12, 0.12 + 1e-12, "12.0000000000%"),
    ],
)
def test_what_differs_from_a_limit_looks_different(probability, limit, text):
    assert percent_distinct(probability, limit) == text


SHARES = st.floats(0, 1).map(lambda share: round(share, 12))


@given(SHARES, SHARES, SHARES)
def test_no_two_different_numbers_ever_look_the_same(first, second, proba):
    pass_below, fail_from = sorted((first, second))
    shown = threshold_words(replace(POINT, pass_below=pass_below, fail_from=fail_from), proba)
    assert len(set(shown)) == len({pass_below, fail_from, proba})


@pytest.mark.parametrize(
    ("voters", "words"),
    [
        (["a"], "that of a"),
        (("a", "b"), "the mean of those of a and b"),
        (["a", "b", "c"], "the mean of those of a, b and c"),
    ],
)
def test_whose_map_a_map_is(voters, words):
    assert averaged_words(voters) == words


@pytest.mark.parametrize("limit", [0.0347614288330078125, 0.5, 1e-5, 0.999])
def test_neighbouring_numbers_never_look_the_same(limit):
    """A probability put together in another order may be the last bit below a limit."""
    below = math.nextafter(limit, 0)
    assert percent_distinct(below, limit) != percent_distinct(limit, below)
    point = OperatingPoint(limit, limit, 0.01, 0.95, 300, 0)
    pass_below, _, shown = threshold_words(point, below)
    assert shown != pass_below
