"""What is unlike the training images: distances against brute force, a limit that is kept, a file that is the same."""

import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from inspection.errors import ModelsError
from inspection.voters.guard import N_NEIGHBOURS, Guard, fit_guard, read_guard, write_guard
from tests.conftest import ROOT
from tests.test_array_files import assert_any_python_writes_it_so

N_FEATURES = 40


def training(n_images=60, n_features=N_FEATURES, seed=0, n_folds=4):
    """Correlated features of several scales, paths and folds."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(n_features, n_features)) / np.sqrt(n_features)
    vectors = random.normal(size=(n_images, n_features)) @ mixing * random.uniform(0.1, 20, n_features) + 7
    paths = np.array([f"data/写真_{index}.png" for index in range(n_images)])
    return vectors.astype(np.float32), paths, np.arange(n_images) % n_folds


def brute_force(bank, points, n_neighbours=N_NEIGHBOURS):
    """Mean distance to the nearest training images in all standardised features, one pair after the other."""
    mean, deviation = bank.astype(float).mean(0), bank.astype(float).std(0)
    distances = [
        sorted(np.sqrt(np.mean(((point - mean) / deviation - (other - mean) / deviation) ** 2)) for other in bank)
        for point in points.astype(float)
    ]
    return np.array([np.mean(of_point[:n_neighbours]) for of_point in distances])


@pytest.fixture
def guard():
    return fit_guard(*training(), 0.05)


def test_distances_are_those_in_all_features(guard):
    points = training(8, seed=5)[0]
    np.testing.assert_allclose(guard.distances(points), brute_force(training()[0], points), rtol=1e-3)


def spiked(n_images, n_features, seed):
    """Features as a backbone gives them: a few strong directions, a long tail, all correlated."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(n_features, n_features)) / (1 + np.arange(n_features)[:, None]) ** 0.75
    return (np.random.default_rng(seed).normal(size=(n_images, n_features)) @ mixing).astype(np.float32)


def test_the_nearest_neighbour_is_the_true_one():
    bank, points = spiked(500, 400, 1), spiked(400, 400, 2)
    guard = fit_guard(bank, np.arange(500).astype(str), np.arange(500) % 5, 0.05)
    deviation = bank.std(0, dtype=float)
    squares = [np.square((bank - point) / deviation).sum(1) for point in points.astype(float)]
    nearest = np.argmin(squares, axis=1)
    assert np.mean(guard.neighbours(points)[0][:, 0] == nearest) >= 0.99


def test_memory_does_not_grow_with_the_product_of_the_images():
    bank, points = (np.random.default_rng(seed).normal(size=(4000, 8)).astype(np.float32) for seed in (0, 1))
    guard = fit_guard(bank[:20], np.arange(20).astype(str), np.arange(20) % 2, 0.05)
    guard = replace(guard, bank=bank.astype(np.float16), paths=np.arange(4000).astype(str))
    tracemalloc.start()
    guard.neighbours(points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All distances at once would be 4,000 x 4,000 numbers of 4 bytes: 64 MB.
    assert peak < 8e6


def test_neighbours_come_nearest_first_and_a_training_image_is_its_own(guard):
    vectors, paths, _ = training()
    positions, distances = guard.neighbours(vectors[[3, 17]])
    assert positions.shape == distances.shape == (2, N_NEIGHBOURS)
    assert guard.paths[positions[:, 0]].tolist() == paths[[3, 17]].tolist()
    assert (np.diff(distances, axis=1) >= 0).all()
    assert guard.distances(vectors[[3, 17]]) == pytest.approx(distances.mean(1))
    assert guard.paths.tolist() == paths.tolist()


def test_fewer_training_images_than_neighbours():
    vectors, paths, folds = training(4, n_folds=2)
    guard = fit_guard(vectors, paths, folds, 0.1)
    assert guard.neighbours(vectors[:1])[0].shape == (1, 4)
    assert np.isfinite(guard.distances(vectors)).all()


def test_a_row_does_not_depend_on_the_others(guard):
    points = training(9, seed=3)[0]
    alone = np.concatenate([guard.distances(point[None]) for point in points])
    np.testing.assert_allclose(guard.distances(points), alone, rtol=1e-4)
    assert guard.distances(points[:0]).shape == (0,)


def held_out_distances(vectors, paths, folds):
    """Distance of each training image from a guard of the other folds."""
    distances = np.empty(len(vectors))
    for fold in np.unique(folds):
        rest, others = folds != fold, np.arange(folds[folds != fold].size) % 2
        distances[~rest] = fit_guard(vectors[rest], paths[rest], others, 0.5).distances(vectors[~rest])
    return np.sort(distances)


@pytest.mark.parametrize(
    ("rate", "rank"),
    # Of 60: ceil(61 * (1 - rate)), and at most 60.
    [(0.05, 58), (0.1, 55), (0.5, 31), (0.9, 7), (0.01, 60), (0.001, 60), (1 / 61, 60)],
)
def test_the_limit_is_an_order_statistic_of_held_out_distances(rate, rank):
    assert min(60, ceil(round(61 * (1 - rate), 9))) == rank
    assert fit_guard(*training(), rate).limit == held_out_distances(*training())[rank - 1]


def test_copies_in_the_same_fold_are_no_neighbours():
    vectors, paths, folds = training(40)
    # Every photograph twice: no distance is nearly nothing when the copies lie in one fold, as they do in a manifest.
    twice = [np.concatenate([part, part]) for part in (vectors, paths, folds)]
    apart = [*twice[:2], np.concatenate([folds, (folds + 1) % 4])]
    together, divided = fit_guard(*twice, 0.5), fit_guard(*apart, 0.5)
    assert together.limit > divided.limit
    lone = held_out_distances(vectors, paths, folds)
    assert lone[0] < together.limit < lone[-1]


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_about_as_many_alarms_as_stated(rate):
    vectors, paths, folds = training(1000)
    guard = fit_guard(vectors[:500], paths[:500], folds[:500], rate)
    alarms = np.mean(guard.distances(vectors[500:]) > guard.limit)
    # Standard errors of 500 alarms and of the limit: 0.025 together at a rate of 0.2, 0.014 at 0.05.
    assert alarms == pytest.approx(rate, abs=3 * np.sqrt(2 * rate * (1 - rate) / 500))


def test_a_photograph_far_away_exceeds_the_limit():
    vectors, paths, folds = training(300)
    guard = fit_guard(vectors[:250], paths[:250], folds[:250], 0.01)
    deviation = vectors.std(0)
    assert np.mean(guard.distances(vectors[250:]) <= guard.limit) > 0.9
    for far in (vectors[250:] + 6 * deviation, np.zeros_like(vectors[250:]) - 50 * deviation, 10 * vectors[250:]):
        assert (guard.distances(far) > guard.limit).all()
    # Along the direction in which the training images vary least, too.
    direction = np.linalg.svd((vectors[:250] - vectors[:250].mean(0)) / deviation)[2][-1]
    assert (guard.distances(vectors[250:] + 30 * direction * deviation) > guard.limit).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("limit", "unlikeness"), [(0.0, [0, 1000, 1000]), (0.5, [0, 0.002, 5])])
def test_training_images_that_are_all_the_same_are_like_nothing_else(limit, unlikeness):
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    guard = Guard(zeros, ones, np.zeros((5, 4), np.float16), np.array(["a"] * 5), limit)
    points = np.array([[0, 0, 0, 0], [0.002, 0, 0, 0], [3, 0, 4, 0]], np.float32)
    # Distances in standard deviations per feature: lengths of 0, 0.002 and 5 in four dimensions.
    assert guard.unlikeness(points) == pytest.approx(unlikeness, rel=1e-3)


def test_a_feature_that_never_varies_does_not_drown_the_others():
    vectors, paths, folds = training()
    constant = np.concatenate([vectors, np.full((60, 1), 5.0, np.float32)], axis=1)
    guard = fit_guard(constant, paths, folds, 0.05)
    point = np.append(training(1, seed=4)[0][0], np.float32(5.0))[None]
    rounded = point.copy()
    rounded[0, -1] = np.nextafter(np.float32(5), np.float32(6))
    assert guard.distances(rounded) == pytest.approx(guard.distances(point), rel=1e-3)


def same(one: Guard, other: Guard) -> bool:
    names = ("mean", "deviation", "bank", "paths")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return one.limit == other.limit and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_the_same_images_give_the_same_guard():
    assert same(fit_guard(*training(), 0.05), fit_guard(*training(), 0.05))
    assert not same(fit_guard(*training(), 0.05), fit_guard(*training(seed=1), 0.05))


def test_written_and_read_it_is_the_same(guard, tmp_path):
    write_guard(tmp_path / "new folder" / "guard.npz", guard)
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["guard.npz"]
    loaded = read_guard((tmp_path / "new folder" / "guard.npz").read_bytes(), "guard.npz")
    assert same(loaded, guard)
    assert type(loaded.limit) is float
    points = training(5, seed=2)[0]
    assert np.array_equal(loaded.distances(points), guard.distances(points))


def test_the_same_guard_gives_the_same_bytes_at_any_time(guard, tmp_path, monkeypatch):
    write_guard(tmp_path / "a.npz", guard)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e8)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(now + 1e8))
    write_guard(tmp_path / "b.npz", guard)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert_any_python_writes_it_so(tmp_path / "a.npz")
    write_guard(tmp_path / "c.npz", replace(guard, limit=guard.limit + 1))
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "c.npz").read_bytes()


def test_a_fresh_process_measures_the_same_distances(guard, tmp_path):
    write_guard(tmp_path / "guard.npz", guard)
    points = training(5, seed=2)[0]
    np.save(tmp_path / "points.npy", points)
    script = (
        "import sys, numpy\nfrom pathlib import Path\nfrom inspection.voters.guard import read_guard\n"
        "folder = Path(sys.argv[1])\n"
        "guard = read_guard((folder / 'guard.npz').read_bytes(), 'guard.npz')\n"
        "print(guard.limit, *guard.distances(numpy.load(folder / 'points.npy')).tolist())"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    limit, *distances = map(float, done.stdout.split())
    assert limit == guard.limit
    assert distances == pytest.approx(guard.distances(points).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a guard",
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data[:200] + b"\0" * 400 + data[600:],
        lambda data: b"\x80\x04N.",
    ],
    ids=["empty", "text", "half", "start", "last byte", "zeros inside", "pickle"],
)
def test_a_damaged_file_is_named_with_the_way_out(guard, tmp_path, damage):
    write_guard(tmp_path / "guard.npz", guard)
    with pytest.raises(ModelsError, match=r"guard\.npz is not a guard \(.*\); delete it and run `dvc repro`"):
        read_guard(damage((tmp_path / "guard.npz").read_bytes()), "guard.npz")


@pytest.mark.parametrize("missing", ["limit", "bank", "paths"])
def test_a_file_that_lacks_a_part(guard, tmp_path, missing):
    arrays = {name: getattr(guard, name) for name in Guard.__dataclass_fields__ if name != missing}
    np.savez(tmp_path / "guard.npz", **arrays)
    with pytest.raises(ModelsError, match=f"{missing}.*delete it and run"):
        read_guard((tmp_path / "guard.npz").read_bytes(), "guard.npz")


def test_copies_of_training_images_have_no_distance(guard):
    vectors = training()[0]
    assert guard.neighbours(vectors)[1][:, 0].tolist() == [0.0] * 60


def test_a_feature_beyond_half_precision_is_far_and_finite():
    vectors, paths, folds = training()
    vectors[:, 0] = 3.0
    guard = fit_guard(vectors, paths, folds, 0.05)
    point = vectors[:1].copy()
    point[0, 0] = 1e9  # 1e12 deviations of the least size
    assert guard.limit < guard.distances(point)[0] < np.inf


def test_a_bank_of_another_layout(guard, tmp_path):
    write_guard(tmp_path / "guard.npz", replace(guard, bank=guard.bank[:, :5]))
    with pytest.raises(ModelsError, match=r"a bank of shape \(60, 5\), as another version .*delete it and run"):
        read_guard((tmp_path / "guard.npz").read_bytes(), "guard.npz")


def test_an_array_alone_and_arrays_of_objects_are_refused(guard, tmp_path):
    np.save(tmp_path / "array.npy", guard.bank)
    with pytest.raises(ModelsError, match="is not a guard"):
        read_guard((tmp_path / "array.npy").read_bytes(), "guard.npz")
    arrays = {name: getattr(guard, name) for name in Guard.__dataclass_fields__}
    np.savez(tmp_path / "objects.npz", **arrays | {"paths": np.array(["a", None], dtype=object)})
    with pytest.raises(ModelsError, match="is not a guard"):
        read_guard((tmp_path / "objects.npz").read_bytes(), "guard.npz")
