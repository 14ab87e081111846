"""Join the declared voters into models/ensemble.json, with weights from their out-of-fold scores."""

from inspection.config import CNN_VOTER, load_params
from inspection.ensemble import ENSEMBLE_FILE, describe_ensemble, vote_weight
from inspection.files import replacing, sha256_file, write_json
from inspection.label_noise import label_suspects
from inspection.labels import DEFECTIVE
from inspection.manifest import read_training_rows
from inspection.training_cards import read_cards, read_out_of_fold
from stages.running import run_stage

MAX_SUSPECTS = 100


def fit_ensemble() -> None:
    params = load_params()
    rules = params.ensemble
    shallow = [f"{backbone}_{classifier}" for backbone in params.backbones for classifier in params.classifiers]
    cards = read_cards("metrics/training", [CNN_VOTER, *shallow])
    all_scores = [read_out_of_fold("models", card) for card in cards]
    weights = []
    for scores in all_scores:
        is_right = (scores["defect_proba"] >= rules.threshold) == (scores["label"] == DEFECTIVE)
        weights.append(vote_weight(float(is_right.mean()), len(scores)))
    with replacing("metrics/label_suspects.csv") as temporary:
        label_suspects(all_scores, MAX_SUSPECTS).to_csv(temporary, index=False, lineterminator="\n")
    if len(cards) % 2 == 0:
        print(f"note: {len(cards)} voters can tie, and a tie is sent to review; an odd number cannot.")
    trained_on = {
        "source": params.data.source,
        "n_images": len(read_training_rows("data/manifest.csv")),
        "manifest_sha256": sha256_file("data/manifest.csv"),
    }
    decoding = params.data.decoding.as_decoding()
    description = describe_ensemble(cards, weights, rules.voting, rules.threshold, trained_on, decoding)
    write_json(f"models/{ENSEMBLE_FILE}", description)


if __name__ == "__main__":
    run_stage(fit_ensemble)
