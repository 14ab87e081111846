"""Does the decoder survive damaged files? Each must give an image or an ``ImageError``, soon and in bounded memory.

Run on Linux::

    python -m bench.fuzz_decoder --inputs 100000 --seed 0

The inputs are small files of every format and layout (`corpus`), each damaged in one of the ways of ``MUTATIONS``.
Each way runs in a process of its own: a hang, a crash or a leak names the input, which `make_input` gives again.
"""

import argparse
import contextlib
import io
import itertools
import multiprocessing
import os
import random
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from inspection.data.image_checks import MAX_ASPECT_RATIO, MAX_PIXELS, MIN_SIDE
from inspection.data.images import Decoding, decode
from inspection.errors import ImageError

HANG_SECONDS = 60
"""Longest time for one input: the slowest good image, of MAX_PIXELS, takes a few seconds."""
MEMORY = 2_000_000_000
"""Bytes an input may take: a good image of MAX_PIXELS takes up to 1.7 GB (WebP with alpha, to be turned upright)."""
LARGE_SHARE = 0.02
"""Of the lies about the size: these inputs take a second each."""
DECODINGS = (Decoding(), Decoding(bit_depth=12), Decoding(float_range=(0.0, 1.0)), Decoding(9, (-1e300, 1e300)))
NAME = "fuzz.bin"
ORIENTATION = 0x0112
_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 8000, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_RATIONAL = 5
_TIFF_FORMS = {1: "B", 3: "H", 4: "I", _RATIONAL: "I"}
_TIFF_OFFSETS = (273, 324)
"""Tags whose values are positions in the file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n_inputs = -(-arguments.inputs // len(MUTATIONS))
    tallies = [fuzz(kind, n_inputs, arguments.seed) for kind in MUTATIONS]
    print(f"{'damage':12}{'inputs':>9}{'images':>9}{'ImageErrors':>13}{'slowest':>10}{'peak memory':>14}")
    for tally in [*tallies, total(tallies)]:
        print(
            f"{tally.kind:12}{tally.n_images + tally.n_errors:9}{tally.n_images:9}{tally.n_errors:13}"
            f"{tally.slowest:8.2f} s{tally.memory / 1e6:11.0f} MB"
        )
    problems = [tally.problem for tally in tallies if tally.problem]
    print(*problems, sep="\n", file=sys.stderr, end="")
    sys.exit(bool(problems))


@dataclass
class Tally:
    """What the inputs of one kind gave.

    Attributes
    ----------
    kind : str
        Key of ``MUTATIONS``.
    n_images, n_errors : int
        Inputs that gave an image, and an ``ImageError``.
    slowest : float
        Seconds of the slowest input.
    memory : int
        Peak growth of the resident memory, in bytes.
    problem : str
        Anything else that happened, and to which input; empty when nothing did.
    """

    kind: str
    n_images: int = 0
    n_errors: int = 0
    slowest: float = 0.0
    memory: int = 0
    problem: str = ""


def total(tallies: list[Tally]) -> Tally:
    """Add up the tallies of all kinds."""
    return Tally(
        "total",
        sum(tally.n_images for tally in tallies),
        sum(tally.n_errors for tally in tallies),
        max(tally.slowest for tally in tallies),
        max(tally.memory for tally in tallies),
    )


_NOT_STARTED = -1
"""In place of the number of an input."""


def fuzz(kind: str, n_inputs: int, seed: int, check: Callable | None = None, patience: float = HANG_SECONDS) -> Tally:
    """Decode damaged files in a process of its own, which is ended when one input takes too long.

    Parameters
    ----------
    kind : str
        Key of ``MUTATIONS``.
    n_inputs : int
    seed : int
    check : callable, optional
        What to do with an input; `is_decoded` unless told.
    patience : float
        Seconds an input may take, and up to twice that.

    Returns
    -------
    Tally
    """
    # Forks of a server that has imported the decoder: nothing of the caller's memory and threads comes along.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([decode.__module__])
    index, (receiver, sender) = context.Value("q", _NOT_STARTED), context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "stderr.txt"
        arguments = (check or is_decoded, kind, n_inputs, seed, index, sender, printed)
        process = context.Process(target=_work, args=arguments)
        process.start()
        sender.close()
        before = None
        # How long the process takes to begin says nothing of an input.
        while not receiver.poll(patience) and (index.value == _NOT_STARTED or index.value != before):
            before = index.value
        place = f"make_input({kind!r}, {seed}, {index.value})" if index.value != _NOT_STARTED else "before any input"
        if not receiver.poll():
            process.kill()
            return Tally(kind, problem=f"Hang of {patience} s: {place}.\n")
        try:
            return receiver.recv()
        except EOFError:
            process.join()
            text = printed.read_text(encoding="utf-8")
            return Tally(kind, problem=f"{text}Exit code {process.exitcode}: {place}.\n")


def _work(check: Callable, kind: str, n_inputs: int, seed: int, index, sender, printed: Path) -> None:
    import resource  # not on Windows, where only the file builders below are used

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff prints what is damaged, past Python
    sys.stderr = printed.open("w", encoding="utf-8")
    corpus()
    tally, memory = Tally(kind), _read_status("VmHWM")
    limit = _read_status("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for index.value in range(n_inputs):
        start = time.perf_counter()
        is_image = check(*make_input(kind, seed, index.value))
        tally.slowest = max(tally.slowest, time.perf_counter() - start)
        tally.n_images += is_image
        tally.n_errors += not is_image
        assert sys.stderr.tell() == 0, "something was printed"
    tally.memory = _read_status("VmHWM") - memory
    sender.send(tally)


def _read_status(key: str) -> int:
    """A size in bytes from Linux's account of this process; the peak of `resource` includes the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def is_decoded(data: bytes, decoding: Decoding) -> bool:
    """Decode one input: True for an image, False for an ``ImageError``; anything else is raised.

    Parameters
    ----------
    data : bytes
    decoding : Decoding

    Raises
    ------
    AssertionError
        If the image is not what `inspection.data.images.decode` promises, or the error does not name its file.
    Warning
        If one leaks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = decode(data, NAME, decoding).pixels
        except ImageError as problem:
            assert str(problem).startswith(f"{NAME}: "), problem
            return False
    height, width, channels = pixels.shape
    assert (pixels.dtype, channels) == (np.uint8, 3), (pixels.dtype, pixels.shape)
    assert min(height, width) >= MIN_SIDE, pixels.shape
    assert height * width <= MAX_PIXELS, pixels.shape
    assert max(height, width) <= MAX_ASPECT_RATIO * min(height, width), pixels.shape
    return True


def make_input(kind: str, seed: int, index: int) -> tuple[bytes, Decoding]:
    """Return one damaged file, the same for the same arguments, and how to decode it."""
    rng = random.Random(f"{kind} {seed} {index}")
    data = rng.choice(list(corpus().values()))
    return MUTATIONS[kind](rng, data), rng.choice(DECODINGS)


def _flip_bits(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _set_header_bytes(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        damaged[rng.randrange(min(len(data), 200))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(damaged)


def _set_numbers(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        number = struct.pack(rng.choice("<>") + "Q", rng.choice(_NUMBERS))
        width = rng.choice((2, 4, 8))
        position = rng.choice((rng.randrange(len(data)), rng.randrange(min(len(data), 200))))
        damaged[position : position + width] = number[-width:] if number[0] == 0 else number[:width]
    return bytes(damaged)


def _truncate(rng: random.Random, data: bytes) -> bytes:
    kept = data[: rng.randrange(len(data))]
    rest = len(data) - len(kept)
    return kept + rng.choice((b"", bytes(rest), b"\xff" * rest, rng.randbytes(rest)))


def _splice(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(list(corpus().values()))
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _move_blocks(rng: random.Random, data: bytes) -> bytes:
    start, length = rng.randrange(len(data)), rng.choice((1, 2, 4, 12, 64, 500))
    block, rest = data[start : start + length], data[:start] + data[start + length :]
    position = rng.randrange(len(rest) + 1)
    return rest[:position] + block * rng.choice((0, 1, 2, 50)) + rest[position:]


def _fill_behind_header(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((8, 16, 33, 64, 128))] + rng.randbytes(rng.choice((0, 20, 200, 3000)))


def _change_structure(rng: random.Random, data: bytes) -> bytes:
    """Damage that checksums do not give away: chunks of a PNG, entries of a TIFF directory."""
    for _ in range(rng.randint(1, 3)):
        if data.startswith(b"\x89PNG"):
            data = _change_chunk(rng, data)
        elif data[:2] in (b"II", b"MM"):
            data = _change_entry(rng, data)
        else:
            data = _set_numbers(rng, data)
    return data


def _change_chunk(rng: random.Random, data: bytes) -> bytes:
    chunks, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    index = rng.randrange(len(chunks))
    name, content = chunks[index]
    change = rng.randrange(5)
    if change == 0:
        content = rng.choice((_flip_bits, _set_numbers, _truncate))(rng, content or b"\0")
    elif change == 1 and name == b"IDAT":
        with contextlib.suppress(zlib.error):  # pixels that are damaged already
            content = zlib.compress(_flip_bits(rng, zlib.decompress(content)))
    elif change == 2:
        name = rng.choice((b"tRNS", b"PLTE", b"fcTL", b"acTL", b"fdAT", b"IDAT", b"eXIf", b"xxXx", b"IEND"))
    chunks[index : index + 1] = [(name, content)] * (1 if change < 3 else rng.choice((0, 2, 40)))
    return _png_file(chunks)


def _change_entry(rng: random.Random, data: bytes) -> bytes:
    order, is_big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start = int.from_bytes(data[8:16] if is_big else data[4:8], "little" if order == "<" else "big")
    first, size = (start + 8, 20) if is_big else (start + 2, 12)
    position = first + size * rng.randrange(16)
    if position + size > len(data):
        return _set_numbers(rng, data)
    damaged = bytearray(data)
    field, form = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"), (16, "I") if is_big else (8, "I")))
    tag = rng.choice((254, 256, 258, 259, 262, 266, 273, 274, 278, 279, 284, 317, 320, 330, 338, 339, 700, 34665))
    number = tag if field == 0 else rng.randrange(20) if field == 2 else rng.choice((*_NUMBERS, rng.randrange(2**32)))
    struct.pack_into(order + form, damaged, position + field, number % 2 ** (8 * struct.calcsize(form)))
    return bytes(damaged)


def _lie_about_size(rng: random.Random, data: bytes) -> bytes:
    """Another width and height in the header than the pixels have, now and then of the largest image allowed."""
    width, height = rng.choice(((32, 8), (1000, 60), (700, 700), (8001, 8000), (30000, 30000), (65535, 65535)))
    if rng.random() < LARGE_SHARE:
        width, height = 8000, 8000
    if data.startswith(b"\x89PNG"):
        return data[:12] + _sealed(data[12:16] + struct.pack(">II", width, height) + data[24:29]) + data[33:]
    if data[:2] in (b"II", b"MM"):
        order = "<" if data[:2] == b"II" else ">"
        for tag, old, new in ((256, 32, width), (257, 20, height), (278, 20, height)):
            for kind, form in ((3, "HHIH"), (4, "HHII")):
                entry = struct.pack(order + form, tag, kind, 1, old).ljust(12, b"\0")
                data = data.replace(entry, struct.pack(order + "HHII", tag, 4, 1, new))
        return data
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, rng.choice((height, -height))) + data[26:]
    if data.startswith(b"\xff\xd8"):
        return data.replace(struct.pack(">HH", 20, 32), struct.pack(">HH", height, width), 1)
    data = data.replace(
        bytes([31, 0, 0, 19, 0, 0]), struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    return data.replace(struct.pack("<HH", 32, 20), struct.pack("<HH", width % 2**14, height % 2**14), 1)


def _insert_metadata(rng: random.Random, data: bytes) -> bytes:
    """Broken EXIF, XMP and text in an otherwise good file."""
    exif = rng.choice((_flip_bits, _set_numbers, _truncate, _change_entry))(rng, _exif_block(rng))
    keyword = rng.choice((b"exif", b"transparency", b"interlace", b"bbox", b"xmp", b"Raw profile type exif", b"gamma"))
    if data.startswith(b"\x89PNG"):
        chunk = rng.choice(
            (
                _chunk(b"eXIf", exif),
                _chunk(b"tEXt", keyword + b"\0" + exif),
                _chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(exif.hex().encode())),
                _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="%d"/>' % rng.randrange(12)),
            )
        )
        return data[:33] + chunk + data[33:]
    if data.startswith(b"\xff\xd8"):
        content = rng.choice((b"Exif\0\0" + exif, b"http://ns.adobe.com/xap/1.0/\0" + exif, b"MPF\0" + exif))
        marker = rng.choice((b"\xff\xe1", b"\xff\xe2"))
        return data[:2] + (marker + struct.pack(">H", 2 + len(content)) + content) * rng.choice((1, 3)) + data[2:]
    if data.startswith(b"RIFF"):
        chunk = rng.choice((b"EXIF", b"XMP ")) + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
        return b"RIFF" + struct.pack("<I", len(data) - 8 + len(chunk)) + data[8:] + chunk
    return _change_structure(rng, data)


def _exif_block(rng: random.Random) -> bytes:
    tags = {ORIENTATION: (3, [rng.randrange(12)]), 282: (5, [300, rng.randrange(2)]), 296: (3, [2]), 34665: (4, [26])}
    return raw_tiff((tags, b""), order=rng.choice("<>"))


MUTATIONS = {
    "flips": _flip_bits,
    "header": _set_header_bytes,
    "numbers": _set_numbers,
    "truncation": _truncate,
    "splice": _splice,
    "blocks": _move_blocks,
    "noise": _fill_behind_header,
    "structure": _change_structure,
    "size": _lie_about_size,
    "metadata": _insert_metadata,
}


@cache
def corpus() -> dict[str, bytes]:
    """Return small files of every format and layout the decoder meets, good ones and ones it refuses."""
    rows, columns = np.mgrid[:20, :32]
    colour = np.stack([8 * columns, 10 * rows, 255 - 4 * (rows + columns)], axis=-1).astype(np.uint8)
    colour[5:15, 10:20] ^= np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
    images = {mode: Image.fromarray(colour).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")}
    images["LAB"] = Image.frombytes("LAB", images["RGB"].size, colour.tobytes())
    images["YCbCr"] = images["RGB"].convert("YCbCr")
    images["I;16"] = Image.fromarray(colour[..., 0].astype(np.uint16) * 16)
    images["I;16B"] = Image.fromarray((colour[..., 0].astype(">u2") * 16).astype(">u2"))
    images["F"] = Image.fromarray((colour[..., 0] / 255).astype(np.float32))
    images["I"] = Image.fromarray(colour[..., 0].astype(np.int32))
    return _pillow_files(images) | _raw_files(colour)


def _pillow_files(images: dict[str, Image.Image]) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[ORIENTATION] = 6

    def pages() -> dict:
        # An image of their own for each: Pillow's writers leave their settings on it.
        return {"save_all": True, "append_images": [images["RGB"].rotate(180)]}

    variants = [
        *itertools.product(("PNG",), ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ({},)),
        ("PNG", "P", {"transparency": 3}), ("PNG", "P", {"bits": 4}), ("PNG", "L", {"transparency": 9}),
        ("PNG", "I;16", {"transparency": 160}), ("PNG", "RGB", {"exif": exif}), ("PNG", "RGB", pages()),
        *itertools.product(("JPEG",), ("L", "RGB", "CMYK"), ({}, {"progressive": True})),
        ("JPEG", "RGB", {"exif": exif, "subsampling": 0}), ("JPEG", "RGB", {"restart_marker_rows": 1}),
        ("MPO", "RGB", pages()),
        *itertools.product(("BMP",), ("1", "L", "P", "RGB", "RGBA"), ({},)),
        *itertools.product(("TIFF",), ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"), ({},)),
        *itertools.product(("TIFF",), ("I;16", "I;16B", "F", "I"), ({}, {"compression": "tiff_deflate"})),
        *itertools.product(("TIFF",), ("RGB",), [{"compression": name} for name in
                           ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "lzma", "zstd")]),
        ("TIFF", "1", {"compression": "group3"}), ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "YCbCr", {"compression": "jpeg"}), ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
        ("TIFF", "LAB", {"compression": "tiff_deflate"}), ("TIFF", "RGB", {"exif": exif}), ("TIFF", "RGB", pages()),
        ("TIFF", "L", {"big_tiff": True}),
        ("WEBP", "RGB", {}), ("WEBP", "RGBA", {}), ("WEBP", "RGBA", {"lossless": True}), ("WEBP", "RGB", pages()),
        ("WEBP", "RGB", {"exif": exif, "icc_profile": b"profile"}),
    ]  # fmt: skip
    return {f"{format} {mode} {sorted(options)} {n}": saved(images[mode].copy(), format, **options)
            for n, (format, mode, options) in enumerate(variants)}  # fmt: skip


def _raw_files(colour: np.ndarray) -> dict[str, bytes]:
    """Layouts that Pillow reads but does not write."""
    height, width, _ = colour.shape
    grey, deep = colour[..., 0], colour.astype(np.uint16) * 257
    lines = {depth: b"".join(b"\1" + row.tobytes() for row in pixels)
             for depth, pixels in {4: grey[:, ::2], 16: deep.astype(">u2")}.items()}  # fmt: skip
    planes = {284: (3, [2]), 273: (4, [0, grey.size, 2 * grey.size]), 279: (4, [grey.size] * 3)}
    tiles = {322: (3, [16]), 323: (3, [16]), 324: (4, [0, 0, 256, 256]), 325: (4, [256] * 4)}
    strips = {278: (3, [5]), 273: (4, [0, 160, 320, 480]), 279: (4, [160] * 4)}
    no_strips = dict.fromkeys((273, 278, 279))
    rle = b"".join(bytes([16, row, 0, 4, 1, 2, 3, 4, 12, row, 0, 0]) for row in range(height)) + b"\0\1"
    bmp = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rle), 0, 0, 256, 0) + bytes(range(256)) * 4

    def tiff(bits: list[int], kind: int, pixels: bytes, changes: dict | None = None, order: str = "<") -> bytes:
        return raw_tiff(tiff_page(width, height, bits, kind, pixels, changes), order=order)

    return {
        "PNG L 4": raw_png(width, height, 4, 0, lines[4]),
        "PNG RGB 16": raw_png(width, height, 16, 2, lines[16]),
        "TIFF 12": tiff([12], 1, grey.tobytes() * 2),
        "TIFF RGB 16": tiff([16] * 3, 2, deep.tobytes()),
        "TIFF La": tiff([8, 8], 1, colour[..., :2].tobytes(), {338: (3, [1])}),
        "TIFF planes": tiff([8] * 3, 2, np.moveaxis(colour, 2, 0).tobytes(), planes),
        "TIFF tiles": tiff([8], 1, grey.tobytes(), no_strips | tiles),
        "TIFF strips": tiff([8], 1, grey.tobytes(), strips, ">"),
        "TIFF negative": tiff([16], 0, deep[..., 0].tobytes()),
        "BMP RLE8": b"BM" + struct.pack("<IHHI", 1078 + len(rle), 0, 0, 1078) + bmp + rle,
    }


def saved(image: Image.Image, format: str, **options) -> bytes:
    """Return an image as Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def raw_png(width: int, height: int, depth: int, colour: int, scanlines: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Assemble a PNG by hand: Pillow writes neither 16-bit colour nor headers that lie.

    Parameters
    ----------
    width, height : int
        Of the header.
    depth, colour : int
        Bits of a channel, and PNG's colour type.
    scanlines : bytes
        Each line starts with its filter.
    chunks : (bytes, bytes)
        Names and contents of chunks between header and pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _png_file([(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")])


def tiff_page(width: int, height: int, bits: list[int], kind: int, data: bytes, changes: dict | None = None) -> tuple:
    """Return tags and data of one page of uncompressed TIFF, for `raw_tiff`.

    Parameters
    ----------
    width, height : int
    bits : list of int
        Of each channel.
    kind : int
        PhotometricInterpretation.
    data : bytes
    changes : dict, optional
        More tags, each as (TIFF's type, list of values); None leaves a tag out. Offsets count from the page's data.
    """
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, bits), 259: (3, [1]), 262: (3, [kind]), 273: (4, [0]),
            277: (3, [len(bits)]), 278: (3, [height]), 279: (4, [len(data)])}  # fmt: skip
    return {tag: entry for tag, entry in (tags | (changes or {})).items() if entry}, data


def raw_tiff(*pages: tuple[dict, bytes], order: str = "<", loop_to: int | None = None) -> bytes:
    """Assemble a TIFF by hand.

    Parameters
    ----------
    pages : (dict, bytes)
        From `tiff_page`.
    order : ``<`` or ``>``
        Of the bytes in numbers.
    loop_to : int, optional
        Page that follows the last one.
    """
    content = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0))
    link, starts = 4, []
    for tags, data in pages:
        base, entries = len(content), b""
        content += data + bytes(len(data) % 2)
        for tag, (kind, values) in sorted(tags.items()):
            values = [base + value if tag in _TIFF_OFFSETS else value for value in values]
            packed = struct.pack(f"{order}{len(values)}{_TIFF_FORMS[kind]}", *values)
            if len(packed) > 4:
                content += packed
                packed = struct.pack(order + "I", len(content) - len(packed))
            n_values = len(values) // (2 if kind == _RATIONAL else 1)
            entries += struct.pack(order + "HHI", tag, kind, n_values) + packed.ljust(4, b"\0")
        starts.append(len(content))
        struct.pack_into(order + "I", content, link, starts[-1])
        content += struct.pack(order + "H", len(tags)) + entries
        link = len(content)
        content += bytes(4)
    if loop_to is not None:
        struct.pack_into(order + "I", content, link, starts[loop_to])
    return bytes(content)


def _png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + _sealed(name + content)


def _sealed(content: bytes) -> bytes:
    return content + struct.pack(">I", zlib.crc32(content))


if __name__ == "__main__":
    main()
