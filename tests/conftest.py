"""Fixtures shared by the tests: a tiny project whose stages have all run, built once per session."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

# Read when torch is imported. Workers side by side share the cores: threads that wait for one another by spinning take
# them from the other worker. No result depends on it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from inspection.config import DataParams, Params, load_params
from inspection.decision.voting import VOTING_RULES
from inspection.networks.sources import BACKBONE_SOURCES
from inspection.voters import classifiers
from stages import (
    evaluate,
    export_backbone,
    extract_features,
    fit_ensemble,
    fit_guard,
    prepare,
    report,
    train_cnn,
    train_shallow,
)
from tests.exporter import keep_operators
from tests.parts import save_twelve_bits, write_class_folders

keep_operators()

ROOT = Path(__file__).parent.parent
BACKBONE = "efficientnet_lite0"
OTHER_BACKBONE = "efficientnet_lite1"
CLASSIFIERS = ("svm", "random_forest", "xgboost")
N_PER_CLASS = 32


def pytest_collection_modifyitems(items) -> None:
    """Run fast tests first, then the browser's, whole pipelines last; side by side, what takes longest comes first."""
    items.sort(
        key=lambda item: [bool(item.get_closest_marker(name)) for name in ("pipeline", "browser")],
        reverse="PYTEST_XDIST_WORKER" in os.environ,
    )


@pytest.fixture
def own_tables():
    """Take away again what a test adds to the tables that plugins add to."""
    tables = (classifiers.CLASSIFIERS, VOTING_RULES, BACKBONE_SOURCES)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


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
    # Without flips a quarter of the graph to export; what flips do, tests/networks/test_pretrained.py shows.
    layers = {BACKBONE: ["blocks.1", "blocks.2"], OTHER_BACKBONE: ["blocks.1", "blocks.2"]}
    params["features"] |= {"image_size": 64, "flips": False, "layers": layers}
    params["networks"] = ["baseline_cnn"]
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
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(params, stream)


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


def run_stages_in(folder: Path, params: dict) -> None:
    """Run every stage on the photographs of a project folder; a backbone that is there is not exported again."""
    write_params(folder, params)
    run_stage_in(folder, prepare.prepare)
    for backbone in params["backbones"]:
        if not (folder / "models" / "backbones" / f"{backbone}.onnx").exists():
            run_stage_in(folder, export_backbone.export, "--backbone", backbone)
        run_stage_in(folder, extract_features.extract, "--backbone", backbone)
    for network in params["networks"]:
        run_stage_in(folder, train_cnn.train, "--network", network)
    for backbone, classifier in product(params["backbones"], params["classifiers"]):
        run_stage_in(folder, train_shallow.train, "--backbone", backbone, "--classifier", classifier)
    run_stage_in(folder, fit_guard.fit)
    run_stage_in(folder, fit_ensemble.fit_ensemble)
    run_stage_in(folder, evaluate.evaluate)
    run_stage_in(folder, report.report)


def built_once(tmp_path_factory, name: str, build: Callable[[Path], None]) -> Path:
    """Build a folder for the session; of several worker processes one builds it, and the others wait for it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker has a folder of its own in that of the session.
        root = root.parent
    folder, ready = root / name, root / f"{name}.ready"
    with FileLock(root / f"{name}.lock"):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            ready.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory) -> Path:
    """A project folder in which every stage has run on made-up parts. Not to be changed: copy what you damage."""

    def build(folder: Path) -> None:
        write_class_folders(folder / "data" / "raw", N_PER_CLASS)
        run_stages_in(folder, tiny_params())

    return built_once(tmp_path_factory, "tiny_project", build)


@pytest.fixture(scope="session")
def twelve_bit_project(tmp_path_factory, tiny_project) -> Path:
    """Like `tiny_project`, on the photographs of a camera of twelve bits, with three voters. Not to be changed."""

    def build(folder: Path) -> None:
        shutil.copytree(tiny_project / "models" / "backbones", folder / "models" / "backbones")
        write_class_folders(folder / "data" / "raw", N_PER_CLASS, write=save_twelve_bits)
        params = tiny_params()
        params["data"]["decoding"]["bit_depth"] = 12
        params["classifiers"] = ["svm", "random_forest"]
        run_stages_in(folder, params)

    return built_once(tmp_path_factory, "twelve_bit_project", build)


@pytest.fixture(scope="session")
def models_folder(tiny_project) -> Path:
    """The trained models of `tiny_project`. Not to be changed."""
    return tiny_project / "models"


@pytest.fixture
def own_models(models_folder, tmp_path) -> Path:
    """A copy of `models_folder` that a test may damage."""
    return shutil.copytree(models_folder, tmp_path / "models")
