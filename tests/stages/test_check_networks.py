"""Networks that cannot be built stop the run before it begins, with a message that names them."""

import re

import pytest

from inspection.errors import InspectionError
from stages import check_networks
from tests.project import BACKBONE, run_stage_in, tiny_params, write_params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbones": ["efficientnet_lite9"]},
            "unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite",
        ),
        (
            {"networks": ["efficientnet_lite9"]},
            "unknown backbone 'efficientnet_lite9'; did you mean 'efficientnet_lite",
        ),
        (
            {"networks": [BACKBONE], "fine_tuning": tiny_params()["fine_tuning"] | {"frozen": {BACKBONE: "blocks.99"}}},
            f"fine_tuning.frozen.{BACKBONE}: node: 'blocks.99' is not present",
        ),
        (
            {"features": tiny_params()["features"] | {"layers": {BACKBONE: ["blocks.99"]}}},
            f"features.layers.{BACKBONE}",
        ),
        (
            {"features": tiny_params()["features"] | {"weights": {BACKBONE: "weights/own.pth"}}},
            f"features.weights.{BACKBONE}: no file 'weights/own.pth'; put it there or remove the entry",
        ),
    ],
)
def test_wrong_networks_are_named(tmp_path, changes, message):
    write_params(tmp_path, tiny_params() | changes)
    with pytest.raises(InspectionError, match=re.escape(message)):
        run_stage_in(tmp_path, check_networks.check_networks)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"], "what later stages wait for is not written"


def test_usable_networks_let_the_run_go_on(tmp_path, capsys):
    written = []
    for epochs in (1, 2):
        write_params(tmp_path, tiny_params() | {"cnn": tiny_params()["cnn"] | {"epochs": epochs}})
        run_stage_in(tmp_path, check_networks.check_networks)
        written.append({path: path.read_bytes() for path in (tmp_path / "data").rglob("*.json")})
    assert written[0]
    assert written[0] == written[1], "or every change of a network would run every stage"
    assert f"{BACKBONE}: " in capsys.readouterr().out
