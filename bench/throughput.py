"""Photographs a second: the pipeline's features beside other ways to make them with the same network.

Run after ``dvc repro fetch-sample`` (``make bench`` installs OpenVINO as well)::

    python -m bench.throughput

All see the same files of the sample at the same size, in turns. ``pipeline`` is `extract_features` without its cache,
from the file to the vector. ``bare forward`` are the same calls of ONNX Runtime on pictures that lie in memory, and
``bare forward, batches`` the usual calls, sixteen pictures on all threads: the better of both is the limit. ``plain
loop`` is what one writes with torch: a ``DataLoader`` with two workers, batches of 32, ``inference_mode``. ``one at a
time`` is the same without loader and batches. EfficientNet-Lite has its weights; those of the others are random, which
takes the same time. Without mirror images, each of which adds the work of one; ``--flips`` has them in the pipeline's
network and not in torch's.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.side_by_side import machine_facts, median_ratio, time_in_turns, write_results
from inspection.audit.indexing import index_images
from inspection.config import FeatureParams, load_params
from inspection.data.images import decode_file, resize
from inspection.data.sources import list_images
from inspection.networks.onnx_models import OnnxModel, batches
from inspection.networks.pretrained import export_backbone
from inspection.networks.weights import LITE_BACKBONES, load_pretrained
from inspection.voters.features import extract_features

BACKBONES = ("efficientnet_lite0", "densenet121", "resnet50")
LIMITS = ("bare forward", "bare forward, batches")
_LOADED, _WORKERS = 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flips", action="store_true", help="average over the mirror images of params.yaml")
    arguments = parser.parse_args()
    params = load_params()
    records = list_images(params.data.source, params.data.layout, params.data.classes).head(arguments.images)
    rows = index_images(records).readable
    facts = machine_facts(("onnxruntime", "openvino", "pillow", "timm", "torch", "torchvision"))
    features = params.features if arguments.flips else params.features.model_copy(update={"flips": []})
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for backbone in arguments.backbones:
            path, network = export(backbone, features, Path(folder))
            ways = ways_of(path, network, rows, features.image_size)
            results[backbone] = time_in_turns(ways, arguments.rounds)
            print_table(backbone, results[backbone], len(rows))
    write_results("throughput", facts, {"images": len(rows), "flips": arguments.flips, "seconds": results})


def export(backbone: str, features: FeatureParams, folder: Path) -> tuple[Path, torch.nn.Module]:
    """Return the ONNX file of a backbone, and the network that it was made of."""
    if backbone in LITE_BACKBONES:
        network = load_pretrained(backbone).network
    else:
        network = torchvision.models.get_model(backbone, weights=None)
        torch.save(network.state_dict(), folder / "random.pth")
        features = features.model_copy(update={"weights": {backbone: str(folder / "random.pth")}})
    path = folder / f"{backbone}.onnx"
    export_backbone(backbone, features, path)
    return path, network.eval()


class Photographs(Dataset):
    """Files as one reads them for torch."""

    def __init__(self, paths: list[str], size: int):
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        with Image.open(self.paths[place]) as image:
            return self.transform(image.convert("RGB"))


def ways_of(path: Path, network: torch.nn.Module, rows, size: int) -> dict[str, Callable[[], object]]:
    """Return every way to make features of the same photographs."""
    model = OnnxModel(path.read_bytes(), path.name)
    pixels = np.stack([resize(decode_file(name).pixels, size) for name in rows["path"]])
    photographs = Photographs(rows["path"].tolist(), size)
    usual = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def in_batches() -> None:
        for some in batches(pixels, 16):
            usual.run(["features"], {"images": np.stack(some)})

    def plain_loop() -> None:
        with torch.inference_mode():
            for images in DataLoader(photographs, _LOADED, num_workers=_WORKERS):
                network(images)

    def one_at_a_time() -> None:
        with torch.inference_mode():
            for image in islice(photographs, len(photographs)):
                network(image[np.newaxis])

    ways = {
        "pipeline": lambda: extract_features(path, rows),
        "bare forward": lambda: model.run(pixels, "features"),
        "bare forward, batches": in_batches,
        "plain loop": plain_loop,
        "one at a time": one_at_a_time,
    }
    if importlib.util.find_spec("openvino"):
        ways["OpenVINO, bare forward"] = openvino_forward(path, pixels)
    return ways


def openvino_forward(path: Path, pixels: np.ndarray) -> Callable[[], object]:
    """Return OpenVINO's forward passes as it makes the most of them: side by side, asynchronous."""
    import openvino

    core = openvino.Core()
    graph = core.read_model(path)
    graph.reshape([1, *pixels.shape[1:]])
    queue = openvino.AsyncInferQueue(core.compile_model(graph, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}))

    def forward() -> None:
        for image in pixels:
            queue.start_async([image[np.newaxis]])
        queue.wait_all()

    return forward


def print_table(backbone: str, times: dict, n_images: int) -> None:
    """Print Markdown: photographs a second, and the pipeline's speed in multiples of each way."""
    print(f"\n{backbone}\n\n| | photographs a second | speed of the pipeline relative to it |\n|---|---|---|")
    for name, rounds in times.items():
        wall = sorted(one["wall"] for one in rounds)[len(rounds) // 2]
        print(f"| {name} | {n_images / wall:.1f} | × {median_ratio(times, name, 'pipeline'):.2f} |", flush=True)


if __name__ == "__main__":
    main()
