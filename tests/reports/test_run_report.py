"""The report of a run says what its metrics files say, and nothing that they do not."""

import json

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from inspection.config import DecisionParams
from inspection.reports.html_report import Picture, Table, write_report
from inspection.reports.run_report import describe_run
from tests.conftest import ROOT

METRICS = {
    "accuracy": 0.91, "accuracy_low": 0.88, "accuracy_high": 0.9346, "roc_auc_low": 0.9, "roc_auc_high": 0.98,
     "roc_auc": 0.95, "f1": 0.88, "escape_rate": 0.12, "overkill_rate": 0.07, "review_rate": 0.03,
    "ece": 0.0412, "brier": 0.0734,
}  # fmt: skip
PER_1000 = {
    "escapes": 38.1, "escapes_low": 25.9, "escapes_high": 55.7, "overkill": 48.8, "overkill_low": 34.7,
    "overkill_high": 68.2, "reviews": 30.5, "reviews_low": 19.8, "reviews_high": 46.6,
}  # fmt: skip
POINT = {
    "pass_below": 0.031234, "fail_from": 0.61, "max_escape_rate": 0.05, "confidence": 0.9, "n_defects": 321,
    "n_escapes": 9, "max_overkill_rate": None, "n_good": 0, "n_overkill": 0,
}  # fmt: skip
VOTERS = [
    {"voter": "baseline_cnn", "coefficient": 0.1, "roc_auc": 0.81, "roc_auc_of_others": 0.931},
    {"voter": "b_svm", "coefficient": 0.9, "roc_auc": 0.92, "roc_auc_of_others": 0.83},
]
TITLES = [
    "What to expect of the verdicts",
    "The voters and their ensemble",
    "Do the probabilities mean what they say?",
    "Where the defects are",
    "Mistakes",
    "The photographs",
    "Labels to look at again",
]


def write_run(folder, leaking=0, point=None, maps=None):
    """Write the metrics files that a report reads."""
    ensemble = METRICS | {"n_images": 656, "n_groups": 540, "per_1000": PER_1000, "n_leaking_test_images": leaking}
    out_of_fold = METRICS | {"roc_auc": 0.93, "ece": 0.0213, "operating_point": [point] if point else []}
    files = {"localisation": {"n_maps": 0} if maps is None else maps}
    files |= {"ensemble": ensemble, "out_of_fold": out_of_fold | {"voters": VOTERS}}
    files |= {f"voters/{line['voter']}": METRICS | {"roc_auc": line["roc_auc"] - 0.02} for line in VOTERS}
    (folder / "voters").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def decision(max_escape_rate=0.0):
    return DecisionParams(
        max_escape_rate=max_escape_rate, max_overkill_rate=0.0, confidence=0.95, cost=None, false_alarm_rate=0.01
    )


def sections_of(folder, max_escape_rate=0.0, voting="hard", **run):
    write_run(folder, **run)
    return {section.title: section for section in describe_run(folder, voting, decision(max_escape_rate))}


def tables_of(section) -> list[pd.DataFrame]:
    return [part.frame for part in section.parts if isinstance(part, Table)]


def test_sections(tmp_path):
    assert list(sections_of(tmp_path)) == TITLES


def test_what_to_expect_of_a_thousand_parts(tmp_path):
    section = sections_of(tmp_path)[TITLES[0]]
    [table] = tables_of(section)
    assert table.to_numpy().tolist() == [
        ["defective parts that pass", 38.1, 25.9, 55.7],
        ["good parts that fail", 48.8, 34.7, 68.2],
        ["parts for a person to look at", 30.5, 19.8, 46.6],
    ]
    assert list(table) == ["of 1,000 such parts", "expected", "low", "high"]
    assert "656 test images in 540 groups" in section.parts[0].caption


def test_without_a_promise_the_vote_decides(tmp_path):
    text = sections_of(tmp_path, voting="weighted")[TITLES[0]].text
    assert text.startswith("The vote decides (weighted); nothing is promised about the share of defects that pass.\n\n")
    assert "asked for" not in text


def test_a_promise_that_could_not_be_made_is_named(tmp_path):
    text = sections_of(tmp_path, max_escape_rate=0.015)[TITLES[0]].text
    assert text.startswith("The vote decides (hard); nothing is promised")
    assert "A promise of 1.5% was asked for and the data cannot support it." in text


def test_a_promise_is_stated_with_what_it_rests_on(tmp_path):
    text = sections_of(tmp_path, max_escape_rate=0.05, point=POINT)[TITLES[0]].text
    assert "passes when its probability of a defect is below 0.03123 and fails from 0.61;" in text
    assert "with confidence 0.9 at most 5% of the defective parts pass" in text
    assert "321 defective training parts, 9 of which pass" in text
    assert "The vote decides" not in text


def test_where_no_part_fails_unseen_none_is_said_to_fail(tmp_path):
    text = sections_of(tmp_path, max_escape_rate=0.05, point=POINT | {"fail_from": 1.0000000000000002})[TITLES[0]].text
    assert "is below 0.03123 and none fails unseen; a person looks at the others. Promise:" in text


def test_thresholds_of_costs_alone_promise_nothing(tmp_path):
    point = POINT | {"max_escape_rate": None, "confidence": None}
    text = sections_of(tmp_path, point=point)[TITLES[0]].text
    assert "cheapest thresholds; nothing is promised. They rest on 321 defective training parts" in text


def test_both_promises_are_stated(tmp_path):
    point = POINT | {"max_overkill_rate": 0.02, "n_good": 700, "n_overkill": 4}
    text = sections_of(tmp_path, max_escape_rate=0.05, point=point)[TITLES[0]].text
    assert "at most 5% of the defective parts pass, which rests on 321 defective" in text
    assert "; and with confidence 0.9 at most 2% of the good parts fail unseen, which rests on 700 good" in text
    assert text.count("Nothing is promised") == 0


def test_without_defects_overkill_alone_is_promised(tmp_path):
    overkill = {"max_escape_rate": None, "max_overkill_rate": 0.02, "n_good": 700, "n_overkill": 4}
    text = sections_of(tmp_path, point=POINT | overkill)[TITLES[0]].text
    assert "Promise: with confidence 0.9 at most 2% of the good parts fail unseen" in text
    assert "4 of which fail by models that did not see them. Nothing is promised of the defects that pass." in text


MAPS = {"n_maps": 9, "voters": ["a", "b"], "lit_share": 0.0004, "region_rate_good": 0.05, "n_masks": 0}


def test_maps_are_measured_where_there_are_masks(tmp_path):
    where = sections_of(tmp_path)[TITLES[3]]
    assert where.text.startswith("No voter of this run gives a map.")
    assert where.parts == ()
    where = sections_of(tmp_path, maps=MAPS)[TITLES[3]]
    assert where.text.startswith("The map is the mean of those of a and b.")
    assert "Of the area of good test images 0.04% is coloured, and 5.0% of them show a frame." in where.text
    assert [type(part) for part in where.parts] == [Picture]
    metrics = {"n_masks": 4, "n_regions": 6, "pixel_auroc": 0.9, "pixel_auroc_low": 0.8, "pixel_auroc_high": 0.95}
    where = sections_of(tmp_path, maps=MAPS | metrics | {"by_type": {"hole": {"n_masks": 4, "aupro": 0.7}}})[TITLES[3]]
    table = where.parts[1].frame
    assert table["defects"].tolist() == ["all", "hole"]
    assert table["pixel AUROC"].tolist()[0] == 0.9
    assert table["pixel AUROC, 95\u00a0%"][0] == "0.800–0.950"
    assert table["AUPRO"].tolist()[1] == 0.7


def test_without_a_band_one_threshold_is_named_once(tmp_path):
    text = sections_of(tmp_path, max_escape_rate=0.05, point=POINT | {"fail_from": 0.031234})[TITLES[0]].text
    assert "below 0.03123 and fails otherwise; a person looks at those that would pass against the vote." in text


def test_without_defects_no_calibration_is_claimed(tmp_path):
    write_run(tmp_path)
    scores = json.loads((tmp_path / "out_of_fold.json").read_text(encoding="utf-8")) | {"roc_auc": None}
    (tmp_path / "out_of_fold.json").write_text(json.dumps(scores), encoding="utf-8")
    sections = {section.title: section for section in describe_run(tmp_path, "hard", decision())}
    assert "measured by defects planted in photographs of good parts" in sections[TITLES[2]].text
    assert "calibration error" not in sections[TITLES[2]].text
    assert "too few defects among them for an AUC" in sections[TITLES[1]].text


def test_the_text_says_how_reviews_and_groups_count(tmp_path):
    text = sections_of(tmp_path)[TITLES[0]].text
    assert "a reviewed defect counts as right and a reviewed good part as wrong" in text
    assert "photographs of one group (copies, series, one part taken several times) taken together" in text


@pytest.mark.parametrize(("rate", "words"), [(0.05, "5%"), (0.0025, "0.25%"), (0.125, "12.5%"), (0.0004, "0.04%")])
def test_a_promise_is_not_rounded(tmp_path, rate, words):
    made = sections_of(tmp_path, rate, point=POINT | {"max_escape_rate": rate})[TITLES[0]].text
    assert f"at most {words} of the defective parts pass" in made
    assert f"A promise of {words} was asked for" in sections_of(tmp_path, rate)[TITLES[0]].text


def test_the_voters_on_test_and_on_training_images(tmp_path):
    section = sections_of(tmp_path)[TITLES[1]]
    unseen, earned, tested = tables_of(section)
    assert tested["model"].tolist() == ["ensemble", "b_svm", "baseline_cnn"]
    assert tested["AUC"].tolist() == pytest.approx([0.95, 0.9, 0.79])
    assert list(tested) == list(unseen) == [
        "model", "accuracy", "accuracy, 95\u00a0%", "AUC", "AUC, 95\u00a0%", "F1", "escape rate", "overkill rate",
        "review rate", "ECE", "Brier score",
    ]  # fmt: skip
    assert tested.iloc[0].tolist() == [
        "ensemble", 0.91, "0.880–0.935", 0.95, "0.900–0.980", 0.88, 0.12, 0.07, 0.03, 0.0412, 0.0734
    ]  # fmt: skip
    assert unseen[["model", "AUC", "ECE"]].to_numpy().tolist() == [["ensemble", 0.93, 0.0213]]
    assert list(earned) == ["voter", "coefficient", "AUC", "AUC of the ensemble without it"]
    assert earned.to_numpy().tolist() == [list(line.values()) for line in VOTERS]
    assert "reaches an AUC of 0.9300 there" in section.text, "that of the training images"
    captions = [part.caption for part in section.parts if isinstance(part, Table)]
    assert captions[0].startswith("Training images, out of fold"), "by which params are chosen"
    assert captions[2] == "Test images."


def test_calibration_is_that_of_the_training_images(tmp_path):
    text = sections_of(tmp_path)[TITLES[2]].text
    assert "expected calibration error is 0.021 and the Brier score 0.073" in text


@pytest.mark.parametrize(
    ("leaking", "words"),
    [
        (0, "No test image has a copy among the training images."),
        (7, "7 test images have copies in training, so no score is honest."),
    ],
)
def test_leaks_are_confessed(tmp_path, leaking, words):
    assert sections_of(tmp_path, leaking=leaking)[TITLES[5]].text == words


def test_its_pictures_are_those_the_stage_draws(tmp_path):
    pictures = [
        part
        for section in sections_of(tmp_path, maps=MAPS).values()
        for part in section.parts
        if isinstance(part, Picture)
    ]
    drawn = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["report"]["plots"]
    names = {f"metrics/{picture.path.relative_to(tmp_path).as_posix()}" for picture in pictures}
    assert len(names) == len(pictures)
    # The mistakes are shown with their neighbours; all of them are in a picture of their own.
    assert set(drawn) - names == {"metrics/misclassified.png"}
    assert all(picture.alt for picture in pictures)


def test_the_sections_become_a_page(tmp_path):
    sections = list(sections_of(tmp_path, point=POINT).values())
    for section in sections:
        for part in section.parts:
            if isinstance(part, Picture):
                Image.new("RGB", (30, 20)).save(part.path)
    write_report(tmp_path / "report.html", "Defect inspection: data/raw", sections)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for title in TITLES:
        assert title in page
    assert page.count("<img") == sum(isinstance(part, Picture) for section in sections for part in section.parts)
    assert "38.1" in page
