"""Saving a voter with its fingerprints, and loading it back only when they agree."""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator

from inspection.errors import ModelsError
from inspection.files import replacing, sha256_bytes, sha256_file
from inspection.labels import DEFECTIVE

_OTHER_VERSION_ERRORS = (
    pickle.UnpicklingError, AttributeError, ImportError, ValueError, EOFError, KeyError, TypeError, struct.error,
)  # fmt: skip
"""What unpickling raises when the classes have changed since the file was written."""


def fingerprint(models: str | Path, name: str) -> dict[str, str]:
    """Return the entry by which ensemble.json vouches for a file of the models folder.

    Parameters
    ----------
    models : str or Path
    name : str
        Of the file, below the folder.

    Returns
    -------
    dict
        ``path`` and ``sha256``.
    """
    return {"path": name, "sha256": sha256_file(Path(models) / name)}


def save_pickle(path: str | Path, content: BaseEstimator) -> None:
    """Write a fitted scikit-learn or XGBoost object with joblib, in one step.

    Parameters
    ----------
    path : str or Path
    content : BaseEstimator
    """
    with replacing(path) as temporary:
        joblib.dump(content, temporary)


def read_vouched(models: str | Path, entry: dict[str, str]) -> bytes:
    """Read a file of the models folder that ensemble.json vouches for.

    Parameters
    ----------
    models : str or Path
    entry : dict
        ``path`` below the folder and ``sha256``.

    Returns
    -------
    bytes
        Exactly the bytes that were fingerprinted; nothing is read twice.

    Raises
    ------
    ModelsError
        If the file is missing, lies outside the folder, or has another fingerprint.
    """
    folder = Path(models).resolve()
    path = folder / entry["path"]
    if not path.resolve().is_relative_to(folder):
        raise ModelsError(f"ensemble.json names {entry['path']!r}, which is outside {models}; run `dvc repro`.")
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ModelsError(
            f"{path.name}, which ensemble.json names, cannot be read ({problem.strerror}); run `dvc repro`, or "
            "`dvc pull` where a remote holds the models."
        ) from problem
    if sha256_bytes(data) != entry["sha256"]:
        raise ModelsError(
            f"{path.name} is not the file ensemble.json vouches for (its SHA-256 differs), so it is not opened. "
            "If it was damaged or replaced, delete it and run `dvc repro`."
        )
    return data


class ShallowVoter:
    """A scaler and a classifier on the features of one backbone.

    Parameters
    ----------
    models : str or Path
    files : dict of str to dict
        Entries of the roles ``classifier`` (its ``predict_proba`` is called) and ``scaler``; see `read_vouched`.

    Raises
    ------
    ModelsError
        If a file is not the one vouched for, or was written by incompatible library versions.
    """

    def __init__(self, models: str | Path, files: dict[str, dict[str, str]]):
        self._scaler = _unpickle(models, files["scaler"])
        self._classifier = _unpickle(models, files["classifier"])

    def defect_proba(self, features: np.ndarray) -> np.ndarray:
        """Return P(defective).

        Parameters
        ----------
        features : ndarray of float32, shape (n_images, n_features)

        Returns
        -------
        ndarray of float, shape (n_images,), in [0, 1]
        """
        return self._classifier.predict_proba(self._scaler.transform(features))[:, DEFECTIVE]


def _unpickle(models: str | Path, entry: dict[str, str]) -> Any:
    data = read_vouched(models, entry)
    try:
        return joblib.load(io.BytesIO(data))
    except _OTHER_VERSION_ERRORS as problem:
        raise ModelsError(
            f"{entry['path']} was written by other library versions than are installed ({problem}); install "
            "requirements.txt, or run `dvc repro` to train with what is installed."
        ) from problem
