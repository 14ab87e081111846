"""Index the photographs of data.source: labels, split, folds, fingerprints."""

from inspection.config import load_params
from inspection.files import write_json
from inspection.labels import DEFECTIVE
from inspection.manifest import (
    TRAIN,
    build_manifest,
    check_unreadable,
    index_images,
    label_images,
    leave_out_copies,
    write_manifest,
)
from inspection.plots import plot_sample_grid
from inspection.sources import list_images
from stages.running import progress, run_stage


def prepare() -> None:
    params = load_params()
    indexed = index_images(list_images(params.data.source), lambda paths: progress(paths, "indexing"))
    check_unreadable(indexed, params.data.max_unreadable_share)
    kept, copies = leave_out_copies(label_images(indexed.readable, params.data))
    for message in (*indexed.unreadable, *copies):
        print(f"left out: {message}")
    manifest = build_manifest(kept, params.data, params.seed)
    train = manifest["split"] == TRAIN
    defective = manifest["label"] == DEFECTIVE
    write_json(
        "metrics/data.json",
        {
            "n_images": len(manifest),
            "n_train": int(train.sum()),
            "n_train_defective": int((train & defective).sum()),
            "n_test": int((~train).sum()),
            "n_test_defective": int((~train & defective).sum()),
            "n_unreadable": len(indexed.unreadable),
            "n_copies_left_out": len(copies),
            "left_out": [*indexed.unreadable, *copies],
        },
    )
    plot_sample_grid("metrics/sample_grid.png", manifest[train], params.seed)
    write_manifest("data/manifest.csv", manifest)


if __name__ == "__main__":
    run_stage(prepare)
