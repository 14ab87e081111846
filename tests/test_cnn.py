"""BaselineCNN: training that can be repeated, keeps its best weights, and exports what it learned."""

import numpy as np
import pytest
import torch

from inspection.cnn import BaselineCNN, LabelledImages, ServedCNN, fit_temperature, train_cnn
from inspection.config import AugmentParams, CnnParams
from inspection.onnx_export import export_onnx
from inspection.onnx_models import OnnxModel
from tests.parts import draw_part

SIZE = 32


def cnn_params(**changes) -> CnnParams:
    values = {
        "image_size": SIZE, "channels": [8, 16], "dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.01,
        "batch_size": 8, "epochs": 12, "patience": 12,
        "augment": AugmentParams(flips=True, rotations=True, brightness=0.2, contrast=0.2),
    }  # fmt: skip
    return CnnParams(**values | changes)


def parts(n_images: int, first_seed: int) -> LabelledImages:
    labels = np.arange(n_images) % 2
    images = [
        np.asarray(draw_part(first_seed + index, label == 1, SIZE).convert("RGB")) for index, label in enumerate(labels)
    ]
    return LabelledImages(np.stack(images), labels, np.ones(n_images))


@pytest.fixture(scope="module")
def data():
    return parts(80, 0), parts(32, 1000)


@pytest.fixture(scope="module")
def history():
    return []


@pytest.fixture(scope="module")
def trained(data, history):
    return train_cnn(*data, cnn_params(), seed=0, on_epoch=history.append)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data):
    first, again, other = (train_cnn(*data, cnn_params(epochs=2), seed=seed).network for seed in (0, 0, 1))
    for key, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[key]), key
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_the_best_epoch_is_kept(trained, history, data):
    losses = [scores.held_out_loss for scores in history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    # Undo the temperature: what is left must have the best epoch's loss.
    network = BaselineCNN([8, 16], 0.1).eval()
    network.load_state_dict(trained.network.state_dict())
    network.temperature.fill_(1)
    with torch.inference_mode():
        logits = network(torch.from_numpy(data[1].images).permute(0, 3, 1, 2))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data[1].labels)).item()
    assert loss == pytest.approx(min(losses), abs=1e-5)


def test_training_stops_when_patience_ends(data):
    history = []
    # With this learning rate the loss explodes after the first steps.
    train_cnn(*data, cnn_params(learning_rate=10.0, epochs=30, patience=2), seed=0, on_epoch=history.append)
    losses = [scores.held_out_loss for scores in history]
    assert len(losses) == int(np.argmin(losses)) + 1 + 2 < 30


def test_it_learns_a_dark_scratch(trained, data):
    # Chance gives 16 of 32; 25 or more by chance have probability 0.001.
    assert ((trained.held_out_proba >= 0.5) == data[1].labels).sum() >= 25


def test_the_exported_twin_says_what_the_network_says(trained, data, tmp_path):
    path = tmp_path / "cnn.onnx"
    export_onnx(ServedCNN(trained.network), path, SIZE, ["defect_proba", "feature_map"], {"name": "cnn"})
    model = OnnxModel(path.read_bytes(), "cnn")
    np.testing.assert_allclose(model.run_all(data[1].images, "defect_proba"), trained.held_out_proba, atol=1e-5)
    assert model.run(data[1].images[:3], "feature_map").shape == (3, 16, SIZE // 4, SIZE // 4)


@pytest.mark.parametrize(("sharpness", "expected"), [(0.5, 0.5), (1.0, 1.0), (3.0, 3.0)])
def test_temperature_undoes_over_and_under_confidence(sharpness, expected, monkeypatch):
    # Labels are drawn with the probabilities of calm logits; logits `sharpness` times as large need that temperature.
    random = np.random.default_rng(0)
    calm = random.normal(0, 2, 20_000)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-calm))).astype(int)
    logits = np.column_stack([np.zeros_like(calm), sharpness * calm])
    monkeypatch.setattr("inspection.cnn._logits", lambda network, images: logits)
    network = BaselineCNN([4], 0.0)
    fit_temperature(network, LabelledImages(np.empty(0), labels, np.ones(len(labels))))
    assert network.temperature.item() == pytest.approx(expected, rel=0.05)


def test_uncertain_images_weigh_less(data):
    train, held_out = data
    swapped = LabelledImages(train.images, train.labels.copy(), train.weights.copy())
    swapped.labels[:10] = 1 - swapped.labels[:10]
    swapped.weights[:10] = 1e-9
    rest = LabelledImages(train.images, train.labels.copy(), swapped.weights)
    # Wrong labels that weigh nothing change nothing.
    first, second = (train_cnn(part, held_out, cnn_params(epochs=1), seed=0) for part in (swapped, rest))
    np.testing.assert_allclose(first.held_out_proba, second.held_out_proba, atol=1e-4)
