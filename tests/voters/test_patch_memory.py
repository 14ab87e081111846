"""Patches that are remembered, and distances from them."""

import numpy as np

from inspection.voters.patch_memory import PatchMemory, remember, spread

N_CHANNELS = 12


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_distances_are_those_to_the_nearest_patch():
    random = np.random.default_rng(0)
    patches, maps = unit(random.normal(size=(50, N_CHANNELS))), unit(random.normal(size=(3, 4, 5, N_CHANNELS)))
    memory = PatchMemory(patches.mean(axis=0), np.eye(N_CHANNELS, dtype=np.float32), patches - patches.mean(axis=0))
    expected = np.linalg.norm(maps[..., np.newaxis, :] - patches, axis=-1).min(axis=-1)
    np.testing.assert_allclose(memory.distances(maps), expected, atol=1e-3)
    assert memory.distances(maps[:0]).shape == (0, 4, 5)


def test_what_is_remembered_is_no_distance_away():
    patches = unit(np.random.default_rng(0).normal(size=(40, N_CHANNELS)))
    memory = remember(patches, N_CHANNELS, 100)
    # Half precision at rest.
    assert memory.distances(patches.reshape(1, 5, 8, N_CHANNELS)).max() < 2e-3
    assert memory.patches.dtype == np.float16


def test_components_are_those_of_most_variance():
    random = np.random.default_rng(0)
    patches = (random.normal(size=(500, 3)) * [1, 10, 5]).astype(np.float32)
    memory = remember(patches, 2, 10)
    np.testing.assert_allclose(np.abs(memory.components), [[0, 0], [1, 0], [0, 1]], atol=0.1)
    np.testing.assert_allclose(memory.components.T @ memory.components, np.eye(2), atol=1e-6)


def test_chosen_points_are_spread_as_gonzalez_says():
    """The definition, step by step, in another way."""
    points = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    chosen = [0]
    while len(chosen) < 15:
        gaps = np.linalg.norm(points[:, np.newaxis] - points[chosen], axis=2).min(axis=1)
        chosen.append(int(gaps.argmax()))
    assert spread(points, 15).tolist() == chosen


def test_points_are_chosen_once_and_copies_not_at_all():
    points = np.repeat(np.random.default_rng(0).normal(size=(7, 3)), 4, axis=0).astype(np.float32)
    chosen = spread(points, 20)
    assert sorted(chosen // 4) == list(range(7))
