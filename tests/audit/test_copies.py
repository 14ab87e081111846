"""Copies among made-up photographs: groups against a naive partition, few images, many copies, several processes."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bench.made_copies import make_copy
from inspection.audit import copies
from inspection.audit.copies import (
    MAX_COPY_GAIN,
    MAX_GRAIN,
    MAX_RESIDUAL,
    MAX_SERIES_DISPLACEMENT,
    MAX_SERIES_RESIDUAL,
    MAX_STRETCH,
    MAX_TAIL,
    MAX_TURN,
    MIN_COPY_COHERENCE,
    MIN_SERIES_AGREEMENT,
    compare_neighbours,
    is_copy,
    is_series,
)
from inspection.audit.overlays import Overlay
from inspection.audit.signatures import Signatures, make_signatures
from inspection.audit.squares import SIDE, central_square
from tests.photographs import as_file, draw_ground_surface, draw_scene, expose, pixels_of, shoot

FLIPPED_AND_TURNED = ("flipped", "rotated, bilinear", "rotated, canvas grows")


def photograph(scene: int) -> np.ndarray:
    return shoot(draw_scene(scene), scene)


def copy_of(scene: int, kind: str, seed: int = 0) -> np.ndarray:
    return pixels_of(make_copy(kind, as_file(photograph(scene)), np.random.default_rng(seed)))


def sign(pictures) -> Signatures:
    return make_signatures(central_square(pixels) for pixels in pictures)


def partition(heads: np.ndarray, names: list) -> set[frozenset]:
    return {frozenset(name for name, head in zip(names, heads, strict=True) if head == one) for one in set(heads)}


@pytest.fixture(scope="module")
def library() -> tuple[list[tuple[int, str]], list[np.ndarray]]:
    """Four photographs, three of them with copies, and the names of all."""
    names = [(scene, "") for scene in range(4)]
    names += [(scene, kind) for scene in range(3) for kind in FLIPPED_AND_TURNED[: scene + 1]]
    return names, [copy_of(scene, kind) if kind else photograph(scene) for scene, kind in names]


def overlay_with(stretch=1.0, shift=0.0, turn=0.0, **measures) -> Overlay:
    """Two equal pictures but for what is stated; turned by degrees about the centre of the square."""
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([stretch, 1])
    centre = np.full(2, (SIDE - 1) / 2) if turn else np.zeros(2)
    alike = {"residual": 0.0, "tail": 0.0, "grain": 0.0, "agreement": 1.0, "coherence": 1.0, "gain": 1.0}
    return Overlay(np.column_stack([linear, centre - linear @ centre + (shift, 0)]), **(alike | measures))


INCOHERENT = np.nextafter(MIN_COPY_COHERENCE, 0)


@pytest.mark.parametrize(
    ("laid", "expected"),
    [
        (None, False),
        (overlay_with(), True),
        (overlay_with(residual=MAX_RESIDUAL, tail=MAX_TAIL, grain=MAX_GRAIN), True),
        (overlay_with(residual=np.nextafter(MAX_RESIDUAL, 9)), False),
        # Turned or not: what is turned against an exposure of the same part may be a copy of another exposure.
        (overlay_with(residual=np.nextafter(MAX_RESIDUAL, 9), turn=MAX_TURN + 0.1), False),
        (overlay_with(tail=np.nextafter(MAX_TAIL, 9)), False),
        (overlay_with(grain=np.nextafter(MAX_GRAIN, 9)), False),
        (overlay_with(stretch=MAX_STRETCH - 0.001), True),
        (overlay_with(stretch=MAX_STRETCH + 0.001), False),
        (overlay_with(stretch=1 / (MAX_STRETCH + 0.001)), False),
        # A copy may lie anywhere.
        (overlay_with(agreement=0.5, shift=SIDE / 2), True),
        # Brightened, or compressed, but not both: that is another exposure.
        (overlay_with(gain=MAX_COPY_GAIN + 0.01, coherence=MIN_COPY_COHERENCE), True),
        (overlay_with(gain=MAX_COPY_GAIN, coherence=INCOHERENT), True),
        (overlay_with(gain=1 / MAX_COPY_GAIN + 0.001, coherence=INCOHERENT), True),
        (overlay_with(gain=MAX_COPY_GAIN + 0.01, coherence=INCOHERENT), False),
        (overlay_with(gain=1 / MAX_COPY_GAIN - 0.01, coherence=INCOHERENT), False),
        # Between two exposures a part is not turned.
        (overlay_with(gain=2, coherence=0.5, turn=MAX_TURN - 0.1), False),
        (overlay_with(gain=2, coherence=0.5, turn=-MAX_TURN - 0.1), True),
    ],
)
def test_is_copy(laid, expected):
    assert bool(is_copy(laid)) is expected


@pytest.mark.parametrize(
    ("laid", "expected"),
    [
        (None, False),
        (overlay_with(), True),
        (overlay_with(residual=MAX_SERIES_RESIDUAL, tail=99, agreement=MIN_SERIES_AGREEMENT), True),
        (overlay_with(residual=np.nextafter(MAX_SERIES_RESIDUAL, 9)), False),
        (overlay_with(agreement=np.nextafter(MIN_SERIES_AGREEMENT, 0)), False),
        (overlay_with(shift=SIDE * MAX_SERIES_DISPLACEMENT), True),
        (overlay_with(shift=SIDE * MAX_SERIES_DISPLACEMENT + 0.01), False),
        (overlay_with(gain=2, coherence=0.5), True),
        (overlay_with(turn=MAX_TURN - 0.1), True),
        (overlay_with(turn=MAX_TURN + 0.1), False),
        (overlay_with(turn=-MAX_TURN - 0.1), False),
    ],
)
def test_is_series(laid, expected):
    assert bool(is_series(laid)) is expected


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ([], []),
        ([photograph(0)], [0]),
        ([photograph(0), photograph(1)], [0, 1]),
        ([photograph(0), copy_of(0, "flipped")], [0, 0]),
        ([photograph(0), photograph(0)], [0, 0]),
        ([np.full((99, 99, 3), 7, np.uint8)] * 3, [0, 1, 2]),
    ],
    ids=["none", "one", "two", "copies", "equal", "featureless"],
)
def test_few_images(pictures, expected):
    heads, pairs = compare_neighbours(sign(pictures))
    assert heads.tolist() == expected
    assert heads.dtype == int
    assert len(pairs) <= 3


def test_groups_are_the_photographs(library):
    names, pictures = library
    heads, pairs = compare_neighbours(sign(pictures))
    by_scene = {frozenset(name for name in names if name[0] == scene) for scene in range(4)}
    assert partition(heads, names) == by_scene
    assert all(head == min(np.flatnonzero(heads == head)) for head in heads)
    compared = [(pair.first, pair.second) for pair in pairs]
    assert len(set(compared)) == len(compared)
    assert all(first < second for first, second in compared)
    assert all(names[pair.first][0] == names[pair.second][0] for pair in pairs if is_copy(pair.overlay))


def test_groups_do_not_depend_on_the_order(library):
    names, pictures = library
    order = np.random.default_rng(0).permutation(len(names))
    heads, _ = compare_neighbours(sign(pictures))
    shuffled, _ = compare_neighbours(sign([pictures[place] for place in order]))
    assert partition(shuffled, [names[place] for place in order]) == partition(heads, names)


def test_two_shots_of_a_part_are_not_grouped():
    scenes = [draw_scene(seed) for seed in range(3)]
    heads, pairs = compare_neighbours(sign([shoot(scene, seed) for scene in scenes for seed in (10, 11)]))
    assert heads.tolist() == list(range(6))
    assert {(0, 1), (2, 3), (4, 5)} == {(pair.first, pair.second) for pair in pairs if is_series(pair.overlay)}


def test_exposures_of_a_part_are_one_series_and_no_copies():
    """Three parts in four exposures each, every one cut out a little differently."""
    crops = [{"left": 3 * number, "top": 9 - 3 * number, "side": 225 - 3 * number} for number in range(4)]
    gains = (0.7, 0.9, 1.2, 1.6)
    pictures = [
        expose(draw_ground_surface(part), 10 * part + number, gain, **crop)
        for part in range(3)
        for number, (gain, crop) in enumerate(zip(gains, crops, strict=True))
    ]
    heads, pairs = compare_neighbours(sign(pictures))
    assert heads.tolist() == list(range(12))
    joined = [(pair.first, pair.second) for pair in pairs if is_series(pair.overlay)]
    graph = connected_components(coo_array((np.ones(len(joined)), np.transpose(joined)), (12, 12)))
    assert graph[0] == 3
    assert graph[1].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_more_copies_than_neighbours_are_one_group(monkeypatch):
    monkeypatch.setattr(copies, "N_NEIGHBOURS", 3)
    # Five images that differ in brightness alone crowd out every other copy.
    turned = [photograph(0), copy_of(0, "rotated, bilinear", 1), copy_of(0, "rotated, bilinear", 2)]
    pictures = [np.rint(pixels * share).astype(np.uint8) for pixels in turned for share in (1, 0.99, 0.98, 0.97, 0.96)]
    heads, _ = compare_neighbours(sign([*pictures, photograph(1), photograph(2)]))
    assert heads.tolist() == [0] * 15 + [15, 16]


def test_processes_change_nothing(library, monkeypatch):
    signatures = sign(library[1])
    results = []
    for min_parallel in (len(signatures) + 1, 1):
        monkeypatch.setattr(copies, "MIN_PARALLEL", min_parallel)
        monkeypatch.setattr(copies, "_BATCH", 3)
        results.append(compare_neighbours(signatures))
    (heads, pairs), (parallel_heads, parallel_pairs) = results
    np.testing.assert_array_equal(heads, parallel_heads)
    assert [(pair.first, pair.second) for pair in pairs] == [(pair.first, pair.second) for pair in parallel_pairs]
    for pair, same in zip(pairs, parallel_pairs, strict=True):
        assert (pair.overlay is None) == (same.overlay is None)
        if pair.overlay is not None:
            np.testing.assert_array_equal(pair.overlay.transform, same.overlay.transform)
            assert pair.overlay.residual == same.overlay.residual


def test_progress_sees_every_piece_of_work(library):
    seen = []

    def progress(items, total, what):
        number = 0
        for item in items:
            number += 1
            yield item
        seen.append((what, total, number))

    _, pairs = compare_neighbours(sign(library[1]), progress)
    assert all(total == number for _, total, number in seen)
    # What is known to be copies by then is not compared again.
    assert sum(total for what, total, _ in seen if what == "comparing") > len(pairs)
    n_pairs = len(library[1]) * (len(library[1]) - 1) // 2
    assert ("finding candidates", n_pairs, n_pairs) in seen
