"""What an audit remembers: after any change of the photographs, the findings are those of an audit from scratch."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.made_copies import make_copy
from inspection.audit import copies, indexing
from inspection.audit.findings import Audit, as_report, audit_images
from inspection.audit.indexing import index_images
from inspection.audit.overlays import Overlay
from inspection.audit.pair_memory import Neighbourhood, PairMemory
from inspection.content_cache import NO_CACHE, ContentCache
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED
from tests.photographs import as_file, draw_scene, shoot


@pytest.fixture
def cache(tmp_path):
    return ContentCache(tmp_path / "cache.sqlite", 10**8)


@pytest.fixture
def folder(tmp_path):
    """Six photographs, a second shot of one and a turned copy of another."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for scene in range(6):
        write(folder, f"{scene}", shoot(draw_scene(scene), scene))
    write(folder, "1 again", shoot(draw_scene(1), 10))
    copy = make_copy("rotated, bilinear", as_file(shoot(draw_scene(0), 0)), np.random.default_rng(0))
    (folder / f"0 copied{copy.suffix}").write_bytes(copy.data)
    return folder


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    (folder / f"{name}.png").write_bytes(as_file(pixels).data)


def audit(folder: Path, cache: ContentCache) -> Audit:
    indexed = index_images(list_any(folder).records, cache=cache)
    return audit_images(indexed, np.full(len(indexed.readable), UNLABELLED), cache=cache)


def contents(found: Audit, folder: Path) -> str:
    """Everything that an audit found, to the last digit."""
    pairs = [(pair.first, pair.second, pair.overlay.transform.tolist(), repr(pair.overlay)) for pair in found.pairs]
    arrays = [array.tobytes() for array in vars(found.signatures).values()]
    return json.dumps(as_report(found, folder.as_posix(), "any")) + found.images.to_csv() + repr(pairs) + repr(arrays)


@pytest.fixture
def computed(monkeypatch):
    """Count the images looked at, and the pairs of which the spectra and the pixels are compared."""
    counts = {"looks": 0, "similarities": 0, "overlays": 0}

    def counting(module, name, key, count):
        function = getattr(module, name)

        def counted(*arguments, **options):
            counts[key] += count(*arguments)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    counting(indexing, "_look", "looks", lambda path, decoding: 1)
    counting(copies, "match_spectra", "similarities", lambda spectrum, others: len(others))
    counting(copies, "overlay_pairs", "overlays", lambda signatures, pairs, *rest: len(pairs))

    def since_last() -> dict[str, int]:
        before = dict(counts)
        counts.update(dict.fromkeys(counts, 0))
        return before

    return since_last


def test_a_second_audit_computes_nothing(folder, cache, computed):
    first = audit(folder, cache)
    # Both rounds; in the second one the copy no longer stands for itself.
    assert computed() == {"looks": 8, "similarities": 28, "overlays": 28}
    assert contents(audit(folder, cache), folder) == contents(first, folder)
    assert computed() == {"looks": 0, "similarities": 0, "overlays": 0}


def add(folder: Path) -> None:
    write(folder, "3 again", shoot(draw_scene(3), 11))


def remove(folder: Path) -> None:
    (folder / "0.png").unlink()


def reorder(folder: Path) -> None:
    names = sorted(folder.iterdir())
    for place, path in enumerate(names):
        path.rename(folder / f"{len(names) - place:02d}{path.suffix}")


def replace_content(folder: Path) -> None:
    write(folder, "2", shoot(draw_scene(7), 7))


def damage(folder: Path) -> None:
    (folder / "4.png").write_bytes(b"no image any more")


CHANGES = [add, remove, reorder, replace_content, damage]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_a_change_the_findings_are_those_from_scratch(folder, cache, change):
    audit(folder, cache)
    change(folder)
    assert contents(audit(folder, cache), folder) == contents(audit(folder, NO_CACHE), folder)


def test_after_many_changes_the_findings_are_those_from_scratch(folder, cache):
    for change in (add, reorder, remove_first, write_back, reorder):
        change(folder)
        assert contents(audit(folder, cache), folder) == contents(audit(folder, NO_CACHE), folder)


def remove_first(folder: Path) -> None:
    min(folder.iterdir()).unlink()


def write_back(folder: Path) -> None:
    write(folder, "back", shoot(draw_scene(0), 0))


def test_a_new_photograph_is_compared_with_the_others_only(folder, cache, computed):
    audit(folder, cache)
    computed()
    write(folder, "new", shoot(draw_scene(8), 8))
    audit(folder, cache)
    after = computed()
    assert after["looks"] == 1
    assert after["similarities"] == 8
    assert after["overlays"] == 8


def test_a_renamed_photograph_is_looked_at_by_its_content(folder, cache, computed):
    audit(folder, cache)
    computed()
    (folder / "5.png").rename(folder / "6.png")
    audit(folder, cache)
    assert computed() == {"looks": 0, "similarities": 0, "overlays": 0}


def test_an_interrupted_audit_keeps_what_it_found(folder, cache, computed, monkeypatch):
    with monkeypatch.context() as interrupted:
        interrupted.setattr(copies, "_compare_batch", lambda *arguments: pytest.exit("interrupted"))
        with pytest.raises(pytest.exit.Exception):
            audit(folder, cache)
    computed()
    audit(folder, cache)
    assert computed() == {"looks": 0, "similarities": 0, "overlays": 28}


def test_neighbours_are_known_by_their_pixels(cache):
    memory = PairMemory(cache, ["a", "b", "c", "d"], 0.75)
    known = Neighbourhood(
        np.array([0, 2]),
        np.array([[1, 2], [3, 0]]),
        np.array([[0.5, 0.25], [1.0, -1.0]], np.float32),
        np.arange(16, dtype=np.int16).reshape(2, 2, 2, 2),
    )
    memory.keep(known)
    # The same photographs in another order, and one that is new.
    later = PairMemory(cache, ["c", "new", "d", "a"], 0.75)
    found = later.recall(np.array([0, 1, 3]), np.array([[3, 1], [0, 2], [1, 0]]))
    np.testing.assert_array_equal(found.similarities, np.array([[-1.0, np.nan], [np.nan] * 2, [np.nan, 0.25]]))
    assert found.alignments[0, 0].tolist() == [[12, 13], [14, 15]]
    assert found.alignments[2, 1].tolist() == [[4, 5], [6, 7]]
    assert (found.alignments[1] == 0).all()


def test_overlays_come_back_to_the_last_digit(cache):
    memory = PairMemory(cache, ["a", "b", "c"], 0.75)
    transform = np.array([[0.1, 1 / 3, 2e-8], [-7.7, 1, 123.456]], np.float32)
    laid = Overlay(transform, 0.1 + 0.2, 1 / 3, 2 / 3, -0.5, 0.999999999999, 1e-300)
    alignments = {(0, 1): np.array([[1, -2], [3, 4]]), (0, 2): np.zeros((2, 2), int)}
    memory.keep_overlays(alignments, {(0, 1): laid, (0, 2): None})
    found = memory.overlays(alignments)
    assert found[0, 2] is None
    assert repr(found[0, 1]) == repr(laid)
    assert found[0, 1].transform.dtype == np.float32
    assert found[0, 1].transform.tobytes() == transform.tobytes()
    # From another start, or the other way round, a comparison may end elsewhere.
    assert memory.overlays({(0, 1): np.array([[1, -2], [3, 5]])}) == {}
    assert PairMemory(cache, ["b", "a"], 0.75).overlays({(0, 1): alignments[0, 1]}) == {}
    assert PairMemory(cache, ["a", "b", "c"], 0.7).overlays(alignments) == {}
