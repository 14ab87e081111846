"""How much of a score is memory? One voter on several ways to divide the same photographs.

Run after ``dvc repro export-backbone``::

    python -m bench.splits --block 60
    python -m bench.splits --source ../casting

Each way is drawn with several seeds; an RBF SVM on one backbone's features is trained on each as ``train-shallow``
would, hyper-parameters included, and tested once. ``nearest neighbour`` is the balanced accuracy of memory alone.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from inspection.audit.findings import audit_images
from inspection.audit.indexing import index_images
from inspection.audit.leakage_probe import nearest_neighbour_accuracy
from inspection.audit.spectra import descriptors
from inspection.config import Params, load_params
from inspection.data.manifest import label_of, weigh_images
from inspection.data.sources import group_by_name, list_images
from inspection.data.splits import divide
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.voters.features import extract_features
from inspection.voters.shallow import train_shallow
from stages.running import open_cache

CLASSIFIER = "svm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="folder of photographs; by default data.source of params.yaml")
    parser.add_argument("--backbone", default="efficientnet_lite2")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--block", type=int, default=0, help="also keep this many consecutive file numbers together")
    arguments = parser.parse_args()
    params = load_params()
    source = arguments.source or params.data.source
    images, memory_vectors = audited_images(source, params)
    backbone = f"models/backbones/{arguments.backbone}.onnx"
    vectors = extract_features(backbone, images, open_cache(params.cache.max_megabytes), show_progress).vectors
    rows = []
    for name, groups, split in ways_to_divide(images, source, arguments.block):
        # A supplied split is always the same one.
        for seed in range(arguments.seeds if (split == "").all() else 1):
            division = divide(
                images.assign(group=groups, split=split), params.data.model_copy(update={"leaks": "keep"}), seed
            )
            scores = score(division.images, vectors, memory_vectors, params.search["svm"], seed)
            rows.append({"split": name, "groups": len(set(groups)), **scores})
    table = pd.DataFrame(rows).groupby(["split", "groups"], sort=False)
    spread = table.std().fillna(0)
    print((table.mean().map("{:.4f}".format) + " ± " + spread.map("{:.4f}".format)).to_string())


def show_progress(items, total: int, what: str = "features"):
    """Wrap an iterable in a progress bar."""
    return tqdm(items, total=total, desc=what)


def audited_images(source: str, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the images of a source without contradicting copies, and the vectors memory compares."""
    data, cache = params.data, open_cache(params.cache.max_megabytes)
    indexed = index_images(list_images(source, classes=data.classes), progress=show_progress, cache=cache)
    labels = label_of(indexed.readable["defect_probability"], data.defect_threshold)
    audit = audit_images(indexed, labels, show_progress, cache)
    images = audit.images.assign(weight=weigh_images(audit.images, data))
    images = images[images.groupby("photograph")["label"].transform("nunique") == 1]
    # Positions point into the list of all images; names stay true when some are left out.
    for column in ("photograph", "series"):
        images[column] = audit.images["path"].to_numpy()[images[column]]
    return images.reset_index(drop=True), descriptors(audit.signatures.spectra)[images["picture"]]


def ways_to_divide(images: pd.DataFrame, source: str, block: int):
    """Yield name, groups and split (empty: to be drawn) of each way."""
    undivided = np.full(len(images), "")
    if (images["split"] != "").any():
        yield "as supplied", images["path"], images["split"]
    yield "random", images["path"], undivided
    yield "copies together", images["photograph"], undivided
    yield "copies and series together", images["series"], undivided
    if block:
        numbered = group_by_name(images, source, r"(\d+)\D*$", block)
        yield f"blocks of {block} file numbers", numbered["group"], undivided


def score(images: pd.DataFrame, vectors: np.ndarray, memory_vectors: np.ndarray, grid: dict, seed: int) -> dict:
    """Train on the training part and return the scores on the test part."""
    positions = images.index.to_numpy()
    train, test = (positions[images["split"] == part] for part in (TRAIN, TEST))
    rows = images.loc[train]
    trained = train_shallow(
        CLASSIFIER, grid, vectors[train], rows["label"].to_numpy(), rows["weight"].to_numpy(), rows["fold"].to_numpy(),
        seed,
    )  # fmt: skip
    proba = trained.classifier.predict_proba(trained.scaler.transform(vectors[test]))[:, DEFECTIVE]
    is_defect = images.loc[test, "label"].to_numpy() == DEFECTIVE
    is_rejected = proba >= 0.5
    return {
        "accuracy": float((is_rejected == is_defect).mean()),
        "AUC": float(roc_auc_score(is_defect, proba)),
        "escape rate": float((~is_rejected)[is_defect].mean()),
        "overkill rate": float(is_rejected[~is_defect].mean()),
        "nearest neighbour": nearest_neighbour_accuracy(
            memory_vectors[positions], images["label"].to_numpy(), images["split"].to_numpy()
        ),
    }


if __name__ == "__main__":
    main()
