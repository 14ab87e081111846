"""BaselineCNN and how a network is served: calibrated, averaged over its flips, and exported to say the same."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from inspection.networks.cnn import BaselineCNN, ServedCNN, save_cnn
from inspection.networks.onnx_models import OnnxModel
from tests.parts import stack_parts

SIZE = 32
IMAGES, _ = stack_parts(12, 1000, SIZE)
VIEWS = (IMAGES, IMAGES[:, :, ::-1], IMAGES[:, ::-1], IMAGES[:, ::-1, ::-1])
"""As they are, left and right swapped, top and bottom swapped, both."""


@pytest.fixture
def network() -> BaselineCNN:
    """An untrained network in evaluation mode."""
    torch.manual_seed(0)
    network = BaselineCNN([8, 16], 0.1).eval()
    with torch.no_grad():
        # Louder than untrained ones are, so that photographs and their flips get different scores.
        network.classifier.weight.mul_(30)
    return network


def logits_of(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(images.copy()).permute(0, 3, 1, 2)).numpy()


def log_odds_of(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    logits = logits_of(network, images)
    return logits[:, 1] - logits[:, 0]


def served(network: BaselineCNN, flips: bool, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        proba, maps = ServedCNN(network, flips).eval()(torch.from_numpy(images.copy()))
    return proba.numpy(), maps.numpy()


def test_each_block_halves_the_image(network):
    with torch.inference_mode():
        map_ = network.forward_features(torch.zeros(2, 3, SIZE, SIZE))
    assert map_.shape == (2, 16, SIZE // 4, SIZE // 4)


def test_bytes_and_numbers_are_taken_alike(network):
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert torch.equal(network(pixels), network(pixels.float()))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (3.0, 0.0), (1.0, -2.0), (0.7, 1.5)])
def test_calibration_is_slope_and_intercept_of_the_log_odds(network, slope, intercept):
    before = log_odds_of(network, IMAGES)
    network.calibration.copy_(torch.tensor([slope, intercept]))
    np.testing.assert_allclose(log_odds_of(network, IMAGES), slope * before + intercept, atol=1e-4)


def test_calibration_is_a_part_of_the_state(network):
    assert network.calibration.tolist() == [1.0, 0.0], "not calibrated from the start"
    network.calibration.copy_(torch.tensor([0.5, -1.0]))
    other = BaselineCNN([8, 16], 0.1)
    other.load_state_dict(network.state_dict())
    assert other.calibration.tolist() == [0.5, -1.0]
    assert "calibration" not in dict(network.named_parameters()), "or training would change it"


def test_served_is_the_probability_of_the_mean_logits_of_the_four_flips(network):
    logits = np.mean([logits_of(network, view) for view in VIEWS], axis=0)
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
    proba, maps = served(network, True, IMAGES)
    np.testing.assert_allclose(proba, expected, atol=1e-5)
    each = np.array([expit(log_odds_of(network, view)) for view in VIEWS])
    assert np.abs(each - proba).max(1).min() > 1e-3, "no view alone says the same"
    # All four views get the same probability, and the map is that of the photograph as it lies.
    for view in VIEWS:
        np.testing.assert_allclose(served(network, True, view)[0], expected, atol=1e-5)
    np.testing.assert_allclose(maps, served(network, False, IMAGES)[1], atol=1e-5)


def test_served_without_flips_is_a_single_view(network):
    proba, maps = served(network, False, IMAGES)
    np.testing.assert_allclose(proba, expit(log_odds_of(network, IMAGES)), atol=1e-6)
    with torch.inference_mode():
        expected = network.forward_features(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-5)


@pytest.mark.parametrize("flips", [False, True])
def test_the_saved_twins_say_what_the_network_says(network, flips, tmp_path):
    raw = served(network, flips, IMAGES)[0]
    network.calibration.copy_(torch.tensor([0.6, -0.8]))
    save_cnn(network, tmp_path / "models", "cnn", SIZE, flips)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["cnn.onnx", "cnn.pth"]
    model = OnnxModel((tmp_path / "models" / "cnn.onnx").read_bytes(), "cnn")
    expected = expit(np.mean([log_odds_of(network, view) for view in (VIEWS if flips else VIEWS[:1])], axis=0))
    np.testing.assert_allclose(model.run_all(IMAGES, "defect_proba"), expected, atol=1e-5)
    assert np.abs(expected - raw).max() > 0.05, "calibrated, not raw"
    assert model.run(IMAGES[:3], "feature_map").shape == (3, 16, SIZE // 4, SIZE // 4)
    assert model.image_size == SIZE
    assert model.metadata["name"] == "cnn"
    loaded = BaselineCNN([8, 16], 0.1).eval()
    loaded.load_state_dict(torch.load(tmp_path / "models" / "cnn.pth", weights_only=True))
    np.testing.assert_array_equal(logits_of(loaded, IMAGES), logits_of(network, IMAGES))
