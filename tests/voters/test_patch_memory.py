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
    # Half precision at rest, of numbers of a few standard deviations.
    assert memory.distances(patches.reshape(1, 5, 8, N_CHANNELS)).max() < 5e-3
    assert memory.patches.dtype == np.float16


def test_components_are_those_of_most_variance_whatever_the_scale_of_a_channel():
    """Channels 0 and 2 go together, so their common direction varies most although channel 1 varies more."""
    random = np.random.default_rng(0)
    common, alone = random.normal(size=(2, 20_000))
    patches = np.stack([common, 10 * alone, 5 * common], axis=1).astype(np.float32)
    memory = remember(patches, 2, 10)
    half = 0.5**0.5
    np.testing.assert_allclose(np.abs(memory.components), [[half, 0], [0, 0.1], [half / 5, 0]], atol=0.01)
    deviations = patches.std(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(
        (deviations * memory.components).T @ (deviations * memory.components), np.eye(2), atol=1e-5
    )


def test_distances_do_not_depend_on_the_scale_of_a_channel():
    patches, maps = (np.random.default_rng(seed).normal(size=(40, N_CHANNELS)).astype(np.float32) for seed in (0, 1))
    scales = np.linspace(0.5, 4, N_CHANNELS, dtype=np.float32)
    as_it_is, scaled = (
        remember(by * patches, N_CHANNELS, 40).distances((by * maps).reshape(1, 5, 8, N_CHANNELS))
        for by in (np.ones(1, np.float32), scales)
    )
    np.testing.assert_allclose(scaled, as_it_is, rtol=5e-3)


def test_a_channel_that_never_changes_makes_no_distance_of_its_rounding():
    patches = np.random.default_rng(0).normal(size=(40, N_CHANNELS)).astype(np.float32)
    patches[:, 3] = 0.1
    memory = remember(patches, N_CHANNELS, 40)
    patches[:, 3] += 1e-5
    assert memory.distances(patches.reshape(1, 5, 8, N_CHANNELS)).max() < 1e-2
    alike = remember(patches[:1].repeat(5, axis=0), N_CHANNELS, 3)
    assert np.isfinite(alike.distances(patches.reshape(1, 5, 8, N_CHANNELS))).all()


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
