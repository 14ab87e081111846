"""What does the guard let through? Its false alarms on further photographs of the kind, its catches among others.

Run after ``dvc repro export-backbone``::

    python -m bench.guard --other path/to/castings

Both sources are audited and divided as ``prepare`` does. The guard of each is fitted on its training part; false alarms
are counted on its test part, catches among all images of the other source and among pictures of neither: blank frames,
noise, and the pictures of `bench.copies_audit`, a cat among them.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bench.copies_audit import picture_files
from bench.splits import audited_images
from inspection.config import Params, load_params
from inspection.data.images import decode_file, resize
from inspection.data.splits import divide
from inspection.labels import TEST, TRAIN
from inspection.networks.onnx_models import OnnxModel
from inspection.reports.tables.intervals import share_interval
from inspection.voters.features import extract_features
from inspection.voters.guard import fit_guard
from stages.running import open_cache

SIZE = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", required=True, help="folder of photographs of another product")
    arguments = parser.parse_args()
    params = load_params()
    backbone = f"models/backbones/{params.backbones[0]}.onnx"
    known = {name: read_source(name, backbone, params) for name in (params.data.source, arguments.other)}
    network = OnnxModel(Path(backbone).read_bytes(), backbone)
    neither = {
        name: network.run_all([resize(image, network.image_size) for image in images], "features")
        for name, images in pictures_of_neither().items()
    }
    print("| guard of | shown | images | called unlike | 95 % |")
    print("|---|---|---|---|---|")
    for name, (rows, vectors) in known.items():
        train, test = ((rows["split"] == part).to_numpy() for part in (TRAIN, TEST))
        paths, folds = rows["path"].to_numpy(dtype=str), rows["fold"].to_numpy()
        guard = fit_guard(vectors[train], paths[train], folds[train], params.decision.false_alarm_rate)
        others = {other: of_other for other, (_, of_other) in known.items() if other != name}
        for shown, features in {"its own test images": vectors[test], **others, **neither}.items():
            unlike = guard.unlikeness(features) > 1
            low, high = share_interval(int(unlike.sum()), len(unlike))
            print(f"| {name} | {shown} | {len(unlike)} | {unlike.mean():.1%} | {low:.1%}–{high:.1%} |")


def read_source(source: str, backbone: str, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the divided images of a source and their features."""
    images, _ = audited_images(source, params)
    rows = divide(images.assign(group=images["series"], split=""), params.data, params.seed).images
    return rows, extract_features(backbone, rows, open_cache(params.cache.max_megabytes), show_progress).vectors


def pictures_of_neither() -> dict[str, list[np.ndarray]]:
    """Return pictures that show no product at all."""
    random = np.random.default_rng(0)
    return {
        "blank frames": [np.full((SIZE, SIZE, 3), grey, np.uint8) for grey in range(0, 256, 15)],
        "noise": [random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(20)],
        "photographs, drawings and scans": [decode_file(path).pixels for path in picture_files()],
    }


def show_progress(items, total: int, what: str = "features"):
    """Wrap an iterable in a progress bar."""
    return tqdm(items, total=total, desc=what)


if __name__ == "__main__":
    main()
