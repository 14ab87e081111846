"""One inference path: what the pipeline computed is what an inspector sees, and nothing unvouched is opened."""

import json
import pickle
import re
import subprocess
import sys
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from inspection.data.images import AS_STORED, Decoding, decode_file, resize
from inspection.data.manifest import read_manifest
from inspection.decision.combination import mean_log_odds
from inspection.decision.inspector import Inspector
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Cause, Rules
from inspection.decision.verdict import NOT_INSPECTED, Verdict, Vote, explain, make_verdicts
from inspection.errors import ImageError, ModelsError
from inspection.files import sha256_file
from inspection.labels import TEST, TRAIN
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel
from inspection.reports.tables.defect_maps import read_maps
from inspection.voters.features import read_features
from inspection.voters.map_scale import LIT, read_map_scale
from tests.conftest import ROOT
from tests.operating_points import NO_OVERKILL
from tests.parts import draw_part, encode, save_twelve_bits
from tests.project import BACKBONE, CLASSIFIERS

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
        assert verdict.cause == row["cause"]
        assert verdict.confidence == pytest.approx(row["confidence"], abs=1e-5)
        assert verdict.defect_proba == pytest.approx(row["defect_proba"], abs=1e-5)
        assert verdict.unlikeness == pytest.approx(row["unlikeness"], abs=1e-4)
        for vote in verdict.votes:
            assert vote.defect_proba == pytest.approx(row[vote.voter], abs=1e-5)
            assert (vote.label == "defective") == (row[vote.voter] >= inspector.rules.threshold)


def test_a_detector_votes_as_it_did_in_the_pipeline(detecting_project):
    inspector = Inspector(detecting_project / "models")
    detector = f"{BACKBONE}_patch_memory"
    assert inspector.voters == ("baseline_cnn", f"{BACKBONE}_svm", detector)
    rows = pd.read_csv(detecting_project / "metrics" / "curves" / "predictions.csv")
    votes = []
    for row in rows.to_dict("records"):
        verdict = inspector.inspect((detecting_project / row["path"]).read_bytes(), row["path"])
        assert [vote.defect_proba for vote in verdict.votes] == pytest.approx(
            [row[voter] for voter in inspector.voters], abs=1e-5
        )
        votes.append(verdict.votes[-1].defect_proba)
    assert roc_auc_score(rows["actual"] == "defective", votes) > 0.8


def test_a_map_comes_with_every_verdict_of_a_detector(detecting_project):
    inspector = Inspector(detecting_project / "models")
    sizes = [(64, 64), (40, 90), (200, 64)]
    parts = [draw_part(901, is_defective=True).resize(size) for size in sizes]
    alone = [inspector.inspect(encode(part), "part.png") for part in parts]
    together = list(inspector.inspect_many(("part.png", partial(encode, part)) for part in parts))
    for (width, height), one, other in zip(sizes, alone, together, strict=True):
        assert (one.defect_map.height, one.defect_map.width) == (height, width)
        assert one.defect_map.by_voter.keys() == {"baseline_cnn", f"{BACKBONE}_patch_memory"}
        assert one.defect_map.averaged == (f"{BACKBONE}_patch_memory",), "where there is a detector, it shows the place"
        assert one.defect_map.peak == inspector._scales[f"{BACKBONE}_patch_memory"].peak
        np.testing.assert_allclose(one.defect_map.rarity, other.defect_map.rarity, atol=1e-4)
        assert (one.verdict, one.cause, one.regions) == (other.verdict, other.cause, other.regions)
        assert one.defect_proba == pytest.approx(other.defect_proba, abs=1e-6)
        assert one.as_dict()["regions"] == [asdict(region) for region in one.regions]
        assert "defect_map" not in one.as_dict()


def test_without_a_detector_the_map_is_that_of_the_network(models_folder, inspector):
    part = draw_part(901, is_defective=True)
    defect_map = inspector.inspect(encode(part)).defect_map
    assert inspector.map_voters == defect_map.averaged == tuple(defect_map.by_voter) == ("baseline_cnn",)
    model = OnnxModel((models_folder / "baseline_cnn.onnx").read_bytes(), "baseline_cnn")
    scale = read_map_scale((models_folder / "baseline_cnn_map_scale.npz").read_bytes(), "scale")
    raw = model.run(resize(np.asarray(part.convert("RGB")), model.image_size)[np.newaxis], "defect_map")
    np.testing.assert_allclose(defect_map.rarity, scale.rarity(raw[0]), atol=1e-5)
    assert defect_map.peak == scale.peak


def test_the_scale_is_that_of_good_training_photographs_out_of_fold(tiny_project, models_folder, inspector):
    """The members have seen most of what they are averaged on here, so no more than its share is lit."""
    manifest = read_manifest(tiny_project / "data" / "manifest.csv")
    good = manifest[(manifest["split"] == TRAIN) & (manifest["label"] == 0)]
    measured = inspector.measure(decode_file(tiny_project / path).pixels for path in good["path"])
    rarity = np.stack([one.rarity for one in measured.defect_maps])
    # A twentieth or so of the photographs may reach the peak; a scale of other maps would light all or nothing.
    assert np.mean(rarity >= LIT) < 0.01
    assert 0.3 < np.median(rarity.max(axis=(1, 2))) < LIT
    assert np.mean([bool(one.regions) for one in measured.defect_maps]) <= 0.1


def test_maps_of_the_network_are_measured_and_almost_empty_on_good_parts(tiny_project):
    metrics = json.loads((tiny_project / "metrics" / "localisation.json").read_text(encoding="utf-8"))
    assert (metrics["n_maps"], metrics["n_good"], metrics["voters"]) == (16, 8, ["baseline_cnn"])
    assert metrics["lit_share"] < 0.02


def test_classifiers_alone_give_no_map(own_models):
    voters = read_description(own_models)["voters"]
    change_description(own_models, voters=[voter for voter in voters if voter["name"] != "baseline_cnn"])
    inspector = Inspector(own_models)
    verdict = inspector.inspect(encode(draw_part(901, is_defective=True)))
    assert inspector.map_voters == ()
    assert verdict.defect_map is None
    assert (verdict.regions, verdict.whereabouts, verdict.as_dict()["regions"]) == ((), "", None)


class TestGoodPartsAlone:
    """No defect was trained on: detectors vote, overkill is promised, and maps show where."""

    @pytest.fixture
    def predictions(self, good_parts_project):
        return pd.read_csv(good_parts_project / "metrics" / "curves" / "predictions.csv")

    def test_only_the_detector_votes(self, good_parts_project):
        inspector = Inspector(good_parts_project / "models")
        assert inspector.voters == (f"{BACKBONE}_patch_memory",)
        point = inspector.rules.operating_point
        assert (point.max_escape_rate, point.max_overkill_rate, point.n_defects) == (None, 0.1, 0)
        assert not inspector.rules.knows_defects
        for name in ("baseline_cnn.onnx", "baseline_cnn_map_scale.npz", f"{BACKBONE}_svm.pkl"):
            assert (good_parts_project / "models" / name).read_bytes() == b""
        curves = good_parts_project / "metrics" / "cnn" / "baseline_cnn" / "plots" / "metrics"
        assert [path.name for path in curves.iterdir()] == ["train_loss.tsv"], "git keeps no empty folder"

    def test_defects_that_were_never_seen_fail(self, predictions):
        is_defect = predictions["actual"] == "defective"
        assert roc_auc_score(is_defect, predictions["defect_proba"]) > 0.95
        unlike = predictions[is_defect & (predictions["unlikeness"] > 1)]
        assert len(unlike) > 0, "a scratch is what no good part shows"
        assert (unlike["verdict"] == "defective").any(), "and is no reason to doubt that the part is defective"

    def test_a_photograph_of_something_else_never_passes(self, good_parts_project):
        inspector = Inspector(good_parts_project / "models")
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        assert inspector.inspect(encode(Image.fromarray(noise))).verdict != "non_defective"

    def test_maps_are_measured_by_the_masks(self, good_parts_project):
        metrics = json.loads((good_parts_project / "metrics" / "localisation.json").read_text(encoding="utf-8"))
        assert (metrics["n_maps"], metrics["n_masks"], metrics["n_good"]) == (24, 12, 12)
        assert metrics["pixel_auroc"] > 0.9
        assert metrics["lit_share"] < 0.01, "a good part shows an almost empty map"
        assert metrics["by_type"].keys() == {"scratch"}

    def test_maps_are_kept_for_the_pictures(self, good_parts_project, predictions):
        maps = read_maps(good_parts_project / "metrics" / "maps.npz")
        assert list(maps) == predictions["path"].tolist()
        inspector = Inspector(good_parts_project / "models")
        for path in list(maps)[::7]:
            verdict = inspector.inspect((good_parts_project / path).read_bytes())
            np.testing.assert_allclose(maps[path].rarity, verdict.defect_map.rarity, atol=0.01)
            assert (maps[path].height, maps[path].width) == (64, 64)


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
    together, alone = inspector.measure(images), [inspector.measure([image]) for image in images]
    np.testing.assert_allclose(together.proba, np.concatenate([one.proba for one in alone]), atol=1e-6)
    # Each photograph is a call of its own.
    assert np.array_equal(together.features, np.concatenate([one.features for one in alone]))
    assert np.array_equal(together.unlikeness, np.concatenate([one.unlikeness for one in alone]))
    nothing = inspector.measure([])
    assert nothing.proba.shape == (0, len(VOTERS))
    assert nothing.features.shape == (0, together.features.shape[1])
    assert nothing.unlikeness.shape == (0,)


def test_a_lot_is_judged_as_each_of_its_photographs(inspector):
    files = [(f"{seed}.png", encode(draw_part(seed, seed % 2 == 1))) for seed in range(2 * BATCH_SIZE + 3)]
    verdicts = list(inspector.inspect_many((name, lambda data=data: data) for name, data in files))
    alone = [inspector.inspect(data, name) for name, data in files]
    # NumPy and SciPy may round the last digit of a long vector otherwise.
    np.testing.assert_allclose([v.vote_proba for v in verdicts], [v.vote_proba for v in alone], rtol=1e-12)
    assert [(v.name, v.sha256, v.verdict, v.cause, v.reason) for v in verdicts] == [
        (v.name, v.sha256, v.verdict, v.cause, v.reason) for v in alone
    ]


def test_a_file_that_cannot_be_read_stops_no_lot_and_is_never_good(inspector):
    def unreadable():
        raise ImageError("2.png: no permission")

    part = encode(draw_part(1, is_defective=True))
    files = [("1.png", lambda: part), ("2.png", unreadable), ("3.png", lambda: b"no image"), ("4.png", lambda: part)]
    verdicts = list(inspector.inspect_many(files))
    assert [verdict.name for verdict in verdicts] == ["1.png", "2.png", "3.png", "4.png"]
    assert [verdict.verdict for verdict in verdicts] == ["defective", NOT_INSPECTED, NOT_INSPECTED, "defective"]
    assert verdicts[1].as_dict() == {"name": "2.png", "verdict": "not inspected", "reason": "2.png: no permission"}
    assert "3.png: not a PNG" in verdicts[2].reason
    assert [v.verdict for v in inspector.inspect_many(files[1:3])] == [NOT_INSPECTED] * 2, "a batch without a picture"
    assert list(inspector.inspect_many([])) == []


def test_a_lot_is_read_as_it_is_judged(inspector):
    n_read, part = 0, encode(draw_part(1, is_defective=True))

    def files():
        nonlocal n_read
        while True:
            n_read += 1
            yield str(n_read), lambda: part

    verdicts = inspector.inspect_many(files())
    assert next(verdicts).name == "1"
    verdicts.close()
    assert n_read == 2 * BATCH_SIZE, "the batch that is judged, and the one after it"


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


def read_description(models):
    return json.loads((models / "ensemble.json").read_text(encoding="utf-8"))


def write_description(models, description):
    (models / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")


def change_description(models, **changes):
    """Write other entries into ensemble.json."""
    write_description(models, read_description(models) | changes)


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

    def test_an_earlier_format(self, own_models):
        change_description(own_models, format=3)
        with pytest.raises(ModelsError, match="ensemble.json is of format 3, written by an earlier version.*dvc repro"):
            Inspector(own_models)

    @pytest.mark.parametrize(
        "changes",
        [
            {"operating_point": {"pass_below": 0.1}},
            {"voters": [{"name": "a", "kind": "svm", "files": {}}]},
            {"voters": None},
            {"decoding": {}},
            {"guard": []},
        ],
        ids=["half a point", "voter without weight", "no voters", "no bit depth", "another guard"],
    )
    def test_damaged_description(self, own_models, changes):
        change_description(own_models, **changes)
        key = next(iter(changes))
        with pytest.raises(ModelsError, match=rf"ensemble.json is damaged: {key}.*; delete it and run `dvc repro`"):
            Inspector(own_models)

    def test_other_library_versions_are_told(self, own_models, inspector):
        assert inspector.version_notice == ""
        versions = read_description(own_models)["versions"]
        change_description(own_models, versions=versions | {"numpy": "1.0.0"})
        notice = Inspector(own_models).version_notice
        assert "numpy" in notice and "(1.0.0 when the models were made)" in notice
        assert "pillow" not in notice

    def test_another_guard_than_the_one_vouched_for(self, own_models):
        data = (own_models / "guard.npz").read_bytes()
        (own_models / "guard.npz").write_bytes(data[:-1] + b"x")
        with pytest.raises(ModelsError, match="guard.npz is not the file ensemble.json vouches for"):
            Inspector(own_models)

    def test_a_vouched_file_that_is_no_guard(self, own_models):
        (own_models / "guard.npz").write_bytes(b"something else")
        file = {"path": "guard.npz", "sha256": sha256_file(own_models / "guard.npz")}
        change_description(own_models, guard=read_description(own_models)["guard"] | {"file": file})
        with pytest.raises(ModelsError, match="guard.npz is not a guard .* delete it and run `dvc repro`"):
            Inspector(own_models)

    def test_another_scale_of_maps_than_the_one_vouched_for(self, own_models):
        data = (own_models / "baseline_cnn_map_scale.npz").read_bytes()
        (own_models / "baseline_cnn_map_scale.npz").write_bytes(data[:-1] + b"x")
        with pytest.raises(ModelsError, match="baseline_cnn_map_scale.npz is not the file ensemble.json vouches for"):
            Inspector(own_models)

    def test_a_vouched_file_that_is_no_scale(self, own_models):
        (own_models / "baseline_cnn_map_scale.npz").write_bytes(b"something else")
        voters = read_description(own_models)["voters"]
        voters[0]["files"]["map_scale"]["sha256"] = sha256_file(own_models / "baseline_cnn_map_scale.npz")
        change_description(own_models, voters=voters)
        with pytest.raises(ModelsError, match="baseline_cnn_map_scale.npz is not a scale of maps .* delete it and run"):
            Inspector(own_models)

    @pytest.mark.parametrize(
        "name",
        [
            f"{BACKBONE}_svm.pkl", f"{BACKBONE}_svm_scaler.pkl", "baseline_cnn.onnx", "baseline_cnn_map_scale.npz",
            "guard.npz",
        ],
    )  # fmt: skip
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


def promise(pass_below, fail_from):
    point = {"pass_below": pass_below, "fail_from": fail_from, "max_escape_rate": 0.05, "confidence": 0.95}
    return point | {"n_defects": 60, "n_escapes": 0} | NO_OVERKILL


class TestOperatingPoint:
    """Thresholds written into ensemble.json decide."""

    @pytest.fixture
    def part(self, tiny_project, inspector, predictions):
        """A defective test part that all voters recognise, and its probability."""
        row = predictions[(predictions["cause"] == "vote") & (predictions["verdict"] == "defective")].iloc[0]
        data = (tiny_project / row["path"]).read_bytes()
        return data, inspector.inspect(data).defect_proba

    @pytest.mark.parametrize(
        ("below", "above", "verdict", "cause"),
        [
            # Thresholds as distances from the part's probability: exactly at pass_below it does not pass.
            (0, 0, "defective", Cause.THRESHOLD),
            (0, 1e-6, "review", Cause.BAND),
            (-0.1, 0, "defective", Cause.THRESHOLD),
            (1e-6, 1e-6, "review", Cause.DISAGREEMENT),
        ],
    )
    def test_edges(self, own_models, part, below, above, verdict, cause):
        data, proba = part
        change_description(own_models, operating_point=promise(proba + below, proba + above))
        inspector = Inspector(own_models)
        found = inspector.inspect(data, "part.png")
        assert (found.verdict, found.cause) == (verdict, cause)
        assert found.defect_proba == proba
        assert inspector.rules.operating_point.n_defects == 60
        assert found.reason == explain(found, inspector.rules)

    def test_a_good_part_passes_below_the_threshold_and_fails_from_it(self, tiny_project, own_models, predictions):
        good = predictions[(predictions["cause"] == "vote") & (predictions["verdict"] == "non_defective")].iloc[0]
        data = (tiny_project / good["path"]).read_bytes()
        low, high = (promise(*(good["defect_proba"] + step,) * 2) for step in (-1e-4, 1e-4))
        change_description(own_models, operating_point=high)
        assert Inspector(own_models).inspect(data).verdict == "non_defective"
        change_description(own_models, operating_point=low)
        failed = Inspector(own_models).inspect(data)
        assert failed.verdict == "defective"
        assert failed.confidence == failed.defect_proba < 0.5
        assert "the part fails all the same: the threshold decides, not the vote." in failed.reason


class TestGuard:
    @pytest.mark.parametrize("kind", ["noise", "white", "stripes", "inverted"])
    def test_a_photograph_of_another_kind_goes_to_review(self, inspector, kind):
        random = np.random.default_rng(0)
        part = np.asarray(draw_part(1, is_defective=False))
        pixels = {
            "noise": random.integers(0, 256, (64, 64), dtype=np.uint8),
            "white": np.full((64, 64), 255, np.uint8),
            "stripes": np.tile(np.where(np.arange(64) // 4 % 2, 230, 20).astype(np.uint8), (64, 1)),
            "inverted": 255 - part,
        }[kind]
        verdict = inspector.inspect(encode(Image.fromarray(pixels)), "other.png")
        assert verdict.unlikeness > 1
        assert (verdict.verdict, verdict.cause) == ("review", Cause.UNLIKE)
        assert verdict.reason.startswith("This photograph is unlike those the models were trained on")
        assert len(verdict.votes) == len(VOTERS), "the votes are shown all the same"

    def test_parts_like_the_training_parts_are_judged(self, predictions):
        assert (predictions["unlikeness"] > 0).all()
        assert ((predictions["unlikeness"] > 1) == (predictions["cause"] == "unlike")).all()
        # The limit lets about one part of fifty exceed it; three of sixteen have probability 0.004.
        assert (predictions["cause"] == "unlike").sum() <= 2

    def test_training_parts_are_their_own_neighbours(self, tiny_project, inspector):
        manifest = read_manifest(tiny_project / "data" / "manifest.csv")
        rows = manifest[manifest["split"] == TRAIN].reset_index(drop=True)
        assert inspector.guard.paths.tolist() == rows["path"].tolist()
        image = decode_file(tiny_project / rows["path"][3]).pixels
        positions, _ = inspector.guard.neighbours(inspector.measure([image]).features)
        assert inspector.guard.paths[positions[0, 0]] == rows["path"][3]

    def test_the_limit_decides(self, inspector):
        rules = Rules("hard", 0.5, (1.0,) * 3, mean_log_odds(3))
        unlikeness = np.array([0.0, 1.0, np.nextafter(1, 2)])
        verdicts = make_verdicts(
            ("a", "b", "c"), np.full((3, 3), 0.9), ["1", "2", "3"], ["", "", ""], rules, unlikeness
        )
        assert [verdict.verdict for verdict in verdicts] == ["defective", "defective", "review"]
        assert [verdict.unlikeness for verdict in verdicts] == unlikeness.tolist()
        assert not any(verdict.simulated for verdict in verdicts)


BAND, NO_BAND, NO_FAIL = (OperatingPoint(0.021, high, 0.01, 0.95, 300, 0) for high in (0.6, 0.021, np.nextafter(1, 2)))


def explained(cause, proba, votes, word, point=None, voting="hard", weights=None):
    """The reason of a verdict by voters with these probabilities."""
    votes = tuple(
        Vote(f"v{i}", p, "defective" if p >= 0.5 else "non_defective", max(p, 1 - p)) for i, p in enumerate(votes)
    )
    rules = Rules(voting, 0.5, weights or (1.0,) * len(votes), mean_log_odds(len(votes)), point)
    return explain(Verdict("part.png", "", word, 0.5, proba, cause, "", votes), rules)


@pytest.mark.parametrize(
    ("cause", "proba", "votes", "word", "point", "voting", "expected"),
    [
        (
            Cause.VOTE, 0.8, (0.9, 0.8, 0.7), "defective", None, "hard",
            "3 of 3 models say defective, 0 non-defective.",
        ),
        (
            Cause.VOTE, 0.2, (0.1, 0.2, 0.9), "non_defective", None, "hard",
            "1 of 3 models say defective, 2 non-defective.",
        ),
        (
            Cause.VOTE, 0.6, (0.6, 0.7, 0.4), "defective", None, "soft",
            "The probability of a defect, 60.0%, reaches 50%. 2 of 3 models say defective, 1 non-defective.",
        ),
        (
            Cause.VOTE, 0.50004, (0.4, 0.4, 0.95), "defective", None, "soft",
            "The probability of a defect, 50.004%, reaches 50%. 1 of 3 models say defective, 2 non-defective; the "
            "probability decides, not the majority (soft voting).",
        ),
        (
            Cause.VOTE, 0.3, (0.1, 0.6), "non_defective", None, "soft",
            "The probability of a defect, 30.0%, is below 50%. 1 of 2 models say defective, 1 non-defective; the "
            "probability decides, not the majority (soft voting).",
        ),
        (
            Cause.TIE, 0.5, (0.9, 0.1), "review", None, "hard",
            "The votes are tied: 1 of 2 models say defective, 1 non-defective. A person must look at this part.",
        ),
        (
            Cause.TIE, 0.7, (0.9, 0.1), "review", BAND, "soft",
            "The votes are tied: 1 of 2 models say defective, 1 non-defective. A person must look at this part.",
        ),
        (
            Cause.DISAGREEMENT, 0.4998, (0.51, 0.52, 0.1), "review", None, "hard",
            "The probability of a defect, 49.98%, is below 50%, but the vote contradicts it: 2 of 3 models say "
            "defective, 1 non-defective. A person must look at this part.",
        ),
        (
            Cause.DISAGREEMENT, 0.7, (0.9999, 0.1, 0.1), "review", None, "hard",
            "The probability of a defect, 70.0%, reaches 50%, but the vote contradicts it: 1 of 3 models say "
            "defective, 2 non-defective. A person must look at this part.",
        ),
        (
            Cause.DISAGREEMENT, 0.0206, (0.51, 0.52, 0.1), "review", BAND, "hard",
            "The probability of a defect, 2.06%, is low enough to pass (below 2.10%), but the vote contradicts it: 2 "
            "of 3 models say defective, 1 non-defective. A person must look at this part.",
        ),
        (
            Cause.BAND, 0.5998, (0.1, 0.2, 0.7), "review", BAND, "hard",
            "The probability of a defect, 59.98%, is too high to pass (from 2.10%) and too low to fail (below 60.00%): "
            "a person must look at this part. 1 of 3 models say defective, 2 non-defective.",
        ),
        (
            Cause.BAND, 0.9, (0.9, 0.8, 0.7), "review", NO_FAIL, "hard",
            "The probability of a defect, 90.0%, is too high to pass (from 2.1%) and no part fails unseen: a person "
            "must look at this part. 3 of 3 models say defective, 0 non-defective.",
        ),
        (
            Cause.THRESHOLD, 0.02098, (0.1, 0.2, 0.3), "non_defective", BAND, "hard",
            "The probability of a defect, 2.098%, is below 2.100%: the part passes. 0 of 3 models say defective, 3 "
            "non-defective.",
        ),
        (
            Cause.THRESHOLD, 0.6, (0.9, 0.8, 0.3), "defective", BAND, "hard",
            "The probability of a defect, 60.0%, reaches 60.0%, from where parts fail. 2 of 3 models say defective, 1 "
            "non-defective.",
        ),
        (
            # Whether the promise, the costs or the overkill rate set the threshold, it alone is what decides.
            Cause.THRESHOLD, 0.05, (0.1, 0.2, 0.3), "defective", NO_BAND, "hard",
            "The probability of a defect, 5.0%, reaches 2.1%, from where parts fail. 0 of 3 models say defective, 3 "
            "non-defective; the part fails all the same: the threshold decides, not the vote.",
        ),
        (
            Cause.UNLIKE, 0.9, (0.9, 0.8, 0.7), "review", BAND, "hard",
            "This photograph is unlike those the models were trained on: a person must look at this part.",
        ),
    ],
)  # fmt: skip
def test_the_reason_is_plain_and_right(cause, proba, votes, word, point, voting, expected):
    assert explained(cause, proba, votes, word, point, voting) == expected


def test_every_cause_was_explained():
    [mark] = [mark for mark in test_the_reason_is_plain_and_right.pytestmark if mark.name == "parametrize"]
    assert {case[0] for case in mark.args[1]} == set(Cause)


WEIGHED = "1 of 3 models say defective, 2 non-defective (weighted by how often each model was right)"


@pytest.mark.parametrize(
    ("cause", "proba", "weights", "word", "point", "expected"),
    [
        (Cause.VOTE, 0.8, (3.0, 1.0, 1.0), "defective", None, f"{WEIGHED}."),
        (Cause.TIE, 0.5, (2.0, 1.0, 1.0), "review", None, f"tied: {WEIGHED}. A person must look at this part."),
        (Cause.DISAGREEMENT, 0.4, (3.0, 1.0, 1.0), "review", None, f"vote contradicts it: {WEIGHED}. A person must "),
        (Cause.THRESHOLD, 0.7, (3.0, 1.0, 1.0), "defective", BAND, f"from where parts fail. {WEIGHED}."),
        (Cause.THRESHOLD, 0.7, (1.0, 1.0, 1.0), "defective", BAND, f"{WEIGHED}; the part fails all the same: the "),
    ],
)
def test_a_smaller_group_that_outweighs_the_others_does_not_win_without_a_reason(
    cause, proba, weights, word, point, expected
):
    assert expected in explained(cause, proba, (0.9, 0.1, 0.2), word, point, "weighted", weights)


OPPOSITE = ("the threshold decides", "the probability decides", "weighted by", "the votes are tied", "contradicts it")
"""What a reason names when it goes against most models, or against the class that the verdict leaves open."""
CHANCES = st.floats(0, 1, width=16)


@given(
    st.sampled_from(["hard", "soft", "weighted"]),
    st.lists(st.tuples(CHANCES, st.integers(1, 9)), min_size=1, max_size=5),
    st.none() | st.tuples(CHANCES, CHANCES),
)
def test_no_verdict_goes_against_most_models_unexplained(voting, voters, limits):
    proba, weights = np.array([[p for p, _ in voters]]), tuple(float(weight) for _, weight in voters)
    point = limits and OperatingPoint(min(limits), max(limits), 0.01, 0.95, 300, 0)
    rules = Rules(voting, 0.5, weights, mean_log_odds(len(voters)), point)
    names = tuple(f"v{place}" for place in range(len(voters)))
    [verdict] = make_verdicts(names, proba, ["part.png"], [""], rules, np.zeros(1))
    most = np.sign(sum(1 if vote.label == "defective" else -1 for vote in verdict.votes))
    said = {"defective": 1, "non_defective": -1}.get(verdict.verdict)
    if said is None:
        assert "person must look at this part" in verdict.reason
    elif said != most:
        assert any(words in verdict.reason.lower() for words in OPPOSITE), verdict.reason
    # No number is compared with one that looks the same, except where it reaches it.
    compared = re.search(r"defect, ([<>]?[\d.]+%),? is below ([\d.]+%)", verdict.reason)
    assert compared is None or compared[1] != compared[2]


def test_only_test_images_were_judged(tiny_project, predictions):
    manifest = read_manifest(tiny_project / "data" / "manifest.csv")
    assert sorted(predictions["path"]) == sorted(manifest.loc[manifest["split"] == TEST, "path"])
