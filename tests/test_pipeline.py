"""The whole pipeline under DVC, in a repository of its own: a first run, changes of params, and what goes wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BACKBONE, CLASSIFIERS, N_PER_CLASS, ROOT, tiny_params, write_params
from tests.parts import write_class_folders

pytestmark = pytest.mark.pipeline
CODE = (
    "inspection",
    "plugins",
    "stages",
    "weights",
    ".dvc/config",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
)
GIT_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "test"), ("EMAIL", "test@localhost"))
}


class Repository:
    """A git and DVC repository with this project's code and tiny params."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in CODE:
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
        params = tiny_params()
        params["data"] |= {"source": "data/elpv", "folds": 5}
        write_params(folder, params)
        self.run("git", "init", "-q")
        self.commit("code")

    def bring_photographs(self) -> None:
        """Do what the README tells users to do with their own photographs, up to the first run."""
        write_class_folders(self.folder / "data" / "raw", N_PER_CLASS)
        self.dvc("add", "data/raw")
        self.run("git", "add", "data/raw.dvc")
        self.run("git", "commit", "-q", "-m", "our photographs")
        assert self.status() == []
        # Two params change: the source and the number of folds.
        write_params(self.folder, tiny_params())
        assert self.status() == [" M params.yaml"]

    @classmethod
    def cloned(cls, origin: "Repository", folder: Path) -> "Repository":
        """Another repository, with what git holds and nothing else."""
        origin.run("git", "clone", "-q", ".", str(folder))
        clone = object.__new__(cls)
        clone.folder = folder
        return clone

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        environment = os.environ | GIT_IDENTITY
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "-q", "-m", message)

    def status(self) -> list[str]:
        """What git finds changed or untracked, a line each."""
        return self.run("git", "status", "--porcelain", "--untracked-files=all").stdout.splitlines()

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("dvc", *arguments, check=check)

    def read_json(self, name: str):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def voters(self) -> list[str]:
        return [voter["name"] for voter in self.read_json("models/ensemble.json")["voters"]]


def stages_run(done: subprocess.CompletedProcess) -> set[str]:
    """Names of the stages whose command was executed."""
    return {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage '")}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    """A repository after its first ``dvc repro``, results committed. Tests leave it as they find it."""
    repository = Repository(tmp_path_factory.mktemp("project"))
    repository.bring_photographs()
    repository.dvc("repro")
    repository.commit("first results")
    return repository


@pytest.fixture
def restored(repository):
    """The repository, put back to its commit afterwards."""
    yield repository
    repository.run("git", "checkout", "-q", "--", ".")
    repository.run("git", "clean", "-fdq")
    repository.dvc("checkout", "--force")


VOTERS = ["baseline_cnn", *(f"{BACKBONE}_{classifier}" for classifier in CLASSIFIERS)]


def test_everything_the_pipeline_promises_is_there(repository):
    models = {
        path.relative_to(repository.folder / "models").as_posix() for path in repository.folder.rglob("models/**/*.*")
    }
    assert {
        "baseline_cnn.pth",
        "baseline_cnn.onnx",
        f"backbones/{BACKBONE}.onnx",
        "guard.npz",
        "ensemble.json",
    } <= models
    assert {f"{BACKBONE}_{c}{suffix}" for c in CLASSIFIERS for suffix in (".pkl", "_scaler.pkl")} <= models
    assert repository.voters() == VOTERS
    keys = {path.name: set(json.loads(path.read_text())) for path in (repository.folder / "metrics/voters").iterdir()}
    assert set(keys) == {f"{voter}.json" for voter in VOTERS}
    ensemble = repository.read_json("metrics/ensemble.json")
    assert ensemble.pop("n_leaking_test_images") == 0
    assert 0 <= ensemble.pop("unlike_rate") <= 2 / 16
    assert {"escapes", "overkill", "reviews"} <= set(ensemble.pop("per_1000"))
    out_of_fold = repository.read_json("metrics/out_of_fold.json")
    assert set(out_of_fold) == set(repository.read_json("metrics/ensemble.json")) | {"operating_point", "voters"}
    assert [line["voter"] for line in out_of_fold["voters"]] == VOTERS
    assert out_of_fold["operating_point"] == []
    report = (repository.folder / "metrics/report.html").read_text(encoding="utf-8")
    assert "The vote decides (hard); nothing is promised" in report
    assert {frozenset(names) for names in keys.values()} == {frozenset(ensemble)}
    curves = {path.name for path in (repository.folder / "metrics/cnn/baseline_cnn/plots/metrics").rglob("*.tsv")}
    assert {"train_loss.tsv", "held_out_loss.tsv", "held_out_roc_auc.tsv"} <= curves


def test_dvc_keeps_git_clean_and_has_nothing_to_do(repository):
    assert repository.status() == []
    done = repository.dvc("repro")
    assert stages_run(done) == set()
    assert "Data and pipelines are up to date" in done.stdout
    assert repository.status() == []


@pytest.mark.parametrize(
    "name",
    [
        "data/audit.json", "data/manifest.csv", "data/photographs.csv", "metrics/neighbours.csv",
        "metrics/copies.png", "metrics/data.png", "metrics/sample_grid.png",
        "metrics/label_suspects.csv", "metrics/label_suspects.png", "metrics/misclassified.png", "metrics/mistakes.png",
        "metrics/agreement.png", "metrics/calibration.png", "metrics/rates_by_value.png", "metrics/scores.png",
        "metrics/tradeoff.png", "metrics/report.html", "metrics/curves/predictions.csv",
        "metrics/curves/rates_by_value.csv", "metrics/curves/tradeoff.csv",
    ],
)  # fmt: skip
def test_what_is_large_or_shows_photographs_is_in_dvc_and_not_in_git(repository, name):
    assert (repository.folder / name).stat().st_size > 0
    ignored = repository.run("git", "check-ignore", "--verbose", name).stdout
    assert ignored.split(":")[2].split("\t")[0] == f"/{name}", "by its own name, for DVC's sake"
    assert f"path: {name}\n" in (repository.folder / "dvc.lock").read_text(encoding="utf-8")
    assert repository.run("git", "ls-files", name).stdout == ""


def test_metrics_are_in_git_and_nothing_else_that_a_run_writes(repository):
    tracked = set(repository.run("git", "ls-files").stdout.splitlines())
    written = {name for name in tracked if not name.startswith((*CODE, ".dvc/"))}
    assert {name for name in written if not name.startswith("metrics/")} == {"params.yaml", "data/raw.dvc", "dvc.lock"}
    assert {Path(name).suffix for name in written if name.startswith("metrics/")} == {".json", ".csv", ".tsv"}
    names = {"metrics/data.json", "metrics/ensemble.json", "metrics/out_of_fold.json", "metrics/curves/roc.csv"}
    names |= {"dvc.lock", "data/raw.dvc"}
    assert names | {f"metrics/voters/{voter}.json" for voter in VOTERS} <= tracked
    assert repository.read_json("metrics/data.json")["n_photographs"] == 2 * N_PER_CLASS
    assert repository.read_json("data/audit.json")["folder"] == "data/raw"
    suspects = (repository.folder / "metrics/label_suspects.csv").read_text(encoding="utf-8")
    assert suspects.startswith("path,label,defect_proba,self_confidence\n")


def test_a_colleague_pulls_everything_and_has_nothing_to_run(repository, tmp_path):
    head = repository.run("git", "rev-parse", "HEAD").stdout.strip()
    repository.dvc("remote", "add", "-d", "plant", str(tmp_path / "drive of the plant"))
    try:
        assert repository.status() == [" M .dvc/config"]
        repository.run("git", "commit", "-q", "-m", "remote", ".dvc/config")
        repository.dvc("push")
        assert repository.status() == []
        colleague = Repository.cloned(repository, tmp_path / "elsewhere")
    finally:
        repository.run("git", "reset", "-q", "--hard", head)
    colleague.dvc("pull")
    assert colleague.status() == []
    assert len(list((colleague.folder / "data/raw").rglob("*.png"))) == 2 * N_PER_CLASS
    assert (colleague.folder / "metrics/copies.png").is_file()
    done = colleague.dvc("repro")
    assert stages_run(done) == set()
    assert "Data and pipelines are up to date" in done.stdout
    assert colleague.status() == []
    judged = colleague.run(sys.executable, "-m", "inspection", "predict", "data/raw/defective/part_000.png")
    assert "4 models say" in judged.stdout


def test_a_second_run_from_scratch_gives_the_same_bytes(repository, tmp_path):
    again = Repository.cloned(repository, tmp_path / "clone")
    shutil.copytree(repository.folder / "data/raw", again.folder / "data/raw")
    # Its cache is empty: every stage runs anew, in another folder.
    assert "evaluate" in stages_run(again.dvc("repro"))
    assert again.status() == []


DECIDING = {"check-params", "fit-ensemble", "evaluate", "report"}


def test_a_promise_reruns_only_what_decides(restored):
    # Of 24 defective training parts: 9 support 30 % with 95 %, and 59 would be needed for 5 %.
    done = restored.dvc("exp", "run", "-S", "decision.max_escape_rate=0.3", "-S", "decision.max_overkill_rate=0.3")
    assert stages_run(done) == DECIDING
    point = restored.read_json("models/ensemble.json")["operating_point"]
    assert (point["max_escape_rate"], point["confidence"], point["n_defects"]) == (0.3, 0.95, 24)
    assert restored.read_json("metrics/out_of_fold.json")["operating_point"] == [point]
    report = restored.folder / "metrics/report.html"
    assert "at most 30% of the defective parts pass" in report.read_text(encoding="utf-8")
    done = restored.dvc("exp", "run", "-S", "decision.max_escape_rate=0.05")
    assert "NOTICE: decision.max_escape_rate = 0.05 with confidence 0.95 needs at least 59 defective" in done.stdout
    assert restored.read_json("models/ensemble.json")["operating_point"] is None
    assert "A promise of 5% was asked for" in report.read_text(encoding="utf-8")


def test_a_rate_of_false_alarms_fits_the_guard_anew(restored):
    done = restored.dvc("exp", "run", "-S", "decision.false_alarm_rate=0.2")
    assert stages_run(done) == DECIDING | {"fit-guard"}


def test_a_voting_rule_reruns_only_what_votes(restored):
    done = restored.dvc("exp", "run", "-S", "ensemble.voting=soft")
    assert stages_run(done) == DECIDING
    assert "ensemble.voting" in restored.dvc("params", "diff").stdout
    assert "soft" in restored.dvc("params", "diff").stdout
    assert restored.read_json("models/ensemble.json")["voting"] == "soft"


def test_a_grid_reruns_only_its_classifier_and_metrics_diff_shows_it(restored):
    done = restored.dvc("exp", "run", "-S", "search.svm.C=[0.0001]")
    assert stages_run(done) == DECIDING | {f"train-shallow@{BACKBONE}-svm"}
    diff = json.loads(restored.dvc("metrics", "diff", "--json").stdout)
    assert (
        "metrics/training/efficientnet_lite0_svm.json" in diff or "metrics/voters/efficientnet_lite0_svm.json" in diff
    )
    assert "metrics/voters/efficientnet_lite0_xgboost.json" not in diff
    page = restored.dvc("plots", "diff", "HEAD", "workspace", "--out", "plots_page")
    html = (restored.folder / "plots_page" / "index.html").read_text(encoding="utf-8")
    assert page.returncode == 0
    for title in ("ROC on test images", "Confusion on test images", "Calibration on test images", "held_out_loss"):
        assert title in html
    shown = restored.dvc("exp", "show", "--csv").stdout
    assert "search.svm.C" in shown


def test_a_new_backbone_runs_alone_and_leaves_no_stale_voter(restored):
    done = restored.dvc("exp", "run", "-S", "backbones=[efficientnet_lite1]", "-S", "classifiers=[svm,random_forest]")
    new = "efficientnet_lite1"
    assert stages_run(done) == DECIDING | {
        f"export-backbone@{new}", f"extract-features@{new}", f"train-shallow@{new}-svm",
        f"train-shallow@{new}-random_forest", "fit-guard",
    }  # fmt: skip
    voters = ["baseline_cnn", f"{new}_svm", f"{new}_random_forest"]
    assert restored.voters() == voters
    for folder in ("metrics/voters", "metrics/training"):
        assert sorted(path.stem for path in (restored.folder / folder).iterdir()) == sorted(voters)
    assert stages_run(restored.dvc("repro")) == set()
    # Back again: all work comes from the run cache; only the join runs, to drop the cards of the voters that went.
    write_params(restored.folder, tiny_params())
    assert stages_run(restored.dvc("repro")) == {"fit-ensemble"}
    assert restored.voters() == VOTERS


def test_a_fine_tuned_network_is_trained_alone_and_votes(restored):
    done = restored.dvc("exp", "run", "-S", f"networks=[baseline_cnn,{BACKBONE}]")
    assert stages_run(done) == DECIDING | {f"train-cnn@{BACKBONE}"}
    assert restored.voters() == ["baseline_cnn", BACKBONE, *VOTERS[1:]]
    for name in (f"models/{BACKBONE}.onnx", f"models/{BACKBONE}.pth", f"models/out_of_fold/{BACKBONE}.csv"):
        assert (restored.folder / name).is_file(), name
    curves = {path.stem for path in (restored.folder / f"metrics/cnn/{BACKBONE}/plots/metrics").rglob("*.tsv")}
    assert {"train_loss", "held_out_loss"} <= curves


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbones": ["efficientnet_lite9"]},
            "unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite",
        ),
        (
            {"networks": ["efficientnet_lite9"]},
            "unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite",
        ),
        (
            {"networks": [BACKBONE], "fine_tuning": tiny_params()["fine_tuning"] | {"frozen": {BACKBONE: "blocks.99"}}},
            f"fine_tuning.frozen.{BACKBONE}: node: 'blocks.99' is not present",
        ),
        (
            {"features": tiny_params()["features"] | {"layers": {BACKBONE: ["blocks.99"]}}},
            f"features.layers.{BACKBONE}",
        ),
        (
            {"features": tiny_params()["features"] | {"weights": {BACKBONE: "weights/own.pth"}}},
            f"features.weights.{BACKBONE}: no file 'weights/own.pth'; put it there or remove the entry",
        ),
        ({"treshold": 0.5}, "unknown key 'treshold'"),
        ({"cnn": tiny_params()["cnn"] | {"parts": 4}}, "cnn.parts = 4 is more than data.folds = 3"),
        (
            {"decision": tiny_params()["decision"] | {"max_escape_rate": 1}},
            "decision.max_escape_rate = 1 is not usable",
        ),
        ({"seed": "zero"}, "seed = 'zero' is not usable"),
        ({"search": tiny_params()["search"] | {"svm": {"c": [1]}}}, "search.svm: SVC has no parameter 'c'"),
        ({"search": tiny_params()["search"] | {"svn": {"C": [1]}}}, "unknown classifier 'svn'; did you mean 'svm'?"),
        ({"classifiers": ["svm", "knn"]}, "classifiers: search holds no values to try for 'knn'"),
        ({"plugins": ["mine"]}, "plugins: no module 'mine'; put mine.py into plugins/"),
    ],
)
def test_wrong_params_stop_before_work_is_wasted(restored, changes, message):
    write_params(restored.folder, tiny_params() | changes)
    done = restored.dvc("repro", check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert stages_run(done) <= {"check-params"}


def test_an_empty_class_folder_stops_in_prepare(restored):
    moved = restored.folder / "elsewhere"
    (restored.folder / "data/raw/defective").rename(moved)
    (restored.folder / "data/raw/defective").mkdir()
    done = restored.dvc("repro", check=False)
    (restored.folder / "data/raw/defective").rmdir()
    moved.rename(restored.folder / "data/raw/defective")
    assert done.returncode != 0
    message = r"error: data/raw: no image \(.*\) of the class 'defective'; found 'non_defective' \(32\)"
    assert re.search(message, done.stdout + done.stderr)
    assert stages_run(done) == {"prepare"}
