"""Feature vectors: computed once per image and backbone, never stale, never lost; and their files."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection import versions
from inspection.audit.indexing import index_images
from inspection.content_cache import ContentCache
from inspection.data import tiles
from inspection.data.images import Decoding, decode_file, resize
from inspection.data.sources import list_images
from inspection.errors import DataError, ImageError
from inspection.files import sha256_bytes
from inspection.voters import features
from inspection.voters.features import Features, extract_features, pool_tiles, read_features, write_features
from tests.parts import draw_part, encode, write_class_folders
from tests.test_array_files import assert_any_python_writes_it_so


class FakeModel:
    """Stands in for OnnxModel: the vector is the mean and the corner of the image and the length of the file."""

    image_size = 16
    computed: list[int] = []  # mean of every image that was computed, in order

    def __init__(self, data, name):
        self.length = len(data)

    def run(self, images, output):
        assert output == "features"
        vectors = []
        for pixels in images:
            assert pixels.shape == (16, 16, 3)
            FakeModel.computed.append(len(FakeModel.computed))
            vectors.append([pixels.mean(), pixels[0, 0, 0], self.length])
        return np.array(vectors, np.float32)


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setattr(features, "OnnxModel", FakeModel)
    monkeypatch.setattr(features, "KEPT_TOGETHER", 2)
    monkeypatch.setattr(FakeModel, "computed", [])


@pytest.fixture
def source(tmp_path):
    write_class_folders(tmp_path / "source", 4, size=16)
    return tmp_path / "source"


@pytest.fixture
def rows(source):
    """Eight images, all different."""
    return index_images(list_images(source)).readable


@pytest.fixture
def backbone(tmp_path):
    path = tmp_path / "backbone.onnx"
    path.write_bytes(b"backbone")
    return path


@pytest.fixture
def cache(tmp_path):
    return ContentCache(tmp_path / "cache.sqlite", 10**6)


@pytest.fixture
def extract(backbone, cache):
    """Call extract_features and tell how many images it computed."""

    def run(rows, **options):
        before = len(FakeModel.computed)
        extracted = extract_features(backbone, rows, cache, **options)
        return extracted, len(FakeModel.computed) - before

    return run


def expected_vectors(rows, length=8):
    # By path, so the defective ones come first; see `write_class_folders` for the seeds.
    images = [np.asarray(draw_part(2 * (index % 4) + (index < 4), index < 4, 16)) for index in range(8)]
    of_file = {name: [image.mean(), image[0, 0], length] for name, image in zip(rows["sha256"], images, strict=True)}
    return np.array([of_file[name] for name in rows["sha256"]], np.float32)


def test_features_are_in_the_order_of_the_rows(rows, extract):
    extracted, n_computed = extract(rows)
    assert n_computed == 8
    assert extracted.vectors.shape == (8, 3)
    assert extracted.vectors.dtype == np.float32
    np.testing.assert_allclose(extracted.vectors, expected_vectors(rows))
    assert extracted.image_sha256.tolist() == rows["sha256"].tolist()
    assert extracted.backbone_sha256 == sha256_bytes(b"backbone")


def test_nothing_is_computed_twice(rows, extract, monkeypatch):
    first, _ = extract(rows)

    def no_model(data, name):
        pytest.fail("a backbone was loaded though every image is known")

    monkeypatch.setattr(features, "OnnxModel", no_model)
    again, n_computed = extract(rows)
    assert n_computed == 0
    assert np.array_equal(again.vectors, first.vectors)


@pytest.mark.parametrize("order", [[7, 0, 3], [0], [1, 1, 1], list(range(7, -1, -1))])
def test_any_selection_of_known_images(rows, extract, order):
    everything, _ = extract(rows)
    extracted, n_computed = extract(rows.iloc[order])
    assert n_computed == 0
    assert np.array_equal(extracted.vectors, everything.vectors[order])
    assert extracted.image_sha256.tolist() == rows["sha256"].iloc[order].tolist()


def test_only_new_images_are_computed(rows, extract):
    old = rows.iloc[[0, 2, 4, 6, 7]]
    assert extract(old)[1] == 5
    extracted, n_computed = extract(rows)
    assert n_computed == 3
    np.testing.assert_allclose(extracted.vectors, expected_vectors(rows))


def test_copies_are_computed_once(source, extract):
    data = encode(draw_part(50, False, 16))
    for name in ("copy 1.png", "copy 2.png", "copy 3.png"):
        (source / "non_defective" / name).write_bytes(data)
    rows = index_images(list_images(source)).readable
    extracted, n_computed = extract(rows)
    assert len(rows) == 11
    assert n_computed == 9
    is_copy = rows["path"].str.contains("copy")
    assert is_copy.sum() == 3
    assert len(np.unique(extracted.vectors[is_copy], axis=0)) == 1


def test_a_renamed_image_is_known(source, rows, extract):
    extract(rows)
    (source / "defective" / "part_000.png").rename(source / "defective" / "zz.png")
    assert extract(index_images(list_images(source)).readable)[1] == 0


def test_the_same_picture_in_another_file_is_known(source, rows, extract):
    everything, _ = extract(rows)
    png = Path(rows["path"][0])
    with Image.open(png) as image:
        image.save(png.with_suffix(".bmp"))
    png.unlink()
    other = index_images(list_images(source)).readable
    assert other["sha256"][0] != rows["sha256"][0]
    extracted, n_computed = extract(other)
    assert n_computed == 0
    assert np.array_equal(extracted.vectors, everything.vectors)
    assert extracted.image_sha256.tolist() == other["sha256"].tolist()


@pytest.fixture
def dark_source(tmp_path):
    """Two images of a camera of twelve bits, values 1600 and 3200 of 4095."""
    for name, value in (("ok/a.png", 1600), ("ng/b.png", 3200)):
        path = tmp_path / "dark" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((16, 16), value, np.uint16)).save(path)
    return tmp_path / "dark"


def test_another_decoding_of_the_same_files_is_computed_anew(dark_source, extract):
    vectors, fingerprints = {}, {}
    for bit_depth, n_expected in ((16, 2), (12, 2), (14, 2), (12, 0), (16, 0)):
        decoding = Decoding(bit_depth)
        rows = index_images(list_images(dark_source), decoding).readable
        extracted, n_computed = extract(rows, decoding=decoding)
        assert n_computed == n_expected, bit_depth
        vectors[bit_depth] = extracted.vectors[:, 0].tolist()
        fingerprints[bit_depth] = rows["sha256"].tolist()
    # By path, so 3200 comes first: value * 255 // (2**bit_depth - 1).
    assert vectors == {16: [12, 6], 12: [199, 99], 14: [49, 24]}
    assert fingerprints[16] == fingerprints[12] == fingerprints[14], "the same files"


def test_the_decoding_is_handed_to_the_decoder(dark_source, extract):
    decoding = Decoding(bit_depth=12)
    rows = index_images(list_images(dark_source), decoding).readable
    with pytest.raises(ImageError, match=r"b\.png: the pixel value 3200 does not fit a camera of 11 bits"):
        extract(rows, decoding=Decoding(bit_depth=11))


def test_a_deleted_image_leaves_the_features(rows, extract):
    extract(rows)
    assert len(extract(rows.iloc[:3])[0].vectors) == 3


def test_another_backbone_has_a_cache_of_its_own(rows, extract, backbone):
    extract(rows)
    backbone.write_bytes(b"another backbone")
    extracted, n_computed = extract(rows)
    assert n_computed == 8
    np.testing.assert_allclose(extracted.vectors, expected_vectors(rows, length=16))
    backbone.write_bytes(b"backbone")
    extracted, n_computed = extract(rows)
    assert n_computed == 0
    np.testing.assert_allclose(extracted.vectors, expected_vectors(rows))


def nearest(pixels, size):
    """Another way to resize."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (tiles, "resize", nearest),
        (versions, "version", lambda package: "0.0.1" if package == "onnxruntime" else version(package)),
        (versions, "version", lambda package: "0.0.1" if package == "pillow" else version(package)),
    ],
    ids=["resize", "onnxruntime", "pillow"],
)
def test_what_changes_the_vectors_is_computed_anew(rows, extract, monkeypatch, module, name, value):
    extract(rows)
    with monkeypatch.context() as changed:
        changed.setattr(module, name, value)
        assert extract(rows)[1] == 8
        assert extract(rows)[1] == 0
    assert extract(rows)[1] == 0, "the vectors of before are kept as well"


def test_the_vectors_are_of_the_resize_in_use(tmp_path, backbone, cache, monkeypatch):
    write_class_folders(tmp_path / "large", 4, size=64)
    large = index_images(list_images(tmp_path / "large")).readable
    smooth = extract_features(backbone, large, cache).vectors
    monkeypatch.setattr(tiles, "resize", nearest)
    rough = extract_features(backbone, large, cache).vectors
    corners = [nearest(decode_file(path).pixels, 16)[0, 0, 0] for path in large["path"]]
    assert rough[:, 1].tolist() == corners
    assert not np.array_equal(smooth, rough)


def test_a_vector_of_tiles_holds_the_largest_of_each_feature():
    vectors = np.array([[1, 5], [3, 2], [8, 2]], np.float32)
    assert pool_tiles(vectors).tolist() == [8, 5]
    assert pool_tiles(vectors[:1]).tolist() == [1, 5]


@pytest.fixture
def large(tmp_path):
    """Eight images of 64 x 64, which make 3 x 3 tiles of 32."""
    write_class_folders(tmp_path / "large", 4, size=64)
    return index_images(list_images(tmp_path / "large")).readable


def test_tiles_are_what_the_backbone_sees(large, extract):
    extracted, n_computed = extract(large, tile_side=32)
    assert n_computed == 9 * 8
    assert (extracted.vectors.shape, extracted.tile_side) == ((8, 3), 32)
    for path, vector in zip(large["path"], extracted.vectors, strict=True):
        pixels = decode_file(path).pixels
        seen = [resize(pixels[top : top + 32, left : left + 32], 16) for top in (0, 16, 32) for left in (0, 16, 32)]
        expected = np.array([[tile.mean(), tile[0, 0, 0], 8] for tile in seen], np.float32)
        np.testing.assert_allclose(vector, expected.max(axis=0), rtol=1e-6)


def test_tiles_have_a_cache_of_their_own(large, extract):
    whole, _ = extract(large)
    cut, n_computed = extract(large, tile_side=32)
    assert n_computed == 9 * 8
    assert extract(large, tile_side=40)[1] == 4 * 8
    for tile_side, before in ((None, whole), (32, cut)):
        again, n_computed = extract(large, tile_side=tile_side)
        assert n_computed == 0
        np.testing.assert_array_equal(again.vectors, before.vectors)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(tiles, "_OVERLAP", 0.5), (features, "pool_tiles", lambda vectors: vectors.mean(axis=0))],
)
def test_what_becomes_of_tiles_is_part_of_the_key(large, extract, monkeypatch, module, name, value):
    extract(large)
    extract(large, tile_side=32)
    monkeypatch.setattr(module, name, value)
    assert extract(large)[1] == 0, "a whole photograph has no tiles"
    assert extract(large, tile_side=32)[1] > 0


def test_a_deleted_cache_costs_time_only(rows, extract, tmp_path):
    first, _ = extract(rows)
    (tmp_path / "cache.sqlite").unlink()
    again, n_computed = extract(rows)
    assert n_computed == 8
    assert np.array_equal(again.vectors, first.vectors)


def test_a_flipped_number_in_the_cache_is_computed_again(rows, extract, tmp_path, capsys):
    first, _ = extract(rows)
    path = tmp_path / "cache.sqlite"
    data = bytearray(path.read_bytes())
    data[data.index(first.vectors[3].tobytes())] ^= 64
    path.write_bytes(data)
    again, n_computed = extract(rows)
    assert n_computed == 1
    assert np.array_equal(again.vectors, first.vectors)
    assert capsys.readouterr().out == f"{path}: 1 entries are damaged; what they held is computed again\n"
    # And mended.
    assert extract(rows)[1] == 0
    assert capsys.readouterr().out == ""


def test_an_interrupted_run_keeps_the_batches_it_finished(rows, extract):
    changed = Path(rows["path"][5])
    original = changed.read_bytes()
    draw_part(99, True, 16).save(changed)
    with pytest.raises(DataError, match=r"part_001\.png changed since the manifest was written"):
        extract(rows)
    # Batches (0, 1) and (2, 3) were kept; the one of image 5 was not.
    changed.write_bytes(original)
    extracted, n_computed = extract(rows)
    assert n_computed == 4
    np.testing.assert_allclose(extracted.vectors, expected_vectors(rows))


def test_progress_counts_only_what_is_computed(rows, extract):
    totals, seen = [], []

    def progress(items, total):
        totals.append(total)
        for item in items:
            seen.append(item)
            yield item

    extract(rows.iloc[:5])
    extract(rows, progress=progress)
    extract(rows, progress=progress)
    assert totals == [3]
    assert len(seen) == 3


@pytest.fixture
def some_features():
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    return Features(vectors, np.array(["a" * 64, "b" * 64, "c" * 64]), "d" * 64)


def test_write_and_read_round_trip(tmp_path, some_features):
    path = tmp_path / "new" / "b.npz"
    write_features(path, some_features)
    read = read_features(path, pd.DataFrame({"sha256": some_features.image_sha256}))
    assert np.array_equal(read.vectors, some_features.vectors)
    assert read.vectors.dtype == np.float32
    assert read.image_sha256.tolist() == some_features.image_sha256.tolist()
    assert read.backbone_sha256 == "d" * 64
    assert read.tile_side is None
    assert [entry.name for entry in path.parent.iterdir()] == ["b.npz"]
    write_features(path, replace(some_features, tile_side=224))
    assert read_features(path, pd.DataFrame({"sha256": some_features.image_sha256})).tile_side == 224


def test_same_features_same_bytes(tmp_path, some_features):
    for name in ("1.npz", "2.npz"):
        write_features(tmp_path / name, some_features)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    assert_any_python_writes_it_so(tmp_path / "1.npz")


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 2, 2], [1, 0, 2], []])
def test_features_of_other_rows(tmp_path, some_features, order):
    write_features(tmp_path / "b.npz", some_features)
    rows = pd.DataFrame({"sha256": some_features.image_sha256[order]})
    with pytest.raises(
        DataError, match=r"b\.npz was computed for other images than the manifest lists; run `dvc repro`"
    ):
        read_features(tmp_path / "b.npz", rows)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: b"text", lambda data: data[:-30], lambda data: data[: len(data) // 2]],
)
def test_damaged_features(tmp_path, some_features, damage):
    path = tmp_path / "b.npz"
    write_features(path, some_features)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"b\.npz is missing or damaged .*run `dvc repro`"):
        read_features(path, pd.DataFrame({"sha256": some_features.image_sha256}))


def test_features_of_another_layout(tmp_path, some_features):
    np.savez(tmp_path / "b.npz", vectors=some_features.vectors)
    with pytest.raises(DataError, match=r"b\.npz is missing or damaged .*image_sha256"):
        read_features(tmp_path / "b.npz", pd.DataFrame({"sha256": []}))


def test_features_that_hold_a_pickle_are_refused(tmp_path):
    np.savez(tmp_path / "b.npz", vectors=np.array([{}], dtype=object), image_sha256=[], backbone_sha256="d")
    with pytest.raises(DataError, match=r"b\.npz is missing or damaged .*allow_pickle"):
        read_features(tmp_path / "b.npz", pd.DataFrame({"sha256": []}))


def test_missing_features(tmp_path):
    with pytest.raises(DataError, match=r"b\.npz is missing or damaged"):
        read_features(tmp_path / "b.npz", pd.DataFrame({"sha256": []}))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(6, 109), (8, 1), (8, 64), (10, 33)],
    ids=["zip version", "encrypted", "strong", "compression"],
)
def test_damaged_directory_of_the_archive(tmp_path, some_features, offset, value):
    path = tmp_path / "b.npz"
    write_features(path, some_features)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + offset] = value  # a record of the zip file's central directory
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"b\.npz is missing or damaged"):
        read_features(path, pd.DataFrame({"sha256": some_features.image_sha256}))
