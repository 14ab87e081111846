"""Reads Markdown and finds what it names that is not there: commands, options, paths, params, modules, links.

What is checked: commands in fenced ``sh`` and ``console`` blocks and in code marks; imports in fenced ``python``
blocks; in code marks also params keys, modules and their names, and paths below a folder of the project; and relative
links with their anchors. Everything else in code marks is somebody's example and is left alone.
"""

import argparse
import ast
import contextlib
import functools
import importlib.util
import io
import itertools
import os
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import get_args
from unittest import mock

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from inspection.config import Params

OWN_PACKAGES = ("inspection", "stages", "bench", "tests", "docs")
OTHER_COMMANDS = (
    "git", "cd", ".", "apt", "apt-get", "pip", "ruff", "lint-imports", "mypy", "uv", "curl", "docker", "streamlit",
    "inspection",
)  # fmt: skip
"""Programs that are named but not looked into; ``pip`` must name files that exist."""
FOLDERS = (
    "data", "docs", "bench", "features", "inspection", "metrics", "models", "notebooks", "plugins", "stages", "tests",
    "weights",
    ".cache", ".ci", ".dvc", ".streamlit",
)  # fmt: skip
SUFFIXES = (".py", ".md", ".yaml", ".toml", ".lock", ".txt", ".in", ".json", ".npz", ".ipynb")
"""Of files that are looked for when they are named without a folder."""
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_PARAMS_KEY = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)*)(?:\.\*)?(?:\s*[:=]\s*.+)?")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
_ENDS_OF_COMMANDS = ("&&", "||", ";", "|")


@dataclass(frozen=True)
class Project:
    """What documents may name.

    Attributes
    ----------
    root : Path
    stages : frozenset of str
        Of dvc.yaml.
    outputs : tuple of str
        Patterns of what stages write and of what git ignores, relative to the root.
    targets : frozenset of str
        Of the Makefile.
    params : dict
        Content of params.yaml.
    """

    root: Path
    stages: frozenset[str]
    outputs: tuple[str, ...]
    targets: frozenset[str]
    params: dict

    @classmethod
    def read(cls, root: Path) -> "Project":
        pipeline = YAML(typ="safe").load(root / "dvc.yaml")["stages"]
        outputs = [pattern for stage in pipeline.values() for pattern in _outputs(stage)]
        for line in (root / ".gitignore").read_text(encoding="utf-8").splitlines():
            pattern = line.strip("/")
            # Where stages write, what counts is what they say they write.
            if line[:1] not in ("", "#") and not any(output.startswith(f"{pattern}/") for output in outputs):
                outputs.append(pattern)
        targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        params = YAML(typ="safe").load(root / "params.yaml")
        return cls(root, frozenset(pipeline), tuple(outputs), frozenset(targets), params)


def _outputs(stage: dict) -> Iterator[str]:
    for entry in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
        yield re.sub(r"\$\{[^}]*\}", "*", entry if isinstance(entry, str) else next(iter(entry)))


def find_problems(text: str, project: Project, folder: Path) -> list[str]:
    """Return what a document names that is not there.

    Parameters
    ----------
    text : str
        Markdown.
    project : Project
    folder : Path
        From which relative links lead.

    Returns
    -------
    list of str
        One sentence each; empty when all is well.
    """
    problems = []
    for language, block in _FENCE.findall(text):
        if language in ("sh", "console"):
            problems += [found for command in commands_of(block, language) for found in check_command(command, project)]
        elif language == "python":
            problems += check_python(block, project)
    prose = _FENCE.sub("", text)
    for code in _CODE.findall(prose):
        problems += check_code(" ".join(code.split()), project)
    for target in _LINK.findall(_CODE.sub("", prose)):
        problems += check_link(target, text, project, folder)
    return problems


def commands_of(block: str, language: str) -> Iterator[list[str]]:
    """Yield the commands of a block, in words; in a console those after ``$``."""
    for line in block.replace("\\\n", " ").splitlines():
        if language == "console" and not line.startswith("$ "):
            continue
        words = shlex.split(line.removeprefix("$ "), comments=True)
        command: list[str] = []
        for word in [*words, ";"]:
            if word in _ENDS_OF_COMMANDS:
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def check_command(command: list[str], project: Project) -> list[str]:
    """Return what is wrong with a command, in words."""
    program, *arguments = command
    if program == "make":
        targets = [word for word in arguments if "=" not in word and not word.startswith("-")]
        return [f"make {target}: no such target" for target in targets if target not in project.targets]
    if program in ("python", "python3"):
        return check_python_command(arguments, project)
    if program == "dvc":
        return check_dvc(arguments, project)
    if program == "pip":
        files = [word for before, word in zip(arguments, arguments[1:], strict=False) if before == "-r"]
        return [f"pip: no file {file}" for file in files if not (project.root / file).is_file()]
    return [] if program in OTHER_COMMANDS else [f"{program}: an unknown command"]


def check_python_command(arguments: list[str], project: Project) -> list[str]:
    """Check ``python -m MODULE ...`` and ``python FILE ...``."""
    if not arguments:
        return []
    if arguments[0] != "-m":
        return [] if (project.root / arguments[0]).is_file() else [f"python {arguments[0]}: no such file"]
    module, options = arguments[1], arguments[2:]
    if module.split(".")[0] not in OWN_PACKAGES:
        return [] if importlib.util.find_spec(module) else [f"python -m {module}: no such module"]
    file = module_file(module, project)
    if file is None or (file.is_dir() and not (file / "__main__.py").is_file()):
        return [f"python -m {module}: no such module"]
    problem = parse_options(module, file, tuple(options))
    return [f"python -m {module}: {problem}"] if problem else []


class _IsParsed(BaseException):
    """Nothing of a module may run once its options are read; no handler of it catches this."""


@functools.cache
def parse_options(module: str, file: Path, options: tuple[str, ...]) -> str:
    """Let a module read its options, and stop it there; return its complaint, or nothing.

    A module without a parser is not run; it takes no options.
    """
    source = (file / "__main__.py" if file.is_dir() else file).read_text(encoding="utf-8")
    if "ArgumentParser" not in source:
        return f"takes no options, and gets {' '.join(options)}" if options else ""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *arguments, **keywords):
        parse(self, list(options))
        raise _IsParsed

    words = io.StringIO()
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "argv", [module, *options]),
        contextlib.redirect_stderr(words),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # A module that was imported before is run a second time, up to its options.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__")
        except _IsParsed:
            return ""
        except SystemExit:
            return words.getvalue().strip().rpartition("\n")[2] or "stops"
    return "does not read its options"


def check_dvc(arguments: list[str], project: Project) -> list[str]:
    """Check a command by DVC's own parser, its stages, and the params that it sets."""
    from dvc.cli import DvcParserError
    from dvc.cli.parser import get_main_parser

    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            options = get_main_parser().parse_args(arguments)
    except (DvcParserError, SystemExit):
        return [f"dvc {' '.join(arguments)}: DVC does not understand it"]
    problems = []
    if options.cmd in ("repro", "exp") and (targets := getattr(options, "targets", None)):
        unknown = [target for target in targets if target.split("@")[0] not in project.stages]
        problems += [f"dvc {options.cmd}: no stage {target}" for target in unknown]
    settings = getattr(options, "set_param", None) or []
    return problems + check_settings(settings, project, is_sweep=getattr(options, "queue", False))


def check_settings(settings: list[str], project: Project, is_sweep: bool) -> list[str]:
    """Check every ``key=value`` of ``dvc exp run -S``: the params with all of them must be usable, all of a sweep."""
    pairs = [setting.partition("=")[::2] for setting in settings]
    unknown = [f"-S {key}: no such key in params.yaml" for key, _ in pairs if not has_key(key)]
    if unknown:
        return unknown
    choices = [text.split(",") if is_sweep and "[" not in text else [text] for _, text in pairs]
    for values in itertools.product(*choices):
        changed = project.params
        for (key, _), value in zip(pairs, values, strict=True):
            changed = _with_value(changed, key.split("."), YAML(typ="safe").load(value))
        try:
            Params.model_validate(changed)
        except ValidationError as problem:
            return [f"-S {' -S '.join(settings)}: {problem}"]
    return []


def _with_value(params: dict, keys: list[str], value: object) -> dict:
    inner = value if len(keys) == 1 else _with_value(params[keys[0]] or {}, keys[1:], value)
    return params | {keys[0]: inner}


def has_key(key: str) -> bool:
    """Whether a params key exists; below a mapping of free names every name does."""
    section: object = Params
    for name in key.split("."):
        models = [item for item in (section, *get_args(section)) if isinstance(item, type)]
        model = next((item for item in models if issubclass(item, BaseModel)), None)
        if model is None:
            return getattr(section, "__origin__", None) is dict
        if name not in model.model_fields:
            return False
        section = model.model_fields[name].annotation
    return True


def check_python(block: str, project: Project) -> list[str]:
    """Check that a block is Python, and that what it imports from the project is there."""
    try:
        tree = ast.parse(block)
    except SyntaxError as problem:
        return [f"no Python: {problem}"]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [found for name in names if name.split(".")[0] in OWN_PACKAGES for found in check_name(name, project)]


def check_code(code: str, project: Project) -> list[str]:
    """Check what stands in code marks, when it is a command, a params key, a module or a path."""
    first = code.split()[0]
    if " " in code and first in ("make", "python", "dvc") and not re.search(r"[<…]|\.\.\.", code):
        return check_command(shlex.split(code), project)
    key = _PARAMS_KEY.fullmatch(code)
    if key and "." in key[1] and key[1].split(".")[0] in Params.model_fields and not has_suffix(code):
        return [] if has_key(key[1]) else [f"{code}: no such key in params.yaml"]
    if _DOTTED.fullmatch(code) and code.split(".")[0] in OWN_PACKAGES and not has_suffix(code):
        return check_name(code, project)
    if re.search(r"[\s(={]", code):
        return []
    if code.split("/")[0] in FOLDERS and "/" in code:
        return [] if has_path(code, project) else [f"{code}: no such path"]
    if "/" not in code and has_suffix(code) and not code.startswith("."):
        return [] if has_name(code, project) else [f"{code}: no file of this name"]
    return []


def has_suffix(code: str) -> bool:
    return code.endswith(SUFFIXES)


def has_path(path: str, project: Project) -> bool:
    """Whether a path of the project exists, or is written by a stage or ignored by git.

    ``<name>`` and ``...`` in it stand for any name.
    """
    pattern = re.sub(r"<[^>]*>|\.\.\.", "*", path.rstrip("/"))
    for output in project.outputs:
        if fnmatch(pattern, output) or fnmatch(pattern, f"{output}/*") or fnmatch(output, pattern):
            return True
        if output.startswith(f"{pattern}/"):
            return True
    return any(True for _ in project.root.glob(pattern))


def has_name(name: str, project: Project) -> bool:
    """Whether a file of this name lies anywhere in the project, or is written by a stage."""
    if any(fnmatch(name, output.rpartition("/")[2]) for output in project.outputs if output[-2:] != "/*"):
        return True
    for _, inner, files in os.walk(project.root):
        inner[:] = [entry for entry in inner if entry not in (".venv", ".git", "__pycache__", "cache", "tmp")]
        if name in files:
            return True
    return False


def module_file(module: str, project: Project) -> Path | None:
    """Return the file or folder of a module."""
    path = project.root / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path) if file.exists()), None)


def check_name(name: str, project: Project) -> list[str]:
    """Check a module, or a name that a module defines."""
    if module_file(name, project):
        return []
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        file = module_file(".".join(parts[:end]), project)
        if file is not None and file.is_file():
            return (
                []
                if parts[end] in defined_names(file)
                else [f"{name}: {'.'.join(parts[:end])} defines no {parts[end]}"]
            )
    return [f"{name}: no such module"]


def defined_names(file: Path) -> set[str]:
    """Return the names that a module defines or imports at its top level."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in ast.walk(node) if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def check_link(target: str, text: str, project: Project, folder: Path) -> list[str]:
    """Check a relative link and its anchor; addresses in the web are not opened."""
    if re.match(r"[a-z]+:", target):
        return []
    path, _, anchor = target.partition("#")
    file = (folder / path).resolve()
    if path and not (file.exists() or has_path(os.path.relpath(file, project.root), project)):
        return [f"link to {target}: no such path"]
    if anchor and anchor not in anchors(file.read_text(encoding="utf-8") if path else text):
        return [f"link to {target}: no such heading"]
    return []


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
