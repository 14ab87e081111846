"""Stages that look up what they know write the same bytes as from scratch, whatever photographs came and went."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.made_copies import make_copy
from stages import extract_features, plan_tiles, prepare
from tests.parts import write_class_folders
from tests.photographs import as_file, draw_scene, shoot
from tests.project import BACKBONE, run_stage_in, tiny_params, write_params

WRITTEN = (
    "data/audit.json",
    "data/manifest.csv",
    "data/photographs.csv",
    "data/split.json",
    "metrics/data.json",
    f"features/{BACKBONE}.npz",
)


@pytest.fixture
def project(tmp_path, tiny_project):
    """A project with a backbone, 28 photographs and a copy of one of them."""
    folder = tmp_path / "project"
    shutil.copytree(tiny_project / "models" / "backbones", folder / "models" / "backbones")
    write_params(folder, tiny_params())
    write_class_folders(folder / "data" / "raw", 12)
    for scene in range(4):
        add(folder, "non_defective" if scene % 2 else "defective", scene)
    copy = make_copy("rotated, bilinear", as_file(shoot(draw_scene(1), 1)), np.random.default_rng(0))
    (folder / "data" / "raw" / "non_defective" / f"copy{copy.suffix}").write_bytes(copy.data)
    return folder


def add(folder: Path, label: str, scene: int) -> None:
    path = folder / "data" / "raw" / label / f"scene {scene}.png"
    path.write_bytes(as_file(shoot(draw_scene(scene), scene)).data)


def run(folder: Path) -> dict[str, bytes]:
    run_stage_in(folder, prepare.prepare)
    run_stage_in(folder, plan_tiles.plan)
    run_stage_in(folder, extract_features.extract, "--backbone", BACKBONE)
    return {name: (folder / name).read_bytes() for name in WRITTEN}


def run_from_scratch(folder: Path) -> dict[str, bytes]:
    """Run in a copy of a project without a cache: the split that was drawn is no cache, and stays."""
    fresh = folder.with_name("fresh")
    shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns(".cache", "features"))
    try:
        return run(fresh)
    finally:
        shutil.rmtree(fresh)


def test_photographs_that_come_go_and_change_places_leave_no_trace_of_before(project):
    raw = project / "data" / "raw"
    first = run(project)
    assert b"copy" in first["data/audit.json"], "or nothing is compared here"
    versions = [first]

    def changed() -> None:
        from_scratch = run_from_scratch(project)
        versions.append(run(project))
        assert versions[-1] == from_scratch

    for scene in (5, 6):
        add(project, "defective", scene)
    changed()
    (raw / "non_defective" / "scene 1.png").unlink()
    (raw / "defective" / "part_003.png").unlink()
    changed()
    for label in ("defective", "non_defective"):
        paths = sorted((raw / label).iterdir())
        for place, path in enumerate(paths):
            path.rename(path.with_name(f"{len(paths) - place:03d}{path.suffix}"))
    changed()
    assert len({version["data/manifest.csv"] for version in versions}) == 4


def test_nothing_is_kept_where_nothing_may_be(project):
    params = tiny_params()
    kept = run(project)
    shutil.rmtree(project / ".cache")
    params["cache"]["max_megabytes"] = 0
    write_params(project, params)
    assert run(project) == kept
    assert not (project / ".cache").exists()
