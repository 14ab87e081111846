"""Training on photographs: it can be repeated, holds out what it says, and its scores are calibrated."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from inspection.calibration import fit_logistic
from inspection.config import AugmentParams, CnnParams
from inspection.errors import ConfigError
from inspection.networks import training as cnn_training
from inspection.networks.cnn import AveragedCNN, BaselineCNN
from inspection.networks.recipes import BaselineRecipe
from inspection.networks.training import (
    LabelledImages,
    average_proba,
    calibrate,
    contributions,
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


def assert_same_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    for key, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[key]), key


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
    assert [scores.epoch for scores in history if not np.isnan(scores.held_out_loss)] == [3, 6, 9, 12]
    # The curve is that of the network as it was then, in a single view: its end is the network returned.
    scores, labels = scores_of(trained, data[1], NONE), data[1].labels
    losses = np.logaddexp(0, np.where(labels == 1, -scores, scores))
    assert losses.mean() == pytest.approx(history[-1].held_out_loss, abs=1e-5)
    assert np.mean((scores >= 0) == labels) == pytest.approx(history[-1].held_out_accuracy)
    assert roc_auc_score(labels, scores) == pytest.approx(history[-1].held_out_roc_auc)


def test_a_trained_network_is_ready_for_use_but_not_calibrated(trained):
    assert not trained.training
    assert recipe().average([trained]).calibration.tolist() == [1.0, 0.0]


def test_the_number_of_threads_changes_nothing(data):
    before, trained = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            network = train_network(recipe(epochs=1), data[0], None, seed=0)
            trained.append((network, scores_of(network, data[1])))
            assert torch.get_num_threads() == n_threads, "others keep their threads"
    finally:
        torch.set_num_threads(before)
    (first, scores), (second, other_scores) = trained
    assert_same_weights(first, second)
    np.testing.assert_array_equal(scores, other_scores)


def test_a_training_that_diverges_is_no_network(data):
    message = r"the training diverged in epoch \d \(its loss is (nan|inf)\); lower the learning_rate = 10\.0"
    without_bound = LabelledImages.of(data[0].prepared, data[0].labels, np.full(80, np.inf))
    with pytest.raises(ConfigError, match=message):
        train_network(recipe(learning_rate=10.0, epochs=3), without_bound, None, seed=0)


@pytest.mark.parametrize(("n_images", "sizes"), [(8, [8]), (5, [5]), (9, [8]), (16, [8, 8]), (23, [8, 8])])
def test_an_incomplete_batch_is_left_out_unless_there_is_no_other(n_images, sizes, monkeypatch):
    seen = []
    original = BaselineRecipe.augmented
    monkeypatch.setattr(
        BaselineRecipe, "augmented", lambda self, prepared, rows: seen.append(rows) or original(self, prepared, rows)
    )
    train_network(recipe(epochs=2), parts(n_images, 0), None, seed=0)
    assert [len(rows) for rows in seen] == sizes * 2
    first_epoch = np.concatenate(seen[: len(sizes)])
    assert len(set(first_epoch.tolist())) == len(first_epoch), "each image at most once an epoch"


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
    network = AveragedCNN([BaselineCNN([4], 0.1)])
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


PARTS = np.arange(80) // 2 % 2
FEW_EPOCHS = recipe(epochs=2)


@pytest.fixture(scope="module")
def across_parts(data):
    """The network, its out-of-fold scores, and what was reported of every epoch."""
    reported = []
    trained = train_across_parts(FEW_EPOCHS, data[0], PARTS, 0, lambda part, scores: reported.append((part, scores)))
    return *trained, reported


def test_each_part_is_scored_by_the_member_that_did_not_see_it(data, across_parts):
    train, raw, (averaged, out_of_fold, *_) = data[0], np.empty(80), across_parts
    assert len(averaged.members) == 2
    for part, member in enumerate(averaged.members):
        # What is scored is what is served: the member is the network trained on the other part.
        assert_same_weights(member, train_network(FEW_EPOCHS, train.where(part != PARTS), None, seed=0))
        raw[part == PARTS] = scores_of(member, train.where(part == PARTS))
    slope, intercept = fit_logistic(raw.reshape(-1, 1), train.labels, train.weights)
    assert averaged.calibration.tolist() == pytest.approx([slope[0], intercept], rel=1e-5)
    np.testing.assert_allclose(out_of_fold, expit(slope[0] * raw + intercept), atol=1e-6)


def test_each_map_is_that_of_the_member_that_did_not_see_the_photograph(data, across_parts):
    averaged, out_of_fold, maps, _ = across_parts
    # Of one member the mean of the map is the log odds, so only the right member and photograph give these.
    np.testing.assert_allclose(expit(maps.mean((1, 2))), out_of_fold, atol=1e-5)
    slope, intercept = averaged.calibration.tolist()
    for part, member in enumerate(averaged.members):
        rows = data[0].rows[part == PARTS]
        expected = slope * contributions(FEW_EPOCHS, member, data[0].prepared, rows) + intercept
        np.testing.assert_allclose(maps[part == PARTS], expected, atol=1e-6)
    images = torch.from_numpy(data[1].prepared)
    of_members = [
        slope * contributions(FEW_EPOCHS, member, data[1].prepared, data[1].rows) + intercept
        for member in averaged.members
    ]
    with torch.inference_mode():
        np.testing.assert_allclose(averaged(images)[1], np.mean(of_members, axis=0), atol=1e-4)


def test_what_is_served_is_the_mean_of_the_members(data, across_parts):
    new, averaged = data[1], across_parts[0]
    slope, intercept = averaged.calibration.tolist()
    of_members = [expit(slope * scores_of(member, new) + intercept) for member in averaged.members]
    proba = average_proba(FEW_EPOCHS, averaged, new.prepared, new.rows)
    np.testing.assert_allclose(proba, np.mean(of_members, axis=0), atol=1e-6)
    with torch.inference_mode():
        served = averaged(torch.from_numpy(new.prepared))[0].numpy()
    np.testing.assert_allclose(proba, served, atol=1e-5)
    rows = np.array([3, 3, 0])
    np.testing.assert_allclose(average_proba(FEW_EPOCHS, averaged, new.prepared, rows), proba[rows], atol=1e-6)


def test_every_epoch_is_reported_with_the_part_left_out(across_parts):
    reported = across_parts[3]
    assert [part for part, _ in reported] == [0] * 2 + [1] * 2
    assert [scores.epoch for _, scores in reported] == [1, 2] * 2
    assert [bool(np.isnan(scores.held_out_loss)) for _, scores in reported] == [True, False] + [True] * 2
    assert not any(np.isnan(scores.train_loss) for _, scores in reported)


def test_nobody_watching_changes_nothing(data, across_parts):
    network, out_of_fold, maps = train_across_parts(FEW_EPOCHS, data[0], PARTS, 0)
    np.testing.assert_array_equal(out_of_fold, across_parts[1])
    np.testing.assert_array_equal(maps, across_parts[2])
    assert_same_weights(network, across_parts[0])
