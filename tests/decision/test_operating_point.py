"""Thresholds and their promise: against tables, by hand, by brute force, and kept over many drawings of the data."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from inspection.decision.operating_point import (
    Costs,
    OperatingPoint,
    allowed_hits,
    cheapest_operating_point,
    cheapest_thresholds,
    choose_operating_point,
    fail_threshold,
    overkill_operating_point,
    parts_needed,
    pass_threshold,
    rate_bound,
)

HIGHEST = np.nextafter(1, 2)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n_parts", [1, 2, 10, 59, 299, 5000])
def test_bound_without_hits(n_parts, confidence):
    assert rate_bound(0, n_parts, confidence) == pytest.approx(1 - (1 - confidence) ** (1 / n_parts))


@pytest.mark.parametrize(
    ("n_hits", "n_parts", "bound"),
    # One-sided 95 % bounds of Clopper and Pearson.
    [(0, 10, 0.2589), (1, 10, 0.3942), (2, 10, 0.5069), (3, 10, 0.6066), (5, 10, 0.7776), (9, 10, 0.9949),
     (1, 20, 0.2161), (2, 30, 0.1953), (1, 100, 0.0466), (5, 100, 0.1023)],
)  # fmt: skip
def test_bound_of_the_tables(n_hits, n_parts, bound):
    assert rate_bound(n_hits, n_parts, 0.95) == pytest.approx(bound, abs=5e-5)


@pytest.mark.parametrize("n_parts", [1, 7, 300])
def test_nothing_is_known_when_every_part_is_a_hit(n_parts):
    assert rate_bound(n_parts, n_parts, 0.95) == 1


@given(st.integers(1, 400), st.data(), st.floats(0.01, 0.999))
def test_at_the_bound_so_few_hits_are_as_unlikely_as_stated(n_parts, data, confidence):
    n_hits = data.draw(st.integers(0, n_parts - 1))
    bound = rate_bound(n_hits, n_parts, confidence)
    assert binom.cdf(n_hits, n_parts, bound) == pytest.approx(1 - confidence, rel=1e-6)
    assert bound < rate_bound(n_hits + 1, n_parts, confidence)


@pytest.mark.parametrize(("n_hits", "n_parts"), [(-1, 5), (6, 5), (0, 0), (1, 0)])
def test_no_rate(n_hits, n_parts):
    with pytest.raises(ValueError, match=f"{n_hits} of {n_parts} parts is no rate"):
        rate_bound(n_hits, n_parts, 0.95)


@pytest.mark.parametrize(
    ("max_rate", "confidence", "n_parts"),
    [
        (0.05, 0.95, 59),
        (0.01, 0.95, 299),
        (0.1, 0.95, 29),
        (0.05, 0.99, 90),
        (0.001, 0.95, 2995),
        # 0.95, 0.5**2 and 0.1**3 exactly: one part less would not do, one more is not needed.
        (0.95, 0.95, 1),
        (0.5, 0.75, 2),
        (0.9, 0.999, 3),
        (0.99, 0.5, 1),
    ],
)
def test_parts_needed(max_rate, confidence, n_parts):
    assert parts_needed(max_rate, confidence) == n_parts
    assert allowed_hits(n_parts, max_rate, confidence) == 0, "what is said to be enough is enough"
    assert allowed_hits(n_parts - 1, max_rate, confidence) == -1


@given(st.floats(0.002, 0.9), st.floats(0.05, 0.999))
def test_as_many_parts_as_needed_support_the_bound(max_rate, confidence):
    n_parts = parts_needed(max_rate, confidence)
    assert n_parts >= 1
    assert rate_bound(0, n_parts, confidence) <= max_rate * (1 + 1e-7)
    assert n_parts == 1 or rate_bound(0, n_parts - 1, confidence) > max_rate * (1 - 1e-7)


@pytest.mark.parametrize(
    ("max_rate", "confidence", "sizes"),
    # The smallest samples for 0, 1, 2, ... hits; those of 5 % and 95 % are Wilks's.
    [
        (0.05, 0.95, [59, 93, 124, 153, 181, 208]),
        (0.01, 0.95, [299, 473, 628]),
        (0.1, 0.95, [29, 46, 61, 76, 89]),
        (0.1, 0.9, [22, 38, 52]),
    ],
)
def test_allowed_hits(max_rate, confidence, sizes):
    assert [allowed_hits(size, max_rate, confidence) for size in sizes] == list(range(len(sizes)))
    assert [allowed_hits(size - 1, max_rate, confidence) for size in sizes] == list(range(-1, len(sizes) - 1))


@pytest.mark.parametrize("n_parts", [0, 1, 5])
def test_too_few_parts_allow_not_even_none(n_parts):
    assert allowed_hits(n_parts, 0.05, 0.95) == -1


@pytest.mark.parametrize("n_parts", [1, 2, 9])
def test_never_may_all_parts_be_hits(n_parts):
    assert allowed_hits(n_parts, 0.9999, 0.5) == n_parts - 1


# With 93 parts one hit is allowed, with 59 none.
DEFECTS = (np.arange(93) + 1) / 100


@pytest.mark.parametrize(
    ("proba", "threshold", "n_escapes"),
    [
        (DEFECTS, 0.02, 1),
        (DEFECTS[::-1], 0.02, 1),
        (DEFECTS[:59], 0.01, 0),
        (DEFECTS[:92], 0.01, 0),
        # Ties at the threshold do not pass: of three at 0.01 none escapes, though one might.
        (np.append([0.01, 0.01], DEFECTS[:91]), 0.01, 0),
        # The second and third are equal: the first alone escapes.
        (np.append([0.005, 0.01], DEFECTS[:91]), 0.01, 1),
        (np.zeros(93), 0.0, 0),
        (np.ones(59), 1.0, 0),
    ],
)
def test_pass_threshold(proba, threshold, n_escapes):
    assert pass_threshold(proba, 0.05, 0.95) == (threshold, n_escapes)
    assert np.sum(proba < threshold) == n_escapes


@pytest.mark.parametrize("n_defects", [0, 1, 58])
def test_no_threshold_without_enough_parts(n_defects):
    assert pass_threshold(DEFECTS[:n_defects], 0.05, 0.95) is None
    assert fail_threshold(DEFECTS[:n_defects], 0.05, 0.95) is None


def test_fail_threshold_is_just_above_the_first_good_part_that_must_not_fail():
    assert fail_threshold(DEFECTS, 0.05, 0.95) == np.nextafter(0.92, 1)  # 0.93 alone fails
    assert fail_threshold(DEFECTS[:59], 0.05, 0.95) == np.nextafter(0.59, 1)  # none fails
    assert fail_threshold(np.ones(59), 0.05, 0.95) == HIGHEST  # nor does one at 1


@given(st.lists(st.sampled_from(np.arange(11) / 10), min_size=1, max_size=120), st.sampled_from([0.05, 0.1, 0.3]))
def test_the_two_thresholds_are_mirror_images(proba, max_rate):
    proba = np.array(proba)
    passing, failing = pass_threshold(proba, max_rate, 0.9), fail_threshold(1 - proba, max_rate, 0.9)
    assert (passing is None) == (failing is None)
    if passing is not None:
        threshold, n_escapes = passing
        assert failing == pytest.approx(1 - threshold)
        assert np.sum(1 - proba >= failing) == n_escapes <= allowed_hits(len(proba), max_rate, 0.9)
        # And it is the largest: one step further, too many would pass.
        assert np.sum(proba <= threshold) > allowed_hits(len(proba), max_rate, 0.9)


def total_cost(is_defect, proba, costs, pass_below, fail_from):
    """What the outcomes cost, part by part."""
    total = 0
    for defect, p in zip(is_defect, proba, strict=True):
        if p < pass_below:
            total += costs.escape if defect else 0
        elif p >= fail_from:
            total += 0 if defect else costs.overkill
        else:
            total += costs.review
    return total


PARTS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=14)
COSTS = st.builds(Costs, st.integers(0, 12), st.integers(0, 12), st.integers(0, 6))


@settings(max_examples=300)
@given(PARTS, COSTS, st.integers(0, 10))
def test_cheapest_thresholds_against_every_pair_of_thresholds(parts, costs, limit):
    is_defect, proba = np.array([part[0] for part in parts]), np.array([part[1] / 10 for part in parts])
    levels = np.append(np.unique(proba), 2)
    highest_pass = levels[min(limit, len(levels) - 1)]
    pairs = [pair for pair in combinations_with_replacement(levels, 2) if pair[0] <= highest_pass]
    least = min(total_cost(is_defect, proba, costs, *pair) for pair in pairs)
    pass_below, fail_from = cheapest_thresholds(is_defect, proba, costs, highest_pass)
    assert pass_below <= min(fail_from, highest_pass)
    assert total_cost(is_defect, proba, costs, pass_below, fail_from) == least


def test_cheapest_thresholds_by_hand():
    is_defect = np.array([False, False, True, False, True, True])
    proba = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    # An escape costs 10, overkill 4, a look 1: the two parts in the wrong order are looked at.
    assert cheapest_thresholds(is_defect, proba, Costs(10, 4, 1)) == (0.3, 0.5)
    # A look as dear as overkill pays no more: three of three defects and one good part fail.
    assert cheapest_thresholds(is_defect, proba, Costs(10, 4, 4)) == (0.3, 0.3)
    # An escape cheaper than overkill: the defect at 0.3 passes.
    assert cheapest_thresholds(is_defect, proba, Costs(4, 10, 10)) == (0.5, 0.5)
    # The first of equals: what costs nothing decides nothing.
    assert cheapest_thresholds(is_defect, proba, Costs(0, 0, 0)) == (0.1, 0.1)
    # Nothing but defects: all fail. Nothing but good parts: all pass.
    assert cheapest_thresholds(is_defect[[2, 4]], proba[[2, 4]], Costs(1, 1, 1)) == (0.3, 0.3)
    assert cheapest_thresholds(is_defect[:2], proba[:2], Costs(1, 1, 1)) == (np.nextafter(0.2, 1),) * 2


def choose(is_defect, proba, max_overkill_rate=0.0, costs=None, groups=None, max_escape_rate=0.05):
    groups = np.array([f"{index}" for index in range(len(proba))]) if groups is None else groups
    return choose_operating_point(is_defect, proba, groups, max_escape_rate, max_overkill_rate, 0.95, costs)


def mixed(n_good=93, shift=0.0):
    """93 defects at 0.01, 0.02, ..., and good parts at 0.001, 0.011, ... plus a shift."""
    proba = np.concatenate([DEFECTS, np.arange(n_good) / 100 + 0.001 + shift])
    return np.arange(len(proba)) < 93, proba


def test_no_overkill_rate_leaves_no_band():
    is_defect, proba = mixed()
    assert choose(is_defect, proba) == OperatingPoint(0.02, 0.02, 0.05, 0.95, n_defects=93, n_escapes=1)


def test_overkill_rate_opens_a_band():
    # Good parts at 0.001 to 0.921: one of 93 may fail, so parts fail from just above the second, 0.911.
    is_defect, proba = mixed()
    expected = OperatingPoint(0.02, np.nextafter(proba[-2], 1), 0.05, 0.95, 93, 1, 0.05, 93, 1)
    assert choose(is_defect, proba, max_overkill_rate=0.05) == expected
    assert proba[-2] == pytest.approx(0.911)
    # Of 93 good parts 38 may fail when half may: P(at most 38 of 93 fair coins) is 0.048. The 39th from above is kept.
    assert choose(is_defect, proba, max_overkill_rate=0.5).fail_from == np.nextafter(proba[-39], 1)


@pytest.mark.parametrize("n_good", [0, 1, 58])
def test_with_too_few_good_parts_none_fails_unseen(n_good):
    is_defect, proba = mixed(n_good)
    point = choose(is_defect, np.append(proba[:-1], 1.0), max_overkill_rate=0.05)
    assert point.fail_from == HIGHEST > 1


def test_classes_far_apart_leave_no_band_either():
    is_defect = np.arange(200) < 100
    proba = np.where(is_defect, 0.9, 0.1)
    assert choose(is_defect, proba, max_overkill_rate=0.05) == OperatingPoint(
        0.9, 0.9, 0.05, 0.95, 100, 0, 0.05, 100, 0
    )


def test_overkill_alone_is_promised_of_good_parts_alone():
    # Of 93 independent good parts one may fail when 5 % may: the second from above is kept.
    is_defect, proba = mixed()
    groups = np.array([f"{index}" for index in range(len(proba))])
    good = proba[~is_defect]
    point = overkill_operating_point(np.zeros(93, bool), good, groups[~is_defect], 0.05, 0.95)
    threshold = np.nextafter(good[-2], 1)
    assert point == OperatingPoint(threshold, threshold, None, 0.95, 0, 0, 0.05, 93, 1)
    # Defects that are known change nothing but what is said of them.
    known = overkill_operating_point(is_defect, proba, groups, 0.05, 0.95)
    assert (known.fail_from, known.n_defects) == (threshold, 93)
    assert known.n_escapes == np.sum(proba[is_defect] < threshold)


def test_overkill_counts_a_group_once_by_its_worst_photograph():
    groups = np.array([f"{index // 2}" for index in range(2 * 93)])
    proba = np.linspace(0, 0.9, 2 * 93)
    point = overkill_operating_point(np.zeros(2 * 93, bool), proba, groups, 0.05, 0.95)
    # The second group from above may not fail.
    assert point.fail_from == np.nextafter(proba[-3], 1)
    assert (point.n_good, point.n_overkill) == (93, 1)


@pytest.mark.parametrize(("n_good", "is_promised"), [(0, False), (58, False), (59, True)])
def test_overkill_needs_good_parts(n_good, is_promised):
    groups = np.array([f"{index}" for index in range(n_good)])
    point = overkill_operating_point(np.zeros(n_good, bool), np.linspace(0, 1, n_good), groups, 0.05, 0.95)
    assert (point is not None) == is_promised


def test_too_few_defects_promise_nothing():
    is_defect, proba = mixed()
    few = np.arange(len(proba)) >= 93 - 58
    assert choose(is_defect[few], proba[few]) is None
    enough = np.arange(len(proba)) >= 93 - 59
    assert choose(is_defect[enough], proba[enough]).n_defects == 59


def test_a_group_counts_once_with_its_worst_photograph():
    is_defect, proba = mixed()
    # Each part is photographed three times more; the extra photographs look a little less like its class.
    extra = np.where(is_defect, proba - 0.0005, proba + 0.0005)
    groups = np.array([f"part {index}" for index in range(len(proba))])
    repeated = choose(
        np.concatenate([is_defect, np.repeat(is_defect, 3)]),
        np.concatenate([proba, np.repeat(extra, 3)]),
        max_overkill_rate=0.05,
        groups=np.concatenate([groups, np.repeat(groups, 3)]),
    )
    assert repeated == choose(is_defect, extra, max_overkill_rate=0.05, groups=groups)
    # 93 defects in 58 groups are 58 defects, one too few.
    assert choose(is_defect, proba, groups=np.char.add("g", (np.arange(len(proba)) % 58).astype(str))) is None


def test_a_group_of_both_classes_counts_in_each_with_the_photographs_of_that_class():
    is_defect, proba = mixed()
    groups = np.array([f"part {index % 93}" for index in range(len(proba))])
    assert choose(is_defect, proba, max_overkill_rate=0.05, groups=groups) == choose(is_defect, proba, 0.05)


def test_costs_lower_the_threshold_but_never_raise_it():
    is_defect, proba = mixed()
    # Escapes as dear as this are worth a look at everything above 0.01, where the first defect is.
    careful = choose(is_defect, proba, costs=Costs(1e6, 10, 1))
    assert (careful.pass_below, careful.n_escapes) == (0.01, 0)
    # Escapes that cost nothing change nothing: the promise stands.
    careless = choose(is_defect, proba, costs=Costs(0, 10, 1))
    assert careless.pass_below <= choose(is_defect, proba).pass_below == 0.02


def test_the_cheapest_operating_point_promises_nothing():
    is_defect = np.array([False, False, True, False, True, True])
    proba = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    groups = np.array(["a", "b", "c", "d", "e", "e"])
    # The defects are of two parts; an escape so cheap is worth neither a look nor the good part at 0.4.
    point = cheapest_operating_point(is_defect, proba, groups, Costs(4, 10, 10))
    assert point == OperatingPoint(0.5, 0.5, None, None, n_defects=2, n_escapes=1)
    assert cheapest_operating_point(is_defect[:2], proba[:2], groups[:2], Costs(1, 1, 1)) == OperatingPoint(
        np.nextafter(0.2, 1), np.nextafter(0.2, 1), None, None, n_defects=0, n_escapes=0
    )


def test_a_review_dearer_than_any_mistake_leaves_no_band():
    is_defect, proba = mixed()
    # Unbound, such cheap escapes would pass every part; the promise forbids it, and then failing is what costs least.
    point = choose(is_defect, proba, costs=Costs(1, 10, 1000))
    assert point.pass_below == point.fail_from == 0.02


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), min_size=30, max_size=45), COSTS)
def test_the_band_is_the_cheapest_that_keeps_the_promise(parts, costs):
    is_defect, proba = np.array([part[0] for part in parts]), np.array([part[1] / 10 for part in parts])
    assume(is_defect.any())
    point = choose(is_defect, proba, costs=costs, max_escape_rate=0.3)
    promised = pass_threshold(proba[is_defect], 0.3, 0.95)
    assert (point is None) == (promised is None)
    if point is not None:
        assert point.pass_below <= promised[0]
        assert point.n_escapes == np.sum(proba[is_defect] < point.pass_below)
        assert rate_bound(point.n_escapes, point.n_defects, 0.95) <= 0.3
        pairs = combinations_with_replacement(np.append(np.unique(proba), 2), 2)
        least = min(total_cost(is_defect, proba, costs, *pair) for pair in pairs if pair[0] <= promised[0])
        assert total_cost(is_defect, proba, costs, point.pass_below, point.fail_from) == least


N_DRAWS = 1500


@pytest.mark.parametrize(
    ("n_defects", "max_rate", "confidence"), [(59, 0.05, 0.95), (100, 0.05, 0.95), (60, 0.2, 0.9), (40, 0.1, 0.8)]
)
def test_the_promise_holds_in_as_many_drawings_as_stated(n_defects, max_rate, confidence):
    # Uniform probabilities: the escape rate of a threshold is the threshold.
    draws = np.random.default_rng(0).uniform(size=(N_DRAWS, n_defects))
    broken = np.mean([pass_threshold(draw, max_rate, confidence)[0] > max_rate for draw in draws])
    # More than the allowed hits below the true quantile keep it; fewer break it.
    expected = binom.cdf(allowed_hits(n_defects, max_rate, confidence), n_defects, max_rate)
    assert expected <= 1 - confidence
    error = np.sqrt(expected * (1 - expected) / N_DRAWS)
    assert broken == pytest.approx(expected, abs=3 * error)


def test_the_promise_holds_for_coarse_probabilities():
    # 0, 0.1, ..., 0.9, equally likely: the escape rate of a threshold is the threshold, and most thresholds are ties.
    draws = np.random.default_rng(1).integers(0, 10, (N_DRAWS, 60)) / 10
    broken = np.mean([pass_threshold(draw, 0.15, 0.9)[0] > 0.15 for draw in draws])
    assert broken <= 0.1


@pytest.mark.parametrize("costs", [None, Costs(1, 5, 1)], ids=["promise alone", "costs"])
def test_the_promise_holds_for_parts_photographed_several_times(costs):
    # Four photographs of each of 60 defects: the first is uniform, the others are a little higher.
    random = np.random.default_rng(2)
    groups = np.repeat([f"part {index}" for index in range(80)], 4)
    is_defect = np.repeat(np.arange(80) < 60, 4)
    n_broken = 0
    for _ in range(300):
        lowest = np.append(random.uniform(size=60), random.uniform(0, 0.6, size=20))
        proba = (lowest[:, None] + [0, 0.01, 0.02, 0.03]).ravel()
        point = choose_operating_point(is_defect, proba, groups, 0.1, 0.0, 0.9, costs)
        assert point.n_defects == 60
        n_broken += point.pass_below > 0.1
    # Counted as 240 independent photographs, the threshold would be too high in half of the drawings.
    expected = binom.cdf(allowed_hits(60, 0.1, 0.9), 60, 0.1)
    assert n_broken <= 300 * expected + 3 * np.sqrt(300 * expected)
