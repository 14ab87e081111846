"""What pyproject.toml promises of the installed package is there."""

import tomllib
from fnmatch import fnmatch
from importlib import import_module

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_console_command_is_the_command_line(capsys, monkeypatch):
    module, function = PROJECT["project"]["scripts"]["inspection"].split(":")
    monkeypatch.setattr("sys.argv", ["inspection", "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        getattr(import_module(module), function)()
    assert "predict" in capsys.readouterr().out


def test_every_file_that_is_no_module_is_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in (ROOT / "inspection").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert ROOT / "inspection" / "py.typed" in files
    assert [path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)] == []


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "inspection").rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []
