"""The viewer, driven through its widgets: it repeats what the Inspector says, and keeps quiet when it has no right."""

import io
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, ImageStat
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from inspection.data.images import AS_STORED, Decoding
from inspection.decision.inspector import Inspector
from inspection.decision.verdict import Verdict
from inspection.decision.wording import percent, percent_distinct
from inspection.errors import ModelsError
from inspection.files import sha256_file
from inspection.station import demo, page, photograph
from inspection.station.presentation import likeness_words
from tests.operating_points import NO_OVERKILL
from tests.parts import draw_part, encode, save_twelve_bits
from tests.project import BACKBONE

ROOT = Path(__file__).parents[2]
APP = ROOT / "streamlit_app.py"
SECONDS = 120
WORDS = {"defective": "DEFECTIVE", "non_defective": "NON-DEFECTIVE", "review": "REVIEW"}
OUTCOMES = {"defective": "FAIL", "non_defective": "PASS", "review": "REVIEW"}
SYMBOLS = {"defective": "✕", "non_defective": "✓", "review": "?"}
PART = encode(draw_part(1, is_defective=True))


_scan_once = cache(manifest_scanner.scan_component_manifests)
"""Streamlit reads what every installed package says of itself, as often as an `AppTest` begins: half a second."""


@pytest.fixture
def open_viewer(monkeypatch):
    """Return a function that opens the viewer on a models folder."""
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", _scan_once)

    def start(models: Path) -> AppTest:
        monkeypatch.setenv("INSPECTION_MODELS", str(models))
        app = AppTest.from_file(APP, default_timeout=SECONDS).run()
        assert not app.exception
        return app

    return start


def upload(app: AppTest, data: bytes, name: str = "part.png") -> None:
    app.file_uploader[0].set_value((name, data, "image/png")).run()
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def switch_demo(app: AppTest, is_on: bool) -> None:
    app.toggle[0].set_value(is_on).run()
    assert not app.exception


def analyze(app: AppTest, data: bytes, name: str = "part.png") -> None:
    upload(app, data, name)
    press(app, "Analyze Image")


def html_of(app: AppTest, css_class: str) -> list[str]:
    """Return the blocks of HTML whose outermost element has a class."""
    return [block.value for block in app.get("html") if re.match(rf'<\w+ class="{css_class}"', block.value.strip())]


def text_of(html: str) -> str:
    """Return HTML as one line of plain text."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


def notes(app: AppTest) -> str:
    """Return the small print of page and sidebar."""
    return text_of(" ".join(html_of(app, "note")))


def shown_verdict(app: AppTest) -> str | None:
    """Return the word of the verdict on the page, with its symbol; None where there is none."""
    blocks = html_of(app, "verdict")
    return text_of(re.search('<p class="word".*?</p>', blocks[0], re.DOTALL)[0]) if blocks else None


def shown_votes(app: AppTest) -> list[list[str]]:
    """Return the text of each cell of the table of votes."""
    tables = [block.value for block in app.get("html") if 'class="votes"' in block.value and "<tbody>" in block.value]
    rows = re.findall("<tr>(.*?)</tr>", tables[0].partition("<tbody>")[2], re.DOTALL)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in rows]
    return [[text_of(cell).replace("_ ", "_") for cell in row] for row in cells]


def charts(app: AppTest) -> dict[str, tuple[dict, str]]:
    """Return options and text equivalent of each chart by kind."""
    found = {}
    for chart in app.get("echarts_chart"):
        options = json.loads(chart.proto.spec)
        found[options["series"][0]["type"]] = (options, chart.proto.alt)
    return found


def picture_url(app: AppTest) -> str:
    """Return the address of the picture on the page, which Streamlit makes from its content."""
    (image,) = app.image
    return image.value[0]


def assert_shows(app: AppTest, verdict: Verdict, threshold: float = 0.5) -> None:
    """Check verdict, reason, gauge, vote chart and table against what the Inspector said with a voters' threshold."""
    assert shown_verdict(app) == f"{SYMBOLS[verdict.verdict]} {WORDS[verdict.verdict]}"
    card = text_of(html_of(app, "verdict")[0])
    assert OUTCOMES[verdict.verdict] in card
    assert card.endswith(verdict.reason)
    assert ("Unlike the training images" in card) == (verdict.unlikeness > 1)
    assert [text_of(line) for line in html_of(app, "likeness")] == [likeness_words(verdict)] * (verdict.unlikeness <= 1)
    gauge, gauge_text = charts(app)["gauge"]
    assert gauge["series"][0]["data"][0]["value"] == pytest.approx(100 * verdict.confidence, abs=1e-3)
    assert f"the overall confidence is {percent(verdict.confidence)}." in gauge_text
    counts = [sum(vote.label == label for vote in verdict.votes) for label in ("non_defective", "defective")]
    bars, bars_text = charts(app)["bar"]
    assert [bar["value"] for bar in bars["series"][0]["data"]] == counts
    assert bars_text == f"Votes: {counts[0]} non-defective, {counts[1]} defective."
    for cells, vote in zip(shown_votes(app), verdict.votes, strict=True):
        percents = [percent(vote.confidence), percent_distinct(vote.defect_proba, threshold)]
        assert cells == [vote.voter, f"{SYMBOLS[vote.label]} {WORDS[vote.label].capitalize()}", "", *percents]


def read_description(models: Path) -> dict:
    return json.loads((models / "ensemble.json").read_text())


def describe_anew(models: Path, **changes) -> Inspector:
    """Change entries of ensemble.json, and return the Inspector that it makes."""
    (models / "ensemble.json").write_text(json.dumps(read_description(models) | changes))
    return Inspector(models)


def point(pass_below: float, fail_from: float) -> dict:
    """Return an operating point as ensemble.json holds it."""
    promise = {"max_escape_rate": 0.05, "confidence": 0.95, "n_defects": 148, "n_escapes": 3} | NO_OVERKILL
    return {"pass_below": pass_below, "fail_from": fail_from} | promise


def sidebar_text(app: AppTest) -> str:
    return text_of(app.sidebar.get("html")[0].value).replace("_ ", "_")


def shown_scale(app: AppTest) -> tuple[str, str, float] | None:
    """Return text equivalent and visible text of the scale of the probability, and where its mark is, in percent."""
    scales = [block.value for block in app.get("html") if 'class="scale"' in block.value]
    if not scales:
        return None
    alt = unescape(re.search('role="img" aria-label="(.*?)"', scales[0])[1])
    return alt, text_of(scales[0]), float(re.search(r'<i style="left: ([\d.]+)%"', scales[0])[1])


def part_called(inspector: Inspector, verdict: str) -> bytes:
    """Return a part on which the models give a verdict."""
    parts = (encode(draw_part(seed, verdict == "defective")) for seed in range(500, 540))
    return next(part for part in parts if inspector.inspect(part).verdict == verdict)


@pytest.fixture(scope="module")
def inspector(models_folder) -> Inspector:
    return Inspector(models_folder)


@pytest.fixture(scope="module")
def defective_part(inspector) -> bytes:
    return part_called(inspector, "defective")


@pytest.fixture(scope="module")
def good_part(inspector) -> bytes:
    return part_called(inspector, "non_defective")


# Without models


def test_without_models_the_page_says_what_to_run_and_offers_demo_mode(open_viewer, tmp_path):
    app = open_viewer(tmp_path / "models")
    notice = text_of(html_of(app, "notice")[0])
    assert "do not exist" in notice
    assert "dvc repro" in notice
    assert "Demo Mode" in notice
    assert app.toggle[0].label == "Demo Mode"
    assert app.toggle[0].value is False
    assert app.file_uploader[0].disabled
    assert [button.label for button in app.button] == ["Check again"]
    assert shown_verdict(app) is None
    assert not html_of(app, "demo")


def remove_description(models: Path) -> None:
    (models / "ensemble.json").unlink()


def remove_voter(models: Path) -> None:
    (models / "baseline_cnn.onnx").unlink()


def swap_voter(models: Path) -> None:
    next(models.glob("*_svm.pkl")).write_bytes(b"import os")


def damage_description(models: Path) -> None:
    (models / "ensemble.json").write_text('{"format": 2, "vot')


@pytest.mark.parametrize(
    ("damage", "explanation"),
    [
        (remove_description, "half-built (no ensemble.json); run dvc repro"),
        (remove_voter, "baseline_cnn.onnx, which ensemble.json names, cannot be read"),
        (swap_voter, "is not the file ensemble.json vouches for"),
        (damage_description, "is damaged: invalid JSON"),
    ],
)
def test_models_that_cannot_be_trusted_are_explained_and_judge_nothing(open_viewer, own_models, damage, explanation):
    damage(own_models)
    app = open_viewer(own_models)
    notice = text_of(html_of(app, "notice")[0])
    assert explanation in notice
    assert "dvc repro" in notice
    assert app.file_uploader[0].disabled
    assert shown_verdict(app) is None


def test_models_that_appear_later_are_picked_up(open_viewer, own_models, tmp_path, defective_part, inspector):
    description = own_models / "ensemble.json"
    hidden = description.rename(tmp_path / "hidden.json")
    app = open_viewer(own_models)
    assert html_of(app, "notice")
    hidden.rename(description)
    press(app, "Check again")
    assert not html_of(app, "notice")
    analyze(app, defective_part)
    assert_shows(app, inspector.inspect(defective_part))


def test_a_file_that_vanishes_while_it_is_read_is_explained(open_viewer, own_models, monkeypatch):
    def vanish(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(page, "sha256_file", vanish)
    app = open_viewer(own_models)
    assert "The models are changing at this moment" in text_of(html_of(app, "notice")[0])


def test_an_ensemble_that_changes_while_it_is_loaded_is_not_kept(models_folder):
    with pytest.raises(ModelsError, match="changed while it was read"):
        page.load_inspector(str(models_folder), "0" * 64)


# Demo Mode


def test_demo_mode_shows_a_banner_and_the_same_simulated_verdict_every_time(open_viewer, tmp_path):
    seen = []
    for name in ("a.png", "b.png"):
        app = open_viewer(tmp_path / "models")
        switch_demo(app, True)
        assert "SIMULATED PREDICTIONS" in html_of(app, "demo")[0]
        assert not html_of(app, "notice")
        upload(app, PART, name)
        assert shown_verdict(app) is None
        press(app, "Analyze Image")
        assert "SIMULATED PREDICTIONS" in html_of(app, "demo")[0]
        seen.append((shown_verdict(app), shown_votes(app)))
    expected = demo.simulate(PART)
    assert seen[0] == seen[1]
    assert seen[0][0] == f"SIMULATED {SYMBOLS[expected.verdict]} {WORDS[expected.verdict]}"
    assert not html_of(app, "likeness"), "no distance is measured, so none is claimed"
    assert "the simulated probability" in notes(app)
    assert [row[0] for row in seen[0][1]] == [vote.voter for vote in expected.votes]
    assert [row[-1] for row in seen[0][1]] == [percent(vote.defect_proba) for vote in expected.votes]


def test_switching_demo_mode_off_takes_its_verdict_away(open_viewer, tmp_path):
    app = open_viewer(tmp_path / "models")
    switch_demo(app, True)
    analyze(app, PART)
    assert shown_verdict(app)
    switch_demo(app, False)
    assert shown_verdict(app) is None
    assert not html_of(app, "demo")
    assert html_of(app, "notice")


def test_beside_real_models_demo_mode_is_off_and_never_mixes_with_them(open_viewer, own_models, good_part, inspector):
    app = open_viewer(own_models)
    assert app.toggle[0].value is False
    assert not html_of(app, "demo")
    analyze(app, good_part)
    real = inspector.inspect(good_part)
    assert_shows(app, real)
    switch_demo(app, True)
    assert shown_verdict(app) is None
    assert html_of(app, "demo")
    press(app, "Analyze Image")
    assert shown_verdict(app).startswith("SIMULATED")
    switch_demo(app, False)
    assert_shows(app, real)


def test_demo_mode_ends_when_real_models_appear(open_viewer, own_models, tmp_path):
    hidden = (own_models / "ensemble.json").rename(tmp_path / "hidden.json")
    app = open_viewer(own_models)
    switch_demo(app, True)
    analyze(app, PART)
    assert shown_verdict(app).startswith("SIMULATED")
    hidden.rename(own_models / "ensemble.json")
    app.run()
    assert app.toggle[0].value is False
    assert not html_of(app, "demo")
    assert shown_verdict(app) is None


# With models


@pytest.mark.parametrize("verdict", ["defective", "non_defective"])
def test_the_page_shows_what_the_inspector_says(open_viewer, models_folder, inspector, verdict):
    part = part_called(inspector, verdict)
    app = open_viewer(models_folder)
    upload(app, part, "my part.png")
    assert shown_verdict(app) is None
    press(app, "Analyze Image")
    expected = inspector.inspect(part)
    assert expected.verdict == verdict
    assert_shows(app, expected)
    assert "my part.png" in text_of("".join(html_of(app, "file")))
    assert "64 × 64 pixels" in text_of("".join(html_of(app, "file")))


def test_a_tie_is_shown_as_review(open_viewer, own_models, inspector, defective_part):
    proba = sorted(vote.defect_proba for vote in inspector.inspect(defective_part).votes)
    assert len(proba) == 4
    tied = describe_anew(own_models, threshold=(proba[1] + proba[2]) / 2)
    app = open_viewer(own_models)
    analyze(app, defective_part)
    assert shown_verdict(app) == "? REVIEW"
    assert "tied: 2 of 4 models say defective, 2 non-defective." in text_of(html_of(app, "verdict")[0])
    assert_shows(app, tied.inspect(defective_part), tied.rules.threshold)


def test_a_majority_that_the_probability_contradicts_is_shown_as_review(open_viewer, own_models, defective_part):
    doubtful = describe_anew(own_models, intercept=-50.0).inspect(defective_part)
    assert doubtful.cause == "disagreement"
    app = open_viewer(own_models)
    analyze(app, defective_part)
    assert_shows(app, doubtful)
    assert "but the vote contradicts it" in text_of(html_of(app, "verdict")[0])
    assert "to the likelier class, non-defective." in notes(app)


def test_without_an_operating_point_there_is_no_scale_and_no_promise(open_viewer, models_folder, inspector, good_part):
    assert inspector.rules.operating_point is None
    app = open_viewer(models_folder)
    analyze(app, good_part)
    assert shown_scale(app) is None
    assert "Promise none: the vote decides" in sidebar_text(app)


def test_a_photograph_unlike_the_training_images_is_shown_as_such(open_viewer, models_folder, inspector):
    framed = encode(ImageOps.expand(draw_part(500, is_defective=False), 20, "white"))
    expected = inspector.inspect(framed)
    assert expected.cause == "unlike"
    app = open_viewer(models_folder)
    analyze(app, framed)
    assert_shows(app, expected)
    assert shown_verdict(app) == "? REVIEW"
    card = text_of(html_of(app, "verdict")[0])
    assert f"Unlike the training images: distance {expected.unlikeness:.2f} of the allowed 1.00." in card
    assert "means little" in notes(app)


# With an operating point: thresholds as functions of the probability P of the part, so that it lies on their edges.
@pytest.mark.parametrize(
    ("part", "thresholds", "cause", "verdict", "words"),
    [
        ("defective", lambda p: (p / 4, p), "threshold", "defective", "reaches"),
        ("defective", lambda p: (p, 1), "band", "review", "too high to pass"),
        ("defective", lambda p: (p, p), "threshold", "defective", "reaches"),
        ("defective", lambda p: (np.nextafter(p, 1), 1), "disagreement", "review", "the vote contradicts it"),
        ("good", lambda p: (np.nextafter(p, 1), 1), "threshold", "non_defective", "the part passes"),
        ("good", lambda p: (p / 4, np.nextafter(p, 1)), "band", "review", "too low to fail"),
        ("good", lambda p: (p / 4, p / 2), "threshold", "defective", "fails all the same"),
        ("good", lambda p: (p / 4, np.nextafter(1, 2)), "band", "review", "too high to pass"),
    ],
)
def test_with_an_operating_point_every_cause_is_shown(
    open_viewer, own_models, inspector, defective_part, good_part, part, thresholds, cause, verdict, words
):
    data = {"defective": defective_part, "good": good_part}[part]
    proba = inspector.inspect(data).defect_proba
    expected = describe_anew(own_models, operating_point=point(*map(float, thresholds(proba)))).inspect(data)
    assert (expected.cause, expected.verdict, expected.defect_proba) == (cause, verdict, proba)
    app = open_viewer(own_models)
    analyze(app, data)
    assert_shows(app, expected)
    assert words in text_of(html_of(app, "verdict")[0])
    alt, shown, mark = shown_scale(app)
    assert mark == pytest.approx(100 * proba, abs=1e-3)
    assert re.search(r"This part: [\d.]+%", shown)
    for outcome in ("PASS below", "FAIL"):
        assert outcome in shown
        assert outcome.lower() in alt
    below_half = "It is below 50%" in notes(app)
    assert below_half == (verdict != "review" and expected.confidence < 0.5)


def test_with_an_operating_point_a_tie_is_reviewed_and_the_scale_says_why(
    open_viewer, own_models, inspector, defective_part
):
    said = inspector.inspect(defective_part)
    proba = sorted(vote.defect_proba for vote in said.votes)
    limits = point(said.defect_proba / 4, said.defect_proba / 2)
    tied = describe_anew(own_models, operating_point=limits, threshold=(proba[1] + proba[2]) / 2)
    app = open_viewer(own_models)
    analyze(app, defective_part)
    assert_shows(app, tied.inspect(defective_part), tied.rules.threshold)
    assert shown_verdict(app) == "? REVIEW"
    assert "do not decide here, since the votes are tied" in shown_scale(app)[1]


def test_the_promise_and_the_thresholds_are_in_the_sidebar(open_viewer, own_models):
    describe_anew(own_models, operating_point=point(0.12, 0.62))
    app = open_viewer(own_models)
    for fact in (
        "Promise at most 5% of the defects pass, with confidence 95%; rests on 148 defects, 3 of which pass",
        "parts pass below 12.0%, fail from 62.0%",
        "Threshold of a vote defective at 0.5 or more",
        "majority of the models (hard); a part passes only when the vote agrees",
    ):
        assert fact in sidebar_text(app)


def test_weighted_votes_say_how_much_they_weigh(open_viewer, own_models, inspector, good_part):
    said = inspector.inspect(good_part)
    voters = read_description(own_models)["voters"]
    for voter, vote in zip(voters, said.votes, strict=True):
        voter["weight"] = 1.0 if vote.label == "non_defective" else 0.0
    weighted = describe_anew(own_models, voting="weighted", voters=voters).inspect(good_part)
    app = open_viewer(own_models)
    analyze(app, good_part)
    assert_shows(app, weighted)
    assert "those for defective weigh 0.0% of all" in notes(app)


@pytest.mark.parametrize("limits", [None, point(0.001, 0.002)])
def test_a_single_model_that_outweighs_the_others_wins_with_a_reason(open_viewer, own_models, inspector, limits):
    part = encode(draw_part(500, is_defective=True))
    said = inspector.inspect(part)
    voters = read_description(own_models)["voters"]
    surest = max(range(len(voters)), key=lambda place: said.votes[place].defect_proba)
    for place, voter in enumerate(voters):
        voter["weight"] = 3.5 if place == surest else 1.0
    # A threshold that this model alone reaches.
    second, first = sorted(vote.defect_proba for vote in said.votes)[-2:]
    weighted = describe_anew(
        own_models, voting="weighted", voters=voters, threshold=(first + second) / 2, operating_point=limits,
        intercept=50.0,
    ).inspect(part)  # fmt: skip
    assert weighted.verdict == "defective"
    app = open_viewer(own_models)
    analyze(app, part)
    assert shown_verdict(app) == "✕ DEFECTIVE"
    card = text_of(html_of(app, "verdict")[0])
    assert "1 of 4 models say defective, 3 non-defective (weighted by how often each model was right)." in card
    assert "those for defective weigh 53.8% of all" in notes(app)


def test_the_sidebar_says_which_ensemble_is_loaded(open_viewer, models_folder, inspector):
    app = open_viewer(models_folder)
    fingerprint = sha256_file(models_folder / "ensemble.json")
    facts = [*inspector.voters, "4 models vote", "(hard)", "defective at 0.5 or more", "48 photographs of data/raw"]
    for fact in [*facts, inspector.trained_on.manifest_sha256[:12], fingerprint[:12]]:
        assert fact in sidebar_text(app)


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"])
def test_every_promised_format_is_judged(open_viewer, models_folder, inspector, extension):
    format = {"jpg": "JPEG", "tif": "TIFF"}.get(extension, extension)
    part = encode(draw_part(7, is_defective=True), format)
    app = open_viewer(models_folder)
    assert f".{extension}" in app.file_uploader[0].allowed_type
    analyze(app, part, f"part.{extension}")
    assert_shows(app, inspector.inspect(part))


@pytest.mark.parametrize(
    ("data", "explanation"),
    [
        (PART[: len(PART) // 2], "part.png: damaged or incomplete image file (image file is truncated)."),
        (b"no photograph at all", "part.png: not a PNG, JPEG, BMP, TIFF, WebP image, or its header is damaged."),
        (encode(Image.new("L", (4, 4))), "part.png: 4x4 pixels; at least 8 a side are needed."),
        (encode(Image.new("F", (64, 64)), "TIFF"), "part.png: pixels of mode F have no stated range"),
        (b"", "part.png: not a PNG"),
    ],
)
def test_a_file_that_cannot_be_inspected_gets_one_sentence_and_no_verdict(
    open_viewer, models_folder, data, explanation
):
    app = open_viewer(models_folder)
    upload(app, data)
    notices = html_of(app, "notice")
    assert len(notices) == 1
    assert text_of(notices[0]).startswith(f"Not inspected {explanation}")
    assert shown_verdict(app) is None
    assert app.button[0].disabled


def test_a_new_upload_never_shows_an_old_verdict(open_viewer, models_folder, inspector, defective_part, good_part):
    app = open_viewer(models_folder)
    analyze(app, defective_part)
    assert shown_verdict(app) == "✕ DEFECTIVE"
    upload(app, good_part)
    assert shown_verdict(app) is None
    assert not charts(app)
    assert "Not analyzed yet" in html_of(app, "waiting")[0]
    press(app, "Analyze Image")
    assert_shows(app, inspector.inspect(good_part))
    upload(app, defective_part[:500])
    assert shown_verdict(app) is None
    app.file_uploader[0].clear().run()
    assert shown_verdict(app) is None
    upload(app, defective_part)
    assert_shows(app, inspector.inspect(defective_part))


def test_a_new_upload_shows_its_own_picture_or_none(open_viewer, models_folder):
    app = open_viewer(models_folder)
    upload(app, PART)
    first = picture_url(app)
    upload(app, encode(draw_part(2, is_defective=False, size=80)))
    assert "80 × 80 pixels" in html_of(app, "file")[0]
    assert picture_url(app) != first
    upload(app, PART[:500])
    assert not app.image
    assert len(html_of(app, "notice")) == 1
    upload(app, PART)
    assert picture_url(app) == first


@pytest.fixture
def twelve_bits(tmp_path) -> bytes:
    """The same picture as ``PART``, as a camera of twelve bits stores it."""
    save_twelve_bits(draw_part(1, is_defective=True), tmp_path / "twelve.png")
    return (tmp_path / "twelve.png").read_bytes()


def test_a_camera_of_twelve_bits_is_shown_and_judged_as_in_training(open_viewer, twelve_bit_project, twelve_bits):
    models = twelve_bit_project / "models"
    app = open_viewer(models)
    upload(app, PART)
    eight = picture_url(app)
    upload(app, twelve_bits, "twelve.png")
    assert picture_url(app) == eight, "the same picture, though not the same file"
    press(app, "Analyze Image")
    assert_shows(app, Inspector(models).inspect(twelve_bits))
    assert_shows(app, Inspector(models).inspect(PART))


def test_demo_mode_shows_a_picture_of_its_own_decoding(open_viewer, twelve_bit_project, twelve_bits):
    app = open_viewer(twelve_bit_project / "models")
    upload(app, twelve_bits)
    real = picture_url(app)
    switch_demo(app, True)
    assert picture_url(app) != real
    switch_demo(app, False)
    assert picture_url(app) == real


def test_the_preview_is_decoded_as_for_the_models(twelve_bits):
    def brightness(decoding):
        picture, problem = photograph.decode_preview(twelve_bits, "part.png", decoding)
        assert problem == ""
        return ImageStat.Stat(Image.open(io.BytesIO(picture.preview)).convert("L")).mean[0]

    part = ImageStat.Stat(draw_part(1, is_defective=True)).mean[0]
    assert brightness(Decoding(bit_depth=12)) == pytest.approx(part)
    assert brightness(AS_STORED) < part / 10


def test_a_value_beyond_the_camera_of_the_models_is_not_inspected(open_viewer, twelve_bit_project):
    app = open_viewer(twelve_bit_project / "models")
    upload(app, encode(Image.fromarray(np.full((32, 32), 4096, np.uint16))))
    notice = text_of(html_of(app, "notice")[0])
    assert notice.startswith("Not inspected part.png: the pixel value 4096 does not fit a camera of 12 bits")
    assert not app.image
    assert app.button[0].disabled


def test_new_models_are_loaded_and_inherit_no_verdict(open_viewer, own_models, defective_part):
    app = open_viewer(own_models)
    analyze(app, defective_part)
    assert shown_verdict(app)
    soft = describe_anew(own_models, voting="soft")
    app.run()
    assert "(soft)" in sidebar_text(app)
    assert shown_verdict(app) is None
    press(app, "Analyze Image")
    assert_shows(app, soft.inspect(defective_part))


@pytest.mark.parametrize("data", [PART, PART[:500]])
def test_a_hostile_file_name_stays_text(open_viewer, models_folder, data):
    name = "<img src=x onerror=alert(1)> **GOOD** [a](b) $x$ :smile: www.example.com.png"
    app = open_viewer(models_folder)
    upload(app, data, name)
    blocks = [block.value for block in app.get("html")]
    assert sum(name in text_of(block) for block in blocks) == 1
    assert not any("<img" in block for block in blocks)
    for element in (*app.markdown, *app.caption, *app.error, *app.warning, *app.info):
        assert "GOOD" not in element.value


# The rest


def test_the_viewer_needs_no_torch(models_folder):
    script = f"""
import sys
from importlib.abc import MetaPathFinder

class NoTorch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NoTorch())
from streamlit.testing.v1 import AppTest
from tests.parts import draw_part, encode

app = AppTest.from_file({str(APP)!r}, default_timeout={SECONDS}).run()
app.file_uploader[0].set_value(("part.png", encode(draw_part(1, True)), "image/png")).run()
app.button[0].click().run()
assert not app.exception, app.exception
print("shown:", sum('class="verdict"' in block.value for block in app.get("html")))
print("loaded:", sorted({{"torch", "torchvision", "timm"}} & set(sys.modules)))
"""
    environment = {"INSPECTION_MODELS": str(models_folder), "PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines()[-2:] == ["shown: 1", "loaded: []"], run.stderr


def test_the_configuration_keeps_the_viewer_on_this_machine():
    with (ROOT / ".streamlit" / "config.toml").open("rb") as stream:
        config = tomllib.load(stream)
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


def test_other_library_versions_are_told_and_verdicts_given_all_the_same(open_viewer, own_models):
    assert "Other library versions" not in notices(open_viewer(own_models))
    description = json.loads((own_models / "ensemble.json").read_text(encoding="utf-8"))
    description["versions"]["numpy"] = "1.0.0"
    (own_models / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")
    app = open_viewer(own_models)
    assert "(1.0.0 when the models were made)" in notices(app)
    analyze(app, PART)
    assert html_of(app, "verdict")


@pytest.mark.parametrize(
    "damage",
    [{"voters": None}, {"operating_point": {}}, {"guard": {"file": 1}}, {"decoding": []}, {"format": 3}],
    ids=lambda damage: next(iter(damage)),
)
def test_a_damaged_ensemble_is_told_and_not_a_traceback(open_viewer, own_models, damage):
    description = json.loads((own_models / "ensemble.json").read_text(encoding="utf-8"))
    (own_models / "ensemble.json").write_text(json.dumps(description | damage), encoding="utf-8")
    app = open_viewer(own_models)
    assert next(iter(damage)) in notices(app)
    assert "dvc repro" in notices(app)
    assert app.file_uploader[0].disabled


def notices(app: AppTest) -> str:
    return " ".join(text_of(html) for html in html_of(app, "notice"))


# Maps


def test_the_map_is_laid_over_the_photograph_and_can_be_taken_off(open_viewer, detecting_project):
    models = detecting_project / "models"
    app = open_viewer(models)
    upload(app, PART)
    plain = picture_url(app)
    assert not app.slider
    press(app, "Analyze Image")
    verdict = Inspector(models).inspect(PART, "part.png")
    assert verdict.regions
    assert [text_of(block) for block in html_of(app, "whereabouts")] == [verdict.whereabouts]
    assert app.image[0].proto.imgs[0].alt == f"Photograph part.png with its map. {verdict.whereabouts}"
    with_map = picture_url(app)
    assert with_map != plain
    app.slider[0].set_value(100).run()
    assert picture_url(app) not in (plain, with_map)
    app.checkbox[0].uncheck().run()
    assert picture_url(app) == plain
    assert not app.exception


def test_the_page_says_whose_map_it_shows(open_viewer, models_folder, detecting_project):
    app = open_viewer(models_folder)
    analyze(app, PART)
    assert "The map is that of baseline_cnn." in text_of(html_of(app, "map-key")[0])
    assert not [box for box in app.selectbox if box.label == "Map of"], "there is nothing to choose"
    app = open_viewer(detecting_project / "models")
    analyze(app, PART)
    assert f"The map is that of {BACKBONE}_patch_memory." in text_of(html_of(app, "map-key")[0])
    [chosen] = [box for box in app.selectbox if box.label == "Map of"]
    assert chosen.options == ["the ensemble", "baseline_cnn", f"{BACKBONE}_patch_memory"]
    chosen.set_value("baseline_cnn").run()
    assert "The map is that of baseline_cnn." in text_of(html_of(app, "map-key")[0])


def test_no_map_is_promised_where_no_voter_gives_one(open_viewer, own_models):
    description = json.loads((own_models / "ensemble.json").read_text(encoding="utf-8"))
    description["voters"] = [voter for voter in description["voters"] if voter["name"] != "baseline_cnn"]
    (own_models / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")
    app = open_viewer(own_models)
    analyze(app, PART)
    assert not app.checkbox
    assert not app.slider
    assert not html_of(app, "whereabouts")


def test_models_of_good_parts_say_that_no_defect_was_seen(open_viewer, good_parts_project):
    app = open_viewer(good_parts_project / "models")
    sidebar = text_of(" ".join(block.value for block in app.sidebar.get("html")))
    assert "40 photographs of data/raw, none of them defective" in sidebar
    assert "at most 10% of the good parts fail, with confidence 95%; rests on 40 good parts" in sidebar
    assert "nothing is promised of defects" in sidebar
    analyze(app, PART)
    assert shown_verdict(app) in ("✕ DEFECTIVE", "? REVIEW")
