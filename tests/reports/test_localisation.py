"""Localisation against cases by hand and against the definitions, pixel by pixel and threshold by threshold."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from inspection.data.masks import check_masks, read_mask
from inspection.labels import DEFECTIVE, NON_DEFECTIVE
from inspection.reports.tables.localisation import summarise_lit_share, summarise_localisation
from inspection.reports.tables.map_counts import LocalisationCounts

AREAS = ("pixel_auroc", "aupro")
METRICS = (*AREAS, "pointing_game")


class Photographs:
    """Maps with their masks, and the rows of a manifest that belong to them."""

    def __init__(self):
        self.maps, self.masks, self.rows = [], [], []

    def add(self, defect_map, mask=None, *, defective=None, group=None, kind=""):
        self.maps.append(np.asarray(defect_map, np.float16))
        self.masks.append(None if mask is None else np.asarray(mask, bool))
        label = DEFECTIVE if (mask is not None if defective is None else defective) else NON_DEFECTIVE
        self.rows.append({"label": label, "group": group or f"group {len(self.rows)}", "defect_type": kind})
        return self

    @property
    def counts(self):
        return [LocalisationCounts.of(*pair) for pair in zip(self.maps, self.masks, strict=True)]

    def summary(self, **options):
        return summarise_localisation(self.counts, pd.DataFrame(self.rows), **options)

    def lit_share(self, level):
        return summarise_lit_share(self.counts, pd.DataFrame(self.rows), level)

    def subset(self, *kinds):
        """Those of some types, and the good ones."""
        chosen = Photographs()
        for defect_map, mask, row in zip(self.maps, self.masks, self.rows, strict=True):
            if row["label"] == NON_DEFECTIVE or row["defect_type"] in kinds:
                chosen.add(defect_map, mask, defective=row["label"] == DEFECTIVE, group=row["group"])
        return chosen


def by_definition(photographs: Photographs) -> tuple[float, float]:
    """Pixel AUROC by scikit-learn, and AUPRO with every region at every threshold, the slow way."""
    masks = [
        np.zeros(m.shape, bool) if k is None else k for m, k in zip(photographs.maps, photographs.masks, strict=True)
    ]
    maps = [defect_map.astype(float) for defect_map in photographs.maps]
    values = np.concatenate([defect_map.ravel() for defect_map in maps])
    is_defect = np.concatenate([mask.ravel() for mask in masks])
    regions = []
    for defect_map, mask in zip(maps, masks, strict=True):
        numbers, n_regions = ndimage.label(mask, np.ones((3, 3)))
        regions += [defect_map[numbers == number] for number in range(1, n_regions + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(values)[::-1]:
        false_positives = np.mean(values[~is_defect] >= threshold)
        points.append((false_positives, np.mean([np.mean(region >= threshold) for region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if x0 < 0.3 < x1:
            x1, y1 = 0.3, y0 + (y1 - y0) * (0.3 - x0) / (x1 - x0)
        if x1 <= 0.3:
            area += (x1 - x0) * (y0 + y1) / 2
    return roc_auc_score(is_defect, values), area / 0.3


def random_photographs(seed: int, n_images: int = 24, n_levels: int = 40, n_groups: int = 0) -> Photographs:
    """Noise with some blocks marked and a little brighter; few levels give many ties."""
    random = np.random.default_rng(seed)
    photographs = Photographs()
    for index in range(n_images):
        height, width = random.integers(8, 20, 2)
        defect_map = random.integers(0, n_levels, (height, width)) / n_levels
        mask = None
        if index % 3:
            mask = np.zeros((height, width), bool)
            for _ in range(random.integers(1, 4)):
                top, left = random.integers(0, 7, 2)
                mask[top : top + random.integers(1, 5), left : left + random.integers(1, 5)] = True
            defect_map[mask] += 0.3 * random.uniform()
        group = f"group {index % n_groups}" if n_groups else None
        photographs.add(
            defect_map, mask, group=group, kind="scratch" if index % 3 == 1 else "dent" if mask is not None else ""
        )
    return photographs


def by_hand() -> Photographs:
    """Defects have 4 (a region of its own), 2 and 0; background has 2 once, 1 three times and 0 six times."""
    return Photographs().add([[4, 1, 0], [1, 2, 0], [0, 0, 2]], [[1, 0, 0], [0, 0, 0], [0, 1, 1]]).add([[1, 0], [0, 0]])


def test_by_hand():
    summary = by_hand().summary()
    # 4 beats ten, 2 beats nine and ties with one, 0 ties with six: (10 + 9.5 + 3) / 30.
    assert summary["pixel_auroc"] == 0.75
    # From (0, 1/2) to (0.1, 3/4) and level to 0.4: (0.1 * 0.625 + 0.2 * 0.75) / 0.3.
    assert summary["aupro"] == round(0.2125 / 0.3, 4)
    assert summary["pointing_game"] == 1
    assert {name: summary[name] for name in ("n_good", "n_masks", "n_regions", "n_unmarked")} == {
        "n_good": 1, "n_masks": 1, "n_regions": 2, "n_unmarked": 0,
    }  # fmt: skip
    assert "by_type" not in summary


def test_the_curve_is_cut_within_a_line():
    # One threshold for all of the background: from (0, 1/2) straight to (1, 1), which passes 0.65 at 0.3.
    summary = Photographs().add([[5, 1], [1, 1]], [[1, 0], [1, 0]]).summary()
    assert summary["aupro"] == round((0.5 + 0.65) / 2, 4)
    # 5 beats two, 1 ties with two.
    assert summary["pixel_auroc"] == 0.75


def test_a_map_of_one_value_tells_nothing():
    summary = Photographs().add(np.full((4, 5), 7), np.arange(20).reshape(4, 5) < 3).summary()
    assert summary["pixel_auroc"] == 0.5
    assert summary["aupro"] == 0.15
    # Every pixel has the largest value: 3 of 20 are hits.
    assert summary["pointing_game"] == 0.15
    assert [(summary[f"{name}_low"], summary[f"{name}_high"]) for name in AREAS] == [(0, 1)] * 2


def test_regions_count_the_same_whatever_their_size():
    # The map shows the small region only: one pixel of ten, one region of two.
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[3:, 3:] = True
    defect_map = np.zeros((6, 6))
    defect_map[0, 0] = 1
    summary = Photographs().add(defect_map, mask).summary()
    # From (0, 0.5) straight to (1, 1); of the pixels from (0, 0.1).
    assert summary["aupro"] == round((0.5 + 0.65) / 2, 4)
    assert summary["pixel_auroc"] == 0.55


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_levels", [2, 7, 40, 4000])
def test_against_the_definitions(seed, n_levels):
    photographs = random_photographs(seed, 12, n_levels)
    summary = photographs.summary()
    assert [summary[name] for name in AREAS] == pytest.approx(by_definition(photographs), abs=5.1e-5)
    for kind in ("scratch", "dent"):
        of_kind = summary["by_type"][kind]
        expected = by_definition(photographs.subset(kind))
        assert [of_kind[name] for name in AREAS] == pytest.approx(expected, abs=5.1e-5)


def test_very_small_and_very_large_values_are_told_apart():
    smallest, largest = np.finfo(np.float16).smallest_subnormal, np.finfo(np.float16).max
    before_largest = np.nextafter(largest, np.float16(0))
    summary = Photographs().add([[largest, before_largest], [smallest, 0]], [[1, 0], [1, 0]]).summary()
    # The largest beats both, the smallest beats 0.
    assert summary["pixel_auroc"] == 0.75


def test_the_types_of_defects():
    photographs = random_photographs(3)
    photographs.add([[1, 2]], [[0, 1]])
    summary = photographs.summary()
    assert list(summary["by_type"]) == ["(not stated)", "dent", "scratch"]
    assert sum(of_type["n_masks"] for of_type in summary["by_type"].values()) == summary["n_masks"] == 17
    assert sum(of_type["n_regions"] for of_type in summary["by_type"].values()) == summary["n_regions"]
    of_dents = photographs.subset("dent").summary()
    dents = summary["by_type"]["dent"]
    assert {name: dents[name] for name in METRICS} == {name: of_dents[name] for name in METRICS}


def test_every_interval_contains_its_value():
    for seed in range(5):
        summary = random_photographs(seed).summary()
        for part in (summary, *summary["by_type"].values()):
            for name in METRICS:
                assert 0 <= part[f"{name}_low"] <= part[name] <= part[f"{name}_high"] <= 1
            assert all(part[f"{name}_low"] < part[name] < part[f"{name}_high"] for name in AREAS)


def test_copies_in_a_group_say_nothing_new():
    once, thrice = random_photographs(0), Photographs()
    for defect_map, mask, row in zip(once.maps, once.masks, once.rows, strict=True):
        for _ in range(3):
            thrice.add(defect_map, mask, group=row["group"], kind=row["defect_type"])
    bounds = [f"{name}{end}" for name in AREAS for end in ("", "_low", "_high")]
    of_once, of_thrice = once.summary(), thrice.summary()
    assert {name: of_thrice[name] for name in bounds} == {name: of_once[name] for name in bounds}
    # Taken for independent they would.
    for index, row in enumerate(thrice.rows):
        row["group"] = f"group {index}"
    independent = thrice.summary()
    for name in METRICS:
        widths = [part[f"{name}_high"] - part[f"{name}_low"] for part in (independent, of_once)]
        assert widths[0] < 0.8 * widths[1]


def test_the_order_of_photographs_does_not_matter():
    photographs, reverse = random_photographs(1, n_groups=9), Photographs()
    for defect_map, mask, row in zip(
        photographs.maps[::-1], photographs.masks[::-1], photographs.rows[::-1], strict=True
    ):
        reverse.add(defect_map, mask, group=row["group"], kind=row["defect_type"])
    assert reverse.summary() == photographs.summary()
    assert photographs.summary(seed=1) != photographs.summary(seed=0)


def test_a_perfect_map_is_not_certain_to_stay_so():
    photographs = Photographs()
    for index in range(20):
        mask = np.zeros((9, 7), bool)
        # Parts of a region, of which 1/3 is no number a computer has.
        mask[2:5, 1 + index % 3] = True
        photographs.add(np.where(mask, 1 + np.arange(63).reshape(9, 7) / 64, 0.5), mask)
    for _ in range(30):
        photographs.add(np.full((9, 7), 0.5))
    summary = photographs.summary()
    for name in AREAS:
        # The rule of three on the 20 groups with defects: 1 - 3/20.
        assert [summary[name], summary[f"{name}_low"], summary[f"{name}_high"]] == [1, 0.85, 1]
    assert summary["pointing_game"] == summary["pointing_game_high"] == 1
    assert 0.8 < summary["pointing_game_low"] < 0.9


def test_one_group_with_defects_says_nothing_of_others():
    photographs = Photographs()
    for seed in range(4):
        values = np.random.default_rng(seed).uniform(size=(6, 6))
        photographs.add(values, values > np.linspace(0.5, 1.1, 36).reshape(6, 6), group="one")
        photographs.add(values.T)
    summary = photographs.summary()
    assert summary["n_masks"] == 4
    assert [(summary[f"{name}_low"], summary[f"{name}_high"]) for name in AREAS] == [(0, 1)] * 2


def test_a_defective_photograph_without_a_mark_is_left_out():
    expected = by_hand().summary()
    photographs = by_hand().add([[9, 9]], defective=True).add([[9, 9]], [[0, 0]], defective=True)
    assert photographs.summary() == expected | {"n_unmarked": 2}


def test_a_good_part_may_have_a_mask_that_marks_nothing():
    photographs = Photographs().add([[4, 1, 0], [1, 2, 0], [0, 0, 2]], [[1, 0, 0], [0, 0, 0], [0, 1, 1]])
    photographs.add([[1, 0], [0, 0]], np.zeros((2, 2)), defective=False)
    assert photographs.summary() == by_hand().summary()


def test_without_a_mark_there_is_nothing_to_measure():
    photographs = Photographs().add([[1, 2]]).add([[1, 2]], defective=True)
    assert photographs.summary() == {"n_masks": 0, "n_good": 1, "n_unmarked": 1}
    assert Photographs().add([[1, 2]]).summary() == {"n_masks": 0, "n_good": 1, "n_unmarked": 0}


def test_without_background_only_the_pointing_game_is_left():
    summary = Photographs().add([[1, 2], [3, 4]], np.ones((2, 2))).summary()
    assert summary["pointing_game"] == 1
    assert not any(name.startswith(AREAS) for name in summary)


def test_a_metrics_file_can_hold_the_summary():
    summary = random_photographs(2).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(
    ("photographs", "n_rows", "message"),
    [
        (by_hand(), 1, "a row for each photograph, got 1 for 2"),
        (by_hand().add([[1, 2]], [[0, 1]], defective=False), 3, "1 good parts have a marked defect"),
    ],
)
def test_rows_that_are_not_those_of_the_counts(photographs, n_rows, message):
    rows = pd.DataFrame(photographs.rows[:n_rows])
    with pytest.raises(ValueError, match=message):
        summarise_localisation(photographs.counts, rows)
    with pytest.raises(ValueError, match=message):
        summarise_lit_share(photographs.counts, rows, 0.5)


def test_lit_share_by_hand():
    photographs = by_hand().add([[2, 1, 0, 0]]).add([[9, 9]], defective=True)
    # Good parts have 1, 0, 0, 0 and 2, 1, 0, 0; a value at the level is lit.
    assert [photographs.lit_share(level)["lit_share"] for level in (0, 1, 1.5, 2, 3)] == [1, 0.375, 0.125, 0.125, 0]
    assert photographs.lit_share(1)["n_good"] == 2


def test_a_level_is_not_rounded_to_that_of_a_map():
    # The nearest float16 to 0.1 is 0.09998.
    photographs = Photographs().add([[0.1, 0.2]])
    assert photographs.lit_share(0.1)["lit_share"] == 0.5
    assert photographs.lit_share(float(np.float16(0.1)))["lit_share"] == 1


def test_lit_share_is_one_of_areas():
    photographs = Photographs().add(np.ones((2, 5))).add(np.zeros((9, 10)))
    assert photographs.lit_share(0.5)["lit_share"] == 0.1


def test_interval_of_a_lit_share():
    photographs, dark = Photographs(), Photographs()
    for seed in range(30):
        values = np.random.default_rng(seed).uniform(size=(10, 10)) * (1 + seed / 30)
        photographs.add(values)
        dark.add(values / 10)
    summary = photographs.lit_share(0.95)
    assert 0 < summary["lit_share_low"] < summary["lit_share"] < summary["lit_share_high"] < 0.5
    # The rule of three on 30 groups.
    assert dark.lit_share(0.95) == {"n_good": 30, "lit_share": 0, "lit_share_low": 0, "lit_share_high": 0.1}
    assert Photographs().add([[1]], [[1]]).lit_share(0.5) == {"n_good": 0}


@pytest.fixture
def discs_on_noise(tmp_path) -> pd.DataFrame:
    """Photographs of noise, every other with a bright disc that a mask marks; rows of their manifest."""
    rows = []
    for index in range(12):
        random = np.random.default_rng(index)
        across, down = np.mgrid[:40, :60]
        is_disc = np.hypot(across - random.integers(8, 32), down - random.integers(8, 52)) < 6
        is_disc &= index % 2 == 1
        grey = np.clip(random.normal(100, 10, (40, 60)) + 100 * is_disc, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{index}.png")
        Image.fromarray(255 * is_disc.astype(np.uint8)).save(tmp_path / f"{index}_mask.png")
        label = DEFECTIVE if is_disc.any() else NON_DEFECTIVE
        rows.append(
            (f"{index}.png", label, f"{index}", "disc" if label == DEFECTIVE else "", f"{index}_mask.png", 60, 40)
        )
    table = pd.DataFrame(rows, columns=["path", "label", "group", "defect_type", "mask", "width", "height"])
    return table.assign(**{name: f"{tmp_path}/" + table[name] for name in ("path", "mask")})


def test_photographs_with_masks(discs_on_noise):
    checked = check_masks(discs_on_noise)
    assert (checked["n_marked"] > 50).tolist() == [False, True] * 6
    counts = []
    for row, sha256 in zip(discs_on_noise.itertuples(), checked["mask_sha256"], strict=True):
        grey = np.asarray(Image.open(row.path), np.float16)
        counts.append(LocalisationCounts.of(grey / np.float16(255), read_mask(row.mask, row.height, row.width, sha256)))
    summary = summarise_localisation(counts, discs_on_noise)
    assert (summary["n_masks"], summary["n_good"], summary["n_regions"]) == (6, 6, 6)
    assert min(summary[name] for name in METRICS) > 0.99
    # Discs have grey levels of 200 and background of 100, ten of noise each.
    assert summarise_lit_share(counts, discs_on_noise, 150 / 255)["lit_share"] < 0.001
