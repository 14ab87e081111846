"""The charts of an evaluation, and the tables behind them."""

from pathlib import Path

import pandas as pd

from inspection.decision.rules import Rules
from inspection.files import DIGITS
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.reports.pictures.insight_plots import (
    plot_agreement,
    plot_calibration,
    plot_rates_by_value,
    plot_scores,
    plot_tradeoff,
)
from inspection.reports.tables.evaluation import ENSEMBLE, VERDICT_COLUMNS
from inspection.reports.tables.insight import agreement, rates_by_value, tradeoff

COLUMNS = ("stratum", "defect_type", "stated_group")
"""Of the manifest, for whose values rates are drawn."""


def draw_evaluation(
    folder: str | Path, rows: pd.DataFrame, predictions: pd.DataFrame, rules: Rules
) -> dict[str, pd.DataFrame]:
    """Draw what the test images say about the ensemble.

    Parameters
    ----------
    folder : str or Path
        For ``scores.png``, ``tradeoff.png``, ``agreement.png``, ``calibration.png`` and ``rates_by_value.png``.
    rows : DataFrame
        Test images of the manifest.
    predictions : DataFrame
        Of the same images; see `inspection.reports.tables.evaluation.predictions_table`.
    rules : Rules

    Returns
    -------
    dict of DataFrame
        ``tradeoff`` and ``rates_by_value``, ready to be written: the rates by value are rounded.
    """
    folder, is_defect = Path(folder), (rows["label"] == DEFECTIVE).to_numpy()
    proba, voters = predictions["defect_proba"].to_numpy(), predictions.drop(columns=list(VERDICT_COLUMNS))
    point = rules.operating_point
    plot_scores(
        folder / "scores.png",
        is_defect,
        proba,
        (rules.threshold,) if point is None else tuple(dict.fromkeys((point.pass_below, point.fail_from))),
    )
    plot_calibration(
        folder / "calibration.png", is_defect, {ENSEMBLE: proba} | {name: voters[name].to_numpy() for name in voters}
    )
    plot_agreement(folder / "agreement.png", agreement(voters >= rules.threshold))
    tables = {"tradeoff": tradeoff(is_defect, proba), "rates_by_value": rates_by_value(predictions, rows, COLUMNS)}
    passes, fails = (predictions["verdict"] == CLASS_NAMES[label] for label in (NON_DEFECTIVE, DEFECTIVE))
    here = float(passes[is_defect].mean()), float(fails[~is_defect].mean())
    plot_tradeoff(folder / "tradeoff.png", tables["tradeoff"], {"verdicts": here})
    # Not rounded: the picture counts parts back from the rates.
    plot_rates_by_value(folder / "rates_by_value.png", tables["rates_by_value"])
    return tables | {"rates_by_value": tables["rates_by_value"].round(DIGITS)}
