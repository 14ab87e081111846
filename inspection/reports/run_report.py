"""What the report of a run says: sections made of its metrics files and pictures."""

from pathlib import Path

import pandas as pd

from inspection.config import DecisionParams
from inspection.decision.wording import setting
from inspection.files import read_json
from inspection.reports.html_report import Picture, Section, Table

_METRICS = {
    "accuracy": "accuracy",
    "roc_auc": "AUC",
    "f1": "F1",
    "escape_rate": "escape rate",
    "overkill_rate": "overkill rate",
    "review_rate": "review rate",
    "ece": "ECE",
    "brier": "Brier score",
}
_TERMS = (
    "The escape rate is the share of defective parts that pass, the overkill rate the share of good parts that fail, "
    "the review rate the share of all parts that a person must look at. ECE is the expected calibration error. Numbers "
    "are those of the test images, which no model and no rule has seen; intervals are 95 %."
)


def describe_run(metrics: str | Path, voting: str, decision: DecisionParams) -> list[Section]:
    """Return the sections of the report.

    Parameters
    ----------
    metrics : str or Path
        Folder written by ``prepare``, ``fit-ensemble`` and ``evaluate``.
    voting : str
        Rule of the vote.
    decision : DecisionParams
    """
    folder = Path(metrics)
    ensemble, out_of_fold = (read_json(folder / f"{name}.json") for name in ("ensemble", "out_of_fold"))
    return [
        _verdicts(folder, ensemble, _rule(out_of_fold, voting, decision)),
        _voters(folder, out_of_fold),
        _calibration(folder, out_of_fold),
        _mistakes(folder),
        _data(folder, ensemble),
        _suspects(folder),
    ]


def _verdicts(folder: Path, ensemble: dict, rule: str) -> Section:
    of_thousand = ensemble["per_1000"]
    lines = [
        {"of 1,000 such parts": words, "expected": of_thousand[key], "low": of_thousand[f"{key}_low"],
         "high": of_thousand[f"{key}_high"]}
        for key, words in (("escapes", "defective parts that pass"), ("overkill", "good parts that fail"),
                           ("reviews", "parts for a person to look at"))
    ]  # fmt: skip
    return Section(
        "What to expect of the verdicts",
        f"{rule}\n\n{_TERMS}",
        (
            Table(pd.DataFrame(lines), f"Measured on {ensemble['n_images']} test images with their share of defects."),
            Picture(folder / "scores.png", "Histogram of the ensemble's probability for defective and for good parts."),
            Picture(
                folder / "tradeoff.png",
                "Escape rate against overkill rate for every threshold.",
                "Fewer escapes cost more good parts: where the verdicts of this run lie, and where they could.",
            ),
            Picture(
                folder / "rates_by_value.png",
                "Escape and overkill rate per kind of part, defect and label.",
                "A part that goes to review neither escapes nor is overkill. The accuracy in curves/rates_by_value.csv "
                "counts every review as wrong; that of the models below counts it as not passing, so that a defect "
                "under review is right.",
            ),
        ),
    )


def _rule(out_of_fold: dict, voting: str, decision: DecisionParams) -> str:
    if out_of_fold["operating_point"]:
        point = out_of_fold["operating_point"][0]
        fails = f"fails from {point['fail_from']:.4g}" if point["fail_from"] <= 1 else "none fails unseen"
        return (
            f"A part passes when its probability of a defect is below {point['pass_below']:.4g} and {fails}; a person "
            f"looks at {'those between' if point['fail_from'] <= 1 else 'the others'}. Promise: with confidence "
            f"{point['confidence']:g} at most {setting(point['max_escape_rate'])} of the defective parts pass. It "
            f"rests on {point['n_defects']} defective training parts, {point['n_escapes']} of which pass by models "
            "that did not see them."
        )
    asked = f" A promise of {setting(decision.max_escape_rate)} was asked for and the data cannot support it."
    return (
        f"The vote decides ({voting}); nothing is promised about the share of defects that pass."
        f"{asked if decision.max_escape_rate else ''}"
    )


def _voters(folder: Path, out_of_fold: dict) -> Section:
    files = [folder / "ensemble.json", *sorted((folder / "voters").glob("*.json"))]
    lines = [{"model": path.stem} | {words: read_json(path)[key] for key, words in _METRICS.items()} for path in files]
    earned = pd.DataFrame(out_of_fold["voters"]).rename(
        columns={"roc_auc": "AUC", "roc_auc_of_others": "AUC of the ensemble without it"}
    )
    return Section(
        "The voters and their ensemble",
        "Which voters earn their place shows on the training images, by models that did not see them: the ensemble "
        f"reaches an AUC of {out_of_fold['roc_auc']:.4f} there.",
        (
            Table(pd.DataFrame(lines), "Test images."),
            Table(earned, "Out-of-fold scores of the training images."),
            Picture(folder / "agreement.png", "Share of test images on which each two voters agree."),
        ),
    )


def _calibration(folder: Path, out_of_fold: dict) -> Section:
    return Section(
        "Do the probabilities mean what they say?",
        "Of parts given 30 %, three in ten should be defective. On out-of-fold scores the expected calibration error "
        f"is {out_of_fold['ece']:.3f} and the Brier score {out_of_fold['brier']:.3f}.",
        (Picture(folder / "calibration.png", "Predicted probability against the observed share of defects."),),
    )


def _mistakes(folder: Path) -> Section:
    return Section(
        "Mistakes",
        "The most confident ones first, each with the training images that look most like it.",
        (Picture(folder / "mistakes.png", "Test images judged wrongly, with their nearest training images."),),
    )


def _data(folder: Path, ensemble: dict) -> Section:
    leaking = ensemble["n_leaking_test_images"]
    honest = f"{leaking} test images have copies in training, so no score is honest." if leaking else (
        "No test image has a copy among the training images."
    )  # fmt: skip
    return Section(
        "The photographs",
        honest,
        (
            Picture(folder / "data.png", "Class balance, sizes and exposure of the images."),
            Picture(folder / "sample_grid.png", "Some training images of each class."),
            Picture(folder / "copies.png", "Groups of copies and likely series."),
        ),
    )


def _suspects(folder: Path) -> Section:
    return Section(
        "Labels to look at again",
        "Training images whose label models that did not see them contradict most surely.",
        (Picture(folder / "label_suspects.png", "Contact sheet of training images with doubtful labels."),),
    )
