"""Judge the test images with the Inspector, as the viewer would, and write metrics and tables. Nothing is drawn."""

import pandas as pd

from inspection.data.manifest import count_leaking, iterate_pixels, read_manifest
from inspection.decision.inspector import Inspector
from inspection.files import write_csv, write_json
from inspection.labels import TEST, TRAIN
from inspection.reports.tables.defect_maps import read_masks, summarise_maps, write_maps
from inspection.reports.tables.evaluation import (
    neighbour_table,
    predictions_table,
    score_voters,
    summarise_verdicts,
    tabulate,
)
from inspection.reports.tables.label_noise import label_suspects
from inspection.reports.tables.out_of_fold import read_out_of_fold, summarise_out_of_fold
from inspection.reports.tables.predictions import ENSEMBLE, mistakes_of
from stages.running import progress, run_stage

MAX_SUSPECTS = 100


def evaluate() -> None:
    inspector = Inspector("models")
    manifest = read_manifest("data/manifest.csv")
    summarise_training(manifest[manifest["split"] == TRAIN].reset_index(drop=True), inspector)
    rows = manifest[manifest["split"] == TEST].reset_index(drop=True)
    measured = inspector.measure(progress(iterate_pixels(rows, inspector.decoding), "inspecting", len(rows)))
    verdicts = inspector.judge(measured, rows["path"].tolist(), rows["sha256"].tolist())
    predictions = predictions_table(rows, pd.DataFrame(measured.proba, columns=inspector.voters), verdicts)
    groups = rows["group"].to_numpy()
    if n_leaking := count_leaking(manifest):
        print(f"NOTICE: {n_leaking} of {len(rows)} test images have copies in training: no score is honest.")
    ensemble = summarise_verdicts(predictions, groups) | {"n_leaking_test_images": n_leaking}
    voters = score_voters(predictions, inspector.rules.threshold, groups)
    write_json("metrics/ensemble.json", ensemble)
    for voter, scores in voters.items():
        write_json(f"metrics/voters/{voter}.json", scores)
    for name, table in tabulate(predictions, rows, {ENSEMBLE: ensemble} | voters).items():
        write_csv(f"metrics/curves/{name}.csv", table)
    write_json("metrics/localisation.json", summarise_maps(measured.defect_maps, rows, read_masks("data/masks.csv")))
    write_maps("metrics/maps.npz", rows["path"].tolist(), measured.defect_maps)
    mistakes = mistakes_of(predictions)
    labels = manifest.set_index("path")["label"]
    neighbours = neighbour_table(inspector.guard, mistakes, measured.features[mistakes.index], labels)
    write_csv("metrics/neighbours.csv", neighbours)


def summarise_training(rows: pd.DataFrame, inspector: Inspector) -> None:
    verdicts = read_out_of_fold("models/out_of_fold.csv", rows)
    summary = summarise_out_of_fold(verdicts, rows, inspector.rules, inspector.detectors)
    write_json("metrics/out_of_fold.json", summary)
    write_csv("metrics/label_suspects.csv", label_suspects(rows, verdicts["defect_proba"].to_numpy(), MAX_SUSPECTS))


if __name__ == "__main__":
    run_stage(evaluate)
