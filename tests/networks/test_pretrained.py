"""Backbones as they are served: cut, pooled and exported, on random weights and those of installed packages."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional

from inspection.config import FeatureParams, PatchParams
from inspection.errors import ConfigError
from inspection.files import sha256_file
from inspection.networks.feature_maps import last_feature_map
from inspection.networks.onnx_export import export_onnx
from inspection.networks.onnx_models import OnnxModel, Run, run_together
from inspection.networks.pretrained import (
    FeatureNetwork,
    build_feature_network,
    export_backbone,
    export_patch_network,
)
from inspection.networks.sources import PretrainedNetwork
from tests.networks.hub import save_published, use_hub

SIZE = 64


def feature_params(**changes) -> FeatureParams:
    values = {"image_size": SIZE, "tiles": "none", "flips": [], "layers": {}, "pooling": ["avg"], "weights": {}}
    return FeatureParams(**values | changes)


def random_images(n_images: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n_images, SIZE, SIZE, 3), dtype=np.uint8)


def imagenet_input(images: np.ndarray) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)


def pooled_before_head(name: str, network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The features each paper's network hands to its classifier, written out by hand."""
    if name == "resnet50":
        return torch.nn.Sequential(*list(network.children())[:-2])(x).mean((2, 3))
    if name == "densenet121":
        return functional.relu(network.features(x)).mean((2, 3))
    return network.features(x).mean((2, 3))


def outputs_of(network: FeatureNetwork, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and last feature map, by torch: what is exported says the same, as the tests below show."""
    with torch.inference_mode():
        features, map_ = network.eval()(torch.from_numpy(np.ascontiguousarray(images)))
    return features.numpy(), map_.numpy()


@pytest.mark.parametrize(("name", "n_features"), [("resnet50", 2048), ("vgg16", 512), ("densenet121", 1024)])
def test_torchvision_backbone_from_the_hub_folder(name, n_features, tmp_path, monkeypatch):
    network = save_published(name, use_hub(tmp_path, monkeypatch), monkeypatch)
    built = build_feature_network(name, feature_params())
    images = random_images(3)
    features, feature_map = outputs_of(built, images)
    assert features.shape == (3, n_features)
    with torch.inference_mode():
        expected = pooled_before_head(name, network, imagenet_input(images)).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=1e-3)
    assert features.std(axis=0).max() > 0, "the images must not all give the same features"
    assert feature_map.shape == (3, n_features, SIZE // 32, SIZE // 32)
    assert "Weights" in built.provenance


SMALL = {
    "resnet": lambda: torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1]),
    "densenet": lambda: torchvision.models.DenseNet(4, (2, 2), 8),
    "transformer": lambda: torchvision.models.VisionTransformer(SIZE, 16, 1, 2, 32, 64),
}
"""Every kind of layer of their large relatives, and of VGG, which take the exporter up to half a minute."""


@pytest.mark.parametrize("name", SMALL)
def test_what_is_exported_says_what_the_network_says(name, tmp_path):
    torch.manual_seed(0)
    network = SMALL[name]().eval()
    pretrained = PretrainedNetwork(network, (0.5,) * 3, (0.25,) * 3, "random")
    built = FeatureNetwork(pretrained, [last_feature_map(network, SIZE)], ["avg", "max", "std"], ["horizontal"], name)
    export_onnx(built.eval(), tmp_path / "a.onnx", SIZE, ["features", "feature_map"], {})
    model = OnnxModel((tmp_path / "a.onnx").read_bytes(), name)
    images = random_images(3)
    features, feature_map = outputs_of(built, images)
    assert features.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(model.run_all(images, "features"), features, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(model.run_all(images, "feature_map"), feature_map, atol=1e-4, rtol=1e-3)


def test_a_backbone_and_what_made_it_are_in_one_file(tmp_path):
    layers = {"efficientnet_lite0": ["blocks.0", "blocks.1"]}
    params = feature_params(flips=["horizontal", "both"], layers=layers, pooling=["avg", "max", "std"])
    paths = [tmp_path / "one.onnx", tmp_path / "other" / "two.onnx"]
    for path in paths:
        export_backbone("efficientnet_lite0", params, path)
    assert sha256_file(paths[0]) == sha256_file(paths[1]), "the same bytes in any folder"
    # The exporter notes source files; left in, they would differ from checkout to checkout.
    assert b".py" not in paths[0].read_bytes()
    model = OnnxModel(paths[0].read_bytes(), "one.onnx")
    assert (model.image_size, model.metadata["name"]) == (SIZE, "efficientnet_lite0")
    assert model.metadata["flips"] == "horizontal both"
    assert (model.metadata["layers"], model.metadata["pooling"]) == ("blocks.0 blocks.1", "avg max std")
    assert "efficientnet-lite0" in model.metadata["weights"]
    images = random_images(3)
    features, feature_map = outputs_of(build_feature_network("efficientnet_lite0", params), images)
    np.testing.assert_allclose(model.run(images, "features"), features, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(model.run(images, "feature_map"), feature_map, atol=1e-4, rtol=1e-3)


def test_pooled_layers_are_concatenated_in_order():
    params = feature_params(layers={"efficientnet_lite0": ["blocks.3", "blocks.5"]}, pooling=["avg", "max", "std"])
    features, feature_map = outputs_of(build_feature_network("efficientnet_lite0", params), random_images(2))
    assert features.shape == (2, 3 * (80 + 192))
    last = features[:, 3 * 80 :]
    np.testing.assert_allclose(last[:, :192], feature_map.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 192:384], feature_map.max((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 384:], feature_map.std((2, 3)), atol=1e-4)


@pytest.mark.parametrize(
    ("flips", "steps"),
    [
        (["horizontal"], [(1, 1), (1, -1)]),
        (["both"], [(1, 1), (-1, -1)]),
        (["horizontal", "vertical", "both"], [(1, 1), (-1, 1), (1, -1), (-1, -1)]),
    ],
)
def test_features_are_the_mean_over_the_mirror_images(flips, steps):
    layers, pooling = {"efficientnet_lite0": ["blocks.0", "blocks.1"]}, ["avg", "max", "std"]
    single, averaged = (
        build_feature_network("efficientnet_lite0", feature_params(flips=flips, layers=layers, pooling=pooling))
        for flips in ([], flips)
    )
    images = random_images(3)
    flipped = [images[:, ::along_rows, ::along_columns] for along_rows, along_columns in steps]
    each = [outputs_of(single, view) for view in flipped]
    whole = [outputs_of(averaged, view) for view in flipped]
    features = whole[0][0]
    np.testing.assert_allclose(features, np.mean([one for one, _ in each], axis=0), atol=1e-4, rtol=1e-4)
    assert np.abs(features - each[0][0]).max() > 1e-2, "one view alone says something else"
    # All views have the same features, and the map is that of the photograph as it lies.
    for (features_of_view, map_of_view), (_, expected) in zip(whole, each, strict=True):
        np.testing.assert_allclose(features_of_view, features, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(map_of_view, expected, atol=1e-4, rtol=1e-4)
    assert np.abs(whole[0][1] - whole[1][1]).max() > 1e-2


def patch_params(**changes) -> PatchParams:
    return PatchParams(**{"image_size": SIZE, "layers": {}, "components": 8, "patches": 10} | changes)


PATCHES = patch_params(layers={"efficientnet_lite0": ["blocks.1", "blocks.2"]})


@pytest.fixture(scope="module")
def patches_alone(tmp_path_factory) -> OnnxModel:
    """The network that makes patch maps by `PATCHES`, and nothing else."""
    path = tmp_path_factory.mktemp("alone") / "patches.onnx"
    export_patch_network("efficientnet_lite0", feature_params(), PATCHES, path)
    return OnnxModel(path.read_bytes(), "patches.onnx")


@pytest.mark.parametrize("flips", [[], ["horizontal"]])
def test_patches_and_features_come_from_one_pass(tmp_path, patches_alone, flips):
    layers = ["blocks.0", "blocks.1"]
    params = feature_params(layers={"efficientnet_lite0": layers}, flips=flips)
    export_backbone("efficientnet_lite0", params, tmp_path / "a.onnx", PATCHES)
    export_backbone("efficientnet_lite0", params, tmp_path / "without.onnx")
    both, without = (OnnxModel((tmp_path / name).read_bytes(), name) for name in ("a.onnx", "without.onnx"))
    assert both.metadata["patch_layers"] == patches_alone.metadata["patch_layers"] == "blocks.1 blocks.2"
    images = random_images(2)
    [(features, patch_map)] = run_together([Run(both, images, ("features", "patch_map"))])
    np.testing.assert_allclose(features, without.run(images, "features"), atol=1e-5)
    np.testing.assert_allclose(patch_map, patches_alone.run(images, "patch_map"), atol=1e-5)
    assert patch_map.shape == (2, SIZE // 8, SIZE // 8, 2 * 24 + 40)
    assert patch_map.std(axis=(1, 2)).max() > 0.01, "positions must not all look the same"


def test_one_map_by_two_names_is_had_by_both(tmp_path, patches_alone):
    """A block, and the sum at its end; in either order."""
    for names in (["blocks.1", "blocks.1.1.add"], ["blocks.1.1.add", "blocks.1"]):
        params = feature_params(layers={"efficientnet_lite0": names[:1]})
        patches = patch_params(layers={"efficientnet_lite0": [names[1], "blocks.2"]})
        export_backbone("efficientnet_lite0", params, tmp_path / "a.onnx", patches)
        images = random_images(2)
        both = OnnxModel((tmp_path / "a.onnx").read_bytes(), "a.onnx")
        np.testing.assert_allclose(both.run(images, "patch_map"), patches_alone.run(images, "patch_map"), atol=1e-5)


def test_unknown_layer_of_a_patch_map():
    patches = patch_params(layers={"efficientnet_lite0": ["blocks.99"]})
    with pytest.raises(ConfigError, match=r"^patch_memory\.layers\.efficientnet_lite0: .*'blocks\.99'"):
        export_backbone("efficientnet_lite0", feature_params(), "unused", patches)
    with pytest.raises(ConfigError, match=r"^patch_memory\.layers\.efficientnet_lite0: .*'blocks\.99'"):
        export_patch_network("efficientnet_lite0", feature_params(), patches, "unused")


def test_unknown_layer_names_the_backbone():
    with pytest.raises(ConfigError, match="features.layers.efficientnet_lite0"):
        export_backbone("efficientnet_lite0", feature_params(layers={"efficientnet_lite0": ["blocks.99"]}), "unused")
