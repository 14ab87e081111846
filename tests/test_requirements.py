"""The lists of needs are complete: what a part of the project imports, its requirements name."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT
from tests.test_dvc_yaml import module_file

VIEWER_STARTS = ("streamlit_app.py", "inspection/__main__.py")


@cache
def imported_names(file: str) -> set[str]:
    """Modules that a file imports when it runs, anywhere in it, and what it takes from them."""
    names, waiting = set(), [ast.parse((ROOT / file).read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return names


def closure(starts) -> set[str]:
    """The files and every file of the project that they import, directly or not."""
    seen, waiting = set(), list(starts)
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += [found.as_posix() for name in imported_names(file) if (found := module_file(name))]
    return seen


def canonical(name: str) -> str:
    """Spell a distribution's name as the packaging standard does."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def installed_modules():
    """Distributions of every module at the top."""
    return packages_distributions()


def third_party(files) -> set[frozenset[str]]:
    """Of every module that the files import when they run, the distributions that bring it: several share a name."""
    modules = {name.split(".")[0] for file in files for name in imported_names(file)}
    modules -= {*sys.stdlib_module_names, "inspection", "stages", "tests", "bench", "streamlit_app"}
    installed = installed_modules()
    # What only benchmarks need is not installed here, and imported by the name of its package.
    return {frozenset(map(canonical, installed.get(module, [module]))) for module in modules}


def requirements(part: str, suffix: str) -> list[str]:
    """Lines of the needs of a part (``.in``) or of all that they bring (``.txt``)."""
    file = ROOT / ("requirements" + ("" if part == "pipeline" else f"-{part}") + suffix)
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#- "]


def named(*parts: str) -> set[str]:
    """Distributions that parts of the requirements name."""
    lines = [line for part in parts for line in requirements(part, ".in")]
    return {canonical(re.split(r"[<>=\[ ;]", line)[0]) for line in lines}


def pinned(part: str) -> set[tuple[str, str, str]]:
    """Distribution, version and for which Python, of a compiled list."""
    lines = [
        re.match(r"([^=]+)==([^ ]+)(?: ; (python_full_version \S+ '[^']+')?)?", line)
        for line in requirements(part, ".txt")
    ]
    return {(canonical(line[1]), line[2], line[3] or "") for line in lines}


def project_files(*folders) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (lambda: closure(VIEWER_STARTS), ["common", "app"]),
        (lambda: project_files("inspection", "stages"), ["common", "pipeline"]),
        (lambda: project_files("bench"), ["common", "pipeline", "bench"]),
        (lambda: project_files("tests", "docs"), ["common", "pipeline", "dev"]),
    ],
    ids=["viewer", "pipeline", "benchmarks", "tests"],
)
def test_every_import_is_a_named_need(files, parts):
    needs = named(*parts)
    assert [distributions for distributions in third_party(files()) if not distributions & needs] == []


def test_the_viewer_needs_no_torch():
    needs = closure(VIEWER_STARTS)
    assert {"inspection/decision/inspector.py", "inspection/audit/findings.py"} <= needs, (
        "what is imported late counts as well"
    )
    assert not {"torch", "torchvision", "timm", "dvc"} & frozenset().union(*third_party(needs))


@pytest.mark.parametrize(
    ("lock", "parts"),
    [("pipeline", ["common", "pipeline"]), ("app", ["common", "app"]), ("bench", ["bench"]), ("dev", ["dev"])],
)
def test_the_lock_pins_every_named_need(lock, parts):
    assert named(*parts) <= {name for name, _, _ in pinned(lock)}


def test_the_viewer_runs_what_the_pipeline_trained_with():
    # XGBoost for the CPU predicts the same in the same version.
    viewer = {(name.removesuffix("-cpu"), *rest) for name, *rest in pinned("app")}
    assert len(viewer) > 50
    assert viewer - pinned("pipeline") == set()


def test_the_viewer_takes_nothing_that_only_a_gpu_needs():
    assert not [name for name, _, _ in pinned("app") if name.startswith("nvidia")]
    assert "xgboost-cpu" in named("app")
