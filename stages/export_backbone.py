"""Export one pretrained backbone to ONNX, with normalisation and pooling inside."""

import argparse

from inspection.config import load_params
from inspection.networks.pretrained import export_backbone
from inspection.plugins import load_plugins
from stages.running import run_stage


def export() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    arguments = parser.parse_args()
    params = load_params()
    load_plugins(params.plugins)
    export_backbone(arguments.backbone, params.features, f"models/backbones/{arguments.backbone}.onnx")


if __name__ == "__main__":
    run_stage(export)
