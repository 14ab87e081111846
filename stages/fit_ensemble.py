"""Join the declared voters into models/ensemble.json, with rules learned from their out-of-fold scores."""

import numpy as np

from inspection.config import load_params
from inspection.data.images import Decoding
from inspection.data.manifest import read_training_rows
from inspection.data.tile_plan import read_tile_side
from inspection.decision.ensemble import describe_ensemble, write_ensemble
from inspection.decision.rule_fitting import fit_rules, out_of_fold_table
from inspection.files import sha256_file, write_csv
from inspection.labels import DEFECTIVE
from inspection.plugins import load_plugins
from inspection.voters.abstention import voting_cards
from inspection.voters.cards import read_cards, read_out_of_fold
from inspection.voters.stored import fingerprint
from stages.running import run_stage


def fit_ensemble() -> None:
    params = load_params()
    load_plugins(params.plugins)
    rows = read_training_rows("data/manifest.csv")
    on_backbones = [f"{one}_{kind}" for one in params.backbones for kind in (*params.classifiers, *params.detectors)]
    cards, abstentions = voting_cards(read_cards("metrics/training", [*params.networks, *on_backbones]))
    proba = np.column_stack([read_out_of_fold("models", card, rows) for card in cards])
    is_detector = np.array([card["kind"] in params.detectors for card in cards])
    fitted = fit_rules(proba, rows, params.ensemble, params.decision, is_detector)
    for notice in filter(None, (abstentions, fitted.notice)):
        print(f"NOTICE: {notice}")
    if len(cards) % 2 == 0:
        print(f"note: {len(cards)} voters can tie, and a tie is sent to review; an odd number cannot.")
    write_csv("models/out_of_fold.csv", out_of_fold_table(fitted, proba, rows, [card["name"] for card in cards]))
    trained_on = {
        "source": params.data.source,
        "n_images": len(rows),
        "n_defects": int((rows["label"] == DEFECTIVE).sum()),
        "manifest_sha256": sha256_file("data/manifest.csv"),
    }
    files = {"file": "guard.npz", "network": f"backbones/{params.backbones[0]}.onnx"}
    guard = {role: fingerprint("models", name) for role, name in files.items()}
    decoding = Decoding.of(params.data.decoding)
    tile_side = read_tile_side("data/tiles.json")
    ensemble = describe_ensemble(cards, fitted.rules, trained_on, decoding, guard, params.plugins, tile_side)
    write_ensemble("models", ensemble)


if __name__ == "__main__":
    run_stage(fit_ensemble)
