"""Every picture of a run, drawn from the tables that the stages before left."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from inspection.data.images import Decoding
from inspection.data.manifest import read_manifest
from inspection.decision.defect_map import DefectMap
from inspection.errors import DataError, ModelsError
from inspection.files import read_json
from inspection.labels import TRAIN
from inspection.reports.pictures.copies import plot_copies
from inspection.reports.pictures.data_plots import plot_data
from inspection.reports.pictures.decision_plots import plot_rates_by_value, plot_scores, plot_tradeoff
from inspection.reports.pictures.galleries import plot_misclassified, plot_mistakes, plot_sample_grid, plot_suspects
from inspection.reports.pictures.map_gallery import plot_maps
from inspection.reports.pictures.voter_plots import plot_agreement, plot_calibration
from inspection.reports.tables.defect_maps import read_maps
from inspection.reports.tables.insight import agreement
from inspection.reports.tables.predictions import is_defective, mistakes_of, voters_of
from inspection.reports.tables.reading import read_table


def draw_data(data: str | Path, pictures: str | Path, seed: int, decoding: Decoding) -> None:
    """Draw ``data.png``, ``sample_grid.png`` and ``copies.png``.

    Parameters
    ----------
    data : str or Path
        Folder written by ``prepare``.
    pictures : str or Path
        Folder to write to.
    seed : int
        Chooses the samples.
    decoding : Decoding
        The one ``prepare`` used.

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    data, pictures = Path(data), Path(pictures)
    manifest = read_manifest(data / "manifest.csv")
    photographs = read_table(data / "photographs.csv", "prepare", ("path", "split"))
    findings = read_json(data / "audit.json", DataError)
    plot_data(pictures / "data.png", manifest, photographs)
    plot_sample_grid(pictures / "sample_grid.png", manifest[manifest["split"] == TRAIN], seed, decoding)
    plot_copies(pictures / "copies.png", findings, photographs, decoding)


def draw_evaluation(metrics: str | Path, threshold: float, decoding: Decoding) -> None:
    """Draw what the test images say about the ensemble, its mistakes, and labels to look at again.

    Parameters
    ----------
    metrics : str or Path
        Folder written by ``evaluate``; for ``scores.png``, ``tradeoff.png``, ``rates_by_value.png``,
        ``agreement.png``, ``calibration.png``, ``maps.png``, ``misclassified.png``, ``mistakes.png`` and
        ``label_suspects.png``.
    threshold : float in (0, 1)
        From which a voter votes defective.
    decoding : Decoding
        The one the models were trained with.

    Raises
    ------
    ModelsError
        If a file is missing or damaged.
    """
    folder = Path(metrics)
    predictions = read_table(folder / "curves/predictions.csv", "evaluate", ("path", "actual", "verdict", "cause"))
    defect_maps = read_maps(folder / "maps.npz")
    ensemble, out_of_fold = (read_json(folder / f"{name}.json", ModelsError) for name in ("ensemble", "out_of_fold"))
    plot_scores(
        folder / "scores.png",
        is_defective(predictions),
        predictions["defect_proba"].to_numpy(),
        _thresholds(out_of_fold, threshold),
    )
    plot_tradeoff(
        folder / "tradeoff.png",
        read_table(folder / "curves/tradeoff.csv", "evaluate", ()),
        # Of escapes nothing is known where there are too few defects.
        {} if ensemble["escape_rate"] is None else {"verdicts": (ensemble["escape_rate"], ensemble["overkill_rate"])},
    )
    rates = read_table(folder / "curves/rates_by_value.csv", "evaluate", ("column", "value"))
    plot_rates_by_value(folder / "rates_by_value.png", rates)
    plot_agreement(folder / "agreement.png", agreement(voters_of(predictions) >= threshold))
    plot_calibration(folder / "calibration.png", read_table(folder / "curves/calibration.csv", "evaluate", ("voter",)))
    plot_maps(folder / "maps.png", predictions, defect_maps, decoding)
    _draw_photographs(folder, mistakes_of(predictions), defect_maps, decoding)


def _thresholds(out_of_fold: dict, threshold: float) -> tuple[float, ...]:
    """Return the thresholds that decide: those of an operating point, once where they are equal, or the voters'."""
    points = out_of_fold["operating_point"]
    return tuple(dict.fromkeys((points[0]["pass_below"], points[0]["fail_from"]))) if points else (threshold,)


def _draw_photographs(
    folder: Path, mistakes: pd.DataFrame, defect_maps: Mapping[str, DefectMap], decoding: Decoding
) -> None:
    neighbours = read_table(folder / "neighbours.csv", "evaluate", ("mistake", "path"))
    suspects = read_table(folder / "label_suspects.csv", "evaluate", ("path",))
    plot_misclassified(folder / "misclassified.png", mistakes, decoding)
    plot_mistakes(folder / "mistakes.png", mistakes, neighbours, defect_maps, decoding)
    plot_suspects(folder / "label_suspects.png", suspects, decoding)
