"""Fine-tuning: real EfficientNet-Lite0 weights at 64 pixels, and random weights of architectures cut elsewhere."""

import copy
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from scipy.special import expit
from torch.nn import functional

from inspection.config import AugmentParams, CnnParams, FineTuningParams
from inspection.errors import ConfigError
from inspection.networks.architectures import make_recipe
from inspection.networks.cnn import FLIPS, AveragedCNN, save_cnn
from inspection.networks.fine_tuning import FineTuning, _orientations
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.recipes import BaselineRecipe
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.training import LabelledImages, average_proba, log_odds, train_network
from inspection.networks.weights import load_pretrained
from tests.parts import stack_parts

NAME = "efficientnet_lite0"
SIZE = 64
N_TRAIN, N_NEW = 80, 32


def params(**changes) -> FineTuningParams:
    values = {
        "image_size": SIZE, "frozen": {NAME: "blocks.3"}, "dropout": 0.1, "learning_rate": 0.003,
        "weight_decay": 0.05, "batch_size": 16, "epochs": 3, "max_scratch_gb": 1.0,
    }  # fmt: skip
    return FineTuningParams(**values | changes)


def augment(flips: bool = True, rotations: bool = True) -> AugmentParams:
    return AugmentParams(flips=flips, rotations=rotations, brightness=0.2, contrast=0.2)


def silently(work, length):
    return work


@pytest.fixture(scope="module")
def pretrained():
    return load_pretrained(NAME)


@pytest.fixture(scope="module")
def recipe(pretrained):
    return FineTuning(NAME, pretrained, params(), augment())


@pytest.fixture(scope="module")
def images():
    return stack_parts(N_TRAIN + N_NEW, 0, SIZE)[0]


@pytest.fixture(scope="module")
def data(recipe, images):
    """What training needs of the first 80 parts, and of 32 others."""
    prepared = recipe.prepare(images, silently)
    everything = LabelledImages.of(prepared, np.arange(len(images)) % 2, np.ones(len(images)))
    is_new = np.arange(len(images)) >= N_TRAIN
    return everything.where(~is_new), everything.where(is_new)


@pytest.fixture(scope="module")
def trained(recipe, data):
    return train_network(recipe, data[0], None, seed=0)


def as_pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float()


def random_pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE))).float()


def test_stem_and_tail_together_are_the_pretrained_network(recipe):
    pixels = random_pixels()
    with torch.inference_mode():
        maps = recipe.stem(pixels)
        # timm's own forward pass; these weights expect pixels in [-1, 1].
        expected = load_pretrained(NAME).network.forward_features(pixels / 127.5 - 1)
        tail = recipe.make().eval()
        found = tail.forward_features(maps)
        whole = AveragedCNN([tail], recipe.stem, flips=False)(pixels.permute(0, 2, 3, 1).to(torch.uint8))[1]
    assert maps.shape == (3, 80, SIZE // 16, SIZE // 16)
    assert found.std() > 0.1, "not all the same"
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole, tail.contributions(expected).detach(), atol=1e-4, rtol=1e-4)


def test_maps_are_those_of_every_orientation(recipe, images, data):
    prepared = data[0].prepared
    assert prepared.shape == (N_TRAIN + N_NEW, 8, 80, 4, 4)
    assert prepared.dtype == np.float16
    chosen = images[20:24]
    turned = [chosen, np.rot90(chosen, 1, (1, 2))]
    by_hand = [view for image in turned for view in (image, image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1])]
    for position, view in enumerate(by_hand):
        with torch.inference_mode():
            expected = recipe.stem(as_pixels(view)).numpy()
        np.testing.assert_allclose(prepared[20:24, position], expected, atol=0.02, rtol=2e-3)
    views = list(recipe.views(prepared, np.arange(20, 24)))
    assert len(views) == 4
    for view, expected in zip(views, by_hand, strict=False):
        with torch.inference_mode():
            np.testing.assert_allclose(view.numpy(), recipe.stem(as_pixels(expected)), atol=0.02, rtol=2e-3)


@pytest.mark.parametrize(
    ("flips", "rotations", "n_orientations"), [(True, True, 8), (True, False, 4), (False, True, 4), (False, False, 1)]
)
def test_orientations_are_those_asked_for(flips, rotations, n_orientations):
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    turned = [turn(image) for turn in _orientations(augment(flips, rotations))]
    assert len(turned) == n_orientations
    assert len({view.tobytes() for view in turned}) == n_orientations, "all different"
    np.testing.assert_array_equal(turned[0], image)
    if flips:
        # The views that scores are averaged over.
        for view, axes in zip(turned, FLIPS, strict=False):
            np.testing.assert_array_equal(as_pixels(view), as_pixels(image).flip(axes))
    else:
        for k, view in enumerate(turned):
            np.testing.assert_array_equal(view, np.rot90(image, k, (1, 2)))


def test_training_draws_every_orientation_and_scores_use_flips_only(recipe):
    prepared = np.arange(16, dtype=np.float16).reshape(2, 8, 1, 1, 1)
    torch.manual_seed(0)
    # That 200 draws miss one of eight has probability 8 * (7/8)**200, which is 2e-11.
    assert set(recipe.augmented(prepared, np.ones(200, int)).flatten().tolist()) == set(range(8, 16))
    assert [view.flatten().tolist() for view in recipe.views(prepared, np.array([1, 0]))] == [
        [8, 0], [9, 1], [10, 2], [11, 3],
    ]  # fmt: skip


def test_without_flips_a_single_view_is_scored():
    recipe = FineTuning(NAME, load_pretrained(NAME), params(), augment(flips=False))
    assert not recipe.flips
    [view] = recipe.views(np.arange(8, dtype=np.float16).reshape(2, 4, 1, 1, 1), np.arange(2))
    assert view.flatten().tolist() == [0, 4]


def test_frozen_and_pretrained_weights_stay_as_they_are(pretrained, recipe, trained):
    # All layers of the recipe, the learning ones too: the next training starts from them.
    before = load_pretrained(NAME).network.state_dict()
    state = pretrained.network.state_dict()
    for key, weights in before.items():
        # The head is of no use here, and random.
        assert key.startswith("classifier.") or torch.equal(state[key], weights), key
    served = recipe.average([trained]).state_dict()
    frozen = [key for key in served if key.startswith("stem._extractor.")]
    assert len(frozen) > 50
    for key in frozen:
        assert torch.equal(served[key], before[key.removeprefix("stem._extractor.")]), key


def test_weights_and_statistics_of_the_tail_learn(recipe, trained):
    before, after = recipe.make().state_dict(), trained.state_dict()
    assert any(key.endswith("running_mean") for key in before)
    assert not {key for key in before if torch.equal(before[key], after[key])}
    assert not trained.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(recipe, data, trained):
    quick, few = copy.copy(recipe), data[0].where(np.arange(N_TRAIN) < 32)
    quick.schedule = params(epochs=1)
    # `trained` came before: were the pretrained weights changed by a training, so would be the next one's start.
    first, again, other = (train_network(quick, few, None, seed=seed).state_dict() for seed in (0, 0, 1))
    for key, weights in first.items():
        assert torch.equal(weights, again[key]), key
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_it_learns_a_dark_scratch(recipe, data, trained):
    # Chance gives 16 of 32; 25 or more by chance have probability 0.001.
    new = data[1]
    assert ((log_odds(recipe, trained, new.prepared, new.rows) >= 0) == new.labels).sum() >= 25


def test_what_is_saved_says_what_the_networks_say(recipe, data, trained, images, tmp_path):
    other, new = copy.deepcopy(trained), data[1]
    with torch.no_grad():
        other.classifier.weight.mul_(-0.5)
    network = recipe.average([trained, other])
    network.calibration.copy_(torch.tensor([0.6, -0.8]))
    save_cnn(network, tmp_path, NAME, SIZE)
    model = OnnxModel((tmp_path / f"{NAME}.onnx").read_bytes(), NAME)
    assert (model.image_size, model.metadata["name"]) == (SIZE, NAME)
    of_members = [expit(0.6 * log_odds(recipe, tail, new.prepared, new.rows) - 0.8) for tail in (trained, other)]
    expected = np.mean(of_members, axis=0)
    assert np.abs(of_members - expected).max() > 0.1, "the members disagree"
    # Scores come from maps kept in half precision; what is served does not.
    np.testing.assert_allclose(model.run_all(images[N_TRAIN:], "defect_proba"), expected, atol=1e-3)
    np.testing.assert_allclose(average_proba(recipe, network, new.prepared, new.rows), expected, atol=1e-6)
    assert np.ptp(expected) > 0.1, "not all the same"
    pixels = torch.from_numpy(images[N_TRAIN:])
    loaded = recipe.average([recipe.make() for _ in range(2)])
    loaded.load_state_dict(torch.load(tmp_path / f"{NAME}.pth", weights_only=True))
    with torch.inference_mode():
        proba, maps = network(pixels)
        assert torch.equal(loaded(pixels)[0], proba)
    np.testing.assert_allclose(model.run(images[N_TRAIN:][:3], "defect_map"), maps[:3], atol=1e-3, rtol=1e-3)
    raw = [log_odds(recipe, tail, new.prepared, new.rows) for tail in (trained, other)]
    np.testing.assert_allclose(maps.mean((1, 2)), 0.6 * np.mean(raw, axis=0) - 0.8, atol=1e-2)


def test_the_stem_is_saved_once_for_all_members(recipe, trained):
    one, three = (recipe.average([trained] * n).state_dict() for n in (1, 3))
    stems = [[key for key in state if key.startswith("stem.")] for state in (one, three)]
    assert stems[0] == stems[1]
    assert len(three) - len(stems[1]) - 1 == 3 * (len(one) - len(stems[0]) - 1)


class TestScratch:
    """The maps of the stem, which may take gigabytes."""

    N_BYTES = 5 * 8 * 80 * 4 * 4 * 2

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        return tmp_path

    def test_nothing_is_left_in_the_temporary_folder(self, recipe, images, folder):
        prepared = recipe.prepare(images[:5], silently)
        assert prepared.nbytes == self.N_BYTES
        assert not list(folder.iterdir())
        assert np.ptp(prepared[4]) > 0, "though the maps can be read"

    def test_nor_when_it_ends_early(self, recipe, images, folder):
        def stop_at_the_second(work, length):
            yield 0
            assert not list(folder.iterdir()), "not even while it is written"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recipe.prepare(images[:20], stop_at_the_second)
        assert not list(folder.iterdir())

    @pytest.mark.parametrize(("free", "fits"), [(2**30 + N_BYTES, True), (2**30 + N_BYTES - 1, False)])
    def test_the_space_is_looked_at_before_any_work(self, free, fits, recipe, images, folder, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        if fits:
            assert len(recipe.prepare(images[:5], silently)) == 5
            return
        message = (
            f"fine-tuning {NAME} on 5 photographs in 8 orientations takes 0.0 GB of the temporary folder {folder}, "
            "where 1.1 GB are free and 1 must stay so; set TMPDIR to a folder on a larger disk, or freeze up to a "
            f"later layer (fine_tuning.frozen.{NAME}) whose maps are smaller, lower fine_tuning.image_size, or turn "
            "off cnn.augment.rotations."
        )
        with pytest.raises(ConfigError, match=re.escape(message)):
            recipe.prepare(images[:5], pytest.fail)

    def test_more_than_allowed_is_refused_however_large_the_disk(self, pretrained, images):
        recipe = FineTuning(NAME, pretrained, params(max_scratch_gb=1e-4), augment())
        with pytest.raises(
            ConfigError, match=r"and fine_tuning\.max_scratch_gb allows 0\.0001; raise it, or freeze up"
        ):
            recipe.prepare(images[:5], pytest.fail)

    def test_a_disk_that_fills_up_meanwhile_is_no_crash(self, recipe, images, folder, monkeypatch):
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("no device that is always full")
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full.open("r+b", buffering=0))
        with pytest.raises(ConfigError, match=r"which cannot be written to \(No space left on device\); set TMPDIR"):
            recipe.prepare(images[:5], silently)


def with_random_weights(network: torch.nn.Module) -> PretrainedNetwork:
    return PretrainedNetwork(network.eval(), (0.5,) * 3, (0.5,) * 3, "random")


def last_map_by_hand(name: str, network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """What each paper's network hands to its global pooling."""
    if name == "resnet50":
        return torch.nn.Sequential(*list(network.children())[:-2])(pixels)
    return functional.relu(network.features(pixels)) if name == "densenet121" else network.features(pixels)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        # The first convolution at 1/16 is bypassed by the first shortcut of its stage; the sum of both is not.
        ("resnet50", "layer3.0.add"),
        ("vgg16", "features.23"),
        ("densenet121", "features.transition2.pool"),
    ],
)
def test_without_a_layer_named_the_first_small_map_nothing_bypasses_is_found(name, layer):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    recipe, pixels = FineTuning(name, with_random_weights(network), params(frozen={}), augment()), random_pixels()
    assert recipe.layer == layer
    with torch.inference_mode():
        maps = recipe.stem(pixels)
        assert maps.shape[-1] == SIZE // 16
        found = recipe.make().eval().forward_features(maps)
        expected = last_map_by_hand(name, network, pixels / 127.5 - 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def small_transformer() -> PretrainedNetwork:
    torch.manual_seed(0)
    return with_random_weights(torchvision.models.VisionTransformer(SIZE, 16, 3, 2, 32, 64))


def test_a_transformer_is_cut_where_it_is_told():
    # Its checks of the image's shape use the image everywhere, but carry nothing past the cut.
    transformer, layer = small_transformer(), "encoder.layers.encoder_layer_1"
    recipe, pixels = FineTuning("vit", transformer, params(frozen={"vit": layer}), augment()), random_pixels()
    with torch.inference_mode():
        maps = recipe.stem(pixels)
        found = recipe.make().eval().forward_features(maps)
        tokens = transformer.network._process_input(pixels / 127.5 - 1)
        expected = transformer.network.encoder(
            torch.cat([transformer.network.class_token.expand(3, -1, -1), tokens], dim=1)
        )
    # A class token and 4 x 4 patches.
    assert maps.shape == (3, 17, 32)
    # The class token, which comes first, is no position.
    patches = expected[:, 1:].transpose(1, 2).reshape(3, 32, 4, 4)
    torch.testing.assert_close(found, patches, atol=1e-5, rtol=1e-4)


def test_a_network_without_such_a_map_needs_a_layer_named():
    with pytest.raises(ConfigError, match=r"^fine_tuning\.frozen\.vit: no layer with a small enough map.*; name one"):
        FineTuning("vit", small_transformer(), params(frozen={}), augment())


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ("blocks.99", r"'blocks\.99' is not present in model"),
        # Inside a block whose input is added to its output.
        ("blocks.3.1.conv_pw", r"'blocks\.3\.1\.conv_pw' is bypassed by a shortcut .* name an earlier layer"),
        # The last feature map, and what comes after: nothing would be left to learn.
        ("bn2", r"'bn2' is bypassed by a shortcut or comes too late; name an earlier layer"),
        ("classifier", r"'classifier' is bypassed by a shortcut or comes too late; name an earlier layer"),
    ],
)
def test_a_layer_that_cannot_be_cut_at_is_named(layer, problem):
    with pytest.raises(ConfigError, match=rf"^fine_tuning\.frozen\.{NAME}: .*{problem}") as caught:
        FineTuning(NAME, load_pretrained(NAME), params(frozen={NAME: layer}), augment())
    assert "\n" not in str(caught.value)


def cnn_params() -> CnnParams:
    schedule = {"dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.01, "batch_size": 8, "epochs": 1}
    return CnnParams(image_size=48, channels=[4], parts=2, augment=augment(flips=False), **schedule)


def test_every_name_has_a_recipe():
    baseline = make_recipe("baseline_cnn", cnn_params(), params(), {})
    assert isinstance(baseline, BaselineRecipe)
    assert (baseline.image_size, baseline.flips, baseline.schedule.epochs) == (48, False, 1)
    fine_tuned = make_recipe(NAME, cnn_params(), params(), {})
    assert isinstance(fine_tuned, FineTuning)
    assert (fine_tuned.image_size, fine_tuned.flips, fine_tuned.schedule.epochs) == (SIZE, False, 3)


def test_own_weights_are_used(tmp_path):
    torch.manual_seed(1)
    network = torchvision.models.resnet18(weights=None, num_classes=7)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    recipe = make_recipe("resnet18", cnn_params(), params(), {"resnet18": str(tmp_path / "own.pth")})
    state = recipe.average([recipe.make()]).state_dict()
    assert torch.equal(state["stem._extractor.conv1.weight"], network.conv1.weight)
    assert torch.equal(state["members.0.body.layer4.1.conv2.weight"], network.layer4[1].conv2.weight)


def test_an_unknown_architecture_is_named():
    with pytest.raises(ConfigError, match=r"^unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite"):
        make_recipe("efficientnet_lite9", cnn_params(), params(), {})
