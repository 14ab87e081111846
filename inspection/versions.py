"""Versions of the installed packages."""

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "not installed"
_STANDS_FOR = {"xgboost": "xgboost-cpu"}
"""Packages by others of the same version and modules, which lack what only a GPU needs."""


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package, in the order given.

    Parameters
    ----------
    packages : iterable of str
        Names of the package index, or ``"python"`` for the interpreter, of which the first two numbers count.

    Returns
    -------
    dict of str to str
        `NOT_INSTALLED` for a package that is not there.
    """
    return {package: _installed(package) for package in packages}


def _installed(package: str) -> str:
    if package == "python":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version(package)
    except PackageNotFoundError:
        return _installed(_STANDS_FOR[package]) if package in _STANDS_FOR else NOT_INSTALLED
