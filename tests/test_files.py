"""Writing in one step, and fingerprints."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.repo import Repo
from matplotlib.figure import Figure
from PIL import Image

from inspection.errors import DataError, ModelsError
from inspection.files import read_json, replacing, sha256_bytes, sha256_file, write_bytes, write_csv, write_json
from tests.conftest import ROOT

# FIPS 180-2, appendix B.1 and the empty message.
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
SHA256_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("data", "digest"), [(b"abc", SHA256_ABC), (b"", SHA256_NOTHING)])
def test_sha256_of_published_messages(tmp_path, data, digest):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert sha256_file(path) == sha256_bytes(data) == digest


def test_sha256_of_a_file_larger_than_a_read_buffer(tmp_path):
    data = bytes(range(256)) * 8192  # 2 MiB
    write_bytes(tmp_path / "file", data)
    assert sha256_file(str(tmp_path / "file")) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["report.csv", "report", "новый отчёт.csv", "a.tar.gz", ".hidden"])
def test_replacing_writes_beside_and_renames(tmp_path, name):
    path = tmp_path / "new" / "folder" / name
    with replacing(path) as temporary:
        assert temporary.name == path.name
        assert temporary.parent.parent == path.parent
        temporary.write_text("content", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "content"
    assert [entry.name for entry in path.parent.iterdir()] == [name]


WRITERS = {
    "numbers.npz": lambda path: np.savez(path, a=[1]),
    "picture.png": lambda path: Image.new("L", (2, 2)).save(path),
    "figure.png": lambda path: Figure().savefig(path),
    "table.csv.gz": lambda path: pd.DataFrame({"a": [1]}).to_csv(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_writers_that_go_by_the_suffix_write_there(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        WRITERS[name](temporary)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    magic = {"npz": b"PK", "png": b"\x89PNG", "gz": b"\x1f\x8b"}[name.rsplit(".", 1)[1]]
    assert (tmp_path / name).read_bytes().startswith(magic)


KILLED = """
import os, signal, sys
from inspection.files import replacing

with replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of i")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["card.json", "scores.csv", "voter.pkl", "guard.npz", "network.onnx"])
def test_what_a_killed_process_leaves_is_no_file_of_its_kind(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    killed_while_writing(path)
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.glob(f"*{path.suffix}")) == [path]
    left = [entry for entry in tmp_path.iterdir() if entry != path]
    assert len(left) == 1, "or this test shows nothing"
    git = subprocess.run(["git", "check-ignore", "-q", f"metrics/{left[0].name}/{name}"], cwd=ROOT, check=False)
    assert git.returncode == 0
    assert Repo(str(ROOT)).dvcignore.is_ignored_dir(str(ROOT / "metrics" / left[0].name))


def test_the_next_to_write_removes_what_a_killed_process_left(tmp_path):
    killed_while_writing(tmp_path / "card.json")
    of_another_machine = tmp_path / ".00000000-1-abc.part"
    of_another_machine.mkdir()
    with replacing(tmp_path / "a.json") as living:
        living.write_bytes(b"a")
        script = "import sys; from inspection.files import write_bytes; write_bytes(sys.argv[1], b'b')"
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "b.json")], cwd=ROOT, check=True)
        assert sorted(tmp_path.iterdir()) == sorted([of_another_machine, living.parent, tmp_path / "b.json"])
    assert (tmp_path / "a.json").read_bytes() == b"a"


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    steps = []

    def record(handle):
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        steps.append((name, (tmp_path / "card.json").exists()))

    monkeypatch.setattr(os, "fsync", record)
    write_bytes(tmp_path / "card.json", b"content")
    assert steps == [("card.json", False), (tmp_path.name, True)]
    with replacing(tmp_path / "many.json", flush=False) as temporary:
        temporary.write_bytes(b"content")
    assert len(steps) == 2


@pytest.mark.parametrize("problem", [ValueError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("n_written", [0, 3])
def test_replacing_leaves_no_trace_of_a_failure(tmp_path, problem, was_there, n_written):
    path = tmp_path / "model.pkl"
    if was_there:
        path.write_bytes(b"old")
    with pytest.raises(type(problem)), replacing(path) as temporary:
        if n_written:
            temporary.write_bytes(b"x" * n_written)
        raise problem
    assert list(tmp_path.iterdir()) == ([path] if was_there else [])
    assert not was_there or path.read_bytes() == b"old"


@pytest.mark.parametrize(("write", "content"), [(write_bytes, b"new"), (write_json, {"new": True})])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, write, content):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half(target, data):
        with target.open("wb") as stream:
            stream.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        write(path, content)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_is_readable_and_keeps_the_order(tmp_path):
    path = tmp_path / "deep" / "content.json"
    write_json(path, {"z": 1, "a": ["Prüfung", None, 0.5]})
    expected = '{\n  "z": 1,\n  "a": [\n    "Prüfung",\n    null,\n    0.5\n  ]\n}\n'
    assert path.read_bytes() == expected.encode()
    assert list(read_json(path)) == ["z", "a"]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"a": float("nan")}, ValueError, "not JSON compliant"),
        ([float("inf")], ValueError, "not JSON compliant"),
        ({"a": object()}, TypeError, "not JSON serializable"),
    ],
)
def test_write_json_refuses_what_json_has_not(tmp_path, content, error, message):
    path = tmp_path / "content.json"
    write_json(path, {"old": True})
    with pytest.raises(error, match=message):
        write_json(path, content)
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe{}", b"{} {}"])
@pytest.mark.parametrize("error", [DataError, ModelsError])
def test_read_json_names_the_damaged_file(tmp_path, data, error):
    path = tmp_path / "content.json"
    path.write_bytes(data)
    with pytest.raises(error, match=r"content\.json is not valid JSON .*delete it and run `dvc repro`"):
        read_json(path, error)


def test_a_table_is_written_in_one_step_without_its_index(tmp_path):
    write_csv(tmp_path / "new" / "t.csv", pd.DataFrame({"größe": [1, 2], "b": ["x,y", ""]}, index=[7, 8]))
    assert (tmp_path / "new" / "t.csv").read_bytes() == 'größe,b\n1,"x,y"\n2,\n'.encode()
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["t.csv"]
