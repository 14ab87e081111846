"""Tables of insight: every number is counted by hand."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from inspection.reports.tables.evaluation import summarise_verdicts
from inspection.reports.tables.insight import (
    CERTAINTY,
    MAX_THRESHOLDS,
    MAX_VALUES,
    NOT_STATED,
    agreement,
    rates_by_value,
    tradeoff,
)
from inspection.reports.tables.intervals import share_interval

GOOD, BAD, REVIEW = "non_defective", "defective", "review"
RATES = ["column", "value", "n_images", "n_defects", "escape_rate", "overkill_rate", "review_rate", "accuracy"]
COLUMNS = [
    "column", "value", "n_images", "n_defects", "n_escapes", "n_overkill", "escape_rate", "escape_rate_low",
    "escape_rate_high", "overkill_rate", "overkill_rate_low", "overkill_rate_high", "review_rate", "accuracy",
]  # fmt: skip


def make_images(cases, **columns):
    """Predictions and manifest rows of (actual, verdict) pairs."""
    paths = [f"{index}.png" for index in range(len(cases))]
    predictions = pd.DataFrame(
        {"path": paths, "actual": [case[0] for case in cases], "verdict": [case[1] for case in cases]}
    )
    certain = [float(actual == BAD) for actual, _ in cases]
    return predictions, pd.DataFrame({"path": paths, "group": paths, "defect_probability": certain} | columns)


def as_lines(table):
    assert list(table) == COLUMNS
    return [tuple(None if pd.isna(cell) else cell for cell in line) for line in table[RATES].itertuples(index=False)]


# Rates


def test_rates_counted_by_hand():
    predictions, rows = make_images(
        [(BAD, BAD), (BAD, GOOD), (BAD, REVIEW), (GOOD, GOOD), (GOOD, BAD), (BAD, GOOD), (GOOD, REVIEW), (GOOD, GOOD)],
        stratum=["mono"] * 5 + ["poly"] * 3,
    )
    assert as_lines(rates_by_value(predictions, rows, ["stratum"])) == [
        # Of three defects one passes and one is reviewed, which is right; of two good parts one fails: three of five.
        ("stratum", "mono", 5, 3, 0.3333, 0.5, 0.2, 0.6),
        # A good part under review has not passed, which is wrong.
        ("stratum", "poly", 3, 1, 1.0, 0.0, 0.3333, 0.3333),
    ]


def test_accuracy_is_the_one_of_the_metrics():
    random = np.random.default_rng(0)
    cases = list(zip(random.choice([GOOD, BAD], 60), random.choice([GOOD, BAD, REVIEW], 60), strict=True))
    predictions, rows = make_images(cases, stratum=["mono", "poly"] * 30)
    table = rates_by_value(predictions, rows, ["stratum"])
    for place, kind in enumerate(("mono", "poly")):
        part = predictions[rows["stratum"] == kind].assign(defect_proba=random.uniform(size=30), cause="vote")
        metrics = summarise_verdicts(part, rows.loc[part.index, "group"].to_numpy())
        for name in ("accuracy", "escape_rate", "overkill_rate", "review_rate"):
            assert table[name][place] == metrics[name]


def test_rates_come_with_counts_and_bounds():
    # Ten good mono parts, two photographs of each: one part fails on both.
    verdicts = [BAD, BAD] + [GOOD] * 18
    predictions, rows = make_images(
        [(GOOD, verdict) for verdict in verdicts] * 2, stratum=["mono"] * 20 + ["poly"] * 20
    )
    rows["group"] = [f"part {index // 2}" for index in range(20)] + [f"poly {index}" for index in range(20)]
    mono, poly = rates_by_value(predictions, rows, ["stratum"]).to_dict("records")
    assert (mono["n_escapes"], mono["n_overkill"], mono["overkill_rate"]) == (0, 2, 0.1)
    assert (poly["overkill_rate_low"], poly["overkill_rate_high"]) == pytest.approx(share_interval(2, 20), abs=5e-5)
    assert mono["overkill_rate_high"] > poly["overkill_rate_high"] + 0.05, "ten parts, not twenty"
    assert np.isnan(mono["escape_rate_high"])


def test_rate_without_parts_is_unknown_not_zero():
    predictions, rows = make_images([(GOOD, GOOD), (GOOD, BAD), (BAD, BAD)], defect_type=["", "", "crack"])
    assert as_lines(rates_by_value(predictions, rows, ["defect_type"])) == [
        ("defect_type", NOT_STATED, 2, 0, None, 0.5, 0.0, 0.5),
        ("defect_type", "crack", 1, 1, 0.0, None, 0.0, 1.0),
    ]


@pytest.mark.parametrize(("n_values", "n_lines"), [(1, 0), (2, 2), (MAX_VALUES, MAX_VALUES), (MAX_VALUES + 1, 0)])
def test_column_of_one_value_or_of_too_many_says_nothing(n_values, n_lines):
    names = [f"line {index:02d}" for index in range(n_values)]
    predictions, rows = make_images([(GOOD, GOOD)] * n_values, stated_group=names)
    assert len(rates_by_value(predictions, rows, ["stated_group"])) == n_lines


def test_one_image_is_a_table_without_lines():
    predictions, rows = make_images([(BAD, GOOD)], stratum=["mono"])
    assert as_lines(rates_by_value(predictions, rows, ["stratum"])) == []


def test_no_image_is_a_table_without_lines():
    predictions, rows = make_images([], stratum=[])
    assert as_lines(rates_by_value(predictions, rows, ["stratum"])) == []


def test_columns_keep_the_order_asked_for_and_numbers_sort_as_numbers():
    predictions, rows = make_images([(GOOD, GOOD)] * 3, width=[1000, 300, 300], mode=["L", "RGB", "L"])
    table = rates_by_value(predictions, rows, ["width", "mode"])
    assert list(zip(table["column"], table["value"], table["n_images"], strict=True)) == [
        ("width", "300", 2),
        ("width", "1000", 1),
        ("mode", "L", 2),
        ("mode", "RGB", 1),
    ]


def test_uncertain_labels_have_their_own_rates():
    predictions, rows = make_images([(BAD, BAD), (BAD, GOOD), (GOOD, GOOD), (GOOD, BAD), (BAD, BAD)])
    rows["defect_probability"] = [1, 2 / 3, 0, 1 / 3, np.nan]
    assert as_lines(rates_by_value(predictions, rows, [])) == [
        (CERTAINTY, "certain", 2, 1, 0.0, 0.0, 0.0, 1.0),
        (CERTAINTY, "uncertain", 3, 2, 0.5, 1.0, 0.0, 0.3333),
    ]


def test_labels_that_are_all_certain_are_not_compared():
    predictions, rows = make_images([(BAD, BAD), (GOOD, GOOD)])
    assert as_lines(rates_by_value(predictions, rows, [])) == []


def test_index_of_the_rows_does_not_matter():
    predictions, rows = make_images([(BAD, GOOD), (GOOD, GOOD)], stratum=["poly", "mono"])
    expected = rates_by_value(predictions, rows, ["stratum"])
    assert expected["escape_rate"].tolist()[1] == 1
    assert_frame_equal(rates_by_value(predictions, rows.set_index(pd.Index([7, 3])), ["stratum"]), expected)


def test_rows_of_other_images_are_refused():
    predictions, rows = make_images([(BAD, GOOD), (GOOD, GOOD)], stratum=["poly", "mono"])
    with pytest.raises(ValueError, match="same paths in the same order"):
        rates_by_value(predictions, rows.iloc[::-1], ["stratum"])


def test_unknown_column_is_named():
    predictions, rows = make_images([(BAD, GOOD)], stratum=["poly"])
    with pytest.raises(ValueError, match="no column colour; it has path, group, defect_probability, stratum"):
        rates_by_value(predictions, rows, ["stratum", "colour"])


# Agreement


def test_agreement_counted_by_hand():
    votes = pd.DataFrame({"a": [True, True, False, False], "b": [True, False, False, True], "c": [False] * 4})
    expected = pd.DataFrame(
        [[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0]], index=["a", "b", "c"], columns=["a", "b", "c"]
    )
    assert_frame_equal(agreement(votes), expected)


def test_agreement_counts_both_answers():
    # The same on the two defects and on one of the two good parts.
    votes = pd.DataFrame({"a": [True, True, False, False], "b": [True, True, False, True]})
    assert agreement(votes).loc["a", "b"] == agreement(votes).loc["b", "a"] == 0.75


def test_agreement_on_one_image():
    assert agreement(pd.DataFrame({"a": [True], "b": [False]})).to_numpy().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (pd.DataFrame({"a": [], "b": []}, dtype=bool), "at least one image"),
        (pd.DataFrame({"a": [True, False], "b": [0.2, 0.7]}), "must be bool, got bool, float64"),
    ],
)
def test_agreement_refuses_what_is_no_vote(votes, message):
    with pytest.raises(ValueError, match=message):
        agreement(votes)


# Trade-off


def test_tradeoff_counted_by_hand():
    table = tradeoff(np.array([False, True, False, True, True]), np.array([0.1, 0.4, 0.4, 0.7, 0.9]))
    # At 0.4 both parts with 0.4 are rejected: the threshold itself rejects.
    assert table["threshold"].tolist()[:4] == [0.1, 0.4, 0.7, 0.9]
    assert table["escape_rate"].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert table["overkill_rate"].tolist() == [1, 0.5, 0, 0, 0]


@pytest.mark.parametrize("largest", [0.9, 1.0])
def test_last_threshold_rejects_nothing(largest):
    table = tradeoff(np.array([True, False]), np.array([largest, 0.2]))
    last = table.iloc[-1]
    assert last["threshold"] > largest
    assert (last["escape_rate"], last["overkill_rate"]) == (1, 0)
    assert last["threshold"] == pytest.approx(largest)


def test_tradeoff_of_one_image():
    table = tradeoff(np.array([True]), np.array([0.3]))
    assert table["escape_rate"].tolist() == [0, 1]
    assert table["overkill_rate"].isna().all()


def test_tradeoff_without_defects():
    table = tradeoff(np.array([False, False]), np.array([0.3, 0.6]))
    assert table["escape_rate"].isna().all()
    assert table["overkill_rate"].tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("n_images", [398, 399])
def test_tradeoff_that_fits_is_whole(n_images):
    table = tradeoff(np.arange(n_images) % 2 == 0, np.arange(n_images) / n_images)
    assert len(table) == n_images + 1 <= MAX_THRESHOLDS
    assert table["threshold"].tolist()[:-1] == (np.arange(n_images) / n_images).tolist()


@pytest.mark.parametrize("n_images", [400, 401, 5000])
def test_long_tradeoff_is_thinned(n_images):
    proba = np.arange(n_images) / n_images
    is_defect = np.arange(n_images) % 2 == 0
    table = tradeoff(is_defect, proba)
    assert 200 < len(table) <= MAX_THRESHOLDS
    assert (table["overkill_rate"].iloc[0], table["escape_rate"].iloc[0]) == (1, 0)
    assert (table["overkill_rate"].iloc[-1], table["escape_rate"].iloc[-1]) == (0, 1)
    assert table["threshold"].is_monotonic_increasing
    # Each row kept is a row of the whole table.
    for row in table.iloc[::50].itertuples():
        assert row.escape_rate == np.mean(proba[is_defect] < row.threshold)
        assert row.overkill_rate == pytest.approx(np.mean(proba[~is_defect] >= row.threshold))


def test_thinning_keeps_small_rates_apart_when_defects_are_rare():
    # 100 defects above 19,900 good parts, of which they overlap the last 1,000.
    proba = np.concatenate([np.arange(19_900) / 20_000, 0.945 + np.arange(100) / 2000])
    is_defect = np.arange(20_000) >= 19_900
    table = tradeoff(is_defect, proba)
    assert len(table) <= MAX_THRESHOLDS
    # Evenly chosen thresholds would be 50 parts apart, and leave 20 rows where both rates matter.
    both_matter = table[(table["escape_rate"] > 0) & (table["overkill_rate"] > 0)]
    assert len(both_matter) > 90
    assert both_matter["overkill_rate"].diff().abs().max() < 0.005


@pytest.mark.parametrize("label", [True, False])
def test_long_tradeoff_of_one_class_is_thinned(label):
    table = tradeoff(np.full(5000, label), np.arange(5000) / 5000)
    assert 200 < len(table) <= MAX_THRESHOLDS
    known, unknown = ("escape_rate", "overkill_rate") if label else ("overkill_rate", "escape_rate")
    assert sorted(table[known].iloc[[0, -1]]) == [0, 1]
    assert table[unknown].isna().all()


@pytest.mark.parametrize(
    ("is_defect", "proba", "message"),
    [
        ([], [], "non-empty"),
        ([True], [0.1, 0.2], r"got \(1,\) and \(2,\)"),
        ([True, False, True], [0.1, np.nan, np.nan], "2 of 3 probabilities are NaN"),
    ],
)
def test_tradeoff_refuses(is_defect, proba, message):
    with pytest.raises(ValueError, match=message):
        tradeoff(np.array(is_defect, dtype=bool), np.array(proba, dtype=float))
