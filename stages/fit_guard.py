"""Learn from the features of the first backbone which photographs are of the kind the models know."""

from inspection.config import load_params
from inspection.data.manifest import read_training_rows
from inspection.voters.features import read_features
from inspection.voters.guard import fit_guard, write_guard
from stages.running import run_stage


def fit() -> None:
    params = load_params()
    rows = read_training_rows("data/manifest.csv")
    features = read_features(f"features/{params.backbones[0]}.npz", rows)
    paths, folds = rows["path"].to_numpy(dtype=str), rows["fold"].to_numpy()
    guard = fit_guard(features.vectors, paths, folds, params.decision.false_alarm_rate)
    print(f"unlike the training images: further than {guard.limit:.3f} standard deviations per feature")
    write_guard("models/guard.npz", guard)


if __name__ == "__main__":
    run_stage(fit)
