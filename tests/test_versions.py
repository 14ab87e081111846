"""An upgrade of a package runs anew the stages whose results it can change."""

import json
from importlib import metadata

import pytest

from inspection import versions
from inspection.versions import NOT_INSTALLED, installed_versions
from stages import record_versions
from stages.record_versions import PACKAGES_OF_STAGES
from tests.project import run_stage_in
from tests.test_dvc_yaml import PIPELINE, needed_files, stage_script
from tests.test_requirements import third_party

WITHOUT_EFFECT = {"dvclive", "psutil", "pydantic", "ruamel-yaml", "threadpoolctl", "tqdm"}
"""They read params, show progress, hold threads and store what they are given."""
JUDGING = [name for name in sorted(PIPELINE) if name != "record-versions"]


@pytest.mark.parametrize("name", JUDGING)
def test_a_stage_depends_on_the_versions_of_what_it_imports(name):
    script = stage_script(PIPELINE[name])
    assert f"data/versions/{script}.json" in PIPELINE[name]["deps"]
    recorded = set(PACKAGES_OF_STAGES[script]) | WITHOUT_EFFECT
    assert [found for found in third_party(sorted(needed_files(script))) if not found & recorded] == []


def test_the_versions_are_recorded_on_every_run():
    assert PIPELINE["record-versions"]["always_changed"] is True
    assert set(PACKAGES_OF_STAGES) == {stage_script(PIPELINE[name]) for name in JUDGING}


@pytest.mark.parametrize(
    ("package", "stages"),
    [
        ("torch", {"check_networks", "export_backbone", "train_cnn"}),
        ("xgboost", {"check_params", "train_shallow", "fit_ensemble", "evaluate"}),
        ("elpv-dataset", {"fetch_sample"}),
        ("pillow", set(PACKAGES_OF_STAGES) - {"fetch_sample", "check_params", "check_networks", "export_backbone"}),
    ],
)
def test_an_upgrade_changes_what_its_stages_depend_on_and_no_more(tmp_path, monkeypatch, package, stages):
    def read():
        run_stage_in(tmp_path, record_versions.record_versions)
        return {path.stem: path.read_bytes() for path in (tmp_path / "data" / "versions").iterdir()}

    before = read()
    assert read() == before
    monkeypatch.setattr(versions, "version", lambda name: "999" if name == package else metadata.version(name))
    after = read()
    assert {stage for stage in before if before[stage] != after[stage]} == stages
    assert all(json.loads(after[stage])[package] == "999" for stage in stages)


def test_a_package_that_is_not_installed_has_no_version():
    found = installed_versions(("python", "no-such-package", "numpy"))
    assert list(found) == ["python", "no-such-package", "numpy"]
    assert found["python"].count(".") == 1
    assert found["no-such-package"] == NOT_INSTALLED
    assert found["numpy"] == metadata.version("numpy")


def test_xgboost_for_the_cpu_counts_as_xgboost(monkeypatch):
    def version(name):
        if name == "xgboost":
            raise metadata.PackageNotFoundError(name)
        return {"xgboost-cpu": "3.2.0"}[name]

    monkeypatch.setattr(versions, "version", version)
    assert installed_versions(["xgboost"]) == {"xgboost": "3.2.0"}
