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


def named(*files) -> set[str]:
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {canonical(re.split(r"[<>=\[ ;]", line)[0]) for line in lines if line and line[0] not in "#-"}


def project_files(*folders) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("files", "requirements"),
    [
        (lambda: closure(VIEWER_STARTS), ["requirements-app.in"]),
        (lambda: project_files("inspection", "stages"), ["requirements-app.in", "requirements.in"]),
        (lambda: project_files("bench"), ["requirements-app.in", "requirements.in", "requirements-bench.in"]),
        (lambda: project_files("tests", "docs"), ["requirements-app.in", "requirements.in", "requirements-dev.in"]),
    ],
    ids=["viewer", "pipeline", "benchmarks", "tests"],
)
def test_every_import_is_a_named_need(files, requirements):
    needs = named(*requirements)
    assert [distributions for distributions in third_party(files()) if not distributions & needs] == []


def test_the_viewer_needs_no_torch():
    needs = closure(VIEWER_STARTS)
    assert {"inspection/decision/inspector.py", "inspection/audit/findings.py"} <= needs, (
        "what is imported late counts as well"
    )
    assert not {"torch", "torchvision", "timm", "dvc"} & frozenset().union(*third_party(needs))


@pytest.mark.parametrize("name", ["requirements", "requirements-app", "requirements-bench", "requirements-dev"])
def test_the_lock_pins_every_named_need(name):
    pinned = {
        canonical(line.split("==")[0]) for line in (ROOT / f"{name}.txt").read_text().splitlines() if "==" in line
    }
    assert named(f"{name}.in") <= pinned
