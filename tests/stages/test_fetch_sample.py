"""The sample: fetched where it is the source, and nowhere else."""

import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from inspection.data.sources import list_images
from inspection.errors import DataError
from stages.fetch_sample import fetch_sample
from tests.conftest import ROOT
from tests.project import run_stage_in, tiny_params, write_params


@pytest.mark.parametrize(("source", "is_fetched"), [("data/elpv", True), ("data/raw", False)])
def test_the_sample_is_fetched_only_where_it_is_the_source(tmp_path, source, is_fetched):
    for name in ("dvc.yaml", "data/dvc.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    params = tiny_params()
    params["data"]["source"] = source
    write_params(tmp_path, params)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    shown = subprocess.run([*dvc, "dag", "--dot", "dvc.yaml:prepare"], cwd=tmp_path, check=True, capture_output=True)
    assert ("fetch-sample" in shown.stdout.decode()) == is_fetched


def test_the_sample_stays_out_of_the_cache_and_of_every_remote():
    stage = YAML(typ="safe").load(ROOT / "data/dvc.yaml")["stages"]["fetch-sample"]
    assert stage["outs"] == [{"data/elpv": {"cache": False}}]


def test_without_the_package_the_sample_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(DataError, match=r"^The sample's package is missing; run `pip install elpv-dataset`\."):
        run_stage_in(tmp_path, fetch_sample)
    assert list(tmp_path.iterdir()) == []


def test_the_sample_is_a_source(tmp_path):
    run_stage_in(tmp_path, fetch_sample)
    images = list_images(tmp_path / "data/elpv")
    assert len(images) == 2624
    # Exact thirds, so that no rounding moves a label over the threshold.
    assert images["defect_probability"].round(6).value_counts().to_dict() == {
        0.0: 1508, 0.333333: 295, 0.666667: 106, 1.0: 715,
    }  # fmt: skip
