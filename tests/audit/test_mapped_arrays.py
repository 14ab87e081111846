"""Arrays that processes share by the name of a file."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed

from inspection.audit.mapped_arrays import mapped_zeros


def test_zeros_of_shape_and_type():
    array = mapped_zeros((3, 2), np.float32)
    assert (array.shape, array.dtype, array.any()) == ((3, 2), np.float32, False)


def test_nothing_needs_no_file():
    assert mapped_zeros((0, 2), np.uint8).shape == (0, 2)


def test_file_goes_with_the_last_view():
    array = mapped_zeros((3, 2), np.uint8)
    path = Path(array.filename)
    view = array[1:]
    del array
    gc.collect()
    assert path.exists()
    del view
    gc.collect()
    assert not path.parent.exists()


def test_what_a_killed_process_left_the_next_one_removes(tmp_path):
    make = "import os, numpy, inspection.audit.mapped_arrays as m; array = m.mapped_zeros((3, 2), numpy.uint8)"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", f"{make}; os.kill(os.getpid(), 9)"], env=environment, check=False)
    [left] = tmp_path.rglob("array")
    subprocess.run([sys.executable, "-c", make], env=environment, check=True)
    assert not left.exists()
    assert not list(tmp_path.iterdir())


def test_other_processes_see_what_is_put_in():
    array = mapped_zeros((100, 2), np.float32)
    array[:] = 7
    # They would see a copy's content, were it sent: what is written afterwards tells.
    with Parallel(n_jobs=2, max_nbytes=None) as parallel:
        assert parallel(delayed(_total)(array[:50]) for _ in range(2)) == [700, 700]
        parallel(delayed(_write)(array, place) for place in range(2))
    np.testing.assert_array_equal(array[:3, 0], [0, 1, 7])


def _total(array: np.ndarray) -> float:
    return float(array.sum())


def _write(array: np.ndarray, place: int) -> None:
    array[place] = place


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a system that reserves room")
def test_without_room_it_is_in_memory(monkeypatch, tmp_path):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = mapped_zeros((3, 2), np.uint8)
    assert not isinstance(array, np.memmap)
    assert array.sum() == 0
    assert not list(tmp_path.iterdir())
