"""Judge the test images with the Inspector, as the viewer would, and write metrics, curves and pictures."""

import pandas as pd

from inspection.data.manifest import count_leaking, iterate_pixels, read_manifest
from inspection.decision.inspector import Inspector
from inspection.decision.rules import Cause
from inspection.files import replacing, write_json
from inspection.labels import DEFECTIVE, REVIEW, TEST
from inspection.reports.pictures.evaluation_plots import draw_evaluation
from inspection.reports.pictures.galleries import plot_misclassified
from inspection.reports.pictures.insight_plots import plot_mistakes_with_neighbours
from inspection.reports.tables.evaluation import (
    ENSEMBLE,
    neighbour_tables,
    outcomes,
    predictions_table,
    score_models,
    tabulate,
)
from inspection.reports.tables.metrics import per_thousand
from stages.running import progress, run_stage


def evaluate() -> None:
    inspector = Inspector("models")
    manifest = read_manifest("data/manifest.csv")
    rows = manifest[manifest["split"] == TEST].reset_index(drop=True)
    images = progress(iterate_pixels(rows, inspector.decoding), "inspecting", len(rows))
    measured = inspector.measure(images)
    verdicts = inspector.judge(measured, rows["path"].tolist(), rows["sha256"].tolist())
    proba, labels = pd.DataFrame(measured.proba, columns=inspector.voters), rows["label"].to_numpy()
    scores = score_models(labels, proba, verdicts, inspector.rules.threshold)
    predictions = predictions_table(rows, proba, verdicts)
    write_metrics(scores, per_thousand(labels == DEFECTIVE, *outcomes(verdicts)), predictions, count_leaking(manifest))
    tables = tabulate(labels, predictions, scores) | draw_evaluation("metrics", rows, predictions, inspector.rules)
    for name, table in tables.items():
        with replacing(f"metrics/curves/{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    verdicts_given = predictions["verdict"]
    # A review is no mistake: a person looks.
    is_wrong = ((verdicts_given != predictions["actual"]) & (verdicts_given != REVIEW)).to_numpy()
    mistakes = predictions.assign(label=labels)[is_wrong]
    neighbours = neighbour_tables(inspector.guard, measured.features[is_wrong], manifest.set_index("path")["label"])
    plot_misclassified("metrics/misclassified.png", mistakes, inspector.decoding)
    plot_mistakes_with_neighbours("metrics/mistakes.png", mistakes, neighbours, inspector.decoding)


def write_metrics(scores: dict, of_thousand: dict, predictions: pd.DataFrame, n_leaking: int) -> None:
    if n_leaking:
        print(f"NOTICE: {n_leaking} of {len(predictions)} test images have copies in training: no score is honest.")
    unlike_rate = round(float((predictions["cause"] == Cause.UNLIKE).mean()), 4)
    ensemble = scores[ENSEMBLE] | {"unlike_rate": unlike_rate, "per_1000": of_thousand}
    write_json("metrics/ensemble.json", ensemble | {"n_leaking_test_images": n_leaking})
    for voter in scores.keys() - {ENSEMBLE}:
        write_json(f"metrics/voters/{voter}.json", scores[voter])


if __name__ == "__main__":
    run_stage(evaluate)
