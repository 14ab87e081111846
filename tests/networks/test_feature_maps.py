"""Feature maps: the layers that have them, of networks of many kinds, and the patch map that is made of several."""

import numpy as np
import pytest
import torch
import torchvision

from inspection.errors import ConfigError
from inspection.networks.feature_maps import as_map, last_feature_map, make_patch_map, patch_layers
from inspection.networks.graph import bottlenecks
from inspection.networks.pretrained import FeatureNetwork
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.weights import load_pretrained

SIZE = 64


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
    images = torch.randint(0, 256, (3, SIZE, SIZE, 3), dtype=torch.uint8)
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
