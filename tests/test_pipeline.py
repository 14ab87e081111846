"""The whole pipeline under DVC, in a repository of its own: a first run, changes of params, and what goes wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.parts import write_class_folders
from tests.preloaded import preloaded
from tests.project import BACKBONE, CLASSIFIERS, N_PER_CLASS, OTHER_BACKBONE, tiny_params, write_params

pytestmark = pytest.mark.pipeline
CODE = (
    "inspection", "plugins", "stages", "weights", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "dvc.yaml",
    "data/dvc.yaml", "data/split.json",
)  # fmt: skip
ONE_MACHINE = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"}
ANOTHER_MACHINE = {
    "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "LOKY_MAX_CPU_COUNT": "2",
    "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "1",
}  # fmt: skip
"""Processes and threads are one each otherwise, see `tests`."""
DETECTOR = "patch_memory"
RECORDING = "data/dvc.yaml:record-versions"
GIT_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "test"), ("EMAIL", "test@localhost"))
}


class Repository:
    """A git and DVC repository with this project's code and tiny params."""

    def __init__(self, folder: Path, environment: dict[str, str], python: Path):
        self.folder, self.environment, self.python = folder, environment, python
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
    def cloned(cls, origin: "Repository", folder: Path, environment: dict[str, str], python: Path) -> "Repository":
        """Another repository, with what git holds and nothing else."""
        origin.run("git", "clone", "-q", ".", str(folder))
        clone = object.__new__(cls)
        clone.folder, clone.environment, clone.python = folder, environment, python
        return clone

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        environment = os.environ | GIT_IDENTITY | self.environment
        environment["PATH"] = os.pathsep.join([str(self.python), str(Path(sys.executable).parent), os.environ["PATH"]])
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

    def restore(self) -> None:
        """Put everything back to the last commit."""
        self.run("git", "checkout", "-q", "--", ".")
        self.run("git", "clean", "-fdq")
        self.dvc("checkout", "--force")

    def report(self) -> str:
        return (self.folder / "metrics/report.html").read_text(encoding="utf-8")

    def read_json(self, name: str):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def voters(self) -> list[str]:
        return [voter["name"] for voter in self.read_json("models/ensemble.json")["voters"]]


def write_locale(folder: Path) -> dict[str, str]:
    """Make the locale of `ANOTHER_MACHINE` where the system can; return what makes programs find it."""
    compiler = shutil.which("localedef")
    if compiler and Path("/usr/share/i18n/locales/tr_TR").exists():
        folder.mkdir()
        subprocess.run([compiler, "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")], check=True)
        return {"LOCPATH": str(folder)}
    return {}


def stages_run(done: subprocess.CompletedProcess) -> set[str]:
    """Names of the stages whose command was executed, but for the one that always is."""
    names = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage '")}
    assert RECORDING in names
    return names - {RECORDING}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Iterator[Repository]:
    """A repository after its first ``dvc repro``, results committed. Tests leave it as they find it."""
    with preloaded(ONE_MACHINE) as python:
        repository = Repository(tmp_path_factory.mktemp("project"), ONE_MACHINE, python)
        repository.bring_photographs()
        repository.dvc("repro")
        repository.commit("first results")
        yield repository


@pytest.fixture
def restored(repository):
    """The repository, put back to its commit afterwards."""
    yield repository
    repository.restore()


@pytest.fixture
def params_restored(repository):
    """The repository; afterwards its params, and nothing else, are put back."""
    yield repository
    repository.run("git", "checkout", "-q", "--", "params.yaml")


VOTERS = ["baseline_cnn", *(f"{BACKBONE}_{classifier}" for classifier in CLASSIFIERS)]


def test_everything_the_pipeline_promises_is_there(repository):
    models = {
        path.relative_to(repository.folder / "models").as_posix() for path in repository.folder.rglob("models/**/*.*")
    }
    assert {
        "baseline_cnn.pth",
        "baseline_cnn.onnx",
        "baseline_cnn_map_scale.npz",
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
    assert "The vote decides (hard); nothing is promised" in repository.report()
    assert {frozenset(names) for names in keys.values()} == {frozenset(ensemble)}
    curves = {path.name for path in (repository.folder / "metrics/cnn/baseline_cnn/plots/metrics").rglob("*.tsv")}
    assert {"train_loss.tsv", "held_out_loss.tsv", "held_out_roc_auc.tsv"} <= curves


def test_dvc_keeps_git_clean_and_has_nothing_to_do(repository):
    assert repository.status() == []
    assert stages_run(repository.dvc("repro")) == set()
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
    assert {name for name in written if not name.startswith("metrics/")} == {
        "params.yaml", "data/raw.dvc", "data/dvc.lock", "dvc.lock",
    }  # fmt: skip
    assert {Path(name).suffix for name in written if name.startswith("metrics/")} == {".json", ".csv", ".tsv"}
    names = {"metrics/data.json", "metrics/ensemble.json", "metrics/out_of_fold.json", "metrics/curves/roc.csv"}
    names |= {"dvc.lock", "data/dvc.lock", "data/raw.dvc"}
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
        # Its stages are processes as users have them.
        python = Path(sys.executable).parent
        colleague = Repository.cloned(repository, tmp_path / "elsewhere", ONE_MACHINE, python)
    finally:
        repository.run("git", "reset", "-q", "--hard", head)
    colleague.dvc("pull")
    assert colleague.status() == []
    assert len(list((colleague.folder / "data/raw").rglob("*.png"))) == 2 * N_PER_CLASS
    assert (colleague.folder / "metrics/copies.png").is_file()
    assert stages_run(colleague.dvc("repro")) == set()
    assert colleague.status() == []
    judged = colleague.run(sys.executable, "-m", "inspection", "predict", "data/raw/defective/part_000.png")
    assert "4 models say" in judged.stdout


def test_another_machine_writes_the_same_bytes(repository, tmp_path):
    environment = ANOTHER_MACHINE | write_locale(tmp_path / "locales")
    with preloaded(environment) as python:
        again = Repository.cloned(repository, tmp_path / "clone", environment, python)
        for path in sorted((repository.folder / "data/raw").rglob("*.png"), reverse=True):
            copy = again.folder / path.relative_to(repository.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        # Its cache is empty: every stage runs anew, in another folder.
        stages = set(YAML(typ="safe").load(again.folder / "dvc.lock")["stages"])
        assert stages_run(again.dvc("repro")) == stages
    written = [files_written(folder) for folder in (repository.folder, again.folder)]
    assert len(written[0]) > 50
    differing = sorted(name for name in written[0] | written[1] if written[0].get(name) != written[1].get(name))
    assert not differing, "\n".join(differing)
    assert again.status() == []


def files_written(folder: Path) -> dict[str, bytes]:
    """Everything that the stages wrote."""
    paths = [path for name in ("data", "features", "models", "metrics") for path in (folder / name).rglob("*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}


DECIDING = {"check-params", "fit-ensemble", "evaluate", "report"}


@pytest.mark.parametrize(
    ("section", "key", "value", "stages"),
    [
        ("decision", "max_escape_rate", 0.3, {"fit-ensemble"}),
        ("decision", "max_overkill_rate", 0.3, {"fit-ensemble"}),
        ("decision", "false_alarm_rate", 0.2, {"fit-ensemble", "fit-guard"}),
        ("ensemble", "voting", "soft", {"fit-ensemble"}),
        ("search", "svm", {"C": [0.0001]}, {f"train-shallow@{BACKBONE}-svm"}),
        ("cnn", "epochs", 2, {"check-networks", "train-cnn@baseline_cnn"}),
        ("data", "test_share", 0.5, {"prepare"}),
    ],
)
def test_a_param_touches_only_the_stages_that_read_it(params_restored, section, key, value, stages):
    params = tiny_params()
    params[section][key] = value
    write_params(params_restored.folder, params)
    touched = json.loads(params_restored.dvc("status", "--json", "dvc.yaml").stdout)
    # The report states what was asked for.
    assert set(touched) - {"report"} == stages | {"check-params"}


class TestChangedParams:
    """Two experiments: a promise, and then another one with another rule, another guard and another grid."""

    @pytest.fixture(scope="class")
    @classmethod
    def promised(cls, repository):
        # Of 24 defective training parts: 9 support 30 % with 95 %, and 59 would be needed for 5 %.
        yield repository.dvc("exp", "run", "-S", "decision.max_escape_rate=0.3", "-S", "decision.max_overkill_rate=0.3")
        repository.restore()

    @pytest.fixture(scope="class")
    @classmethod
    def changed(cls, repository, promised):
        return repository.dvc(
            "exp", "run", "-S", "decision.max_escape_rate=0.05", "-S", "decision.false_alarm_rate=0.2",
            "-S", "ensemble.voting=soft", "-S", "search.svm.C=[0.0001]",
        )  # fmt: skip

    def test_a_promise_reruns_only_what_decides(self, repository, promised):
        assert stages_run(promised) == DECIDING
        point = repository.read_json("models/ensemble.json")["operating_point"]
        assert (point["max_escape_rate"], point["confidence"], point["n_defects"]) == (0.3, 0.95, 24)
        assert repository.read_json("metrics/out_of_fold.json")["operating_point"] == [point]
        assert "at most 30% of the defective parts pass" in repository.report()

    def test_only_what_reads_a_changed_param_runs_again(self, changed):
        assert stages_run(changed) == DECIDING | {"fit-guard", f"train-shallow@{BACKBONE}-svm"}

    def test_a_promise_that_cannot_be_kept_is_a_notice(self, repository, changed):
        notice = "NOTICE: decision.max_escape_rate = 0.05 with confidence 0.95 needs at least 59 defective"
        assert notice in changed.stdout
        # The overkill rate of the first experiment still stands, and can be promised.
        point = repository.read_json("models/ensemble.json")["operating_point"]
        assert (point["max_escape_rate"], point["max_overkill_rate"]) == (None, 0.3)
        assert "Nothing is promised of the defects that pass." in repository.report()

    def test_a_voting_rule_is_recorded(self, repository, changed):
        shown = repository.dvc("params", "diff").stdout
        assert "ensemble.voting" in shown
        assert "soft" in shown
        assert repository.read_json("models/ensemble.json")["voting"] == "soft"

    def test_metrics_diff_shows_the_voter_of_a_changed_grid(self, repository, changed):
        diff = json.loads(repository.dvc("metrics", "diff", "--json").stdout)
        svm = f"{BACKBONE}_svm.json"
        assert f"metrics/training/{svm}" in diff or f"metrics/voters/{svm}" in diff
        assert f"metrics/voters/{BACKBONE}_xgboost.json" not in diff
        assert "search.svm.C" in repository.dvc("exp", "show", "--csv").stdout

    def test_plots_diff_shows_the_curves(self, repository, changed):
        repository.dvc("plots", "diff", "HEAD", "workspace", "--out", "plots_page")
        html = (repository.folder / "plots_page" / "index.html").read_text(encoding="utf-8")
        for title in ("ROC on test images", "Confusion on test images", "Calibration on test images", "held_out_loss"):
            assert title in html


class TestOtherVoters:
    """Another backbone with a classifier and a detector, and a network that is fine-tuned."""

    @pytest.fixture(scope="class")
    @classmethod
    def changed(cls, repository):
        chosen = {
            "backbones": [OTHER_BACKBONE], "classifiers": CLASSIFIERS[:1], "detectors": [DETECTOR],
            "networks": ["baseline_cnn", BACKBONE],
        }  # fmt: skip
        write_params(repository.folder, tiny_params() | chosen)
        yield repository.dvc("repro")
        repository.restore()

    def test_they_are_made_alone(self, changed):
        assert stages_run(changed) == DECIDING | {
            "check-networks", f"export-backbone@{OTHER_BACKBONE}", f"extract-features@{OTHER_BACKBONE}",
            f"train-shallow@{OTHER_BACKBONE}-svm", f"train-detector@{OTHER_BACKBONE}-{DETECTOR}",
            f"train-cnn@{BACKBONE}", "fit-guard",
        }  # fmt: skip

    def test_they_vote_and_no_stale_voter_does(self, repository, changed):
        voters = ["baseline_cnn", BACKBONE, f"{OTHER_BACKBONE}_svm", f"{OTHER_BACKBONE}_{DETECTOR}"]
        assert repository.voters() == voters
        for folder in ("metrics/voters", "metrics/training"):
            assert sorted(path.stem for path in (repository.folder / folder).iterdir()) == sorted(voters)

    def test_a_fine_tuned_network_leaves_its_files_and_curves(self, repository, changed):
        for name in (f"models/{BACKBONE}.onnx", f"models/{BACKBONE}.pth", f"models/out_of_fold/{BACKBONE}.csv"):
            assert (repository.folder / name).is_file(), name
        folder = repository.folder / f"metrics/cnn/{BACKBONE}/plots/metrics"
        assert {"train_loss", "held_out_loss"} <= {path.stem for path in folder.rglob("*.tsv")}

    def test_nothing_is_left_to_do_and_the_way_back_costs_nothing(self, repository, changed):
        assert stages_run(repository.dvc("repro")) == set()
        # All work comes from the run cache; only the join runs, to drop the cards of the voters that went.
        write_params(repository.folder, tiny_params())
        assert stages_run(repository.dvc("repro")) == {"fit-ensemble"}
        assert repository.voters() == VOTERS


def test_wrong_params_stop_before_work_is_wasted(restored):
    # More of them in tests/stages/test_check_networks.py and test_check_params.py.
    write_params(restored.folder, tiny_params() | {"backbones": ["efficientnet_lite9"]})
    done = restored.dvc("repro", check=False)
    assert done.returncode != 0
    assert "error: unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert stages_run(done) == {"check-params", "check-networks"}


def test_an_upgrade_runs_what_it_can_change(restored):
    versions = restored.folder / "data/versions/export_backbone.json"
    versions.write_text(versions.read_text(encoding="utf-8").replace('"timm": "', '"timm": "999'), encoding="utf-8")
    touched = json.loads(restored.dvc("status", "--json", "dvc.yaml").stdout)
    assert set(touched) == {f"export-backbone@{BACKBONE}"}


def test_an_empty_class_folder_stops_in_prepare(restored):
    moved = restored.folder / "elsewhere"
    (restored.folder / "data/raw/defective").rename(moved)
    (restored.folder / "data/raw/defective").mkdir()
    done = restored.dvc("repro", check=False)
    (restored.folder / "data/raw/defective").rmdir()
    moved.rename(restored.folder / "data/raw/defective")
    assert done.returncode != 0
    message = r"error: data/raw: no image \(.*\) of the class 'defective', but there is a folder 'defective' for them"
    assert re.search(message, done.stdout + done.stderr)
    assert stages_run(done) == {"prepare"}
