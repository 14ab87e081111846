"""dvc.yaml tells the truth: what a stage imports and reads lies within what it declares, and is needed."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

FILES = ("dvc.yaml", "data/dvc.yaml")
"""The pipeline, and that of the sample, which is another one so that it runs only where the sample is the source."""
PIPELINE = {name: stage for file in FILES for name, stage in YAML(typ="safe").load(ROOT / file)["stages"].items()}
SOURCE = YAML(typ="safe").load(ROOT / "params.yaml")["data"]["source"]
PACKAGES = ("inspection", "stages")
WITHOUT_EFFECT = {
    "inspection/config.py",
    "inspection/content_cache.py",
    "inspection/errors.py",
    "stages/running.py",
}
"""What no result depends on, with all that it imports: params are declared one by one and have no defaults, the cache
returns what would be computed, the others make messages."""
PARAMS_WITHOUT_EFFECT = {"cache.max_megabytes"}


def stage_script(stage: dict) -> str:
    return re.match(r"python -m stages\.(\w+)", stage["cmd"])[1]


def module_file(name: str) -> Path | None:
    """Return the file of a module of this project, relative to its root."""
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def imported_files(file: Path) -> set[Path]:
    """Return the project's files that a file imports, anywhere in it, and their packages."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports would escape this check"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    names = {name for name in names if name.split(".")[0] in PACKAGES}
    names |= {name.split(".")[0] for name in names}
    return {found for name in names if (found := module_file(name))}


def needed_files(script: str) -> set[str]:
    """Return every file of the project that running a stage imports, directly or not, if it has an effect."""
    seen, waiting = set(), [Path("stages", f"{script}.py")]
    while waiting:
        file = waiting.pop()
        if file not in seen and file.as_posix() not in WITHOUT_EFFECT:
            seen.add(file)
            waiting += imported_files(file)
    return {file.as_posix() for file in seen if file.name != "__init__.py"}


def chain(node: ast.AST) -> str | None:
    """Return ``a.b.c`` for an attribute chain that starts at the name ``params``."""
    if isinstance(node, ast.Attribute) and (rest := chain(node.value)) is not None:
        return f"{rest}.{node.attr}".removeprefix(".")
    return "" if isinstance(node, ast.Name) and node.id == "params" else None


def read_params(script: str) -> set[str]:
    """Return the longest ``params.x.y`` chains of a stage script; ``params.x[arguments.y]`` is ``x.${item.y}``."""
    tree = ast.parse((ROOT / "stages" / f"{script}.py").read_text(encoding="utf-8"))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Attribute) and chain(node.value):
            inner.add(id(node.value))
            found.add(f"{chain(node.value)}.${{item.{node.slice.attr}}}")
    found |= {read for node in ast.walk(tree) if id(node) not in inner and (read := chain(node))}
    return found


def without_nested(names: set[str]) -> set[str]:
    """Drop names below another one: who reads ``data`` reads ``data.source``."""
    return {name for name in names if not any(name.startswith(f"{other}.") for other in names)}


def code_of(stage: dict) -> set[str]:
    """Return the modules and rooms that a stage declares."""
    return {dep for dep in stage["deps"] if dep.split("/")[0] in PACKAGES}


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@pytest.mark.parametrize("name", PIPELINE)
def test_every_imported_module_lies_within_what_is_declared(name):
    needed = needed_files(stage_script(PIPELINE[name]))
    declared = code_of(PIPELINE[name])
    assert {file for file in needed if not any(covers(dep, file) for dep in declared)} == set()


@pytest.mark.parametrize("name", PIPELINE)
def test_every_declared_module_and_room_is_imported(name):
    needed = needed_files(stage_script(PIPELINE[name]))
    assert {dep for dep in code_of(PIPELINE[name]) if not any(covers(dep, file) for file in needed)} == set()


@pytest.mark.parametrize("file", FILES)
def test_the_lock_knows_no_stage_that_is_gone(file):
    # DVC leaves such entries where they are, reads them and writes them again with every stage.
    stages, locked = (
        YAML(typ="safe").load((ROOT / file).with_suffix(suffix))["stages"] for suffix in (".yaml", ".lock")
    )
    several = {name for name, stage in stages.items() if "matrix" in stage or "foreach" in stage}
    known = {(name, name in several) for name in stages}
    assert [name for name in locked if (name.partition("@")[0], "@" in name) not in known] == []


def produced_by(stage: dict) -> list[str]:
    """Return what a stage writes."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def plain(path: str) -> str:
    """Return a path of dvc.yaml with the source filled in, and one letter for every item of a matrix."""
    return re.sub(r"\$\{[^}]*\}", "X", path.replace("${data.source}", SOURCE))


def meets(dep: str, out: str) -> bool:
    """Whether what a stage reads and what another one writes have a file in common."""
    return covers(plain(dep), plain(out)) or covers(plain(out), plain(dep))


def rerun_by(file: str) -> set[str]:
    """Return the stages that an edit of a file reruns, if everything that they write changes."""
    rerun = {name for name, stage in PIPELINE.items() if any(covers(dep, file) for dep in stage["deps"])}
    while True:
        written = [out for name in rerun for out in produced_by(PIPELINE[name])]
        more = {
            name
            for name, stage in PIPELINE.items()
            if name not in rerun and any(meets(dep, out) for dep in stage["deps"] for out in written)
        }
        if not more:
            return rerun
        rerun |= more


LAST = {"fit-ensemble", "evaluate", "report"}
FROM_PREPARE = {
    "prepare", "plan-tiles", "extract-features", "train-cnn", "train-shallow", "train-detector", "fit-guard", *LAST,
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("inspection/reports/pictures/canvas.py", {"report"}),
        ("inspection/reports/html_report.py", {"report"}),
        ("inspection/reports/report.html.jinja", {"report"}),
        ("inspection/reports/tables/metrics.py", {"evaluate", "report"}),
        ("inspection/decision/operating_point.py", LAST),
        ("inspection/voters/shallow.py", {"train-shallow", *LAST}),
        ("inspection/decision/voting.py", {"check-params", "check-networks", *FROM_PREPARE, "export-backbone"}),
        ("inspection/voters/guard.py", {"fit-guard", *LAST}),
        ("inspection/voters/patch_memory.py", {"train-detector", *LAST}),
        ("inspection/audit/findings.py", FROM_PREPARE),
        ("inspection/data/splits.py", FROM_PREPARE),
        ("stages/evaluate.py", {"evaluate", "report"}),
        ("inspection/station/presentation.py", set()),
        ("inspection/config.py", set()),
    ],
)
def test_an_edit_reruns_what_depends_on_it_and_nothing_else(file, stages):
    assert (ROOT / file).is_file()
    assert rerun_by(file) == stages


def test_pictures_are_drawn_by_one_stage():
    drawing = {name for name, stage in PIPELINE.items() if any(out.endswith(".png") for out in produced_by(stage))}
    assert drawing == {"report"}
    for name in set(PIPELINE) - {"report"}:
        files = needed_files(stage_script(PIPELINE[name]))
        assert not [file for file in files if "pictures" in file], name


def test_no_voter_depends_on_reports():
    for name in set(PIPELINE) - {"evaluate", "report"}:
        assert not [dep for dep in PIPELINE[name]["deps"] if dep.startswith("inspection/reports")], name


def test_packages_hold_a_docstring_only():
    for file in [*(ROOT / "inspection").rglob("__init__.py")]:
        statements = ast.parse(file.read_text(encoding="utf-8")).body
        assert [type(statement) for statement in statements] == [ast.Expr], file


def test_the_params_are_checked_whole():
    assert "params.yaml" in PIPELINE["check-params"]["deps"]


@pytest.mark.parametrize("name", sorted(set(PIPELINE) - {"check-params"}))
def test_declared_params_are_the_read_ones(name):
    stage = PIPELINE[name]
    read = without_nested(read_params(stage_script(stage)))
    assert set(stage.get("params", [])) == read - PARAMS_WITHOUT_EFFECT


def test_every_stage_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__", "learning_curves", "running"}
    assert scripts == {stage_script(stage) for stage in PIPELINE.values()}


def test_stage_scripts_stay_thin():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "stages").glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 60} == {}
