"""Train BaselineCNN on all folds but the first, which stops the training and gives its out-of-fold scores."""

import io
from dataclasses import asdict

import numpy as np
import torch
from dvclive import Live

from inspection.cnn import LabelledImages, ServedCNN, train_cnn
from inspection.config import CNN_VOTER, load_params
from inspection.files import write_bytes
from inspection.images import resize
from inspection.manifest import iterate_pixels, read_training_rows
from inspection.onnx_export import export_onnx
from inspection.training_cards import TrainedFiles, write_card
from stages.running import progress, run_stage

HELD_OUT_FOLD = 0


def train() -> None:
    params = load_params()
    rows = read_training_rows("data/manifest.csv")
    pixels = iterate_pixels(rows, params.data.decoding.as_decoding())
    images = np.stack([resize(image, params.cnn.image_size) for image in progress(pixels, "loading", len(rows))])
    held_out = (rows["fold"] == HELD_OUT_FOLD).to_numpy()

    def part(chosen):
        return LabelledImages(images[chosen], rows["label"].to_numpy()[chosen], rows["weight"].to_numpy()[chosen])

    with Live("metrics/cnn", dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def log(scores):
            print("  ".join(f"{name} {value:.4g}" for name, value in asdict(scores).items()), flush=True)
            for name, value in asdict(scores).items():
                if name != "epoch":
                    live.log_metric(name, round(value, 4))
            live.next_step()

        trained = train_cnn(part(~held_out), part(held_out), params.cnn, params.seed, log)
    print(f"best epoch: {trained.best_epoch}")
    state = io.BytesIO()
    torch.save(trained.network.state_dict(), state)
    write_bytes(f"models/{CNN_VOTER}.pth", state.getvalue())
    export_onnx(
        ServedCNN(trained.network),
        f"models/{CNN_VOTER}.onnx",
        params.cnn.image_size,
        ["defect_proba", "feature_map"],
        {"name": CNN_VOTER},
    )
    files = TrainedFiles("cnn", {"network": f"{CNN_VOTER}.onnx", "state_dict": f"{CNN_VOTER}.pth"}, {})
    write_card("metrics/training", "models", CNN_VOTER, files, rows[held_out], trained.held_out_proba)


if __name__ == "__main__":
    run_stage(train)
