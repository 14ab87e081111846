"""The cache: what comes back is what was kept, within its size, from several processes, after a kill, after damage."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from inspection import content_cache, versions
from inspection.content_cache import NO_CACHE, ContentCache, describe_origin
from tests.conftest import ROOT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


@pytest.fixture
def cache(path):
    return ContentCache(path, 10**6)


def test_values_come_back_by_origin_and_key(cache):
    cache.write("features", {"a": b"1", "b": b"", "c": bytes(range(256)) * 1000})
    cache.write("overlays", {"a": b"2"})
    assert cache.read("features", ["c", "b", "a", "d"]) == {"a": b"1", "b": b"", "c": bytes(range(256)) * 1000}
    assert cache.read("overlays", ["a", "b"]) == {"a": b"2"}
    assert cache.read("neither", ["a"]) == {}


def test_a_key_and_its_origin_cannot_be_taken_for_others(cache):
    cache.write("one", {"two three": b"1"})
    assert cache.read("one two", ["three"]) == {}


def test_a_value_is_replaced(cache):
    cache.write("origin", {"a": b"old", "b": b"other"})
    cache.write("origin", {"a": b"new"})
    assert cache.read("origin", ["a", "b"]) == {"a": b"new", "b": b"other"}


def test_thousands_of_keys_at_once(cache):
    values = {f"{number}": f"value {number}".encode() for number in range(3000)}
    cache.write("origin", values)
    assert cache.read("origin", values) == values


def test_nothing_is_made_by_reading_or_by_writing_nothing(cache, path):
    assert cache.read("origin", ["a"]) == {}
    cache.write("origin", {})
    assert not path.parent.exists()


@pytest.mark.parametrize("size", [0, None], ids=["no room", "no cache"])
def test_without_room_nothing_is_kept(path, size):
    cache = NO_CACHE if size is None else ContentCache(path, size)
    cache.write("origin", {"a": b"1"})
    assert cache.read("origin", ["a"]) == {}
    assert not path.parent.exists()


def test_a_cache_that_is_switched_off_is_not_read_either(path, cache):
    cache.write("origin", {"a": b"1"})
    assert ContentCache(path, 0).read("origin", ["a"]) == {}
    assert cache.read("origin", ["a"]) == {"a": b"1"}


# Its size


def test_what_was_used_least_recently_goes_first(path):
    cache = ContentCache(path, 10_000)
    for key in "abcd":
        cache.write("origin", {key: bytes(2000)})
    cache.read("origin", ["a"])
    cache.write("origin", {"e": bytes(2000)})
    assert set(cache.read("origin", "abcde")) == {"a", "c", "d", "e"}


def test_the_file_does_not_outgrow_its_bound(path):
    cache = ContentCache(path, 10**6)
    for number in range(100):
        cache.write("origin", {f"{number}": os.urandom(100_000)})
    assert path.stat().st_size < 1.3 * 10**6
    assert len(cache.read("origin", map(str, range(100)))) == 9


def test_a_value_larger_than_the_cache_is_not_kept(path):
    cache = ContentCache(path, 1000)
    cache.write("origin", {"a": b"small"})
    cache.write("origin", {"b": bytes(2000)})
    assert "b" not in cache.read("origin", ["a", "b"])


def test_a_smaller_bound_shrinks_what_there_is(path):
    ContentCache(path, 10**6).write("origin", {f"{number}": bytes(1000) for number in range(100)})
    small = ContentCache(path, 20_000)
    small.write("origin", {"new": b"1"})
    kept = small.read("origin", [*map(str, range(100)), "new"])
    assert "new" in kept
    assert 10 <= len(kept) <= 20


# Faults


def test_a_damaged_entry_is_told_and_can_be_written_again(cache, path, capsys):
    cache.write("origin", {"a": b"the first value", "b": b"the second value"})
    path.write_bytes(path.read_bytes().replace(b"the first value", b"the wurst value"))
    assert cache.read("origin", ["a", "b"]) == {"b": b"the second value"}
    assert capsys.readouterr().out == f"{path}: 1 entries are damaged; what they held is computed again\n"
    cache.write("origin", {"a": b"the first value"})
    assert cache.read("origin", ["a"]) == {"a": b"the first value"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"no database, and longer than a header of one is" * 10,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
        lambda data: b"\x00" * len(data),
    ],
    ids=["another file", "cut off", "pages overwritten", "zeros"],
)
def test_a_damaged_file_is_deleted_with_a_notice(cache, path, capsys, damage):
    values = {f"{number}": os.urandom(3000) for number in range(50)}
    cache.write("origin", values)
    path.write_bytes(damage(path.read_bytes()))
    found = cache.read("origin", values)
    assert {key: values[key] for key in found} == found, "what comes back is what was kept"
    cache.write("origin", values)
    assert cache.read("origin", values) == values
    assert f"{path} was damaged (" in capsys.readouterr().out
    assert not list(path.parent.glob("*-journal"))


def test_an_empty_file_is_an_empty_cache(cache, path):
    path.parent.mkdir()
    path.touch()
    assert cache.read("origin", ["a"]) == {}
    cache.write("origin", {"a": b"1"})
    assert cache.read("origin", ["a"]) == {"a": b"1"}


def test_where_no_file_can_be_written_work_goes_on(tmp_path, capsys):
    (tmp_path / "a file").touch()
    ContentCache(tmp_path / "a file" / "cache.sqlite", 10**6).write("origin", {"a": b"1"})
    (tmp_path / "folder").mkdir()
    ContentCache(tmp_path / "folder", 10**6).write("origin", {"a": b"1"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.endswith("results are computed and not kept")


def test_a_process_that_writes_too_long_is_not_waited_for(cache, path, capsys, monkeypatch):
    cache.write("origin", {"a": b"1"})
    monkeypatch.setattr(content_cache, "_WAIT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert cache.read("origin", ["a"]) == {}
    assert "cannot be used (database is locked)" in capsys.readouterr().out
    other.close()
    assert cache.read("origin", ["a"]) == {"a": b"1"}


WRITER = """
import sys
from inspection.content_cache import ContentCache

cache, name = ContentCache(sys.argv[1], 10**9), sys.argv[2]
for number in range(int(sys.argv[3])):
    values = {f"{name} {number} {part}": f"{name} {number} {part} ".encode() * 500 for part in range(10)}
    cache.write("origin", values)
    assert cache.read("origin", values) == values
"""


def start_writer(path: Path, name: str, n_writes: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(n_writes)], cwd=ROOT)


def test_processes_write_at_once(cache, path):
    writers = [start_writer(path, name, 20) for name in ("x", "y", "z")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    keys = [f"{name} {number} {part}" for name in "xyz" for number in range(20) for part in range(10)]
    assert cache.read("origin", keys) == {key: f"{key} ".encode() * 500 for key in keys}


def test_after_a_kill_at_any_moment_every_batch_is_whole_or_absent(cache, path, capsys):
    for round_number in range(4):
        writer = start_writer(path, str(round_number), 10**6)
        while not cache.read("origin", [f"{round_number} 0 0"]):
            time.sleep(0.01)
        time.sleep(0.02 * round_number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        number, found = 0, True
        while found:
            keys = [f"{round_number} {number} {part}" for part in range(10)]
            found = cache.read("origin", keys)
            assert found in ({}, {key: f"{key} ".encode() * 500 for key in keys})
            number += 1
        assert number > 1
    assert capsys.readouterr().out == ""


# What stands for the origin


def test_an_origin_stands_for_code_versions_and_settings(tmp_path, monkeypatch):
    file = tmp_path / "a_module_of_this_test.py"
    file.write_text("VALUE = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module(file.stem)

    def origin():
        return describe_origin([module], ("numpy",), (1, "a"))

    first = origin()
    assert origin() == first
    assert describe_origin([module], ("numpy",), (2, "a")) != first
    assert describe_origin([module], (), (1, "a")) != first
    with monkeypatch.context() as changed:
        changed.setattr(versions, "version", lambda package: "0.0.1")
        assert origin() != first
    assert origin() == first
    file.write_text("VALUE = 2\n", encoding="utf-8")
    assert origin() != first
