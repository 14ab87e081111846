"""Backbones as they are served: cut, pooled and exported, on random weights and those of installed packages."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional

from inspection.config import FeatureParams, PatchParams
from inspection.errors import ConfigError
from inspection.files import sha256_file
from inspection.networks.graph import bottlenecks
from inspection.networks.onnx_export import export_onnx
from inspection.networks.onnx_models import OnnxModel, Run, run_together
from inspection.networks.pretrained import (
    FeatureNetwork,
    as_map,
    build_feature_network,
    export_backbone,
    export_patch_network,
    last_feature_map,
    make_patch_map,
    patch_layers,
)
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.weights import load_pretrained
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
        features, map_ = FeatureNetwork(pretrained, ["encoder.ln"], ["avg", "max"], [], "vit")(images)
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


def patch_params(**changes) -> PatchParams:
    return PatchParams(**{"image_size": SIZE, "layers": {}, "components": 8, "patches": 10} | changes)


def test_a_patch_map_says_in_which_direction_each_position_points():
    """Written out by hand: averaged over 3 x 3, the coarser enlarged, each of length 1, one after the other."""
    random = np.random.default_rng(0)
    fine, coarse = (torch.from_numpy(random.normal(size=(2, 5, side, side))) for side in (8, 4))
    map_ = make_patch_map([fine, coarse], 64).numpy()
    assert map_.shape == (2, 8, 8, 10)
    np.testing.assert_allclose(np.linalg.norm(map_[..., :5], axis=3), 1)
    np.testing.assert_allclose(np.linalg.norm(map_[..., 5:], axis=3), 1)
    inside = fine[:, :, 2:5, 3:6].mean((2, 3)).numpy()
    corner = fine[:, :, :2, :2].mean((2, 3)).numpy()
    for position, expected in (((3, 4), inside), ((0, 0), corner)):
        direction = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(map_[:, *position, :5], direction)


def test_a_patch_map_keeps_the_extremes_of_what_is_finer():
    """Two lone values, 8 and -6: the vectors of the photograph are sqrt(100 / 16) = 2.5 long, root mean square."""
    fine = torch.zeros(1, 1, 4, 4)
    fine[0, 0, 2, 1], fine[0, 0, 0, 3] = 8, -6
    map_ = make_patch_map([fine, torch.ones(1, 2, 2, 2)], 16).numpy()
    assert map_.shape == (1, 2, 2, 4)
    largest, smallest = map_[0, :, :, 0], map_[0, :, :, 1]
    np.testing.assert_allclose(largest, [[0, 0], [3.2, 0]], rtol=1e-6)
    np.testing.assert_allclose(smallest, [[0, -2.4], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("sides", [(16, 8, 4), (19, 8), (16, 16), (4,)])
def test_exposure_does_not_change_a_patch_map(sides):
    random = np.random.default_rng(0)
    maps = [torch.from_numpy(random.normal(size=(1, 3, side, side))) for side in sides]
    map_ = make_patch_map(maps, 64)
    np.testing.assert_allclose(make_patch_map([3 * part for part in maps], 64), map_)
    assert map_.shape[1] == (8 if 8 in sides else sides[-1])


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


@pytest.mark.parametrize("size", [64, 96])
def test_the_last_maps_of_a_quarter_an_eighth_and_a_sixteenth_are_compared(size):
    network = load_pretrained("efficientnet_lite0").network
    sides = {layer.name: layer.shape[-1] for layer in bottlenecks(network, size) if len(layer.shape) == 4}
    chosen = patch_layers(network, size)
    assert [sides[name] for name in chosen] == [size // 4, size // 8, size // 16]
    # The next block begins with an expanded map of the same size, which is of a block and not between two.
    assert chosen == ["blocks.1.1.add", "blocks.2.1.add", "blocks.4.2.add"]


def test_a_transformer_has_maps_of_one_size():
    assert patch_layers(small_transformer(), SIZE) == ["encoder.ln"]


def test_unknown_layer_of_a_patch_map():
    patches = patch_params(layers={"efficientnet_lite0": ["blocks.99"]})
    with pytest.raises(ConfigError, match=r"^patch_memory\.layers\.efficientnet_lite0: .*'blocks\.99'"):
        export_backbone("efficientnet_lite0", feature_params(), "unused", patches)
    with pytest.raises(ConfigError, match=r"^patch_memory\.layers\.efficientnet_lite0: .*'blocks\.99'"):
        export_patch_network("efficientnet_lite0", feature_params(), patches, "unused")


def test_unknown_layer_names_the_backbone():
    with pytest.raises(ConfigError, match="features.layers.efficientnet_lite0"):
        export_backbone("efficientnet_lite0", feature_params(layers={"efficientnet_lite0": ["blocks.99"]}), "unused")
