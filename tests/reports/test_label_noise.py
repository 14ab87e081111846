"""Labels to look at again: ranked by hand."""

import numpy as np
import pandas as pd
import pytest

from inspection.reports.tables.label_noise import label_suspects


def suspects(*images: tuple[str, int, float], max_suspects: int = 10) -> list[tuple]:
    """Suspects among images given by path, label and the ensemble's out-of-fold P(defective)."""
    return list(ranked(images, max_suspects).itertuples(index=False, name=None))


def ranked(images, max_suspects: int = 10) -> pd.DataFrame:
    paths, labels, proba = zip(*images, strict=True)
    # As in a manifest: more columns, and an index that starts elsewhere.
    rows = pd.DataFrame({"sha256": "0", "label": labels, "path": paths}, index=range(7, 7 + len(paths)))
    return label_suspects(rows, np.array(proba), max_suspects)


def test_ranking():
    images = [("a", 0, 0.75), ("b", 1, 0.125), ("c", 0, 0.25), ("d", 1, 0.875), ("e", 1, 0.375), ("f", 0, 1.0)]
    # Columns: path, label, defect_proba and the probability of the given label.
    assert suspects(*images) == [
        ("f", 0, 1.0, 0.0),
        ("b", 1, 0.125, 0.125),
        ("a", 0, 0.75, 0.25),
        ("e", 1, 0.375, 0.375),
    ]
    assert list(ranked(images)) == ["path", "label", "defect_proba", "self_confidence"]


def test_ties_go_by_path():
    images = [("c", 1, 0.25), ("a", 1, 0.25), ("d", 0, 0.75), ("b", 0, 0.75)]
    assert [suspect[0] for suspect in suspects(*images)] == ["a", "b", "c", "d"]
    assert [suspect[0] for suspect in suspects(*images, max_suspects=2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "proba", "is_suspect"),
    [(0, 0.5, False), (1, 0.5, False), (0, 0.51, True), (1, 0.49, True), (0, 0.49, False), (1, 0.51, False)],
)
def test_a_suspect_is_contradicted_by_more_than_half(label, proba, is_suspect):
    assert bool(suspects(("a", label, proba))) == is_suspect


@pytest.mark.parametrize(("max_suspects", "n_suspects"), [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_at_most_so_many(max_suspects, n_suspects):
    found = suspects(*((f"{index}", 1, 0.1 * index) for index in range(4)), max_suspects=max_suspects)
    assert [suspect[0] for suspect in found] == [f"{index}" for index in range(n_suspects)]


def test_no_suspect_keeps_the_columns():
    found = ranked([("a", 0, 0.1), ("b", 1, 0.9)], 5)
    assert len(found) == 0
    assert list(found) == ["path", "label", "defect_proba", "self_confidence"]


def test_numbers_are_rounded_after_ranking():
    images = [("a", 1, 0.12344), ("b", 1, 0.12341), ("c", 1, 0.12346)]
    assert suspects(*images) == [("b", 1, 0.1234, 0.1234), ("a", 1, 0.1234, 0.1234), ("c", 1, 0.1235, 0.1235)]


def test_the_rows_are_left_alone():
    rows = pd.DataFrame({"path": ["b", "a"], "label": [0, 1]})
    before, proba = rows.copy(), np.array([0.75, 0.25])
    label_suspects(rows, proba, 5)
    pd.testing.assert_frame_equal(rows, before)
    assert proba.tolist() == [0.75, 0.25]
