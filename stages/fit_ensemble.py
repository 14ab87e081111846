"""Join the declared voters into models/ensemble.json, with weights from their out-of-fold scores."""

from inspection.config import CNN_VOTER, load_params
from inspection.ensemble import ENSEMBLE_FILE, describe_ensemble, vote_weight
from inspection.files import sha256_file, write_json
from inspection.labels import DEFECTIVE
from inspection.manifest import read_training_rows
from inspection.training_cards import read_cards, read_out_of_fold
from stages.running import run_stage


def fit_ensemble() -> None:
    params = load_params()
    rules = params.ensemble
    shallow = [f"{backbone}_{classifier}" for backbone in params.backbones for classifier in params.classifiers]
    cards = read_cards("metrics/training", [CNN_VOTER, *shallow])
    weights = []
    for card in cards:
        scores = read_out_of_fold("models", card)
        is_right = (scores["defect_proba"] >= rules.threshold) == (scores["label"] == DEFECTIVE)
        weights.append(vote_weight(float(is_right.mean()), len(scores)))
    if len(cards) % 2 == 0:
        print(f"note: {len(cards)} voters can tie, and a tie is sent to review; an odd number cannot.")
    trained_on = {
        "source": params.data.source,
        "n_images": len(read_training_rows("data/manifest.csv")),
        "manifest_sha256": sha256_file("data/manifest.csv"),
    }
    description = describe_ensemble(cards, weights, rules.voting, rules.threshold, trained_on)
    write_json(f"models/{ENSEMBLE_FILE}", description)


if __name__ == "__main__":
    run_stage(fit_ensemble)
