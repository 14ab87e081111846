"""A tiny project: the project's own params shrunk, and its stages run in a folder."""

import os
import shutil
import sys
from functools import cache
from itertools import product
from pathlib import Path

from ruamel.yaml import YAML

from inspection.config import DataParams, Params, load_params
from stages import (
    evaluate,
    export_backbone,
    extract_features,
    fit_ensemble,
    fit_guard,
    plan_tiles,
    prepare,
    report,
    train_cnn,
    train_detector,
    train_shallow,
)
from tests.conftest import ROOT
from tests.exporter import keep_operators

keep_operators()

BACKBONE = "efficientnet_lite0"
OTHER_BACKBONE = "efficientnet_lite1"
NETWORK = "baseline_cnn"
CLASSIFIERS = ("svm", "random_forest", "xgboost")
N_PER_CLASS = 32


@cache
def own_params() -> Params:
    """The project's own params."""
    return load_params(ROOT / "params.yaml")


def data_params(**changes) -> DataParams:
    """The section ``data`` of the project's own params, with some changed."""
    return own_params().data.model_copy(update=changes)


def tiny_params() -> dict:
    """The project's own params, shrunk until every stage takes seconds."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["data"] |= {"source": "data/raw", "folds": 3}
    params["backbones"] = [BACKBONE]
    # Without mirror images, half of the work; what they do, tests/networks/test_pretrained.py shows.
    layers = {BACKBONE: ["blocks.1", "blocks.2"], OTHER_BACKBONE: ["blocks.1", "blocks.2"]}
    params["features"] |= {"image_size": 64, "flips": [], "layers": layers}
    params["detectors"] = []
    params["patch_memory"] |= {"image_size": 64, "components": 16, "patches": 200}
    params["networks"] = [NETWORK]
    params["cnn"] |= {
        "image_size": 32, "channels": [8, 16], "epochs": 8, "parts": 2, "learning_rate": 0.01, "batch_size": 8,
    }  # fmt: skip
    params["fine_tuning"] |= {"image_size": 64, "epochs": 1, "batch_size": 8, "frozen": {BACKBONE: "blocks.5"}}
    params["search"] = {
        "svm": {"C": [1, 4]},
        "random_forest": {"n_estimators": [20]},
        "xgboost": {"n_estimators": [10], "max_depth": [2]},
    }
    return params


def write_params(folder: Path, params: dict) -> None:
    """Write ``params.yaml`` into a project folder."""
    yaml = YAML(typ="safe")
    # Grids are searched in the order in which they are written.
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(params, folder / "params.yaml")


def run_stage_in(folder: Path, stage, *arguments: str) -> None:
    """Call a stage's function as its command line would, from a project folder."""
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = [stage.__module__, *arguments]
    try:
        stage()
    finally:
        os.chdir(before)
        sys.argv = argv


def share_backbones(project: Path, folder: Path) -> None:
    """Give a project folder the backbones that another one has exported with the same params."""
    for name in ("backbones", "patches"):
        shutil.copytree(project / "models" / name, folder / "models" / name)


def share_network(project: Path, folder: Path) -> None:
    """Give a project folder, of the same photographs and params, what another one has of its trained network."""
    shutil.copytree(project / "metrics" / "cnn", folder / "metrics" / "cnn")
    for pattern in ("metrics/training/{}.json", "models/{}*", "models/out_of_fold/{}*"):
        for path in project.glob(pattern.format(NETWORK)):
            copy = folder / path.relative_to(project)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def run_stages_in(folder: Path, params: dict) -> None:
    """Run every stage on the photographs of a project folder; backbones and networks that are there are kept."""
    write_params(folder, params)
    run_stage_in(folder, prepare.prepare)
    run_stage_in(folder, plan_tiles.plan)
    for backbone in params["backbones"]:
        if not (folder / "models" / "backbones" / f"{backbone}.onnx").exists():
            run_stage_in(folder, export_backbone.export, "--backbone", backbone)
        run_stage_in(folder, extract_features.extract, "--backbone", backbone)
    for network in params["networks"]:
        if not (folder / "metrics" / "training" / f"{network}.json").exists():
            run_stage_in(folder, train_cnn.train, "--network", network)
    for backbone, classifier in product(params["backbones"], params["classifiers"]):
        run_stage_in(folder, train_shallow.train, "--backbone", backbone, "--classifier", classifier)
    for backbone, detector in product(params["backbones"], params["detectors"]):
        run_stage_in(folder, train_detector.train, "--backbone", backbone, "--detector", detector)
    run_stage_in(folder, fit_guard.fit)
    run_stage_in(folder, fit_ensemble.fit_ensemble)
    run_stage_in(folder, evaluate.evaluate)
    run_stage_in(folder, report.report)
