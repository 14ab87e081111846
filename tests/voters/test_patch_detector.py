"""A detector that remembers patches of good parts, on patch maps that are made up."""

from dataclasses import astuple

import numpy as np
import pytest

from inspection.errors import DataError, ModelsError
from inspection.voters.detector_training import (
    MAX_PLANTED,
    N_ENOUGH_DEFECTS,
    TOP_SHARES,
    USUAL_SHARE,
    TrainingParts,
    calibrate_detector,
    choose_planted,
    count_farthest,
    top_means,
    train_patch_detector,
)
from inspection.voters.map_scale import LIT
from inspection.voters.patch_detector import PatchDetector, read_patch_detector, smooth, top_mean, write_patch_detector
from inspection.voters.patch_maps import TiledMaps

SIDE, N_CHANNELS = 6, 12
N_FOLDS = 3


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


class Parts:
    """Good parts look the same but for noise; a defect is a patch of another kind at a place of its own."""

    def __init__(self, n_good: int = 30, n_defective: int = 12):
        random = np.random.default_rng(0)
        texture = random.normal(size=(SIDE, SIDE, N_CHANNELS))
        self.labels = np.array([0] * n_good + [1] * n_defective)
        self.folds = np.arange(n_good + n_defective) % N_FOLDS
        maps = texture + 0.2 * random.normal(size=(n_good + n_defective, SIDE, SIDE, N_CHANNELS))
        self.places = random.integers(0, SIDE, (n_good + n_defective, 2))
        for number in np.flatnonzero(self.labels):
            row, column = self.places[number]
            maps[number, row, column] = 2 * random.normal(size=N_CHANNELS)
        self.maps = unit(maps)
        self.weights = np.ones(len(self.labels))
        self.read: list[list[int]] = []
        self.planted: list[list[int]] = []

    def read_maps(self, positions: np.ndarray):
        self.read.append(positions.tolist())
        return map(TiledMaps.of_whole, self.maps[positions])

    def read_planted_maps(self, positions: np.ndarray):
        """The same parts, each with a patch of another kind."""
        self.planted.append(positions.tolist())
        random = np.random.default_rng(5)
        for position in positions:
            patch_map = self.maps[position].copy()
            row, column = random.integers(0, SIDE, 2)
            patch_map[row, column] = unit(random.normal(size=N_CHANNELS))
            yield TiledMaps.of_whole(patch_map)

    def train(self, n_components: int = N_CHANNELS, n_patches: int = 200, seed: int = 0):
        parts = TrainingParts(self.labels, self.weights, self.folds, int(self.labels.sum()))
        return train_patch_detector(self.read_maps, self.read_planted_maps, parts, n_components, n_patches, seed)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts()


@pytest.fixture(scope="module")
def trained(parts):
    return parts.train()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 9.0), (0.1, 9.0), (0.2, 8.5), (0.3, 8.0), (1.0, 4.5)])
def test_top_mean(share, expected):
    distances = np.random.default_rng(0).permutation(10).reshape(1, 2, 5).astype(np.float32)
    assert top_mean(distances, count_farthest(share, 10)) == pytest.approx([expected])


def test_of_many_tiles_as_many_positions_count_as_of_one():
    """A defect on one of four tiles makes the score that it makes alone."""
    tile = np.zeros((5, 5), np.float32)
    tile[0, 0] = 1
    large = np.zeros((10, 10), np.float32)
    large[5:, 5:] = tile
    alone, among_others = top_means([tile, large], n_positions=25)
    np.testing.assert_array_equal(alone, among_others)


def test_defects_are_found_out_of_fold(parts, trained):
    is_defect = parts.labels == 1
    assert trained.out_of_fold[is_defect].min() > 0.5 > trained.out_of_fold[~is_defect].max()


def test_a_fold_is_scored_by_the_memory_made_without_it(parts, trained):
    """A good part that lies in the memory would be nearer to it than out of fold."""
    for fold, memory in enumerate(trained.detector.memories):
        rows = np.flatnonzero(parts.folds == fold)
        expected = trained.detector.calibrate(memory.distances(parts.maps[rows]))
        np.testing.assert_allclose(trained.out_of_fold[rows], expected, rtol=1e-5)
        good = rows[parts.labels[rows] == 0]
        others = [other for other in trained.detector.memories if other is not memory]
        assert memory.distances(parts.maps[good]).mean() > max(o.distances(parts.maps[good]).mean() for o in others)


def test_memories_hold_good_parts_alone(parts):
    """What only defects look like changes no memory."""
    others = Parts()
    others.maps[others.labels == 1] = unit(np.random.default_rng(9).normal(size=(12, SIDE, SIDE, N_CHANNELS)))
    for one, other in zip(parts.train().detector.memories, others.train().detector.memories, strict=True):
        for array, same in zip(astuple(one), astuple(other), strict=True):
            np.testing.assert_array_equal(array, same)


def test_served_is_the_mean_of_the_memories(parts, trained):
    maps = parts.maps[:5]
    expected = np.mean([trained.detector.calibrate(m.distances(maps)) for m in trained.detector.memories], axis=0)
    sighting = trained.detector.look(maps)
    np.testing.assert_allclose(sighting.proba, expected)
    distances = np.mean([memory.distances(maps) for memory in trained.detector.memories], axis=0)
    np.testing.assert_array_equal(sighting.rarity, trained.detector.scale.rarity(smooth(distances)))


def test_good_photographs_are_read_twice_and_defective_ones_once():
    parts = Parts()
    parts.train()
    assert parts.read == [np.flatnonzero(parts.labels == 0).tolist(), list(range(len(parts.labels)))]
    assert parts.planted == [], "with enough real defects none is planted"


def test_the_seed_decides(parts):
    first, again, other = parts.train(seed=1), parts.train(seed=1), parts.train(seed=2)
    np.testing.assert_array_equal(first.out_of_fold, again.out_of_fold)
    assert not np.array_equal(first.detector.memories[0].patches, other.detector.memories[0].patches)


def test_a_file_says_what_was_written(trained, parts, tmp_path):
    paths = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path in paths:
        write_patch_detector(path, trained.detector)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = read_patch_detector(paths[0].read_bytes(), "a.npz")
    assert isinstance(again, PatchDetector)
    for array, same in zip(again.look(parts.maps), trained.detector.look(parts.maps), strict=True):
        np.testing.assert_array_equal(array, same)
    assert again.scale.peak == trained.detector.scale.peak
    assert again.n_farthest == trained.detector.n_farthest == count_farthest(trained.top_share, SIDE * SIDE)


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"PK" + data[2:900]]
)
def test_a_damaged_file_is_named(trained, tmp_path, damage):
    write_patch_detector(tmp_path / "a.npz", trained.detector)
    with pytest.raises(ModelsError, match=r"^a\.npz is not a patch memory \(.*\); delete it and run `dvc repro`\.$"):
        read_patch_detector(damage((tmp_path / "a.npz").read_bytes()), "a.npz")


def test_without_defects_planted_ones_say_what_a_distance_means():
    parts = Parts(n_defective=0)
    trained = parts.train()
    assert parts.planted == [list(range(30))]
    assert trained.planted_roc_auc > 0.99
    # New parts of the same kind, as many with a defect as without.
    others = Parts()
    proba = trained.detector.look(others.maps).proba
    assert proba[others.labels == 1].min() > 0.5 > proba[others.labels == 0].max()


@pytest.mark.parametrize(("n_defective", "n_planted"), [(1, 30), (N_ENOUGH_DEFECTS - 1, 30), (N_ENOUGH_DEFECTS, 0)])
def test_planted_defects_help_while_few_are_known(n_defective, n_planted):
    parts = Parts(n_defective=n_defective)
    trained = parts.train()
    assert sum(map(len, parts.planted)) == n_planted
    assert (trained.planted_roc_auc is None) == (n_planted == 0)
    assert trained.out_of_fold[parts.labels == 1].min() > trained.out_of_fold[parts.labels == 0].max()


def test_what_is_known_of_defects_counts_for_more_than_what_is_planted():
    """With each real defect, all of which look harmless, the same distance means less."""
    proba = []
    for n_defective in (0, 3, 6, 9):
        parts = Parts(n_defective=n_defective)
        parts.maps[parts.labels == 1] = Parts().maps[:n_defective]
        planted = np.stack([seen.maps[0] for seen in parts.read_planted_maps(np.arange(30))])
        proba.append(parts.train().detector.look(planted).proba.mean())
    assert proba == sorted(proba, reverse=True)


def test_a_good_part_shows_an_almost_empty_map(trained):
    """One patch in a thousand is lit by definition; on parts that nothing was learned from it must stay so."""
    fresh = Parts(n_good=200, n_defective=12)
    rarity = trained.detector.look(fresh.maps).rarity
    assert np.mean(rarity[fresh.labels == 0] >= LIT) < 0.005
    hits = [
        np.hypot(*(np.array(np.unravel_index(rarity[number].argmax(), (SIDE, SIDE))) - fresh.places[number])) <= 1
        and rarity[number].max() > LIT
        for number in np.flatnonzero(fresh.labels == 1)
    ]
    # A patch of another kind may by chance look like a good one.
    assert sum(hits) >= 10


@pytest.mark.parametrize("n_good", [0, 1])
def test_good_parts_in_too_few_folds(n_good):
    with pytest.raises(
        DataError, match=f"labelled non_defective lie in {n_good} fold.*Add photographs of other groups"
    ):
        Parts(n_good=n_good).train()


def test_few_patches_are_all_remembered():
    parts = Parts(n_good=3, n_defective=3)
    detector = parts.train(n_components=100, n_patches=10_000).detector
    assert [memory.patches.shape for memory in detector.memories] == [(2 * SIDE * SIDE, N_CHANNELS)] * N_FOLDS


def scores_of(parts: Parts, *shares: np.ndarray) -> np.ndarray:
    """Scores that are the same by every share but for some, given by place."""
    scores = np.tile(parts.labels + np.random.default_rng(1).normal(0, 1, len(parts.labels)), (len(TOP_SHARES), 1)).T
    for place, of_share in enumerate(shares):
        scores[:, place] = of_share
    return scores


def test_another_share_must_be_clearly_better_than_the_usual_one():
    parts = Parts(n_good=200, n_defective=100)
    known = TrainingParts(parts.labels, parts.weights, parts.folds, 100)
    nothing = np.empty((0, len(TOP_SHARES)))
    assert calibrate_detector(scores_of(parts), nothing, known).top_share == USUAL_SHARE
    usual = scores_of(parts)[:, 0]
    # One more defect in its place is no reason, nearly all of them are.
    slightly, clearly = usual.copy(), 10.0 * parts.labels
    slightly[parts.labels.argmax()] = 10
    assert calibrate_detector(scores_of(parts, slightly), nothing, known).top_share == USUAL_SHARE
    assert calibrate_detector(scores_of(parts, clearly), nothing, known).top_share == TOP_SHARES[0]


def test_few_good_photographs_are_chosen_to_plant_defects_in():
    good = np.arange(0, 4 * MAX_PLANTED, 2)
    chosen = choose_planted(good, seed=0)
    assert len(chosen) == len(set(chosen)) == MAX_PLANTED
    assert set(chosen) <= set(good)
    assert np.all(np.diff(chosen) > 0)
    assert choose_planted(good[:5], seed=0).tolist() == good[:5].tolist()


def test_smoothing_spreads_a_patch_and_keeps_what_is_even():
    distances = np.zeros((2, 9, 9), np.float32)
    distances[0, 4, 4], distances[1] = 1, 0.5
    one, even = smooth(distances)
    assert one.sum() == pytest.approx(1, abs=1e-3)
    assert one[4, 4] == one.max() < 0.5
    assert one[4, 3] == pytest.approx(one[3, 4])
    assert one[3, 4] > one[3, 3] > 0
    np.testing.assert_allclose(even, 0.5, atol=1e-6)
