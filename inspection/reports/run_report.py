"""What the report of a run says: sections made of its metrics files and pictures."""

from pathlib import Path

import pandas as pd

from inspection.config import DecisionParams
from inspection.decision.wording import averaged_words, setting
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
    "are those of the test images, which no model and no rule has seen; a part under review has not passed, so that a "
    "reviewed defect counts as right and a reviewed good part as wrong. Intervals are 95 %, with photographs of one "
    "group (copies, series, one part taken several times) taken together, since they are no independent observations."
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
        _maps(folder),
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
            Table(
                pd.DataFrame(lines),
                f"Measured on {ensemble['n_images']} test images in {ensemble['n_groups']} groups, with their share of "
                "defects.",
            ),
            Picture(folder / "scores.png", "Histogram of the ensemble's probability for defective and for good parts."),
            Picture(
                folder / "tradeoff.png",
                "Escape rate against overkill rate for every threshold.",
                "Fewer escapes cost more good parts: where the verdicts of this run lie, and where they could.",
            ),
            Picture(
                folder / "rates_by_value.png",
                "Escape and overkill rate per kind of part, defect and label.",
                "A part that goes to review neither escapes nor is overkill.",
            ),
        ),
    )


def _rule(out_of_fold: dict, voting: str, decision: DecisionParams) -> str:
    if not out_of_fold["operating_point"]:
        wanted = decision.max_escape_rate or decision.max_overkill_rate
        asked = f" A promise of {setting(wanted)} was asked for and the data cannot support it."
        return (
            f"The vote decides ({voting}); nothing is promised about the share of defects that pass."
            f"{asked if wanted else ''}"
        )
    point = out_of_fold["operating_point"][0]
    if point["fail_from"] > 1:
        fails, reviewed = "none fails unseen", "the others"
    elif point["fail_from"] == point["pass_below"]:
        fails, reviewed = "fails otherwise", "those that would pass against the vote"
    else:
        fails, reviewed = f"fails from {point['fail_from']:.4g}", "those between"
    thresholds = (
        f"A part passes when its probability of a defect is below {point['pass_below']:.4g} and {fails}; a person "
        f"looks at {reviewed}. "
    )
    defects = (
        f"{point['n_defects']} defective training parts, {point['n_escapes']} of which pass by models that did not "
        "see them"
    )
    promises = []
    if point["max_escape_rate"] is not None:
        promises.append(
            f"at most {setting(point['max_escape_rate'])} of the defective parts pass, which rests on {defects}"
        )
    if point["max_overkill_rate"] is not None:
        promises.append(
            f"at most {setting(point['max_overkill_rate'])} of the good parts fail unseen, which rests on "
            f"{point['n_good']} good training parts, {point['n_overkill']} of which fail by models that did not see "
            "them"
        )
    if not promises:
        return f"{thresholds}These are the cheapest thresholds; nothing is promised. They rest on {defects}."
    silent = "" if point["max_escape_rate"] is not None else " Nothing is promised of the defects that pass."
    confidence = f"with confidence {point['confidence']:g}"
    return f"{thresholds}Promise: {confidence} {f'; and {confidence} '.join(promises)}.{silent}"


def _voters(folder: Path, out_of_fold: dict) -> Section:
    files = [folder / "ensemble.json", *sorted((folder / "voters").glob("*.json"))]
    tested = pd.DataFrame([_line(path.stem, read_json(path)) for path in files])
    unseen = pd.DataFrame([_line("ensemble", out_of_fold)])
    earned = pd.DataFrame(out_of_fold["voters"]).rename(
        columns={"roc_auc": "AUC", "roc_auc_of_others": "AUC of the ensemble without it"}
    )
    return Section(
        "The voters and their ensemble",
        "Params are to be chosen by the training images, as models judge them that did not see them (out of fold): "
        f"{_reached(out_of_fold['roc_auc'])}"
        "The test images are for the record.",
        (
            Table(unseen, "Training images, out of fold, by the rule of this run."),
            Table(earned, "Voters on the training images, out of fold."),
            Table(tested, "Test images."),
            Picture(folder / "agreement.png", "Share of test images on which each two voters agree."),
        ),
    )


def _reached(area: float | None) -> str:
    if area is None:
        return "there are too few defects among them for an AUC. "
    return f"the ensemble reaches an AUC of {area:.4f} there, and each voter shows what it is worth. "


def _line(model: str, metrics: dict) -> dict[str, str | float | None]:
    """Return a row of a table of models: their metrics, and intervals as text."""
    line: dict[str, str | float | None] = {"model": model}
    for key, words in _METRICS.items():
        line[words] = metrics[key]
        if metrics.get(f"{key}_low") is not None:
            line[f"{words}, 95\u00a0%"] = f"{metrics[f'{key}_low']:.3f}–{metrics[f'{key}_high']:.3f}"
    return line


def _calibration(folder: Path, out_of_fold: dict) -> Section:
    measured = (
        f"On out-of-fold scores the expected calibration error is {out_of_fold['ece']:.3f} and the Brier score "
        f"{out_of_fold['brier']:.3f}."
    )
    if out_of_fold["roc_auc"] is None:
        measured = (
            "No voter has seen enough defects for that: what stands here for a probability was measured by defects "
            "planted in photographs of good parts."
        )
    return Section(
        "Do the probabilities mean what they say?",
        f"Of parts given 30 %, three in ten should be defective. {measured}",
        (
            Picture(
                folder / "calibration.png",
                "Predicted probability against the observed share of defects.",
                "Test images, in ten bins of equal width.",
            ),
        ),
    )


def _maps(folder: Path) -> Section:
    localisation = read_json(folder / "localisation.json")
    if not localisation["n_maps"]:
        text = "No voter of this run gives a map. Networks and the detector patch_memory do (params.yaml)."
        return Section("Where the defects are", text, ())
    text = (
        f"The map is {averaged_words(localisation['voters'])}. Coloured places are further from what good parts show "
        "than 99.9 % of the places of good parts, on one scale for all photographs; frames mark what hardly any good "
        "part shows. Of the area of good test images "
        f"{localisation['lit_share']:.2%} is coloured, and {localisation['region_rate_good']:.1%} of them show a frame."
    )
    measured = []
    if localisation["n_masks"]:
        by_type = localisation.get("by_type", {})
        lines = [_where("all", localisation), *(_where(kind, values) for kind, values in by_type.items())]
        caption = (
            f"Against the masks of {localisation['n_masks']} defective test images with {localisation['n_regions']} "
            "regions. AUPRO up to 30 % false positives; pointing game: the largest value lies on a defect."
        )
        measured = [Table(pd.DataFrame(lines), caption)]
    picture = Picture(folder / "maps.png", "Defective and good test images with their maps.")
    return Section("Where the defects are", text, (picture, *measured))


def _where(kind: str, values: dict) -> dict[str, str | float | None]:
    """Return a row of the table of localisation: metrics, and intervals as text."""
    line: dict[str, str | float | None] = {"defects": kind, "photographs": values["n_masks"]}
    for key, words in (("pixel_auroc", "pixel AUROC"), ("aupro", "AUPRO"), ("pointing_game", "pointing game")):
        line[words] = values.get(key)
        if values.get(f"{key}_low") is not None:
            line[f"{words}, 95\u00a0%"] = f"{values[f'{key}_low']:.3f}–{values[f'{key}_high']:.3f}"
    return line


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
