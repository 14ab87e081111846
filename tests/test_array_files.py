"""Arrays come back as they were, and the same ones give the same bytes on any machine and with any Python."""

import zipfile

import numpy as np
import pytest

from inspection.array_files import write_arrays
from inspection.files import sha256_file

ARRAYS = {
    "vectors": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.arange(6, dtype=np.float16).reshape(2, 3).T,
    "names": np.array(["a", "ß欠"]),
    "one": np.array("a"),
    "none": np.empty((0, 3)),
}


def assert_any_python_writes_it_so(path) -> None:
    """Entries have the plain headers, not those for unlimited sizes, which differ between releases of Python."""
    with zipfile.ZipFile(path) as archive:
        assert {(entry.extract_version, entry.extra) for entry in archive.infolist()} == {(20, b"")}


def test_arrays_come_back(tmp_path):
    write_arrays(tmp_path / "new" / "a.npz", ARRAYS)
    with np.load(tmp_path / "new" / "a.npz", allow_pickle=False) as found:
        assert list(found) == list(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_bytes_depend_on_nothing_else(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    # What Python 3.11.2 and 3.11.7 wrote; numpy.savez wrote two different files there.
    assert sha256_file(tmp_path / "a.npz") == "932a01d4ead0d2b9378b177c90f16a89228b9db11319b767b363872267237d21"
    assert_any_python_writes_it_so(tmp_path / "a.npz")


def test_objects_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_arrays(tmp_path / "a.npz", {"fine": np.zeros(3), "objects": np.array([{}])})
    assert list(tmp_path.iterdir()) == []
