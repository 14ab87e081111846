"""Fixtures shared by the tests: a tiny project whose stages have all run, built once per session.

What takes long to import is imported by the fixture that needs it: the process that only hands out the tests loads this
file too.
"""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# Read when torch is imported. Workers side by side share the cores: threads that wait for one another by spinning take
# them from the other worker. No result depends on it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What is imported stays: looking for garbage among it takes a fifth of the time of an import, see below.
gc.disable()

# A slow machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items) -> None:
    """Run fast tests first, then the browser's, whole pipelines last; side by side, what takes longest comes first."""
    items.sort(
        key=lambda item: [bool(item.get_closest_marker(name)) for name in ("pipeline", "browser")],
        reverse="PYTEST_XDIST_WORKER" in os.environ,
    )


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and only among what tests make."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let Python tidy up at the end, as it does: libraries complain of what is left."""
    gc.unfreeze()


@pytest.fixture
def own_tables():
    """Take away again what a test adds to the tables that plugins add to."""
    from inspection.decision.voting import VOTING_RULES
    from inspection.networks.sources import BACKBONE_SOURCES
    from inspection.voters.classifiers import CLASSIFIERS

    tables = (CLASSIFIERS, VOTING_RULES, BACKBONE_SOURCES)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


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
        from tests.parts import write_class_folders
        from tests.project import N_PER_CLASS, run_stages_in, tiny_params

        write_class_folders(folder / "data" / "raw", N_PER_CLASS)
        run_stages_in(folder, tiny_params())

    return built_once(tmp_path_factory, "tiny_project", build)


@pytest.fixture(scope="session")
def twelve_bit_project(tmp_path_factory, tiny_project) -> Path:
    """Like `tiny_project`, on the photographs of a camera of twelve bits, with three voters. Not to be changed."""

    def build(folder: Path) -> None:
        from tests.parts import save_twelve_bits, write_class_folders
        from tests.project import N_PER_CLASS, run_stages_in, share_backbones, tiny_params

        share_backbones(tiny_project, folder)
        write_class_folders(folder / "data" / "raw", N_PER_CLASS, write=save_twelve_bits)
        params = tiny_params()
        params["data"]["decoding"]["bit_depth"] = 12
        params["classifiers"] = ["svm", "random_forest"]
        run_stages_in(folder, params)

    return built_once(tmp_path_factory, "twelve_bit_project", build)


@pytest.fixture(scope="session")
def patch_backbone_project(tmp_path_factory) -> Path:
    """A project folder with nothing but the backbone whose one pass makes features and patches. Not to be changed."""

    def build(folder: Path) -> None:
        from stages import export_backbone
        from tests.project import BACKBONE, run_stage_in, tiny_params, write_params

        write_params(folder, tiny_params() | {"detectors": ["patch_memory"]})
        run_stage_in(folder, export_backbone.export, "--backbone", BACKBONE)

    return built_once(tmp_path_factory, "patch_backbone_project", build)


@pytest.fixture(scope="session", params=["of the size of the features", "of another size"])
def detecting_project(tmp_path_factory, tiny_project, patch_backbone_project, request) -> Path:
    """Like `tiny_project`, with a detector beside two other voters. Not to be changed."""

    def build(folder: Path) -> None:
        from tests.parts import write_class_folders
        from tests.project import N_PER_CLASS, run_stages_in, share_backbones, share_network, tiny_params

        is_of_one_size = request.param == "of the size of the features"
        if is_of_one_size:
            share_backbones(patch_backbone_project, folder)
        share_network(tiny_project, folder)
        write_class_folders(folder / "data" / "raw", N_PER_CLASS)
        params = tiny_params() | {"classifiers": ["svm"], "detectors": ["patch_memory"]}
        params["patch_memory"]["image_size"] = 64 if is_of_one_size else 96
        run_stages_in(folder, params)

    return built_once(tmp_path_factory, f"detecting_project {request.param}".replace(" ", "_"), build)


@pytest.fixture(scope="session")
def good_parts_project(tmp_path_factory, patch_backbone_project) -> Path:
    """Like `tiny_project`, trained on good parts alone, with masks of the defects to test on. Not to be changed."""

    def build(folder: Path) -> None:
        from tests.parts import write_good_parts
        from tests.project import run_stages_in, share_backbones, tiny_params

        share_backbones(patch_backbone_project, folder)
        write_good_parts(folder / "data" / "raw", n_train=40, n_test=12)
        params = tiny_params() | {"detectors": ["patch_memory"]}
        params["decision"]["max_overkill_rate"] = 0.1
        run_stages_in(folder, params)

    return built_once(tmp_path_factory, "good_parts_project", build)


@pytest.fixture(scope="session")
def models_folder(tiny_project) -> Path:
    """The trained models of `tiny_project`. Not to be changed."""
    return tiny_project / "models"


@pytest.fixture
def own_models(models_folder, tmp_path) -> Path:
    """A copy of `models_folder` that a test may damage."""
    return shutil.copytree(models_folder, tmp_path / "models")
