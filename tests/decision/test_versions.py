"""Other libraries than those the models were made with are named, and only those."""

import pytest

from inspection import versions
from inspection.decision.versions import COMPUTING, version_notice
from inspection.versions import installed_versions


def test_what_computes_a_verdict_is_recorded():
    recorded = installed_versions(COMPUTING)
    assert tuple(recorded) == COMPUTING
    assert all(version[0].isdigit() for version in recorded.values())
    assert version_notice(recorded) == ""


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ({"numpy": "2.0.0", "pillow": "11.0"}, "numpy 2.1 (2.0.0 when the models were made)."),
        ({"numpy": "2.0.0", "pillow": "10.0"}, "numpy 2.1 (2.0.0 when the models were made), pillow 11.0 (10.0 when"),
        ({"numpy": "2.1", "xgboost": "3.0"}, "xgboost not installed (3.0 when the models were made)."),
    ],
)
def test_the_notice_names_what_differs(monkeypatch, recorded, words):
    installed = {"numpy": "2.1", "pillow": "11.0"}

    def version(name):
        if name not in installed:
            raise versions.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(versions, "version", version)
    notice = version_notice(recorded)
    assert f"made and tested with: {words}" in notice
    assert "dvc repro" in notice
    assert ("pillow" in notice) == (recorded.get("pillow") == "10.0")
