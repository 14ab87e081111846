"""BaselineCNN and how networks are served: calibrated, averaged, over their flips too, and exported to say the same."""

import copy
import re

import numpy as np
import pytest
import torch
from scipy.special import expit

from inspection.networks import cnn
from inspection.networks.cnn import AveragedCNN, BaselineCNN, save_cnn
from inspection.networks.onnx_models import OnnxModel
from tests.parts import stack_parts

SIZE = 32
IMAGES, _ = stack_parts(12, 1000, SIZE)
VIEWS = (IMAGES, IMAGES[:, :, ::-1], IMAGES[:, ::-1], IMAGES[:, ::-1, ::-1])
"""As they are, left and right swapped, top and bottom swapped, both."""
TURNS = (lambda a: a, lambda a: a[:, :, ::-1], lambda a: a[:, ::-1], lambda a: a[:, ::-1, ::-1])
"""The same, of anything whose rows and columns come after the images; each turns its view back."""


def untrained(seed: int) -> BaselineCNN:
    torch.manual_seed(seed)
    network = BaselineCNN([8, 16], 0.1).eval()
    with torch.no_grad():
        # Louder than untrained ones are, so that photographs and their flips get different scores.
        network.classifier.weight.mul_(30)
    return network


@pytest.fixture
def network() -> BaselineCNN:
    """An untrained network in evaluation mode."""
    return untrained(0)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2)


def logits_of(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(pixels_of(images)).numpy()


def log_odds_of(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    logits = logits_of(network, images)
    return logits[:, 1] - logits[:, 0]


def contributions_of(network: BaselineCNN, images: np.ndarray) -> np.ndarray:
    """By hand: the weights of defective less those of non-defective, times the channels of every position."""
    with torch.inference_mode():
        channels = network.forward_features(pixels_of(images)).numpy()
        weights, biases = network.classifier.weight.numpy(), network.classifier.bias.numpy()
    return np.einsum("nchw,c->nhw", channels, weights[1] - weights[0]) + biases[1] - biases[0]


def served(network: AveragedCNN, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        proba, maps = network(torch.from_numpy(images.copy()))
    return proba.numpy(), maps.numpy()


def calibrated(network: AveragedCNN, slope: float, intercept: float) -> AveragedCNN:
    network.calibration.copy_(torch.tensor([slope, intercept]))
    return network


def test_each_block_halves_the_image(network):
    with torch.inference_mode():
        map_ = network.forward_features(torch.zeros(2, 3, SIZE, SIZE))
    assert map_.shape == (2, 16, SIZE // 4, SIZE // 4)


def test_bytes_and_numbers_are_taken_alike(network):
    pixels = pixels_of(IMAGES)
    with torch.inference_mode():
        assert torch.equal(network(pixels), network(pixels.float()))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (3.0, 0.0), (1.0, -2.0), (0.7, 1.5)])
def test_calibration_is_slope_and_intercept_of_the_log_odds(network, slope, intercept):
    averaged = calibrated(AveragedCNN([network], flips=False), slope, intercept)
    expected = expit(slope * log_odds_of(network, IMAGES) + intercept)
    np.testing.assert_allclose(served(averaged, IMAGES)[0], expected, atol=1e-5)


def test_calibration_is_a_part_of_the_state(network):
    averaged = AveragedCNN([network])
    assert averaged.calibration.tolist() == [1.0, 0.0], "not calibrated from the start"
    calibrated(averaged, 0.5, -1.0)
    other = AveragedCNN([BaselineCNN([8, 16], 0.1)])
    other.load_state_dict(averaged.state_dict())
    assert other.calibration.tolist() == [0.5, -1.0]
    assert "calibration" not in dict(averaged.named_parameters()), "or training would change it"


def test_served_is_the_mean_of_the_calibrated_probabilities_of_the_members():
    members = [untrained(seed) for seed in range(3)]
    averaged = calibrated(AveragedCNN(members, flips=False), 0.6, -0.8)
    each = np.array([expit(0.6 * log_odds_of(member, IMAGES) - 0.8) for member in members])
    proba, maps = served(averaged, IMAGES)
    np.testing.assert_allclose(proba, each.mean(0), atol=1e-5)
    assert np.abs(each - proba).max(1).min() > 0.01, "no member alone says the same"
    # A sigmoid of mean log odds would be something else: probabilities are averaged.
    mean_log_odds = np.mean([log_odds_of(member, IMAGES) for member in members], axis=0)
    assert np.abs(expit(0.6 * mean_log_odds - 0.8) - proba).max() > 1e-3
    expected = np.mean([0.6 * contributions_of(member, IMAGES) - 0.8 for member in members], axis=0)
    assert maps.shape == (12, SIZE // 4, SIZE // 4)
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_a_common_stem_is_run_once_for_all_members_and_views(network):
    class Darker(torch.nn.Module):
        n_calls = 0

        def forward(self, pixels):
            self.n_calls += 1
            return pixels / 2

    stem = Darker()
    averaged = AveragedCNN([network, copy.deepcopy(network)], stem)
    np.testing.assert_allclose(served(averaged, IMAGES // 2 * 2)[0], served(AveragedCNN([network]), IMAGES // 2)[0])
    assert stem.n_calls == 1


def test_a_network_to_be_served_is_never_in_training_mode(network):
    assert not any(module.training for module in AveragedCNN([network.train()]).modules())


def test_served_is_the_probability_of_the_mean_logits_of_the_four_flips(network):
    flipped, single = AveragedCNN([network], flips=True), AveragedCNN([network], flips=False)
    logits = np.mean([logits_of(network, view) for view in VIEWS], axis=0)
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
    proba, maps = served(flipped, IMAGES)
    np.testing.assert_allclose(proba, expected, atol=1e-5)
    each = np.array([expit(log_odds_of(network, view)) for view in VIEWS])
    assert np.abs(each - proba).max(1).min() > 1e-3, "no view alone says the same"
    # All four views get the same probability, and the map lies as the view does.
    for view, turn in zip(VIEWS, TURNS, strict=True):
        of_view = served(flipped, view)
        np.testing.assert_allclose(of_view[0], expected, atol=1e-5)
        np.testing.assert_allclose(of_view[1], turn(maps), atol=1e-4)
    laid_back = [turn(served(single, view)[1]) for view, turn in zip(VIEWS, TURNS, strict=True)]
    np.testing.assert_allclose(maps, np.mean(laid_back, axis=0), atol=1e-4)


def test_served_without_flips_is_a_single_view(network):
    proba, maps = served(AveragedCNN([network], flips=False), IMAGES)
    np.testing.assert_allclose(proba, expit(log_odds_of(network, IMAGES)), atol=1e-6)
    np.testing.assert_allclose(maps, contributions_of(network, IMAGES), atol=1e-5)


def test_a_map_shows_the_place_that_speaks_for_a_defect():
    """One filter that answers to bright pixels, and speaks for a defect: the map is bright where the photograph is."""
    network = BaselineCNN([1], 0.0).eval()
    with torch.no_grad():
        network.features[0].weight.zero_()[:, :, 1, 1] = 1 / 3
        network.classifier.weight.copy_(torch.tensor([[-1.0], [2.0]]))
        network.classifier.bias.copy_(torch.tensor([0.25, 0.5]))
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[0, 2:4, 6:8] = 255
    _, maps = served(AveragedCNN([network]), images)
    # A white block of 2 x 2 pixels is one position, whose channel is 1: weights of 3 and biases of 0.25 between them.
    expected = np.full((1, 4, 4), 0.25)
    expected[0, 1, 3] += 3
    np.testing.assert_allclose(maps, expected, atol=1e-4)


@pytest.mark.parametrize("flips", [False, True])
def test_the_saved_twins_say_what_the_network_says(flips, tmp_path):
    averaged = AveragedCNN([untrained(0), untrained(1)], flips=flips)
    raw = served(averaged, IMAGES)[0]
    save_cnn(calibrated(averaged, 0.6, -0.8), tmp_path / "models", "cnn", SIZE)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["cnn.onnx", "cnn.pth"]
    model = OnnxModel((tmp_path / "models" / "cnn.onnx").read_bytes(), "cnn")
    views = VIEWS if flips else VIEWS[:1]
    of_members = [
        expit(0.6 * np.mean([log_odds_of(member, view) for view in views], axis=0) - 0.8) for member in averaged.members
    ]
    expected = np.mean(of_members, axis=0)
    np.testing.assert_allclose(model.run_all(IMAGES, "defect_proba"), expected, atol=1e-5)
    assert np.abs(expected - raw).max() > 0.05, "calibrated, not raw"
    maps = model.run_all(IMAGES, "defect_map")
    assert maps.shape == (12, SIZE // 4, SIZE // 4)
    np.testing.assert_allclose(maps, served(averaged, IMAGES)[1], atol=1e-4)
    assert model.image_size == SIZE
    assert (model.metadata["name"], model.metadata["members"]) == ("cnn", "2")
    loaded = AveragedCNN([BaselineCNN([8, 16], 0.1) for _ in range(2)], flips=flips)
    loaded.load_state_dict(torch.load(tmp_path / "models" / "cnn.pth", weights_only=True))
    np.testing.assert_array_equal(served(loaded, IMAGES)[0], served(averaged, IMAGES)[0])


@pytest.mark.parametrize("flips", [False, True])
def test_the_mean_of_the_exported_map_is_the_log_odds(flips, tmp_path):
    """Of one member the served probability, of several the mean of their calibrated log odds."""
    members, views = [untrained(0), untrained(1)], VIEWS if flips else VIEWS[:1]
    for n_members in (1, 2):
        averaged = calibrated(AveragedCNN(members[:n_members], flips=flips), 0.6, -0.8)
        save_cnn(averaged, tmp_path, "cnn", SIZE)
        model = OnnxModel((tmp_path / "cnn.onnx").read_bytes(), "cnn")
        maps = model.run_all(IMAGES, "defect_map").astype(float)
        raw = [np.mean([log_odds_of(member, view) for view in views], axis=0) for member in members[:n_members]]
        np.testing.assert_allclose(maps.mean((1, 2)), 0.6 * np.mean(raw, axis=0) - 0.8, atol=1e-5)
        if n_members == 1:
            np.testing.assert_allclose(expit(maps.mean((1, 2))), model.run_all(IMAGES, "defect_proba"), atol=1e-5)
        assert maps.std((1, 2)).min() > 0.1, "positions differ"


def test_the_two_documented_lines_load_what_is_served(tmp_path, monkeypatch):
    lines = re.findall(r"^ *>>> (.*?)(?:  # doctest.*)?$", AveragedCNN.__doc__, re.MULTILINE)
    assert len(lines) == 2
    # The default network of the pipeline, as the lines say.
    averaged = AveragedCNN([BaselineCNN([16, 32, 64, 128, 128], 0.3) for _ in range(2)])
    save_cnn(calibrated(averaged, 0.6, -0.8), tmp_path / "models", "baseline_cnn", SIZE)
    monkeypatch.chdir(tmp_path)
    names = {"AveragedCNN": cnn.AveragedCNN, "BaselineCNN": cnn.BaselineCNN, "torch": torch}
    exec("\n".join(lines), names)
    model = OnnxModel((tmp_path / "models" / "baseline_cnn.onnx").read_bytes(), "baseline_cnn")
    proba = served(names["network"], IMAGES)[0]
    np.testing.assert_allclose(proba, model.run_all(IMAGES, "defect_proba"), atol=1e-5)
    assert np.ptp(proba) > 1e-4, "not all the same"
