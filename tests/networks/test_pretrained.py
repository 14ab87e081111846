"""Backbones as they are served: cut, pooled and exported, on random weights and those of installed packages."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional

from inspection.config import FeatureParams
from inspection.errors import ConfigError
from inspection.files import sha256_file
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.pretrained import (
    FeatureNetwork,
    as_map,
    export_backbone,
    last_feature_map,
)
from inspection.networks.sources import PretrainedNetwork
from tests.networks.hub import save_published, use_hub

SIZE = 64


def feature_params(**changes) -> FeatureParams:
    values = {"image_size": SIZE, "flips": False, "layers": {}, "pooling": ["avg"], "weights": {}}
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


@pytest.mark.parametrize(("name", "n_features"), [("resnet50", 2048), ("vgg16", 512), ("densenet121", 1024)])
def test_torchvision_backbone_from_the_hub_folder(name, n_features, tmp_path, monkeypatch):
    network = save_published(name, use_hub(tmp_path, monkeypatch), monkeypatch)
    path = tmp_path / f"{name}.onnx"
    export_backbone(name, feature_params(), path)
    model = OnnxModel(path.read_bytes(), name)
    images = random_images(3)
    features = model.run_all(images, "features")
    assert features.shape == (3, n_features)
    with torch.inference_mode():
        expected = pooled_before_head(name, network, imagenet_input(images)).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=1e-3)
    assert features.std(axis=0).max() > 0, "the images must not all give the same features"
    assert model.run(images, "feature_map").shape == (3, n_features, SIZE // 32, SIZE // 32)
    assert "Weights" in model.metadata["weights"]


def test_pooled_layers_are_concatenated_in_order(tmp_path):
    params = feature_params(layers={"efficientnet_lite0": ["blocks.3", "blocks.5"]}, pooling=["avg", "max", "std"])
    export_backbone("efficientnet_lite0", params, tmp_path / "a.onnx")
    images = random_images(2)
    model = OnnxModel((tmp_path / "a.onnx").read_bytes(), "a")
    features, feature_map = model.run(images, "features"), model.run(images, "feature_map")
    assert features.shape == (2, 3 * (80 + 192))
    last = features[:, 3 * 80 :]
    np.testing.assert_allclose(last[:, :192], feature_map.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 192:384], feature_map.max((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 384:], feature_map.std((2, 3)), atol=1e-4)


def test_features_are_the_mean_over_the_four_flips(tmp_path):
    layers, pooling, models = {"efficientnet_lite0": ["blocks.0", "blocks.1"]}, ["avg", "max", "std"], {}
    for flips in (False, True):
        path = tmp_path / f"{flips}.onnx"
        export_backbone("efficientnet_lite0", feature_params(flips=flips, layers=layers, pooling=pooling), path)
        models[flips] = OnnxModel(path.read_bytes(), path.name)
    assert [models[flips].metadata["views"] for flips in (False, True)] == ["1", "4"]
    images = random_images(3)
    flipped = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    each = [models[False].run(view, "features") for view in flipped]
    features = models[True].run(images, "features")
    np.testing.assert_allclose(features, np.mean(each, axis=0), atol=1e-4, rtol=1e-4)
    assert np.abs(features - each[0]).max() > 1e-2, "one view alone says something else"
    # All four views have the same features, and the map is that of the photograph as it lies.
    for view in flipped:
        np.testing.assert_allclose(models[True].run(view, "features"), features, atol=1e-4, rtol=1e-4)
        expected = models[False].run(view, "feature_map")
        np.testing.assert_allclose(models[True].run(view, "feature_map"), expected, atol=1e-4, rtol=1e-4)
    maps = [models[True].run(view, "feature_map") for view in flipped[:2]]
    assert np.abs(maps[0] - maps[1]).max() > 1e-2


def test_the_same_export_gives_the_same_bytes_in_any_folder(tmp_path):
    paths = [tmp_path / "one.onnx", tmp_path / "other" / "two.onnx"]
    for path in paths:
        params = feature_params(flips=True, layers={"efficientnet_lite0": ["blocks.0", "blocks.1"]})
        export_backbone("efficientnet_lite0", params, path)
    assert sha256_file(paths[0]) == sha256_file(paths[1])
    # The exporter notes source files; left in, they would differ from checkout to checkout.
    assert b".py" not in paths[0].read_bytes()


def random_network(name: str, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, **changes).eval()


LAST_MAPS = [
    ("resnet18", 64, "layer4.1.relu_1"),
    ("densenet121", 64, "relu"),
    ("vgg11", 64, "features.20"),
    ("mobilenet_v3_small", 64, "features.12"),
    ("convnext_tiny", 64, "features.7.2.add"),
    ("swin_t", 64, "permute"),
    # The classifier is a convolution and ends in a map of classes; its dropout does nothing when the network is used.
    ("squeezenet1_1", 64, "classifier.0"),
    ("googlenet", 64, "inception5b.cat"),
    # At this size the last block with more than one position is joined from branches; what follows has one position,
    # but for layers inside its branches.
    ("inception_v3", 96, "Mixed_6e.cat"),
]


@pytest.mark.parametrize(("name", "size", "expected"), LAST_MAPS, ids=[name for name, _, _ in LAST_MAPS])
def test_last_feature_map_is_what_the_global_pooling_receives(name, size, expected):
    changes = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    assert last_feature_map(random_network(name, **changes), size) == expected


def small_transformer() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(SIZE, 16, 3, 2, 32, 64).eval()


def test_last_feature_map_of_a_transformer_comes_before_a_single_token_is_picked():
    assert last_feature_map(small_transformer(), SIZE) == "encoder.ln"


def test_an_image_too_small_for_any_map():
    with pytest.raises(ConfigError, match=r"^image_size = 1 is too small for this backbone: no feature map is left\.$"):
        last_feature_map(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(4, 2)), 1)


def test_the_class_token_of_a_transformer_is_not_pooled():
    network = small_transformer()
    pretrained = PretrainedNetwork(network, (0.5,) * 3, (0.5,) * 3, "random")
    images = torch.from_numpy(random_images(3))
    with torch.inference_mode():
        features, map_ = FeatureNetwork(pretrained, ["encoder.ln"], ["avg", "max"], False, "vit")(images)
        patches = network._process_input(images.permute(0, 3, 1, 2) / 127.5 - 1)
        tokens = network.encoder(torch.cat([network.class_token.expand(3, -1, -1), patches], 1))
    assert tokens.shape == (3, 1 + 16, 32)
    torch.testing.assert_close(features, torch.cat([tokens[:, 1:].mean(1), tokens[:, 1:].amax(1)], 1))
    # Rows and columns of patches as they lie in the image.
    torch.testing.assert_close(map_[:, :, 2, 3], tokens[:, 1 + 2 * 4 + 3])


@pytest.mark.parametrize(("n_prefix", "side"), [(0, 4), (1, 4), (5, 14), (1, 1)])
def test_tokens_before_the_patches_are_dropped(n_prefix, side):
    n_patches = side * side
    patches = torch.arange(2 * n_patches * 3.0).reshape(2, n_patches, 3)
    prefix = torch.full((2, n_prefix, 3), -1.0)
    map_ = as_map(torch.cat([prefix, patches], 1))
    assert map_.shape == (2, 3, side, side)
    torch.testing.assert_close(map_.flatten(2).transpose(1, 2), patches)


def test_a_map_stays_as_it_is():
    map_ = torch.rand(2, 3, 4, 5)
    assert as_map(map_) is map_


def test_unknown_layer_names_the_backbone():
    with pytest.raises(ConfigError, match="features.layers.efficientnet_lite0"):
        export_backbone("efficientnet_lite0", feature_params(layers={"efficientnet_lite0": ["blocks.99"]}), "unused")
