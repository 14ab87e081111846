"""Splits: no group straddles a part or a fold, whatever the source brings; counted by hand on small tables."""

import hashlib
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from inspection.data.groups import join_groups
from inspection.data.splits import NO_FOLD, divide
from inspection.errors import DataError
from tests.project import data_params

ONE_THIRD, TWO_THIRDS = 0.3333333333333333, 0.6666666666666666
LEAKS = ("regroup", "drop", "keep")
CONTRADICTORY = "copies of this photograph carry both labels"
LEAKING = "a test image is a copy of this photograph or in its group"
SUPPLIED = ["train"] * 24 + ["test"] * 6


def audited(probabilities, photographs=None, groups=None, splits="", strata="", types="") -> pd.DataFrame:
    """What the audit gives for files part_000.png, part_001.png, ...; equal photographs are copies."""
    n_images = len(probabilities)
    photographs = list(range(n_images) if photographs is None else photographs)
    first = [photographs.index(photograph) for photograph in photographs]
    return pd.DataFrame(
        {
            "path": [f"data/part_{index:03d}.png" for index in range(n_images)],
            "sha256": [hashlib.sha256(f"file {index}".encode()).hexdigest() for index in range(n_images)],
            "pixels_sha256": [hashlib.sha256(f"pixels {index}".encode()).hexdigest() for index in range(n_images)],
            "defect_probability": np.asarray(probabilities, float),
            "label": (np.asarray(probabilities, float) >= 0.5).astype(int),
            "split": splits,
            "stratum": strata,
            "defect_type": types,
            "photograph": first,
            "series": first,
            "group": "" if groups is None else groups,
        }
    )


def grouped(*arguments, series="together", **options) -> pd.DataFrame:
    images = audited(*arguments, **options)
    return images.assign(group=join_groups(images, series))


def counts(images: pd.DataFrame, *columns: str) -> dict:
    return images.groupby(list(columns)).size().to_dict()


def straddling(images: pd.DataFrame, column: str) -> list[str]:
    """Names of groups with several values in the column."""
    different = images.groupby("group")[column].nunique()
    return different.index[different > 1].tolist()


# Groups


def partition(names: pd.Series) -> list[int]:
    """For each image, the position of the first one of the same name."""
    return [names.tolist().index(name) for name in names]


@pytest.mark.parametrize(
    ("photograph", "series", "stated", "together", "apart"),
    [
        pytest.param([0, 1, 2, 3], [0, 1, 2, 3], [""] * 4, [0, 1, 2, 3], [0, 1, 2, 3], id="nothing in common"),
        pytest.param([0, 1, 0, 3], [0, 1, 0, 3], [""] * 4, [0, 1, 0, 3], [0, 1, 0, 3], id="copies"),
        pytest.param([0, 1, 2, 3], [0, 0, 2, 2], [""] * 4, [0, 0, 2, 2], [0, 1, 2, 3], id="series"),
        pytest.param([0, 1, 2, 3], [0, 1, 2, 3], ["a", "", "b", "a"], [0, 1, 2, 0], [0, 1, 2, 0], id="stated"),
        pytest.param([0, 1, 2, 3], [0, 1, 2, 3], ["", "", "", ""], [0, 1, 2, 3], [0, 1, 2, 3], id="empty is no group"),
        # 0 and 1 are copies, 1 and 2 stated as one, 2 and 3 a series.
        pytest.param([0, 0, 2, 3], [0, 0, 2, 2], ["", "a", "a", ""], [0, 0, 0, 0], [0, 0, 0, 3], id="transitive"),
        # Two stated groups become one over a pair of copies.
        pytest.param([0, 1, 1, 3], [0, 1, 1, 3], ["a", "a", "b", "b"], [0] * 4, [0] * 4, id="copies join groups"),
        pytest.param([0, 1, 2, 1], [0, 0, 2, 0], ["", "", "x", "x"], [0] * 4, [0, 1, 1, 1], id="later ones join"),
    ],
)
def test_what_belongs_together(photograph, series, stated, together, apart):
    images = audited([0] * 4).assign(photograph=photograph, series=series, group=stated)
    assert partition(join_groups(images, "together")) == together
    assert partition(join_groups(images, "apart")) == apart


def test_group_is_named_after_the_smallest_hash_of_its_files():
    # The rows' own names say nothing about their positions; 1 and 3 are copies.
    images = audited([0] * 4, photographs=[0, 1, 2, 1]).set_axis([7, 4, 0, 2])
    first, second, third, fourth = images["sha256"].str[:16]
    assert join_groups(images, "together").to_dict() == {
        7: first, 4: min(second, fourth), 0: third, 2: min(second, fourth),
    }  # fmt: skip


def test_group_that_the_source_states_is_named_after_the_statement():
    images = audited([0] * 4, photographs=[0, 1, 1, 3], groups=["part 7", "part 7", "", ""])
    stated = hashlib.sha256(b"group part 7").hexdigest()[:16]
    # A copy joins without a say in the name, whatever its hash is.
    assert join_groups(images, "together").tolist() == [stated] * 3 + [images["sha256"][3][:16]]
    both = images.assign(group=["part 7", "part 8", "", ""], photograph=[0, 0, 0, 3])
    other = hashlib.sha256(b"group part 8").hexdigest()[:16]
    assert join_groups(both, "together")[:3].tolist() == [min(stated, other)] * 3


def test_groups_of_no_image():
    assert join_groups(audited([0]).head(0), "together").tolist() == []


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(*(st.lists(st.integers(0, n - 1), min_size=n, max_size=n) for _ in range(3)))
    )
)
def test_groups_are_the_connected_components(columns):
    photograph, series, stated = ([column.index(value) for value in column] for column in columns)
    # The images stated to be in the group of the first one are taken for such without a group.
    names = [f"g{head}" if head else "" for head in stated]
    images = audited([0] * len(stated)).assign(photograph=photograph, series=series, group=names)
    heads = [photograph, [head or place for place, head in enumerate(stated)]]
    assert partition(join_groups(images, "apart")) == components(heads)
    assert partition(join_groups(images, "together")) == components([*heads, series])


def components(heads: list[list[int]]) -> list[int]:
    """SciPy's answer: images are joined with their head in each of the lists."""
    n_images = len(heads[0])
    rows, columns = np.tile(np.arange(n_images), len(heads)), np.concatenate(heads)
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n_images, n_images))
    return partition(pd.Series(connected_components(graph, directed=False)[1]))


# Every division


@st.composite
def sources(draw) -> pd.DataFrame:
    """Images with copies, contradictions and stated groups, with or without a split that ignores them."""
    n_photographs = draw(st.integers(8, 40))
    photographs = list(range(n_photographs)) + draw(st.lists(st.integers(0, n_photographs - 1), max_size=20))
    label_of = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n_photographs, max_size=n_photographs))
    labels = [label_of[photograph] for photograph in photographs]
    for place in draw(st.sets(st.integers(0, len(labels) - 1), max_size=2)):
        labels[place] = 1 - labels[place]
    groups = draw(st.lists(st.sampled_from([""] * 4 + ["a", "b", "c"]), min_size=len(labels), max_size=len(labels)))
    parts = st.lists(st.sampled_from(["train", "train", "test"]), min_size=len(labels), max_size=len(labels))
    strata = st.lists(st.sampled_from(["", "mono", "poly"]), min_size=len(labels), max_size=len(labels))
    return grouped(labels, photographs, groups, draw(st.just("") | parts), draw(st.just("") | strata))


@given(sources(), st.sampled_from(LEAKS), st.integers(2, 3), st.sampled_from([0.2, 0.25, 0.5]), st.integers(0, 3))
@settings(max_examples=120)
def test_no_group_straddles(images, leaks, folds, test_share, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            division = divide(images, data_params(leaks=leaks, folds=folds, test_share=test_share), seed)
        except DataError:
            event("too few")
            return
    event(division.origin)
    kept = division.images
    if leaks == "keep" and division.origin == "supplied":
        assert kept["split"].tolist() == images.loc[kept.index, "split"].tolist()
    else:
        assert straddling(kept, "split") == []
    assert straddling(kept[kept["split"] == "train"], "fold") == []
    assert ((kept["fold"] == NO_FOLD) == (kept["split"] == "test")).all()
    # Good parts in every fold and in the test part; defects in every fold, if there are as many.
    assert len(counts(kept[kept["label"] == 0], "fold")) == 1 + folds
    defects = kept[(kept["label"] == 1) & (kept["split"] == "train")]
    event("enough defects" if defects["group"].nunique() >= folds else "few defects")
    if defects["group"].nunique() >= folds:
        assert len(counts(defects, "fold")) == folds
    assert kept.groupby("photograph")["label"].nunique().max() == 1
    assert sorted([*kept["path"], *division.left_out["path"]]) == images["path"].tolist()


@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=60, max_size=200),
    st.integers(1, 3),
    st.sampled_from([0.2, 0.25, 0.3, 0.5]),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_the_first_draw_meets_the_share_of_each_class(labels, size, test_share, seed):
    assume(min(labels.count(0.0), labels.count(1.0)) >= 20 * size)
    # The images of a class lie in groups of 1 to 3 of that class.
    groups = [f"{label} {labels[:place].count(label) // size}" for place, label in enumerate(labels)]
    images = grouped(labels, groups=groups)
    kept = divide(images, data_params(test_share=test_share, folds=2), seed).images
    for label in (0, 1):
        of_class = kept[kept["label"] == label]
        deviation = (of_class["split"] == "test").sum() - test_share * len(of_class)
        assert abs(deviation) <= np.sqrt(test_share * (1 - test_share) * (of_class["group"].value_counts() ** 2).sum())


# The split that is drawn


def test_split_and_folds_keep_the_share_of_defects():
    division = divide(grouped([0.0] * 80 + [1.0] * 40), data_params(), 0)
    kept = division.images
    # A quarter of 80 and 40, of which the salt misses at most an image.
    numbers = counts(kept, "split", "label")
    assert abs(numbers["test", 0] - 20) <= 1
    assert abs(numbers["test", 1] - 10) <= 1
    # A fifth of 60 and 30, and one standard deviation, sqrt(60 * 0.2 * 0.8) = 3.1 and 2.2.
    train = counts(kept[kept["split"] == "train"], "fold", "label")
    assert train == {
        (fold, label): pytest.approx(12 - 6 * label, abs=3.1 - 0.9 * label) for fold in range(5) for label in (0, 1)
    }
    assert (division.origin, division.notices, len(division.left_out)) == ("drawn", (), 0)
    assert (kept["supplied_split"] == "").all()
    assert not kept["kept_in_test"].any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("column", ["strata", "types"])
def test_strata_are_closer_to_their_share_than_by_lot(column, seed):
    # 4 probabilities x 2 kinds; mono has 48 images of each probability and poly 24.
    combinations = [(p, s) for p in (0.0, ONE_THIRD, TWO_THIRDS, 1.0) for s in ["mono"] * 48 + ["poly"] * 24]
    images = grouped([p for p, _ in combinations], **{column: [s for _, s in combinations]})
    kept = divide(images, data_params(folds=3), seed).images
    test = kept[kept["split"] == "test"]
    name = {"strata": "stratum", "types": "defect_type"}[column]
    # A quarter of 96, of 48 and of 72 images.
    ideal = {("mono", 0): 24, ("mono", 1): 24, ("poly", 0): 12, ("poly", 1): 12}
    ideal |= dict.fromkeys([0.0, ONE_THIRD, TWO_THIRDS, 1.0], 18)
    found = counts(test, name, "label") | test["defect_probability"].value_counts().to_dict()
    assert found.keys() == ideal.keys()
    # By lot, each of the eight is 1 on average.
    assert sum((found[key] - number) ** 2 / (0.75 * number) for key, number in ideal.items()) < 8 / 4


@pytest.mark.parametrize("test_share", [0.1, 0.25, 0.5, 0.8, 0.02, 0.98, 0.21, 0.305])
def test_share_of_the_test_part(test_share):
    kept = divide(grouped([0.0, 1.0] * 100), data_params(test_share=test_share, folds=2), 0).images
    # One standard deviation of a draw by lot of the 100 images of each class.
    expected = pytest.approx(100 * test_share, abs=np.sqrt(100 * test_share * (1 - test_share)))
    assert counts(kept[kept["split"] == "test"], "label") == {0: expected, 1: expected}


@pytest.mark.parametrize(
    "strata",
    [
        ["rare"] + ["common"] * 59,
        [f"own {index}" for index in range(60)],
        ["rare", "rarer"] + ["common"] * 58,
    ],
    ids=["one image", "all different", "one of each class"],
)
def test_rare_strata_do_not_cost_the_balance_of_classes(strata):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = divide(grouped([0, 1] * 30, strata=strata), data_params(), 0).images
    # A quarter of 30 of each class lies between 7 and 8; 22 or 23 are left for the folds.
    assert set(counts(kept[kept["split"] == "test"], "label").values()) <= {7, 8}
    assert len(counts(kept[kept["split"] == "train"], "fold", "label")) == 2 * 5


@pytest.mark.parametrize("seed", range(3))
def test_copies_stay_together(seed):
    # 30 photographs of each class, the k-th in 1 + k % 4 copies, which lie far apart in the listing.
    photographs = [number for copy in range(4) for number in range(60) if number // 2 % 4 >= copy]
    kept = divide(grouped([number % 2 for number in photographs], photographs), data_params(), seed).images
    assert kept["group"].nunique() == 60
    assert straddling(kept, "split") == straddling(kept, "fold") == []


def test_series_may_be_kept_apart():
    # Every image of a class is of one series: together they cannot be divided, apart they can.
    images = audited([0, 1] * 20).assign(series=[0, 1] * 20)
    apart = divide(images.assign(group=join_groups(images, "apart")), data_params(), 0).images
    assert counts(apart, "split", "label")["test", 1] in (4, 5, 6)
    with pytest.raises(DataError, match="^1 different non_defective images or groups are too few"):
        divide(images.assign(group=join_groups(images, "together")), data_params(), 0)


def test_same_seed_same_division_other_seed_another():
    images = grouped([0.0, 1.0] * 40)
    first, again, other = (divide(images, data_params(), seed).images for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert (first["split"] != other["split"]).any()
    train = (first["split"] == "train") & (other["split"] == "train")
    assert (first.loc[train, "fold"] != other.loc[train, "fold"]).any()


@pytest.mark.parametrize("splits", ["", SUPPLIED * 2])
def test_order_of_the_rows_does_not_matter(splits):
    images = grouped([0.0, 1.0] * 30, photographs=[*range(57), 3, 4, 5], splits=splits)
    shuffled = images.sample(frac=1, random_state=0)
    for leaks in LEAKS:
        params = data_params(leaks=leaks, folds=3)
        one, other = divide(images, params, 0), divide(shuffled, params, 0)
        pd.testing.assert_frame_equal(one.images, other.images.sort_index())
        assert set(one.left_out["path"]) == set(other.left_out["path"])


def test_the_callers_table_is_left_alone():
    images = grouped([0, 1] * 15, photographs=[*range(28), 2, 3], splits=SUPPLIED)
    before = images.copy()
    for leaks in LEAKS:
        divide(images, data_params(leaks=leaks, folds=3), 0)
    pd.testing.assert_frame_equal(images, before)


# The split that the source brings


@pytest.mark.parametrize("leaks", LEAKS)
def test_supplied_split_without_leak_is_kept(leaks):
    # Copies and groups within a part are no leak.
    images = grouped([0, 1] * 15, photographs=[0, 1, 0, *range(3, 28), 28, 27], splits=SUPPLIED)
    division = divide(images, data_params(leaks=leaks, folds=3, test_share=0.9), 0)
    assert division.images["split"].tolist() == division.images["supplied_split"].tolist() == SUPPLIED
    assert (division.origin, division.notices, len(division.left_out)) == ("supplied", (), 0)
    # 12 training images of each class in 3 folds: about 4 of each.
    folds = counts(division.images[:24], "fold", "label")
    assert folds == {(fold, label): pytest.approx(4, abs=1) for fold in range(3) for label in (0, 1)}
    assert division.images["fold"][0] == division.images["fold"][2]


def test_seed_draws_the_folds_of_a_supplied_split():
    images = grouped([0, 1] * 15, splits=SUPPLIED)
    first, again, other = (divide(images, data_params(folds=3), seed).images["fold"].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.fixture
def leaking() -> pd.DataFrame:
    """Part 2 and its copy 4 are training images, their copy 28 a test image; 29 is another test image's copy."""
    return grouped([0, 1] * 15, photographs=[*range(4), 2, *range(5, 28), 2, 27], splits=SUPPLIED)


NOTICE = (
    "1 of its test images are copies of training images or belong to one group with them, for example "
    "data/part_028.png; the split is {} (data.leaks = {})."
)


def test_leaks_regroup_draws_a_new_split(leaking):
    division = divide(leaking, data_params(leaks="regroup", folds=3), 0)
    assert (division.origin, len(division.left_out)) == ("redrawn", 0)
    assert division.notices == (NOTICE.format("redrawn", "regroup"),)
    assert straddling(division.images, "split") == []
    assert division.images["supplied_split"].tolist() == SUPPLIED
    # About a quarter, not the fifth of the supplied split.
    assert 6 <= (division.images["split"] == "test").sum() <= 9


def test_leaks_drop_leaves_the_training_copies_out(leaking):
    division = divide(leaking, data_params(leaks="drop", folds=3), 0)
    assert (division.origin, division.notices) == ("supplied", (NOTICE.format("supplied", "drop"),))
    assert division.left_out.to_numpy().tolist() == [[f"data/part_00{index}.png", LEAKING] for index in (2, 4)]
    assert division.images["split"].tolist() == ["train"] * 22 + ["test"] * 6, "the test part stays whole"


def test_leaks_keep_changes_nothing_but_says_so(leaking):
    division = divide(leaking, data_params(leaks="keep", folds=3), 0)
    assert (division.origin, len(division.left_out)) == ("supplied", 0)
    assert division.notices == (NOTICE.format("supplied", "keep"),)
    assert division.images["split"].tolist() == SUPPLIED
    assert straddling(division.images, "split") == [leaking["group"][2]]


@pytest.mark.parametrize(
    ("changes", "series", "leaks"),
    [
        ({"group": [*[""] * 20, "a", "", "", "", "a", *[""] * 5]}, "together", True),
        ({"series": [*range(24), 3, *range(25, 30)]}, "together", True),
        ({"series": [*range(24), 3, *range(25, 30)]}, "apart", False),
    ],
    ids=["stated group", "series together", "series apart"],
)
def test_groups_leak_like_copies(changes, series, leaks):
    images = audited([0, 1] * 15, splits=SUPPLIED).assign(**changes)
    division = divide(images.assign(group=join_groups(images, series)), data_params(folds=3), 0)
    assert division.origin == ("redrawn" if leaks else "supplied")
    assert straddling(division.images, "split") == []


# Contradictions


@pytest.mark.parametrize("splits", ["", SUPPLIED])
@pytest.mark.parametrize("leaks", LEAKS)
def test_photographs_with_both_labels_are_left_out(splits, leaks):
    # 18 and 29 are copies of the defective part 5, labelled good and defective: nobody knows which is right.
    photographs = [*range(18), 5, *range(19, 29), 5]
    division = divide(grouped([0, 1] * 15, photographs, splits=splits), data_params(leaks=leaks, folds=3), 0)
    expected = [[f"data/part_0{index}.png", CONTRADICTORY] for index in ("05", "18", "29")]
    assert division.left_out.to_numpy().tolist() == expected
    assert len(division.images) == 27
    # With them the only leak is gone.
    assert division.origin == ("supplied" if splits else "drawn")
    assert division.notices == ()


def test_two_probabilities_on_one_side_of_the_threshold_are_no_contradiction():
    division = divide(grouped([0, 1] * 30 + [0.8], photographs=[*range(60), 1]), data_params(), 0)
    assert len(division.left_out) == 0
    assert division.images["split"][60] == division.images["split"][1]


def test_a_group_may_hold_both_labels():
    groups = [f"part {index // 2}" for index in range(60)]
    division = divide(grouped([0, 1] * 30, groups=groups), data_params(), 0)
    assert len(division.left_out) == 0
    assert straddling(division.images, "split") == straddling(division.images, "fold") == []


# A training part without one of the classes

GOOD_ONLY = ["train"] * 20 + ["test"] * 20
"""MVTec's way: good parts only to train on, both classes to test on."""


@pytest.mark.parametrize("leaks", LEAKS)
def test_training_part_without_defects_is_used_as_it_is(leaks):
    division = divide(grouped([0] * 24 + [1] * 16, splits=GOOD_ONLY), data_params(leaks=leaks, folds=2), 0)
    assert division.origin == "supplied"
    assert division.images["split"].tolist() == GOOD_ONLY
    assert division.notices == ("The training part holds no defect: only detectors learn, by good parts alone.",)
    assert set(division.images.loc[division.images["split"] == "train", "fold"]) == {0, 1}


@pytest.mark.parametrize(("leaks", "n_training"), [("regroup", 19), ("drop", 19), ("keep", 20)])
def test_leaks_bring_no_defect_into_a_training_part_without_any(leaks, n_training):
    # The last test image is a copy of a training image.
    photographs = [*range(39), 5]
    images = grouped([0] * 24 + [1] * 15 + [0], photographs, splits=GOOD_ONLY)
    division = divide(images, data_params(leaks=leaks, folds=2), 0)
    assert division.origin == "supplied"
    train = division.images[division.images["split"] == "train"]
    assert (len(train), set(train["label"])) == (n_training, {0})


@pytest.mark.parametrize("good", [0, 1])
def test_a_supplied_split_is_redrawn_where_that_is_asked_for(good):
    images = grouped([good] * 24 + [1 - good] * 16, splits=GOOD_ONLY)
    division = divide(images, data_params(supplied_split="redraw", test_share=0.5, folds=2), 0)
    assert division.origin == "redrawn"
    assert division.notices == ("data.supplied_split is redraw; the split is redrawn (data.leaks = regroup).",)
    assert division.images["supplied_split"].tolist() == GOOD_ONLY
    # About half of 24 and of 16.
    test = counts(division.images[division.images["split"] == "test"], "label")
    assert test == {good: pytest.approx(12, abs=1), 1 - good: pytest.approx(8, abs=1)}


def test_a_split_that_was_used_cannot_be_redrawn_unnoticed():
    """Among them all defects; who wants to train on some must say that they were seen."""
    images = grouped([0] * 24 + [1] * 16, splits=GOOD_ONLY)
    used = divide(images, data_params(folds=2), 0).entry
    message = (
        r"none of 4096 draws .*\. 20 of the groups were test images before and stay so; to draw them too, remove the "
        r"entry of data/raw from data/split\.json\.$"
    )
    with pytest.raises(DataError, match=message):
        divide(images, data_params(supplied_split="redraw", folds=2, source="data/raw"), 0, used)


@pytest.mark.parametrize("leaks", LEAKS)
def test_training_part_without_good_parts_is_redrawn(leaks):
    images = grouped([1] * 24 + [0] * 16, splits=GOOD_ONLY)
    division = divide(images, data_params(leaks=leaks, test_share=0.5, folds=2), 0)
    assert division.origin == "redrawn"
    assert division.notices == (
        f"the supplied training part holds no non_defective image; the split is redrawn (data.leaks = {leaks}).",
    )


def test_training_part_whose_only_defects_contradict_trains_on_good_parts():
    # Photograph 0 is a good and a defective training image; all other defects are test images.
    images = grouped([0, 1] + [0] * 18 + [1] * 18 + [0] * 2, [0, 0, *range(2, 40)], splits=GOOD_ONLY)
    division = divide(images, data_params(folds=2), 0)
    assert division.origin == "supplied"
    assert len(division.left_out) == 2


# Few defects, or none


@pytest.mark.parametrize(
    ("probabilities", "changes", "n_trained", "notices"),
    [
        ([0] * 20, {}, {0}, ("no defect", "0 defects")),
        ([0] * 20 + [1], {}, {0, 1}, ("no defect|1 different", "[01] defects")),
        ([0] * 24 + [0.4] * 4, {}, {0}, ("no defect", "0 defects")),
        ([0] * 24 + [1] * 6, {"test_share": 0.5}, {3, 4}, ("[34] different defects, fewer than its 5 folds",)),
        ([0] * 20 + [1] * 10, {"test_share": 0.1}, {9}, ("holds 1 defects: of escapes and AUC nothing",)),
    ],
)
def test_few_defects_are_no_hindrance(probabilities, changes, n_trained, notices):
    division = divide(grouped(probabilities), data_params(**changes), 0)
    train = division.images[division.images["split"] == "train"]
    assert (train["label"] == 1).sum() in n_trained
    assert len(division.notices) == len(notices)
    for notice, pattern in zip(division.notices, notices, strict=True):
        assert re.search(pattern, notice)


def test_many_defects_of_one_group_are_one():
    photographs = [*range(20), *([99] * 10)]
    division = divide(grouped([0] * 20 + [1] * 10, photographs), data_params(), 0)
    assert straddling(division.images, "split") == straddling(division.images, "fold") == []


def test_defects_that_come_later_leave_everything_where_it_is():
    """From the first defect on the draw of the good parts holds, however the defects fall into the folds."""
    good = grouped([0] * 40)
    first = divide(good, data_params(), 0)
    for n_defects in (1, 3, 10, 30):
        later = divide(grouped([0] * 40 + [1] * n_defects), data_params(), 0, first.entry)
        for column in ("split", "fold"):
            assert later.images[column].tolist()[:40] == first.images[column].tolist()


# Too little to divide


@pytest.mark.parametrize(
    ("probabilities", "changes", "message"),
    [
        ([1] * 20, {}, r"^0 different non_defective images or groups are too few .*test_share = 0\.25; add images"),
        ([0, 1] * 10, {"test_share": 0.01}, r"^10 different .* = 0\.01; .* choose a share nearer to one half"),
        ([0, 1] * 10, {"test_share": 0.99}, r"^10 different .* = 0\.99"),
        # Half of 6 + 24 images is 3 + 12: the 3 good ones left cannot fill 5 folds.
        (
            [0] * 6 + [1] * 24,
            {"test_share": 0.5},
            r"^3 different non_defective images or groups in the training part; at least 5 are .*lower data\.folds",
        ),
        # A tenth of 10 good ones is 1.
        (
            [1] * 20 + [0] * 10,
            {"test_share": 0.1},
            r"^The test part has 1 non_defective images; .*raise data\.test_share",
        ),
    ],
)
def test_too_few_images(probabilities, changes, message):
    with pytest.raises(DataError, match=message):
        divide(grouped(probabilities), data_params(**changes), 0)


@pytest.mark.parametrize("groups", [None, [""] * 20 + ["batch"] * 10], ids=["copies", "a stated group"])
def test_many_good_images_of_one_group_are_too_few(groups):
    photographs = [*range(20), *([99] * 10 if groups is None else range(20, 30))]
    with pytest.raises(DataError, match="^1 different non_defective images or groups are too few"):
        divide(grouped([1] * 20 + [0] * 10, photographs, groups), data_params(), 0)


def test_nothing_but_contradictions():
    with pytest.raises(DataError, match="^0 different non_defective images or groups are too few"):
        divide(grouped([0, 1] * 10, photographs=[index // 2 for index in range(20)]), data_params(), 0)


def test_just_enough_images():
    # Of 12 + 12 images about 3 + 3 are test images; a hash seldom gives each of 5 folds one of the 9 + 9 left.
    for seed in range(5):
        kept = divide(grouped([0, 1] * 12), data_params(folds=5), seed).images
        assert len(counts(kept[kept["split"] == "train"], "fold", "label")) == 2 * 5


def test_folds_that_no_draw_fills():
    with pytest.raises(DataError, match=r"too few or too unequal: none of 4096 draws .* 15 folds .*Lower data\.folds"):
        divide(grouped([0, 1] * 20), data_params(folds=15), 0)


def test_groups_that_no_draw_divides():
    # Two good test images take b, with a defect; the second defect then leaves the folds a single group of defects.
    groups = {"a": (0, 10), "b": (10, 1), "c": (1, 1), "d": (1, 0)}
    labels = [label for numbers in groups.values() for label in (0, 1) for _ in range(numbers[label])]
    images = grouped(labels, groups=[name for name, numbers in groups.items() for _ in range(sum(numbers))])
    message = (
        "^The 4 groups of images are too few or too unequal: none of 4096 draws gives the test part 2 images of each"
    )
    with pytest.raises(DataError, match=message):
        divide(images, data_params(test_share=0.3, folds=2), 0)


@pytest.mark.parametrize("n_good", [0, 1])
def test_supplied_test_part_too_small_to_evaluate(n_good):
    labels = [0, 1] * 12 + [0] * n_good + [1] * (6 - n_good)
    with pytest.raises(DataError, match=f"^The test part has {n_good} non_defective images; at least 2"):
        divide(grouped(labels, splits=SUPPLIED), data_params(folds=3), 0)


def in_batches(*batches: tuple[int, int]) -> pd.DataFrame:
    """A supplied split whose training part is made of stated groups of so many good and defective images."""
    labels, groups = [0, 0, 1, 1], [""] * 4
    for number, (n_good, n_defective) in enumerate(batches):
        labels += [0] * n_good + [1] * n_defective
        groups += [f"batch {number}"] * (n_good + n_defective)
    return grouped(labels, groups=groups, splits=["test"] * 4 + ["train"] * (len(labels) - 4))


def test_groups_too_unequal_to_give_every_fold_both_classes():
    # Good images lie in two of the batches only.
    images = in_batches((2, 1), (0, 1), (0, 6), (45, 13))
    with pytest.raises(
        DataError, match=r"^2 different non_defective images or groups .* at least 3 .*lower data\.folds"
    ):
        divide(images, data_params(folds=3), 0)
    kept = divide(images, data_params(folds=2), 0).images
    assert len(counts(kept, "fold", "label")) == 2 * 3


def test_few_unequal_groups_give_every_fold_both_classes():
    # One way only: the first two batches a fold each, the others together.
    images = in_batches((2, 1), (1, 1), (0, 6), (45, 13), (3, 0))
    kept = divide(images, data_params(folds=3), 0).images
    assert len(counts(kept, "fold", "label")) == 2 * (1 + 3)


def test_balance_of_variants_gives_way_to_both_classes_in_every_fold():
    images = in_batches((3, 0), (1, 3), (0, 5), (3, 0))
    # Dealt out by variant too, all defective images would come into one fold.
    is_poly = images["group"].isin(images["group"][[7, 16]])
    kept = divide(images.assign(stratum=is_poly.map({True: "poly", False: "mono"})), data_params(folds=2), 0).images
    assert counts(kept, "fold", "label").keys() == {(fold, label) for fold in (NO_FOLD, 0, 1) for label in (0, 1)}
