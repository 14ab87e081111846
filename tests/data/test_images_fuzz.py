"""More than 10,000 damaged files: each gives an image or an ImageError, soon, in bounded memory, without a warning.

Damage drawn by a seeded generator runs in `bench.fuzz_decoder`, damage drawn by hypothesis below. Both run in processes
of their own, for no timeout inside Python ends a decoder that hangs.
"""

import contextlib
import multiprocessing
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.fuzz_decoder import DECODINGS, HANG_SECONDS, MEMORY, MUTATIONS, corpus, fuzz, is_decoded, make_input
from inspection.data.images import FORMATS, DecodedImage
from inspection.errors import ImageError
from tests.data import decoder_checks

N_SEEDED, N_DRAWN = 9_000, 1_500
TIMEOUT = 300
"""Seconds; both take well under a minute."""
FILES = tuple(corpus().values())
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")


@linux_only
def test_seeded_damage():
    command = [sys.executable, "-m", "bench.fuzz_decoder", "--inputs", str(N_SEEDED), "--seed", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == [*MUTATIONS, "total"]
    for kind, n_inputs, n_images, n_errors, slowest, _, memory, _ in rows:
        # Damage that never spoils a file, or always, tests one half of the decoder only.
        assert int(n_images) > 0, kind
        assert int(n_errors) > 0, kind
        assert int(n_images) + int(n_errors) == int(n_inputs)
        assert float(slowest) < HANG_SECONDS
        assert int(memory) * 1e6 < MEMORY
    assert int(rows[-1][1]) >= N_SEEDED
    assert N_SEEDED + N_DRAWN > 10_000


@st.composite
def edited_files(draw):
    """A good file with bytes set, cut out and put in, half of them in the header, where parsers break."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 5))):
        position = draw(st.integers(0, min(len(data), 160)) | st.integers(0, len(data)))
        data[position : position + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@st.composite
def headers_before_anything(draw):
    data = draw(st.sampled_from(FILES))
    return data[: draw(st.integers(0, min(len(data), 160)))] + draw(st.binary(max_size=300))


@settings(max_examples=N_DRAWN, derandomize=True, database=None)
@given(edited_files() | headers_before_anything(), st.sampled_from(DECODINGS))
@example(b"", DECODINGS[0])
@example(b"II*\0\x08\0\0\0\xff\xff", DECODINGS[0])
@example(b"RIFF\0\0\0\0WEBPVP8 ", DECODINGS[0])
@example(b"\x89PNG\r\n\x1a\n", DECODINGS[0])
@example(b"\xff\xd8\xff", DECODINGS[0])
@example(b"BM", DECODINGS[0])
def decode_drawn_damage(data, decoding):
    is_decoded(data, decoding)


def run_drawn_damage():
    decode_drawn_damage()  # what hypothesis makes of a function cannot be sent to a process


def test_drawn_damage():
    process = multiprocessing.get_context("spawn").Process(target=run_drawn_damage)
    process.start()
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        pytest.fail(f"no end within {TIMEOUT} s")
    assert process.exitcode == 0


def test_corpus_holds_every_format_and_mode():
    words = {word for name in corpus() for word in name.split()}
    assert words >= {
        *FORMATS,
        "1",
        "L",
        "LA",
        "P",
        "RGB",
        "RGBA",
        "I;16",
        "I;16B",
        "CMYK",
        "YCbCr",
        "LAB",
        "F",
        "I",
        "La",
    }
    assert {is_decoded(data, decoding) for data in FILES for decoding in DECODINGS} == {True, False}


def test_inputs_can_be_made_again():
    for kind in MUTATIONS:
        made = [make_input(kind, 3, index) for index in range(20)]
        assert made == [make_input(kind, 3, index) for index in range(20)]
        assert made != [make_input(kind, 4, index) for index in range(20)]
        assert {data for data, _ in made} - set(FILES)


@linux_only
@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (decoder_checks.hang, r"^Hang of 1 s: make_input\('flips', 5, 0\)\.$"),
        (decoder_checks.crash, r"^Exit code -11: make_input\('flips', 5, 0\)\.$"),
        (decoder_checks.fail, r"(?s)\nTraceback .*\nZeroDivisionError\nExit code 1: make_input\('flips', 5, 0\)\.$"),
        (decoder_checks.log, r"(?s)^odd\n.*\nAssertionError: something was printed\nExit code 1"),
        (decoder_checks.allocate, r"(?s)\nMemoryError\nExit code 1"),
    ],
)
def test_engine_reports(check, problem):
    assert re.search(problem, fuzz("flips", 3, 5, check, patience=1).problem)


@linux_only
def test_a_process_slow_to_start_does_not_hang():
    tally = fuzz("flips", 3, 5, decoder_checks.LoadsSlowly(), patience=1)
    assert (tally.problem, tally.n_images) == ("", 3)


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (np.zeros((8, 8, 3), np.uint8), None),
        (np.zeros((8, 8, 3), np.int64), AssertionError),
        (np.zeros((8, 8, 4), np.uint8), AssertionError),
        (np.zeros((7, 8, 3), np.uint8), AssertionError),
        (np.zeros((8, 161, 3), np.uint8), AssertionError),
        (np.broadcast_to(np.uint8(0), (8001, 8000, 3)), AssertionError),
        (UserWarning("odd"), UserWarning),
        (ImageError("of another file"), AssertionError),
        (KeyError("of Pillow"), KeyError),
    ],
)
def test_engine_checks(monkeypatch, pixels, problem):
    def decode(data, name, decoding):
        if isinstance(pixels, UserWarning):
            warnings.warn(pixels, stacklevel=1)
        if isinstance(pixels, Exception):
            raise pixels
        return DecodedImage(pixels, "L")

    monkeypatch.setattr("bench.fuzz_decoder.decode", decode)
    with pytest.raises(problem) if problem else contextlib.nullcontext():
        assert is_decoded(b"", DECODINGS[0])
