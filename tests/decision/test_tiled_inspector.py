"""Photographs that are seen in tiles: the station sees what the pipeline saw, whatever their size and form."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.data.images import decode_file
from inspection.data.manifest import read_training_rows
from inspection.data.tiles import MAX_TILES
from inspection.decision.inspector import Inspector
from inspection.decision.verdict import NotInspected
from inspection.errors import ImageError, ModelsError
from inspection.reports.tables.defect_maps import read_maps
from inspection.voters.features import read_features
from inspection.voters.patch_detector import PatchDetector, read_patch_detector
from inspection.voters.patch_maps import iterate_patch_maps
from stages import fit_ensemble, plan_tiles
from tests.conftest import built_once
from tests.parts import draw_part, encode, write_class_folders
from tests.project import BACKBONE, run_stage_in, run_stages_in, tiny_params, write_params

SIDE = 32
DETECTOR = f"{BACKBONE}_patch_memory"
VOTERS = ("baseline_cnn", f"{BACKBONE}_svm", DETECTOR)


@pytest.fixture(scope="session", params=["one network", "two networks"])
def tiled_project(tmp_path_factory, request):
    """Every stage has run on photographs of two sizes, in tiles of 32 pixels; not to be changed."""

    def build(folder):
        write_class_folders(folder / "data" / "raw", 10)
        # Of another size and not square, which makes maps of another shape.
        for number, path in enumerate(sorted((folder / "data" / "raw").rglob("*.png"))):
            if number % 3 == 0:
                with Image.open(path) as image:
                    image.resize((80, 56)).save(path)
        params = tiny_params() | {"classifiers": ["svm"], "detectors": ["patch_memory"]}
        params["features"] |= {"tiles": SIDE}
        # A detector whose network sees tiles at another size than the features are computed at.
        params["patch_memory"]["image_size"] = 64 if request.param == "one network" else 96
        params["cnn"]["epochs"] = 1
        run_stages_in(folder, params)

    return built_once(tmp_path_factory, f"tiled_project {request.param}".replace(" ", "_"), build)


@pytest.fixture(scope="session")
def inspector(tiled_project):
    return Inspector(tiled_project / "models")


@pytest.fixture
def training(tiled_project):
    return read_training_rows(tiled_project / "data" / "manifest.csv")


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def stored_detector(project) -> tuple[PatchDetector, Path]:
    """The detector, and the network that it looks through."""
    voters = read(project / "models" / "ensemble.json")["voters"]
    [files] = [voter["files"] for voter in voters if voter["name"] == DETECTOR]
    memory, network = (project / "models" / files[role]["path"] for role in ("memory", "network"))
    return read_patch_detector(memory.read_bytes(), memory.name), network


def test_what_is_decided_stands_where_training_and_serving_read_it(tiled_project, inspector):
    assert read(tiled_project / "data" / "tiles.json") == {"side": SIDE}
    assert read(tiled_project / "models" / "ensemble.json")["tile_side"] == SIDE
    assert inspector.voters == VOTERS
    cards = [read(tiled_project / "metrics" / "training" / f"{name}.json")["voter"][0] for name in VOTERS]
    assert [card.get("tile_side") for card in cards] == [None, SIDE, SIDE], "a trained network sees whole photographs"


def test_features_are_those_of_the_training(tiled_project, inspector, training):
    features = read_features(tiled_project / "features" / f"{BACKBONE}.npz", training)
    measured = inspector.measure(decode_file(tiled_project / path).pixels for path in training["path"])
    np.testing.assert_allclose(measured.features, features.vectors, rtol=1e-5, atol=1e-5)


def test_maps_and_scores_are_those_of_the_training(tiled_project, inspector, training, monkeypatch):
    monkeypatch.chdir(tiled_project)
    detector, network = stored_detector(tiled_project)
    measured = inspector.measure(decode_file(path).pixels for path in training["path"])
    distances = [
        [seen.distances(memory) for seen in iterate_patch_maps(network, training, tile_side=SIDE)]
        for memory in detector.memories
    ]
    shapes = set()
    for number, defect_map in enumerate(measured.defect_maps):
        sighting = detector.judge([of_memory[number][np.newaxis] for of_memory in distances])
        assert measured.proba[number, VOTERS.index(DETECTOR)] == pytest.approx(sighting.proba[0], abs=1e-5)
        np.testing.assert_allclose(defect_map.by_voter[DETECTOR], sighting.rarity[0], atol=1e-2)
        shapes.add(defect_map.by_voter[DETECTOR].shape)
    side = 8 if "models/backbones" in str(network) else 12
    assert shapes == {(2 * side, 2 * side), (round(56 / 32 * side), round(80 / 32 * side))}


def test_out_of_fold_scores_are_by_the_memory_without_the_fold(tiled_project, training, monkeypatch):
    monkeypatch.chdir(tiled_project)
    detector, network = stored_detector(tiled_project)
    scores = pd.read_csv(tiled_project / "models" / "out_of_fold" / f"{DETECTOR}.csv")["defect_proba"]
    folds = np.unique(training["fold"], return_inverse=True)[1]
    for number, seen in enumerate(iterate_patch_maps(network, training, tile_side=SIDE)):
        distances = seen.distances(detector.memories[folds[number]])
        assert detector.calibrate(distances[np.newaxis])[0] == pytest.approx(scores[number], abs=1e-5)


def test_the_file_is_judged_as_evaluate_did(tiled_project, inspector):
    predictions = pd.read_csv(tiled_project / "metrics" / "curves" / "predictions.csv")
    maps = read_maps(tiled_project / "metrics" / "maps.npz")
    files = [(path, (tiled_project / path).read_bytes) for path in predictions["path"]]
    verdicts = list(inspector.inspect_many(files))
    for verdict, (_, row) in zip(verdicts, predictions.iterrows(), strict=True):
        assert verdict.verdict == row["verdict"]
        np.testing.assert_allclose(verdict.vote_proba, row[list(VOTERS)].astype(float), atol=1e-4)
        np.testing.assert_allclose(maps[row["path"]].rarity, verdict.defect_map.rarity, atol=0.02)
        assert verdict.sha256 == inspector.inspect((tiled_project / row["path"]).read_bytes()).sha256


@pytest.mark.parametrize(("width", "height"), [(8, 8), (8, 160), (160, 8), (33, 33), (500, 300)])
def test_photographs_of_any_size_and_form(inspector, width, height):
    photograph = draw_part(3, is_defective=False, size=max(width, height)).crop((0, 0, width, height))
    verdict = inspector.inspect(encode(photograph))
    assert (verdict.defect_map.height, verdict.defect_map.width) == (height, width)
    rows, columns = verdict.defect_map.rarity.shape
    assert rows / columns == pytest.approx(height / width, rel=0.05)


def test_a_photograph_of_too_many_tiles_is_not_inspected(inspector):
    stream = io.BytesIO()
    Image.new("L", (2000, 1000)).save(stream, "PNG")
    words = rf"wide\.png: 2000 x 1000 pixels make .* tiles of {SIDE}, more than {MAX_TILES:,}; scale the photograph"
    with pytest.raises(ImageError, match=words):
        inspector.inspect(stream.getvalue(), "wide.png")
    small = encode(draw_part(1, is_defective=False))
    lot = list(inspector.inspect_many([("wide.png", stream.getvalue), ("small.png", lambda: small)]))
    assert isinstance(lot[0], NotInspected)
    assert lot[1].verdict == inspector.inspect(small).verdict


def test_a_voter_of_other_tiles_is_refused(tiled_project, tmp_path):
    folder = shutil.copytree(tiled_project, tmp_path / "project")
    params = tiny_params() | {"classifiers": ["svm"], "detectors": ["patch_memory"]}
    params["features"] |= {"tiles": "none"}
    write_params(folder, params)
    run_stage_in(folder, plan_tiles.plan)
    with pytest.raises(ModelsError, match=f"_svm was trained on tiles of {SIDE} pixels, and is to vote on whole"):
        run_stage_in(folder, fit_ensemble.fit_ensemble)
