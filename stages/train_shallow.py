"""Train one shallow classifier on the features of one backbone."""

import argparse

from inspection.config import load_params
from inspection.data.manifest import read_training_rows
from inspection.plugins import load_plugins
from inspection.voters.abstention import why_abstain, write_abstention
from inspection.voters.cards import TrainedFiles, write_card
from inspection.voters.features import read_features
from inspection.voters.shallow import train_shallow
from inspection.voters.stored import save_pickle
from stages.running import progress, run_stage


def train() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--classifier", required=True)
    arguments = parser.parse_args()
    params = load_params()
    load_plugins(params.plugins)
    rows = read_training_rows("data/manifest.csv")
    voter = f"{arguments.backbone}_{arguments.classifier}"
    names = {"classifier": f"{voter}.pkl", "scaler": f"{voter}_scaler.pkl"}
    if reason := why_abstain(rows["label"].to_numpy(), rows["fold"].to_numpy()):
        write_abstention("metrics/training", "models", voter, arguments.classifier, list(names.values()), reason)
        return
    features = read_features(f"features/{arguments.backbone}.npz", rows)
    trained = train_shallow(
        arguments.classifier,
        params.search[arguments.classifier],
        features.vectors,
        rows["label"].to_numpy(),
        rows["weight"].to_numpy(),
        rows["fold"].to_numpy(),
        params.seed,
        lambda candidates: progress(candidates, arguments.classifier, unit="candidate"),
    )
    save_pickle(f"models/{names['scaler']}", trained.scaler)
    save_pickle(f"models/{names['classifier']}", trained.classifier)
    files = {"network": f"backbones/{arguments.backbone}.onnx"} | names
    card = TrainedFiles(arguments.classifier, files, trained.hyperparameters, tile_side=features.tile_side)
    write_card("metrics/training", "models", voter, card, rows, trained.out_of_fold)


if __name__ == "__main__":
    run_stage(train)
