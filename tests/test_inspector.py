"""One inference path: what the pipeline computed is what an inspector sees, and nothing unvouched is opened."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.errors import ImageError, ModelsError
from inspection.features import read_features
from inspection.images import AS_STORED, Decoding, decode_file, resize
from inspection.inspector import Inspector, Vote, explain
from inspection.manifest import TEST, TRAIN, read_manifest
from inspection.onnx_models import OnnxModel
from tests.conftest import BACKBONE, CLASSIFIERS, ROOT
from tests.parts import draw_part, encode, save_twelve_bits

VOTERS = ("baseline_cnn", *(f"{BACKBONE}_{classifier}" for classifier in CLASSIFIERS))


@pytest.fixture(scope="module")
def inspector(models_folder):
    return Inspector(models_folder)


@pytest.fixture(scope="module")
def predictions(tiny_project):
    return pd.read_csv(tiny_project / "metrics" / "curves" / "predictions.csv")


def test_every_voter_says_of_the_raw_file_what_the_pipeline_recorded(tiny_project, inspector, predictions):
    assert inspector.voters == VOTERS
    assert len(predictions) == 16
    for row in predictions.to_dict("records"):
        verdict = inspector.inspect((tiny_project / row["path"]).read_bytes(), row["path"])
        assert verdict.verdict == row["verdict"]
        assert verdict.confidence == pytest.approx(row["confidence"], abs=1e-5)
        for vote in verdict.votes:
            assert vote.defect_proba == pytest.approx(row[vote.voter], abs=1e-5)
            assert (vote.label == "defective") == (row[vote.voter] >= inspector.threshold)


def test_training_features_are_what_the_backbone_gives_for_the_raw_file(tiny_project, models_folder):
    manifest = read_manifest(tiny_project / "data" / "manifest.csv")
    rows = manifest[manifest["split"] == TRAIN].reset_index(drop=True)
    features = read_features(tiny_project / "features" / f"{BACKBONE}.npz", rows)
    model = OnnxModel((models_folder / "backbones" / f"{BACKBONE}.onnx").read_bytes(), BACKBONE)
    for index in (0, 7, len(rows) - 1):
        pixels = resize(decode_file(tiny_project / rows["path"][index]).pixels, model.image_size)
        vector = model.run(pixels[None], "features")[0]
        np.testing.assert_allclose(vector, features.vectors[index], atol=1e-5)


def test_a_batch_of_one_equals_a_batch_of_many(inspector):
    images = [np.asarray(draw_part(seed, seed % 2 == 1).convert("RGB")) for seed in range(20)]
    together = inspector.defect_proba(images)
    one_by_one = np.concatenate([inspector.defect_proba([image]) for image in images])
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    assert inspector.defect_proba([]).shape == (0, len(VOTERS))


def test_images_of_other_sizes_and_modes_are_judged(inspector):
    part = draw_part(1, is_defective=True, size=200)
    for image in (part, part.convert("RGBA"), part.resize((300, 120))):
        verdict = inspector.inspect(encode(image), "part.png")
        assert len(verdict.votes) == len(VOTERS)
        assert 0 <= verdict.confidence <= 1


def test_the_tiny_models_learned_something(predictions):
    # 16 test parts; chance gives 8 right, and 14 or more by chance have probability 0.002.
    assert (predictions["actual"] == predictions["verdict"]).sum() >= 14


def test_a_fresh_process_gives_the_same_verdict_without_torch(models_folder, inspector, tmp_path):
    image = tmp_path / "part.png"
    image.write_bytes(encode(draw_part(5, is_defective=True)))
    script = (
        "import sys\nfrom inspection.__main__ import main\n"
        f"code = main(['predict', {str(image)!r}, '--json', '-', '--models', {str(models_folder)!r}])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    expected = json.loads(json.dumps(inspector.inspect(image.read_bytes(), str(image)).as_dict()))
    assert json.loads(done.stdout) == [expected]


def change_description(models, **changes):
    """Write other entries into ensemble.json, or take those out that are None."""
    path = models / "ensemble.json"
    description = json.loads(path.read_text(encoding="utf-8")) | changes
    description = {key: value for key, value in description.items() if value is not None}
    path.write_text(json.dumps(description), encoding="utf-8")


class TestDecoding:
    """What tells the range of the pixels in training tells it in every later inspection."""

    def test_eight_bits_are_read_as_stored(self, inspector):
        assert inspector.decoding == AS_STORED

    def test_a_camera_of_twelve_bits_is_judged_as_in_training(self, twelve_bit_project):
        inspector = Inspector(twelve_bit_project / "models")
        assert inspector.decoding == Decoding(bit_depth=12)
        predictions = pd.read_csv(twelve_bit_project / "metrics" / "curves" / "predictions.csv")
        assert len(predictions) == 16
        assert (predictions["actual"] == predictions["verdict"]).sum() >= 14
        for row in predictions.to_dict("records"):
            verdict = inspector.inspect((twelve_bit_project / row["path"]).read_bytes(), row["path"])
            assert verdict.verdict == row["verdict"]
            assert [vote.defect_proba for vote in verdict.votes] == pytest.approx(
                [row[voter] for voter in inspector.voters], abs=1e-5
            )

    def test_every_stage_saw_the_pictures_and_not_black_squares(self, tiny_project, twelve_bit_project):
        eight, twelve = (
            read_manifest(project / "data" / "manifest.csv") for project in (tiny_project, twelve_bit_project)
        )
        assert set(twelve["mode"]) == {"I;16"}
        assert set(eight["sha256"]).isdisjoint(twelve["sha256"])
        assert eight["pixels_sha256"].tolist() == twelve["pixels_sha256"].tolist()
        vectors = [
            features_by_path(project, manifest)
            for project, manifest in ((tiny_project, eight), (twelve_bit_project, twelve))
        ]
        common = sorted(set(vectors[0]) & set(vectors[1]))
        assert len(common) > 30
        for path in common:
            np.testing.assert_allclose(vectors[0][path], vectors[1][path], atol=1e-5)

    def test_twelve_bits_are_judged_like_the_same_picture_in_eight(self, inspector, own_models, tmp_path):
        change_description(own_models, decoding={"bit_depth": 12, "float_range": None})
        part = draw_part(1, is_defective=True)
        save_twelve_bits(part, tmp_path / "part.png")
        data = (tmp_path / "part.png").read_bytes()
        expected = inspector.inspect(encode(part)).votes
        assert Inspector(own_models).inspect(data).votes == expected
        assert inspector.inspect(data).votes != expected, "as sixteen bits it is almost black"

    def test_floats_are_judged_like_the_same_picture_in_eight_bits(self, inspector, own_models):
        change_description(own_models, decoding={"bit_depth": 16, "float_range": [-1.0, 1.0]})
        part = draw_part(1, is_defective=True)
        data = encode(Image.fromarray((np.asarray(part) / 127.5 - 1).astype(np.float32)), "TIFF")
        assert Inspector(own_models).inspect(data).votes == inspector.inspect(encode(part)).votes
        with pytest.raises(ImageError, match="set data.decoding.float_range"):
            inspector.inspect(data)

    def test_a_value_beyond_the_camera_gets_no_verdict(self, own_models):
        change_description(own_models, decoding={"bit_depth": 12, "float_range": None})
        values = np.zeros((32, 32), np.uint16)
        values[5, 5] = 4096
        with pytest.raises(ImageError, match="part.png: the pixel value 4096 does not fit a camera of 12 bits"):
            Inspector(own_models).inspect(encode(Image.fromarray(values)), "part.png")


def features_by_path(project, manifest):
    rows = manifest[manifest["split"] == TRAIN].reset_index(drop=True)
    return dict(zip(rows["path"], read_features(project / "features" / f"{BACKBONE}.npz", rows).vectors, strict=True))


def test_a_damaged_image_gets_no_verdict(inspector):
    with pytest.raises(ImageError, match="cut.png: damaged"):
        inspector.inspect(encode(draw_part(1, is_defective=True))[:500], "cut.png")


class TestModelsFolder:
    def test_missing(self, tmp_path):
        with pytest.raises(ModelsError, match="do not exist; run `dvc repro`"):
            Inspector(tmp_path / "models")

    def test_half_built(self, own_models):
        (own_models / "ensemble.json").unlink()
        with pytest.raises(ModelsError, match="half-built"):
            Inspector(own_models)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not valid JSON"),
            ("[]", "is not of format 2"),
            ('{"format": 1, "voting": "hard", "threshold": 0.5, "trained_on": {}, "voters": [{}]}', "not of format 2"),
            ('{"format": 99}', "is not of format 2"),
            ('{"format": 2}', "lacks decoding, threshold, trained_on, voters, voting; delete it"),
        ],
    )
    def test_damaged_description(self, own_models, content, message):
        (own_models / "ensemble.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelsError, match=f"ensemble.json.*{message}.*dvc repro"):
            Inspector(own_models)

    def test_description_without_decoding(self, own_models):
        change_description(own_models, decoding=None)
        with pytest.raises(ModelsError, match="ensemble.json lacks decoding; delete it and run `dvc repro`"):
            Inspector(own_models)

    @pytest.mark.parametrize("name", [f"{BACKBONE}_svm.pkl", f"{BACKBONE}_svm_scaler.pkl", "baseline_cnn.onnx"])
    def test_missing_file_is_named(self, own_models, name):
        (own_models / name).unlink()
        with pytest.raises(ModelsError, match=f"{name}.*dvc repro"):
            Inspector(own_models)

    def test_foreign_pickle_is_never_opened(self, own_models, tmp_path):
        witness = tmp_path / "witness"
        (own_models / f"{BACKBONE}_svm.pkl").write_bytes(pickle.dumps(_Hostile(str(witness))))
        with pytest.raises(ModelsError, match="not the file ensemble.json vouches for"):
            Inspector(own_models)
        assert not witness.exists()

    def test_stale_files_are_ignored(self, own_models, inspector):
        (own_models / "old_backbone_svm.pkl").write_bytes(b"left over")
        assert Inspector(own_models).voters == inspector.voters


class _Hostile:
    """A pickle that creates a file when it is opened."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (self._path, "w")


def _votes(*proba):
    return tuple(
        Vote(f"v{i}", p, "defective" if p >= 0.5 else "non_defective", max(p, 1 - p)) for i, p in enumerate(proba)
    )


@pytest.mark.parametrize(
    ("verdict", "confidence", "votes", "voting", "expected"),
    [
        ("defective", 0.8, _votes(0.9, 0.8, 0.7), "hard", "3 of 3 models say defective."),
        ("non_defective", 0.6, _votes(0.1, 0.2, 0.9), "hard", "2 of 3 models say non-defective."),
        ("defective", 0.45, _votes(0.51, 0.51, 0.1), "hard", "surer than those that agree"),
        ("defective", 0.55, _votes(0.4, 0.4, 0.95), "soft", "The soft vote decides for defective"),
        ("review", 0.5, _votes(0.9, 0.1), "hard", "tied, 1 to 1: a person must look"),
    ],
)
def test_the_reason_is_a_plain_sentence(verdict, confidence, votes, voting, expected):
    assert expected in explain(verdict, confidence, votes, voting)


def test_only_test_images_were_judged(tiny_project, predictions):
    manifest = read_manifest(tiny_project / "data" / "manifest.csv")
    assert sorted(predictions["path"]) == sorted(manifest.loc[manifest["split"] == TEST, "path"])
