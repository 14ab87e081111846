"""Join the declared voters into models/ensemble.json, with rules learned from their out-of-fold scores."""

import numpy as np
import pandas as pd

from inspection.config import load_params
from inspection.data.images import Decoding
from inspection.data.manifest import read_training_rows
from inspection.decision.ensemble import ENSEMBLE_FILE, decide, describe_ensemble
from inspection.decision.rule_fitting import FittedRules, fit_rules
from inspection.files import sha256_file, write_csv, write_json
from inspection.labels import CLASS_NAMES
from inspection.voters.cards import read_cards, read_out_of_fold
from inspection.voters.stored import fingerprint
from stages.running import run_stage


def fit_ensemble() -> None:
    params = load_params()
    rows = read_training_rows("data/manifest.csv")
    shallow = [f"{backbone}_{classifier}" for backbone in params.backbones for classifier in params.classifiers]
    cards = read_cards("metrics/training", [*params.networks, *shallow])
    proba = np.column_stack([read_out_of_fold("models", card, rows) for card in cards])
    fitted = fit_rules(proba, rows, params.ensemble, params.decision)
    if fitted.notice:
        print(f"NOTICE: {fitted.notice}")
    if len(cards) % 2 == 0:
        print(f"note: {len(cards)} voters can tie, and a tie is sent to review; an odd number cannot.")
    write_csv("models/out_of_fold.csv", judge_unseen(fitted, proba, rows, [card["name"] for card in cards]))
    trained_on = {
        "source": params.data.source,
        "n_images": len(rows),
        "manifest_sha256": sha256_file("data/manifest.csv"),
    }
    guard = {"file": fingerprint("models", "guard.npz"), "network": f"backbones/{params.backbones[0]}.onnx"}
    decoding = Decoding.of(params.data.decoding)
    write_json(f"models/{ENSEMBLE_FILE}", describe_ensemble(cards, fitted.rules, trained_on, decoding, guard))


def judge_unseen(fitted: FittedRules, proba: np.ndarray, rows: pd.DataFrame, voters: list[str]) -> pd.DataFrame:
    decisions = decide(proba, fitted.rules, defect_proba=fitted.out_of_fold)
    table = pd.DataFrame(
        {
            "path": rows["path"],
            "actual": [CLASS_NAMES[label] for label in rows["label"]],
            "verdict": decisions.verdicts,
            "defect_proba": decisions.defect_proba,
            "confidence": decisions.confidence,
            "cause": decisions.causes,
        }
    )
    return pd.concat([table, pd.DataFrame(proba, columns=voters)], axis=1).round(6)


if __name__ == "__main__":
    run_stage(fit_ensemble)
