"""Export one pretrained backbone to ONNX, with normalisation and pooling inside."""

import argparse
from pathlib import Path

from inspection.config import load_params
from inspection.networks.pretrained import export_backbone, export_patch_network
from inspection.plugins import load_plugins
from stages.running import run_stage


def export() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    backbone, params = parser.parse_args().backbone, load_params()
    load_plugins(params.plugins)
    path, patches = f"models/backbones/{backbone}.onnx", params.patch_memory
    # Features and patch map come from one pass where both look at photographs of one size.
    is_shared = bool(params.detectors) and params.patch_memory.image_size == params.features.image_size
    export_backbone(backbone, params.features, path, patches if is_shared else None)
    # Empty where nothing looks at photographs of another size.
    own_size = Path(f"models/patches/{backbone}")
    own_size.mkdir(parents=True, exist_ok=True)
    if params.detectors and not is_shared:
        export_patch_network(backbone, params.features, patches, own_size / "network.onnx")


if __name__ == "__main__":
    run_stage(export)
