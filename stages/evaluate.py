"""Judge the test images with the Inspector, as the viewer would, and write metrics, curves and the gallery."""

import pandas as pd

from inspection.evaluation import ENSEMBLE, curves, leaderboard, predictions_table, score_models
from inspection.files import replacing, write_json
from inspection.inspector import Inspector
from inspection.labels import TEST
from inspection.manifest import count_leaking, iterate_pixels, read_manifest
from inspection.plots import plot_misclassified
from stages.running import progress, run_stage


def evaluate() -> None:
    inspector = Inspector("models")
    manifest = read_manifest("data/manifest.csv")
    rows = manifest[manifest["split"] == TEST].reset_index(drop=True)
    images = progress(iterate_pixels(rows, inspector.decoding), "inspecting", len(rows))
    proba = pd.DataFrame(inspector.defect_proba(images), columns=inspector.voters)
    verdicts = inspector.judge(proba.to_numpy(), rows["path"].tolist(), rows["sha256"].tolist())
    labels = rows["label"].to_numpy()
    scores = score_models(labels, proba, verdicts, inspector.threshold)
    leaking = count_leaking(manifest)
    if leaking:
        print(f"NOTICE: {leaking} of {len(rows)} test images have copies in the training part: no score is honest.")
    write_json("metrics/ensemble.json", scores[ENSEMBLE] | {"n_leaking_test_images": leaking})
    for voter in inspector.voters:
        write_json(f"metrics/voters/{voter}.json", scores[voter])
    predictions = predictions_table(rows, proba, verdicts)
    tables = {
        **curves(labels, proba.assign(**{ENSEMBLE: predictions["defect_proba"]})),
        "leaderboard": leaderboard(scores),
        "predictions": predictions,
    }
    for name, table in tables.items():
        with replacing(f"metrics/curves/{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    is_wrong = predictions["actual"] != predictions["verdict"]
    plot_misclassified("metrics/misclassified.png", predictions.assign(label=labels)[is_wrong], inspector.decoding)


if __name__ == "__main__":
    run_stage(evaluate)
