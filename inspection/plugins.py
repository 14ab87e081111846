"""Modules of the user's own, imported before anything is looked up by name: they add to the tables of the rooms."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from inspection.errors import ConfigError

PLUGINS_FOLDER = "plugins"
"""Where `load_plugins` looks first after what is installed; DVC watches it."""


def load_plugins(names: Sequence[str], folder: str | Path = PLUGINS_FOLDER) -> None:
    """Import the modules that params.yaml names, once each.

    A plugin adds itself where it belongs when it is imported, for example to
    `inspection.voters.classifiers.CLASSIFIERS`. It is code, which runs with the rights of whoever runs the pipeline:
    nothing confines it, and a name in params.yaml is all it takes.

    Parameters
    ----------
    names : sequence of str
        Names of modules: ``my_classifier`` for ``plugins/my_classifier.py``, or of a package that is installed, whose
        changes DVC does not notice.
    folder : str or Path
        Put at the end of ``sys.path``, so that a file in it never hides a module that is installed. It stays there,
        because models that hold a plugin's classes name its module when they are read.

    Raises
    ------
    ConfigError
        If a module, or one that it needs, is not found. Whatever else it raises comes through as it is: its author
        needs the traceback.
    """
    path = str(Path(folder).resolve())
    if names and path not in sys.path:
        sys.path.append(path)
    importlib.invalidate_caches()
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as problem:
            if problem.name != name:
                raise ConfigError(f"plugins: {name} needs {problem.name}, which is not installed.") from problem
            raise ConfigError(
                f"plugins: no module {name!r}; put {name}.py into {folder}/, or remove the name from params.yaml."
            ) from problem
