"""What `bench.detectors` does beside running its tools: it chooses photographs, scales maps and passes answers."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.detector_task import Task, one_by_one, photographs, run_step, write_scores
from bench.detectors import bounded, has_anomalib, link_photographs, scale, thin


@pytest.fixture
def task(tmp_path):
    return Task(
        folder=str(tmp_path / "tool"),
        method="",
        backbone="efficientnet_lite0",
        weights="",
        mean=(0.5,),
        std=(0.5,),
        layers=("blocks.2",),
        image_size=224,
        train="",
        test="",
        folds=(0, 1),
        settings={"coreset_share": 0.1},
        seed=0,
    )


def records(*kinds: tuple[str, float, int]) -> pd.DataFrame:
    """As many photographs of each part and probability as is said."""
    rows = [(f"{split}/{proba}/{number:02}", split, proba) for split, proba, n in kinds for number in range(n)]
    return pd.DataFrame(rows, columns=["path", "split", "defect_probability"])


def test_a_trial_takes_a_few_of_each_kind_from_the_first_to_the_last():
    some = thin(records(("train", 0.0, 9), ("test", 0.0, 2), ("test", 1.0, 5)), 3)
    assert some["path"].tolist() == [
        "test/0.0/00", "test/0.0/01",
        "test/1.0/00", "test/1.0/02", "test/1.0/04",
        "train/0.0/00", "train/0.0/04", "train/0.0/08",
    ]  # fmt: skip


def test_without_a_limit_all_photographs_are_taken():
    all_records = records(("train", 0.0, 9), ("test", 1.0, 5))
    pd.testing.assert_frame_equal(thin(all_records, None), all_records)


def test_links_sort_as_the_photographs_were_given(tmp_path):
    files = [tmp_path / f"{number}.png" for number in (10, 2, 1)]
    for file in files:
        file.write_text(file.name, encoding="utf-8")
    link_photographs([str(file) for file in files], tmp_path / "links")
    contents = [Path(path).read_text(encoding="utf-8") for path in photographs(str(tmp_path / "links"))]
    assert contents == ["10.png", "2.png", "1.png"]


def test_a_map_is_scaled_between_the_centres_of_its_positions():
    scaled = scale(np.array([[0, 1]], np.float32), 3, 4)
    assert scaled.dtype == np.float16
    assert scaled.tolist() == [[0, 0.25, 0.75, 1]] * 3


def test_a_step_is_told_the_task_and_its_answer_lies_beside_it(task, monkeypatch):
    def step(told: Task) -> dict:
        write_scores(told, "trained", [0.5], [np.zeros((2, 2))])
        return {"folds": told.folds, "settings": told.settings}

    path = task.write()
    monkeypatch.setattr(sys, "argv", ["tool", "fit", str(path)])
    run_step({"fit": step})
    answer = json.loads(path.with_name("fit.json").read_text(encoding="utf-8"))
    assert answer.pop("memory_mb") != 0
    assert answer == {"folds": [0, 1], "settings": {"coreset_share": 0.1}}
    with np.load(path.with_name("trained.npz")) as said:
        assert said["scores"].tolist() == [0.5]
        assert said["maps"].shape == (1, 2, 2)


def test_two_tools_never_share_a_folder(task):
    task.write()
    with pytest.raises(FileExistsError):
        replace(task, method="another").write()


def test_the_first_photograph_warms_up_and_counts_once():
    judged = []

    def judge(path: str) -> tuple[float, np.ndarray]:
        judged.append(path)
        return float(path), np.full((1, 1), len(judged))

    scores, maps, seconds = one_by_one(["1", "2"], judge)
    assert judged == ["1", "1", "2"]
    assert scores == [1.0, 2.0]
    assert [int(map_[0, 0]) for map_ in maps] == [2, 3]
    assert len(seconds) == 2


def test_an_area_that_nothing_tells_is_a_dash():
    answer = {"aupro": 0.51234, "aupro_low": 0.4, "aupro_high": 0.61}
    assert bounded(answer, "aupro") == "0.512 (0.400-0.610)"
    assert bounded(answer, "pixel_auroc") == "-"


def test_peers_are_skipped_where_there_is_no_interpreter(capsys):
    assert not has_anomalib("no/such/python")
    assert "no/such/python is no interpreter with anomalib" in capsys.readouterr().out
