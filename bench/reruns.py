"""What a run costs when little or nothing has changed.

Run after ``dvc repro``, on the sample and on an idle machine, some ten minutes::

    python -m bench.reruns

Nothing changed: ``dvc repro`` of the project in turns with that of a bare DVC project, whose stages read and write the
same files and do nothing but copy them. Some photographs are new: ``prepare`` and ``extract-features`` in a copy of the
project that has seen all the others, beside the same stages from scratch.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path
from shlex import quote

import pandas as pd
from ruamel.yaml import YAML

from bench.side_by_side import machine_facts, median_ratio, time_in_turns, time_once, write_results
from inspection.config import Params, load_params
from inspection.data.label_tables import TABLE_NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.01, help="of the photographs that are new")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    params, facts = load_params(), machine_facts(("dvc",))
    with tempfile.TemporaryDirectory() as name:
        bare = make_bare(Path(name, "bare"))
        idle = time_in_turns({"project": lambda: repro(Path.cwd()), "bare DVC": lambda: repro(bare)}, arguments.rounds)
        project = copy_project(Path(name, "project"), params)
        scratch = time_stages(project, params)
        shutil.rmtree(project / ".cache")
        held_back = hold_back(project / params.data.source, arguments.share)
        time_stages(project, params)
        n_new = give_back(project / params.data.source, held_back)
        grown = time_stages(project, params)
    print("| | wall, s | CPU, s | CPU over that from scratch |\n|---|---|---|---|")
    for stage, times in grown.items():
        print(f"| {stage}, from scratch | {scratch[stage]['wall']:.1f} | {scratch[stage]['cpu']:.1f} | 1 |")
        ratio = times["cpu"] / scratch[stage]["cpu"]
        print(f"| {stage}, {n_new} new photographs | {times['wall']:.1f} | {times['cpu']:.1f} | {ratio:.3f} |")
    for name, rounds in idle.items():
        wall, cpu = (statistics.median(one[clock] for one in rounds) for clock in ("wall", "cpu"))
        ratio = median_ratio(idle, name, "bare DVC", "cpu")
        print(f"| nothing to do, {name} | {wall:.1f} | {cpu:.1f} | {ratio:.2f} over bare DVC |")
    write_results("reruns", facts, {"nothing_to_do": idle, "n_new": n_new, "from_scratch": scratch, "grown": grown})


def repro(folder: Path) -> None:
    subprocess.run(["dvc", "repro", "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def make_bare(folder: Path) -> Path:
    """Make a DVC project whose stages read and write the same files as ours by plain copies, and run it.

    It has no params, and no stage that always runs.
    """
    project = Path.cwd()
    locked = {
        stage_name.replace("@", "-"): stage
        for lock in ("data/dvc.lock", "dvc.lock")
        for stage_name, stage in YAML(typ="safe").load(Path(lock))["stages"].items()
    }
    deps, outs = (
        {name: [entry["path"] for entry in stage.get(key, [])] for name, stage in locked.items()}
        for key in ("deps", "outs")
    )
    for path in {*chain.from_iterable(deps.values())} - {*chain.from_iterable(outs.values())}:
        _copy(project / path, folder / path)
    _copy(project / ".dvcignore", folder / ".dvcignore")
    stages = {
        name: {
            "cmd": [
                f"mkdir -p {quote(str(Path(path).parent))} && cp -r {quote(str(project / path))} {quote(path)}"
                for path in outs[name]
            ],
            "deps": deps[name],
            "outs": outs[name],
        }
        for name in locked
    }
    YAML(typ="safe").dump({"stages": stages}, folder / "dvc.yaml")
    for command in (
        ["git", "init", "--quiet"],
        ["dvc", "init", "--quiet"],
        ["dvc", "config", "core.analytics", "false"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    repro(folder)
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder; of a folder, without what Python compiles, into one that may be there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def copy_project(folder: Path, params: Params) -> Path:
    """Copy what git holds, the photographs and what the stages that are timed read; no cache."""
    names = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    for name in [name for name in names.split("\0") if name and not Path(folder, name).exists()]:
        _copy(Path(name), folder / name)
    shutil.copytree(params.data.source, folder / params.data.source)
    shutil.copytree("models/backbones", folder / "models" / "backbones")
    return folder


def time_stages(project: Path, params: Params) -> dict[str, dict[str, float]]:
    """Return wall and CPU seconds of each stage."""
    commands = {"prepare": ["stages.prepare"], "plan-tiles": ["stages.plan_tiles"]}
    for backbone in params.backbones:
        commands[f"extract-features, {backbone}"] = ["stages.extract_features", "--backbone", backbone]
    return {
        stage: time_once(
            lambda command=command: subprocess.run([sys.executable, "-m", *command], cwd=project, check=True)
        )
        for stage, command in commands.items()
    }


def hold_back(source: Path, share: float) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Take photographs spread over the table away; return the whole table and their content."""
    table = pd.read_csv(source / TABLE_NAME, dtype=str)
    chosen = table.index % round(1 / share) == 0
    contents = {path: (source / path).read_bytes() for path in table["path"][chosen]}
    for path in contents:
        (source / path).unlink()
    table[~chosen].to_csv(source / TABLE_NAME, index=False)
    return table, contents


def give_back(source: Path, held_back: tuple[pd.DataFrame, dict[str, bytes]]) -> int:
    """Put them back; return how many they are."""
    table, contents = held_back
    for path, content in contents.items():
        (source / path).write_bytes(content)
    table.to_csv(source / TABLE_NAME, index=False)
    return len(contents)


if __name__ == "__main__":
    main()
