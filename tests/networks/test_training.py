"""Training on photographs: it can be repeated, holds out what it says, and its scores are calibrated."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from inspection.calibration import calibrate_across_folds, fit_logistic
from inspection.config import AugmentParams, CnnParams
from inspection.networks import training as cnn_training
from inspection.networks.cnn import BaselineCNN
from inspection.networks.training import (
    BaselineRecipe,
    LabelledImages,
    calibrate,
    log_odds,
    train_across_parts,
    train_network,
)
from tests.parts import stack_parts

SIZE = 32
ALL = {"flips": True, "rotations": True, "brightness": 0.2, "contrast": 0.2}
NONE = {"flips": False, "rotations": False, "brightness": 0.0, "contrast": 0.0}


def recipe(augment: dict = ALL, **changes) -> BaselineRecipe:
    values = {
        "image_size": SIZE, "channels": [8, 16], "dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.01,
        "batch_size": 8, "epochs": 12, "parts": 2, "augment": AugmentParams(**augment),
    }  # fmt: skip
    return BaselineRecipe(CnnParams(**values | changes))


def parts(n_images: int, first_seed: int) -> LabelledImages:
    images, labels = stack_parts(n_images, first_seed, SIZE)
    return LabelledImages.of(images, labels, np.ones(n_images))


def scores_of(network: BaselineCNN, data: LabelledImages, augment: dict = ALL) -> np.ndarray:
    return log_odds(recipe(augment), network, data.prepared, data.rows)


def assert_same_weights(first: BaselineCNN, second: BaselineCNN, but: str = "") -> None:
    for key, weights in first.state_dict().items():
        assert key == but or torch.equal(weights, second.state_dict()[key]), key


@pytest.fixture(scope="module")
def data():
    return parts(80, 0), parts(32, 1000)


@pytest.fixture(scope="module")
def history():
    return []


@pytest.fixture(scope="module")
def trained(data, history):
    return train_network(recipe(), *data, seed=0, on_epoch=history.append)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data):
    first, again, other = (train_network(recipe(epochs=2), *data, seed=seed) for seed in (0, 0, 1))
    assert_same_weights(first, again)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_every_epoch_is_trained_and_the_last_weights_are_kept(trained, history, data):
    assert [scores.epoch for scores in history] == list(range(1, 13))
    assert history[-1].train_loss < history[0].train_loss
    # The curve is that of the network as it was then, in a single view: its end is the network returned.
    scores, labels = scores_of(trained, data[1], NONE), data[1].labels
    losses = np.logaddexp(0, np.where(labels == 1, -scores, scores))
    assert losses.mean() == pytest.approx(history[-1].held_out_loss, abs=1e-5)
    assert np.mean((scores >= 0) == labels) == pytest.approx(history[-1].held_out_accuracy)
    assert roc_auc_score(labels, scores) == pytest.approx(history[-1].held_out_roc_auc)


def test_a_trained_network_is_ready_for_use_but_not_calibrated(trained):
    assert not trained.training
    assert trained.calibration.tolist() == [1.0, 0.0]


def test_what_is_held_out_changes_nothing(data):
    # Nothing is chosen by it, not even the moment to stop: otherwise its scores would not be out-of-fold.
    train, held_out = data
    wrong = LabelledImages.of(held_out.prepared[::-1].copy(), 1 - held_out.labels, held_out.weights)
    networks = [train_network(recipe(epochs=3), train, part, seed=0) for part in (held_out, wrong, None)]
    assert_same_weights(networks[0], networks[1])
    assert_same_weights(networks[0], networks[2])


def test_without_held_out_images_their_scores_are_nan(data):
    history = []
    train_network(recipe(epochs=1), data[0], None, seed=0, on_epoch=history.append)
    [scores] = history
    assert scores.train_loss > 0
    assert np.isnan([scores.held_out_loss, scores.held_out_accuracy, scores.held_out_roc_auc]).all()


def test_it_learns_a_dark_scratch(trained, data):
    # Chance gives 16 of 32; 25 or more by chance have probability 0.001.
    assert ((scores_of(trained, data[1]) >= 0) == data[1].labels).sum() >= 25


def log_odds_by_hand(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        logits = network(torch.from_numpy(images.copy()).permute(0, 3, 1, 2)).numpy()
    return logits[:, 1] - logits[:, 0]


def test_log_odds_are_those_of_the_mean_over_the_flips(trained, data):
    images = data[1].prepared
    views = (images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1])
    each = np.array([log_odds_by_hand(trained, view) for view in views])
    together = scores_of(trained, data[1])
    assert together.shape == (32,)
    np.testing.assert_allclose(together, each.mean(0), atol=1e-4)
    np.testing.assert_allclose(scores_of(trained, data[1], NONE), each[0], atol=1e-4)
    # Turned at random in training, but not when scored: quarter turns are no views.
    np.testing.assert_allclose(scores_of(trained, data[1], NONE | {"rotations": True}), each[0], atol=1e-4)
    assert np.abs(together - each[0]).max() > 1e-3


def test_log_odds_do_not_depend_on_the_batch(trained, data, monkeypatch):
    images, together = data[1].prepared, scores_of(trained, data[1])
    monkeypatch.setattr(cnn_training, "_BATCH_SIZE", 5)
    np.testing.assert_allclose(scores_of(trained, data[1]), together, atol=1e-4)
    rows = np.array([31, 2, 2, 30, 0, 7, 8])
    np.testing.assert_allclose(log_odds(recipe(), trained, images, rows), together[rows], atol=1e-4)


@pytest.mark.parametrize(("sharpness", "shift"), [(0.5, 0.0), (1.0, 0.0), (3.0, 1.0)])
def test_calibration_undoes_over_and_under_confidence(sharpness, shift):
    # Labels are drawn with the probabilities of calm scores; those given are `sharpness` times as large, and shifted.
    random = np.random.default_rng(0)
    calm = random.normal(0, 2, 20_000)
    labels = (random.random(20_000) < expit(calm)).astype(int)
    network = BaselineCNN([4], 0.1)
    calibrate(network, sharpness * calm + shift, labels, np.ones(20_000))
    slope, intercept = network.calibration.tolist()
    assert slope == pytest.approx(1 / sharpness, rel=0.05)
    assert intercept == pytest.approx(-shift / sharpness, abs=0.05)


def test_uncertain_images_weigh_less(data):
    train, held_out = data
    labels, weights = train.labels.copy(), train.weights.copy()
    labels[:10] = 1 - labels[:10]
    weights[:10] = 1e-9
    swapped, rest = (LabelledImages.of(train.prepared, which, weights) for which in (labels, train.labels))
    # Wrong labels that weigh nothing change nothing.
    first, second = (train_network(recipe(epochs=1), part, None, seed=0) for part in (swapped, rest))
    np.testing.assert_allclose(scores_of(first, held_out), scores_of(second, held_out), atol=1e-3)


def test_a_part_of_the_images():
    data = parts(4, 0)
    chosen = data.where(np.array([True, False, False, True]))
    assert chosen.labels.tolist() == [0, 1]
    assert chosen.prepared is data.prepared, "no copy"
    assert chosen.rows.tolist() == [0, 3]
    assert chosen.weights.tolist() == [1.0, 1.0]
    last = chosen.where(np.array([False, True]))
    assert (last.rows.tolist(), last.labels.tolist()) == ([3], [1])


def test_a_part_is_trained_on_as_if_it_were_all(data):
    chosen = data[0].where(np.arange(80) % 4 < 2)
    copied = LabelledImages.of(data[0].prepared[chosen.rows], chosen.labels, chosen.weights)
    assert_same_weights(*(train_network(recipe(epochs=1), part, None, seed=0) for part in (chosen, copied)))


IMAGE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
"""None of its eight orientations equals another."""


@pytest.mark.parametrize(
    ("augment", "n_different"),
    [
        (NONE, 1),
        (NONE | {"flips": True}, 4),
        (NONE | {"rotations": True}, 4),
        (NONE | {"flips": True, "rotations": True}, 8),
    ],
)
def test_training_sees_every_orientation_asked_for(augment, n_different):
    turned = [np.rot90(IMAGE, turns) for turns in range(4)]
    possible = {image.tobytes() for view in turned for image in (view, view[::-1])}
    torch.manual_seed(0)
    # That 200 draws miss one of eight has probability 8 * (7/8)**200, which is 2e-11.
    seen = {recipe(augment).augment(IMAGE).permute(1, 2, 0).numpy().tobytes() for _ in range(200)}
    assert seen <= possible
    assert len(seen) == n_different
    assert IMAGE.tobytes() in seen


@pytest.mark.parametrize("change", ["brightness", "contrast"])
def test_training_changes_brightness_and_contrast(change):
    torch.manual_seed(0)
    # Grey levels from 60 to 187: a fifth more or less of either reaches neither black nor white.
    image = IMAGE // 2 + 60
    changed = [recipe(NONE | {change: 0.2}).augment(image).float() for _ in range(20)]
    measured = [float(values.mean() if change == "brightness" else values.std()) for values in changed]
    before = image.mean() if change == "brightness" else image.std()
    assert 0.75 < min(measured) / before < 1 < max(measured) / before < 1.25


PARTS = np.arange(80) // 2 % 2
FEW_EPOCHS = recipe(epochs=2)


@pytest.fixture(scope="module")
def across_parts(data):
    """The network, its out-of-fold scores, and what was reported of every epoch."""
    reported = []
    trained = train_across_parts(FEW_EPOCHS, data[0], PARTS, 0, lambda part, scores: reported.append((part, scores)))
    return *trained, reported


def test_each_part_is_scored_by_a_network_that_did_not_see_it(data, across_parts):
    train, raw = data[0], np.empty(80)
    for part in (0, 1):
        network = train_network(FEW_EPOCHS, train.where(part != PARTS), None, seed=0)
        raw[part == PARTS] = scores_of(network, train.where(part == PARTS))
    expected = calibrate_across_folds(raw, train.labels, train.weights, PARTS)
    np.testing.assert_allclose(across_parts[1], expected, atol=1e-6)
    slope, intercept = fit_logistic(raw.reshape(-1, 1), train.labels, train.weights)
    assert across_parts[0].calibration.tolist() == pytest.approx([slope[0], intercept], rel=1e-5)


def test_the_network_of_all_parts_is_trained_on_all_images(data, across_parts):
    assert_same_weights(across_parts[0], train_network(FEW_EPOCHS, data[0], None, seed=0), but="calibration")


def test_every_epoch_is_reported_with_the_part_left_out(across_parts):
    reported = across_parts[2]
    assert [part for part, _ in reported] == [0] * 2 + [1] * 2 + [None] * 2
    assert [scores.epoch for _, scores in reported] == [1, 2] * 3
    assert [bool(np.isnan(scores.held_out_loss)) for _, scores in reported] == [False] * 4 + [True] * 2


def test_nobody_watching_changes_nothing(data, across_parts):
    network, out_of_fold = train_across_parts(FEW_EPOCHS, data[0], PARTS, 0)
    np.testing.assert_array_equal(out_of_fold, across_parts[1])
    assert_same_weights(network, across_parts[0])
