"""The ledger of splits: the same bytes for the same content, and never a silent loss."""

import json

import pandas as pd
import pytest

from inspection.config import load_params
from inspection.data.ledger import LedgerEntry, LedgerKey, fingerprints, read_ledger, write_ledger
from inspection.errors import DataError
from tests.conftest import ROOT
from tests.project import tiny_params, write_params

A, B, C = "aaaaaaaaaaaa 111111111111", "bbbbbbbbbbbb 222222222222", "cccccccccccc 333333333333"
KEY, OTHER = LedgerKey("data/raw", 0, 0.25), LedgerKey("data/raw", 1, 0.25)
LEDGER = {
    OTHER: LedgerEntry(),
    KEY: LedgerEntry(split_salt=7, fold_salts={10: 1, 5: 0}, test=frozenset([C, A, B])),
}


def images(*hashes: str) -> pd.DataFrame:
    """Photographs with hashes that begin like this, file and pixels."""
    rows = [[part + "0" * 52 for part in pair.split()] for pair in hashes]
    return pd.DataFrame(rows, columns=["sha256", "pixels_sha256"])


def test_what_is_written_is_read(tmp_path):
    write_ledger(tmp_path / "split.json", LEDGER)
    assert read_ledger(tmp_path / "split.json") == LEDGER


def test_lines_are_sorted_and_bytes_depend_on_the_content_only(tmp_path):
    write_ledger(tmp_path / "one.json", LEDGER)
    write_ledger(tmp_path / "other.json", dict(reversed(LEDGER.items())))
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "other.json").read_text(encoding="utf-8")
    assert [split["seed"] for split in json.loads(text)["splits"]] == [0, 1]
    lines = [line.strip(' ,"') for line in text.splitlines()]
    # A line each: git merges what two branches add.
    assert [line for line in lines if line in (A, B, C)] == [A, B, C]
    assert [line for line in lines if line.startswith(("5", "10"))] == ['5": 0', '10": 1']


def test_a_missing_ledger_remembers_nothing(tmp_path):
    assert read_ledger(tmp_path / "split.json") == {}


def test_lines_may_stand_twice_and_in_any_order(tmp_path):
    # What is left of a merge.
    write_ledger(tmp_path / "split.json", LEDGER)
    content = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    content["splits"][0]["test"] = [C, A, B, A]
    (tmp_path / "split.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_ledger(tmp_path / "split.json") == LEDGER


def split(**changes) -> dict:
    return {"source": "data/raw", "seed": 0, "test_share": 0.25, "split_salt": 7, "fold_salts": {"5": 0}} | changes


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Invalid JSON"),
        ("<<<<<<< HEAD\n{}", "Invalid JSON"),
        ('{"format": 1, "splits": [', "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "format: Field required"),
        ({"format": 1, "splits": [split(), split()]}, "the split of data/raw with seed 0 stands there twice"),
        ({"format": 1, "splits": [split(split_salt=-1)]}, "splits.0.split_salt"),
        ({"format": 1, "splits": [split(split_salt="7")]}, "splits.0.split_salt"),
        ({"format": 1, "splits": [split(fold_salts={"five": 0})]}, "splits.0.fold_salts"),
        ({"format": 1, "splits": [split(test=["aaaa"])]}, "splits.0.test"),
        ({"format": 1, "splits": [split(test=[A.upper()])]}, "splits.0.test"),
        ({"format": 1, "splits": [split(test=None)]}, "splits.0.test"),
        ({"format": 1, "splits": [split(train=[A])]}, "splits.0.train"),
    ],
)
def test_a_damaged_ledger_is_one_clear_error(tmp_path, content, why):
    file = tmp_path / "split.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_ledger(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is damaged (")
    assert why in message
    assert f"`git checkout -- {file}`" in message
    assert "\n" not in message


def test_a_ledger_of_another_format_names_both(tmp_path):
    (tmp_path / "split.json").write_text('{"format": 2, "splits": []}', encoding="utf-8")
    with pytest.raises(DataError, match="has format 2, and this version reads 1"):
        read_ledger(tmp_path / "split.json")


def test_a_ledger_that_is_a_folder(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_ledger(tmp_path)


def test_photographs_are_known_by_either_hash():
    seen = images(A, "dddddddddddd 222222222222", "cccccccccccc 444444444444", "eeeeeeeeeeee 555555555555")
    assert LEDGER[KEY].holds(seen).tolist() == [True, True, True, False]
    assert LedgerEntry().holds(seen).tolist() == [False] * 4
    assert LEDGER[KEY].holds(seen.head(0)).tolist() == []
    assert fingerprints(seen).tolist()[:2] == [A, "dddddddddddd 222222222222"]


@pytest.mark.parametrize("source", ["data/raw", "data/raw/", "./data/raw"])
def test_a_source_is_the_same_however_it_is_written(tmp_path, source):
    params = tiny_params()
    params["data"]["source"] = source
    write_params(tmp_path, params)
    assert LedgerKey.of(load_params(tmp_path / "params.yaml")) == KEY


def test_the_ledger_of_this_project_can_be_read_and_is_in_git():
    read_ledger(ROOT / "data/split.json")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not {"/data", "/data/", "/data/*", "/data/split.json", "*.json"} & set(ignored)
