"""Running exported networks: what is no number is no vote, and threads change nothing."""

import threading

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from inspection.errors import DataError, ModelsError
from inspection.files import sha256_bytes
from inspection.networks.onnx_export import export_onnx
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, Run, one_ahead, run_together

SIZE = 32


class Divides(nn.Module):
    """Gives one over the mean of a photograph as a score, and its logarithm as a map."""

    def forward(self, images):
        mean = images.float().mean((1, 2, 3))
        return 1 / mean, (mean - 1).log().view(-1, 1, 1, 1)


@pytest.fixture(scope="module")
def divides(tmp_path_factory) -> OnnxModel:
    path = tmp_path_factory.mktemp("onnx") / "divides.onnx"
    export_onnx(Divides(), path, SIZE, ["defect_proba", "feature_map"], {})
    return OnnxModel(path.read_bytes(), path.name)


def photographs(*values: int) -> np.ndarray:
    return np.stack([np.full((SIZE, SIZE, 3), value, np.uint8) for value in values])


def test_finite_numbers_are_returned(divides):
    np.testing.assert_allclose(divides.run(photographs(2, 4), "defect_proba"), [0.5, 0.25])


@pytest.mark.parametrize(
    ("output", "values", "problem"),
    [
        ("defect_proba", (2, 0, 4), "1 of 3"),  # 1 / 0 is infinite
        ("feature_map", (0, 0, 9), "2 of 3"),  # log(-1) is NaN
        ("feature_map", (1, 9), "1 of 2"),  # log(0) is minus infinity
    ],
)
def test_what_is_no_number_is_no_vote(output, values, problem, divides):
    message = (
        rf"^divides\.onnx: {output} is NaN or infinite for {problem} photographs, .*; delete it and run `dvc repro`"
    )
    with pytest.raises(ModelsError, match=message):
        divides.run(photographs(*values), output)


def test_nor_in_a_later_batch(divides):
    with pytest.raises(ModelsError, match=r"^divides\.onnx: defect_proba is NaN or infinite for 1 of 1 photographs"):
        divides.run_all(photographs(*[5] * BATCH_SIZE, 0), "defect_proba")


def test_networks_run_together_as_they_do_alone(divides):
    few, many = photographs(2, 4), photographs(*range(2, 40))
    together = run_together([Run(divides, many, ("defect_proba",)), Run(divides, few, ("feature_map",))])
    assert np.array_equal(together[0][0], divides.run(many, "defect_proba"))
    assert np.array_equal(together[1][0], divides.run(few, "feature_map"))
    with pytest.raises(ModelsError, match="feature_map is NaN or infinite for 1 of 2"):
        run_together([Run(divides, few, ("defect_proba",)), Run(divides, photographs(5, 0), ("feature_map",))])


def test_several_outputs_of_one_pass(divides):
    images = photographs(2, 4, 6)
    [(proba, map_)] = run_together([Run(divides, images, ("defect_proba", "feature_map"))])
    assert np.array_equal(proba, divides.run(images, "defect_proba"))
    assert np.array_equal(map_, divides.run(images, "feature_map"))


def test_the_number_of_threads_changes_no_byte(tmp_path, monkeypatch):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Flatten(1, 2), nn.Linear(13, 5)
            )

        def forward(self, images):
            return (self.layers(images.permute(0, 3, 1, 2).float()).mean(1),)

    torch.manual_seed(0)
    export_onnx(Small(), tmp_path / "small.onnx", SIZE, ["features"], {})
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, SIZE, SIZE, 3), dtype=np.uint8)
    hashes = set()
    for n_threads, n_cores in ((1, 1), (1, 4), (2, 2), (3, 2), (5, 5)):
        monkeypatch.setattr(joblib, "cpu_count", lambda n=n_cores: n)
        features = OnnxModel((tmp_path / "small.onnx").read_bytes(), "small", n_threads).run(images, "features")
        hashes.add(sha256_bytes(features.tobytes()))
    assert len(hashes) == 1
    assert features.std() > 0


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_another_file_is_named(content):
    with pytest.raises(ModelsError, match="^broken.onnx is not a usable ONNX file; delete it and run `dvc repro`"):
        OnnxModel(content, "broken.onnx")


class TestOneAhead:
    def test_items_come_in_order(self):
        assert list(one_ahead(iter(range(100)))) == list(range(100))
        assert list(one_ahead([])) == []

    def test_the_next_is_made_while_the_last_is_used_and_none_after_it(self):
        made, made_second = [], threading.Event()

        def numbers():
            for number in range(4):
                made.append(number)
                if number == 1:
                    made_second.set()
                yield number

        items = one_ahead(numbers())
        assert next(items) == 0
        assert made_second.wait(60)
        items.close()
        assert made == [0, 1]

    def test_a_failure_comes_after_what_was_made_before_it(self):
        def numbers():
            yield 1
            raise DataError("the second is damaged")

        items = one_ahead(numbers())
        assert next(items) == 1
        with pytest.raises(DataError, match="the second is damaged"):
            next(items)
