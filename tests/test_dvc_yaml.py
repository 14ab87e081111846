"""dvc.yaml tells the truth: each stage declares exactly the modules it imports and the params it reads."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import inspection
from tests.conftest import ROOT

PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PACKAGES = ("inspection", "stages")


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
    """Return every file of the project that running a stage imports, directly or not."""
    seen, waiting = set(), [Path("stages", f"{script}.py"), Path("stages/__init__.py")]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += imported_files(file)
    return {file.as_posix() for file in seen}


def chain(node: ast.AST) -> str | None:
    """Return ``a.b.c`` for an attribute chain that starts at the name ``params``."""
    if isinstance(node, ast.Attribute) and (rest := chain(node.value)) is not None:
        return f"{rest}.{node.attr}".removeprefix(".")
    return "" if isinstance(node, ast.Name) and node.id == "params" else None


def read_params(script: str) -> set[str]:
    """Return the longest ``params.x.y`` chains of a stage script; ``getattr`` by argument becomes ``${item...}``."""
    tree = ast.parse((ROOT / "stages" / f"{script}.py").read_text(encoding="utf-8"))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr" and chain(node.args[0]):
            inner.add(id(node.args[0]))
            found.add(f"{chain(node.args[0])}.${{item.{node.args[1].attr}}}")
    found |= {read for node in ast.walk(tree) if id(node) not in inner and (read := chain(node))}
    # ``params.data.decoding.as_decoding`` is a method of a section, not a key.
    return {re.sub(r"\.as_decoding$", "", read) for read in found}


def without_nested(names: set[str]) -> set[str]:
    """Drop names below another one: who reads ``data`` reads ``data.source``."""
    return {name for name in names if not any(name.startswith(f"{other}.") for other in names)}


@pytest.mark.parametrize("name", PIPELINE)
def test_declared_modules_are_the_imported_ones(name):
    stage = PIPELINE[name]
    declared = {dep for dep in stage["deps"] if dep.endswith(".py")}
    assert declared == needed_files(stage_script(stage))


def test_the_params_are_checked_whole():
    assert "params.yaml" in PIPELINE["check-params"]["deps"]


@pytest.mark.parametrize("name", sorted(set(PIPELINE) - {"check-params"}))
def test_declared_params_are_the_read_ones(name):
    stage = PIPELINE[name]
    assert set(stage.get("params", [])) == without_nested(read_params(stage_script(stage)))


def test_every_stage_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__", "running"}
    assert scripts == {stage_script(stage) for stage in PIPELINE.values()}


def test_stage_scripts_stay_thin():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "stages").glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


ROOMS = [
    {"presentation", "demo", "run_report", "evaluation_plots"}, {"html_report"}, {"evaluation"},
    {"insight_plots"}, {"insight"}, {"inspector"}, {"rule_fitting"}, {"ensemble"}, {"guard", "training_cards"},
    {"voters"}, {"fine_tuning"}, {"cnn_training"}, {"cnn", "shallow", "features", "pretrained", "label_noise"},
    {"wording"}, {"combination", "operating_point"}, {"calibration"}, {"onnx_models", "onnx_export"},
    {"data_metrics", "data_plots", "audit_report"}, {"splits", "leakage_probe"}, {"audit"}, {"indexing", "health"},
    {"copies"}, {"registration"}, {"plots"}, {"metrics"}, {"manifest"}, {"sources"}, {"folder_layouts", "label_tables"},
    {"config"}, {"images", "files"}, {"labels"}, {"errors"},
]  # fmt: skip


def test_every_module_stands_in_one_room():
    modules = sorted(path.stem for path in (ROOT / "inspection").glob("*.py") if not path.stem.startswith("__"))
    assert sorted(name for room in ROOMS for name in room) == modules


def test_the_package_names_its_rooms_in_order():
    assert [set(re.findall(r"``(\w+)``", room)) for room in inspection.__doc__.split(">")] == ROOMS


def test_rooms_import_one_way():
    """A room imports only rooms below it (rooms of one level may stand in the order listed)."""
    level = {name: depth for depth, room in enumerate(ROOMS) for name in room}
    upward = [
        (name, used.stem)
        for name in level
        for used in imported_files(Path("inspection", f"{name}.py"))
        if used.stem in level and level[used.stem] < level[name]
    ]
    assert upward == []


def test_the_library_knows_neither_dvc_nor_streamlit():
    for path in sorted((ROOT / "inspection").glob("*.py")):
        imports = [
            alias.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert not {name.split(".")[0] for name in imports} & {"dvc", "dvclive", "streamlit"}, path.name
