"""The audit: copies by their pixels and by registration, series, leaks and conflicts, counted by hand."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from inspection.audit import findings as audit
from inspection.audit.copies import Pair
from inspection.audit.findings import Audit, audit_images
from inspection.audit.indexing import IndexedImages, Unreadable, index_images
from inspection.audit.overlays import Overlay
from inspection.audit.signatures import make_signatures
from inspection.audit.squares import SIDE
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED
from tests.parts import draw_part

NONE = make_signatures([])
UNTURNED = np.array([[1.0, 0, 0], [0, 1, 0]])
COPY = Overlay(UNTURNED, residual=0.5, tail=0.5, grain=0.5, agreement=0.99, coherence=0.99, gain=1)
SERIES = Overlay(UNTURNED, residual=2.0, tail=2.0, grain=2.0, agreement=0.99, coherence=0.99, gain=1)
OTHER = Overlay(UNTURNED, residual=9.0, tail=9.0, grain=9.0, agreement=0.2, coherence=0.2, gain=1)


def names(sets: list[list[str]]) -> list[list[str]]:
    return [[path.rsplit("/", 1)[1] for path in members] for members in sets]


# Findings, from what is known of each image


def found(photographs, series=None, splits="", labels=UNLABELLED, pixels=None) -> Audit:
    """An audit of the images 0.png, 1.png, ...; photographs and series by the position of their first image."""
    n_images = len(photographs)
    images = pd.DataFrame(
        {
            "path": [f"data/{index}.png" for index in range(n_images)],
            "photograph": photographs,
            "series": photographs if series is None else series,
            "split": splits,
            "label": labels,
            "pixels_sha256": [str(content) for content in (range(n_images) if pixels is None else pixels)],
        }
    )
    return Audit(images, (), (), NONE)


def test_copies_are_listed_largest_group_first():
    # Two images of 0, three of 1, one of 4, two of 5.
    copies = found([0, 1, 1, 0, 4, 5, 1, 5]).copies()
    assert names(copies) == [["1.png", "2.png", "6.png"], ["0.png", "3.png"], ["5.png", "7.png"]]


def test_identical_are_those_with_equal_pixels():
    audited = found([0, 0, 0, 3, 4], pixels="aabcd")
    assert names(audited.identical()) == [["0.png", "1.png"]]
    assert names(audited.copies()) == [["0.png", "1.png", "2.png"]]


def test_series_are_of_several_photographs():
    # 0 and 2 are copies and nothing more; 1, 3 and 4 are three photographs of a series; 5 is alone.
    audited = found([0, 1, 0, 3, 4, 5], series=[0, 1, 0, 1, 1, 5])
    assert names(audited.series()) == [["1.png", "3.png", "4.png"]]


def test_copies_in_a_series_are_listed_with_it():
    audited = found([0, 1, 0, 3, 4], series=[0, 0, 0, 3, 3])
    assert names(audited.series()) == [["0.png", "1.png", "2.png"], ["3.png", "4.png"]]


@pytest.mark.parametrize(
    ("photographs", "splits", "leaks"),
    [
        ([0, 1, 2], ["train", "test", "test"], []),
        ([0, 0, 2], ["train", "train", "test"], []),
        ([0, 0, 2], ["test", "test", "train"], []),
        ([0, 0, 2], ["train", "test", "test"], [(1, 0)]),
        ([0, 0, 0, 0, 0], ["train", "test", "train", "test", "test"], [(i, j) for i in (1, 3, 4) for j in (0, 2)]),
        ([0, 1, 0, 1], ["test", "train", "train", "test"], [(0, 2), (3, 1)]),
        ([0, 0, 0], ["", "", ""], []),
        ([0, 0, 0], ["", "train", "test"], [(2, 1)]),
    ],
)
def test_leaks_are_pairs_of_test_and_training_image(photographs, splits, leaks):
    audited = found(photographs, splits=splits)
    assert list(audited.leaks()) == leaks
    assert audited.n_leaks() == len(leaks)


@pytest.mark.parametrize(
    ("photographs", "labels", "conflicts"),
    [
        ([0, 1, 2], [0, 1, 1], []),
        ([0, 0, 0], [1, 1, 1], []),
        ([0, 0, 2], [1, 0, 1], [(1, 0)]),
        ([0, 0, 0, 0], [0, 1, 1, 0], [(0, 1), (0, 2), (3, 1), (3, 2)]),
        ([0, 1, 0, 1], [0, 1, 1, 0], [(0, 2), (3, 1)]),
        ([0, 0, 0], [UNLABELLED] * 3, []),
        ([0, 0, 0], [UNLABELLED, 1, 1], []),
        ([0, 0, 0], [UNLABELLED, 1, 0], [(2, 1)]),
    ],
)
def test_conflicts_are_pairs_of_good_and_defective_image(photographs, labels, conflicts):
    audited = found(photographs, labels=labels)
    assert list(audited.conflicts()) == conflicts
    assert audited.n_conflicts() == len(conflicts)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "train", "test"]), st.integers(-1, 1)), max_size=25))
def test_pairs_are_counted_as_they_are_listed(images):
    photographs, splits, labels = ([image[column] for image in images] for column in range(3))
    audited = found([photographs.index(photograph) for photograph in photographs], splits=splits, labels=labels)
    leaks, conflicts = list(audited.leaks()), list(audited.conflicts())
    assert (audited.n_leaks(), audited.n_conflicts()) == (len(leaks), len(conflicts))
    pairs = [(one, other) for one in range(len(images)) for other in range(len(images))]
    same = [(one, other) for one, other in pairs if photographs[one] == photographs[other]]
    assert set(leaks) == {(i, j) for i, j in same if (splits[i], splits[j]) == ("test", "train")}
    assert set(conflicts) == {(i, j) for i, j in same if (labels[i], labels[j]) == (0, 1)}


# From comparisons to findings


@pytest.fixture
def compared(monkeypatch):
    """Audit images with given pixels as if they had been compared with a given outcome."""

    def run(pixels, heads, pairs):
        readable = pd.DataFrame(
            {
                "path": [f"data/{index:02d}.png" for index in range(len(pixels))],
                "split": "",
                "pixels_sha256": list(pixels),
            }
        )
        squares = np.zeros((len(pixels), SIDE, SIDE), np.uint8)
        squares[:, 0, 0] = [ord(content) for content in pixels]
        seen = []

        def compare(signatures, progress, cache, pixels):
            seen.append(signatures.squares[:, 0, 0].tolist())
            return np.array(heads, int), [Pair(*pair) for pair in pairs]

        monkeypatch.setattr(audit, "compare_neighbours", compare)
        audited = audit_images(IndexedImages(readable, (), make_signatures(squares)), np.full(len(pixels), UNLABELLED))
        assert seen == [[ord(content) for content in dict.fromkeys(pixels)]], "each picture is compared once"
        return audited

    return run


def test_equal_pixels_are_one_picture_compared_once(compared):
    # The pictures a, b, c and d stand at 0, 1, 3 and 5; b and d are copies.
    images = compared("abacbda", [0, 1, 2, 1], [(1, 3, COPY)]).images
    assert images["picture"].tolist() == [0, 1, 0, 2, 1, 3, 0]
    assert images["photograph"].tolist() == [0, 1, 0, 3, 1, 1, 0]
    assert images["series"].tolist() == [0, 1, 0, 3, 1, 1, 0]


def test_pairs_are_told_by_the_position_of_their_first_image(compared):
    audited = compared("aabbc", [0, 1, 0], [(0, 2, COPY), (1, 2, SERIES), (0, 1, OTHER), (0, 1, None)])
    assert [(pair.first, pair.second) for pair in audited.pairs] == [(0, 4), (2, 4)]
    assert [pair.overlay for pair in audited.pairs] == [COPY, SERIES], "neighbours that are neither are left out"


def test_series_join_what_copies_joined(compared):
    # b is a copy of a; c is of one series with b, d with c; e stands alone.
    images = compared("abcde", [0, 0, 2, 3, 4], [(0, 1, COPY), (1, 2, SERIES), (2, 3, SERIES)]).images
    assert images["photograph"].tolist() == [0, 0, 2, 3, 4]
    assert images["series"].tolist() == [0, 0, 0, 0, 4]


def test_images_that_all_look_alike_are_no_series(compared, monkeypatch):
    monkeypatch.setattr(audit, "MAX_SERIES", 3)
    # a to c are three photographs, the first in four copies; d to g are four.
    pairs = [(0, 1, SERIES), (1, 2, SERIES), (3, 4, SERIES), (4, 5, SERIES), (5, 6, SERIES), (5, 7, COPY)]
    images = compared("aaaabcdefgh", [0, 1, 2, 3, 4, 5, 6, 5], pairs).images
    assert images["photograph"].tolist() == [0, 0, 0, 0, 4, 5, 6, 7, 8, 9, 8]
    assert images["series"].tolist() == [0] * 6 + [6, 7, 8, 9, 8], "copies stay together all the same"


def test_what_is_known_of_the_images_is_kept(tmp_path):
    draw_part(0, False, 24).save(tmp_path / "a.png")
    indexed = index_images(list_any(tmp_path).records)
    indexed = IndexedImages(indexed.readable, (Unreadable("b.png", "b.png: damaged."),), indexed.signatures)
    audited = audit_images(indexed, np.array([1]))
    assert audited.unreadable == indexed.unreadable
    assert audited.images["label"].tolist() == [1]
    pd.testing.assert_frame_equal(audited.images[list(indexed.readable)], indexed.readable)


# Real pictures


def photograph(seed: int) -> Image.Image:
    """A picture with detail of every size, and the noise of a sensor."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.normal(0, 25, (cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for cells in (5, 20, 60)
    ]
    return noisy(128 + sum(layers), 2, random)


def noisy(pixels, deviation: float, random: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.clip(pixels + random.normal(0, deviation, (SIDE, SIDE)), 0, 255).astype(np.uint8))


def write_copies(folder) -> None:
    """Twelve photographs, copies of the first six, and another shot of the seventh."""
    for number in range(12):
        photograph(number).save(folder / f"{number:02d}.png")
    photograph(0).save(folder / "00_same.bmp")
    photograph(1).save(folder / "01_saved_again.jpg", quality=80)
    photograph(2).rotate(90).save(folder / "02_quarter.png")
    photograph(3).rotate(30, Image.Resampling.BICUBIC).save(folder / "03_turned.png")
    photograph(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "04_mirrored.tif")
    ImageEnhance.Brightness(photograph(5)).enhance(0.85).save(folder / "05_darker.webp", quality=90)
    noisy(np.asarray(photograph(6), float), 7, np.random.default_rng(99)).save(folder / "06_again.png")


def audit_folder(folder) -> Audit:
    indexed = index_images(list_any(folder).records)
    return audit_images(indexed, np.full(len(indexed.readable), UNLABELLED))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    write_copies(folder)
    return folder


@pytest.fixture(scope="module")
def audited(folder) -> Audit:
    return audit_folder(folder)


def test_every_copy_is_found_and_nothing_else(audited):
    assert names(audited.copies()) == [
        ["00.png", "00_same.bmp"],
        ["01.png", "01_saved_again.jpg"],
        ["02.png", "02_quarter.png"],
        ["03.png", "03_turned.png"],
        ["04.png", "04_mirrored.tif"],
        ["05.png", "05_darker.webp"],
    ]


def test_only_equal_pixels_are_identical(audited):
    assert names(audited.identical()) == [["00.png", "00_same.bmp"]]


def test_another_shot_of_a_part_is_a_series(audited):
    assert names(audited.series()) == [["06.png", "06_again.png"]]


def test_signatures_belong_to_the_pictures(audited):
    assert len(audited.signatures) == 18
    assert audited.images["picture"].nunique() == 18


def test_names_of_files_change_nothing(folder, audited, tmp_path):
    files = sorted(folder.iterdir())
    new_places = np.random.default_rng(3).permutation(len(files))
    old_names = {}
    for file, place in zip(files, new_places, strict=True):
        new = tmp_path / f"{place:02d}{file.suffix}"
        new.write_bytes(file.read_bytes())
        old_names[new.name] = file.name
    renamed = audit_folder(tmp_path)
    for kind in ("copies", "identical", "series"):
        sets = [sorted(old_names[name] for name in members) for members in names(getattr(renamed, kind)())]
        assert sorted(sets) == sorted(names(getattr(audited, kind)()))


def test_parts_that_look_alike_stay_apart(tmp_path):
    for seed in range(12):
        draw_part(seed, seed % 2 == 1).save(tmp_path / f"{seed:02d}.png")
    audited = audit_folder(tmp_path)
    assert audited.images["photograph"].tolist() == list(range(12))
    assert audited.copies() == audited.identical() == []


def test_empty_pictures_are_copies_only_when_equal(tmp_path):
    for name, value in (("a", 0), ("b", 0), ("c", 255), ("d", 255), ("e", 90)):
        Image.fromarray(np.full((40, 40), value, np.uint8)).save(tmp_path / f"{name}.png")
    assert names(audit_folder(tmp_path).copies()) == [["a.png", "b.png"], ["c.png", "d.png"]]


@pytest.mark.parametrize("n_images", [0, 1])
def test_hardly_any_image(tmp_path, n_images):
    (tmp_path / "broken.png").write_bytes(b"no image")
    if n_images:
        draw_part(0, False).save(tmp_path / "part.png")
    audited = audit_folder(tmp_path)
    assert len(audited.images) == len(audited.signatures) == n_images
    assert audited.images["photograph"].tolist() == audited.images["series"].tolist() == list(range(n_images))
    assert audited.copies() == audited.identical() == audited.series() == []
    assert audited.n_leaks() == audited.n_conflicts() == len(list(audited.leaks())) == 0
    assert [file.path for file in audited.unreadable] == [f"{tmp_path.as_posix()}/broken.png"]


def test_two_files_of_one_picture(tmp_path):
    for name in ("a.png", "b.png"):
        draw_part(0, False).save(tmp_path / name)
    assert names(audit_folder(tmp_path).identical()) == [["a.png", "b.png"]]
