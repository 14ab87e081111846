"""Copies of photographs as an augmentation or a careless export makes them, for the measurement of the audit."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

FILLS = ("constant", "reflect", "edge")
"""What a moved picture shows where it had nothing: black, its mirror image or its last pixel (modes of numpy.pad)."""
RESAMPLINGS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
FLIPS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE)
MAX_SHIFT = 0.05
MAX_SCALE_CHANGE = 0.1
MAX_BRIGHTNESS_CHANGE = 0.2
MIN_QUALITY, MAX_QUALITY = 60, 95
MIN_RESIZE, MAX_RESIZE = 0.5, 1.5

Step = Callable[[Image.Image, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class File:
    """An image file.

    Attributes
    ----------
    data : bytes
    suffix : str
        ``.png``, for example.
    """

    data: bytes
    suffix: str

    def open(self) -> Image.Image:
        return Image.open(io.BytesIO(self.data))


def make_copy(kind: str, original: File, random: np.random.Generator) -> File:
    """Return a copy; ``kind`` is a key of `KINDS`."""
    image = original.open()
    steps, encode = KINDS[kind]
    for step in steps:
        image = step(image, random)
    return encode(image, random)


def encode(image: Image.Image, suffix: str, **options) -> File:
    """Return the image as a file of the format that the suffix stands for."""
    stream = io.BytesIO()
    image.save(stream, Image.registered_extensions()[suffix], **options)
    return File(stream.getvalue(), suffix)


def rotate(fills=FILLS, resamplings=RESAMPLINGS, grows: bool = False) -> Step:
    """By any angle; the canvas stays, or grows to hold all of the picture."""

    def step(image, random):
        angle, fill, resampling = random.uniform(0, 360), _one_of(fills, random), _one_of(resamplings, random)
        if grows:
            return image.rotate(angle, resampling, expand=True)
        return _moved(image, fill, lambda padded: padded.rotate(angle, resampling))

    return step


def flip(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.transpose(_one_of(FLIPS, random))


def shift_and_scale(max_shift: float, max_scale_change: float) -> Step:
    """Both in one go, by up to the given shares of the side."""

    def step(image, random):
        shift = random.uniform(-max_shift, max_shift, 2) * min(image.size)
        scale = 1 + random.uniform(-max_scale_change, max_scale_change)
        fill, resampling = _one_of(FILLS, random), _one_of(RESAMPLINGS, random)

        def move(padded):
            centre = np.array(padded.size) / 2
            x, y = centre - scale * (centre + shift)
            return padded.transform(padded.size, Image.Transform.AFFINE, (scale, 0, x, 0, scale, y), resampling)

        return _moved(image, fill, move)

    return step


def brighten(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Or darken."""
    factor = 1 + random.uniform(-MAX_BRIGHTNESS_CHANGE, MAX_BRIGHTNESS_CHANGE)
    return ImageEnhance.Brightness(image).enhance(factor)


def resize(image: Image.Image, random: np.random.Generator) -> Image.Image:
    factor = random.uniform(MIN_RESIZE, MAX_RESIZE)
    return image.resize([round(factor * side) for side in image.size], _one_of(RESAMPLINGS[1:], random))


def sometimes(step: Step, share: float) -> Step:
    return lambda image, random: step(image, random) if random.random() < share else image


def one_of(*steps: Step) -> Step:
    return lambda image, random: _one_of(steps, random)(image, random)


def as_png(image: Image.Image, random: np.random.Generator) -> File:
    return encode(image, ".png")


def as_jpeg(image: Image.Image, random: np.random.Generator) -> File:
    return encode(image, ".jpg", quality=int(random.integers(MIN_QUALITY, MAX_QUALITY + 1)))


def as_other_format(image: Image.Image, random: np.random.Generator) -> File:
    return encode(image, _one_of((".bmp", ".tif", ".webp"), random))


def as_any_format(image: Image.Image, random: np.random.Generator) -> File:
    return _one_of((as_png, as_jpeg, as_jpeg, as_other_format), random)(image, random)


def _moved(image: Image.Image, fill: str, move: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Move the picture on a larger canvas and cut its frame out again."""
    width, height = image.size
    margin = min(width, height) // 2
    padding = [(margin, margin), (margin, margin)] + [(0, 0)] * (len(image.getbands()) > 1)
    padded = move(Image.fromarray(np.pad(np.asarray(image), padding, fill)))
    return padded.crop((margin, margin, margin + width, margin + height))


def _one_of(choices, random: np.random.Generator):
    return choices[random.integers(len(choices))]


NEAREST, BILINEAR, BICUBIC = ((resampling,) for resampling in RESAMPLINGS)
COMBINED = "turned, flipped, moved, scaled, brightened and JPEG"
RESIZED = "the same, growing canvas, resized to 50-150 %, any format"
KINDS: dict[str, tuple[tuple[Step, ...], Callable[[Image.Image, np.random.Generator], File]]] = {
    "rotated, black corners": ((rotate(fills=["constant"]),), as_png),
    "rotated, mirrored corners": ((rotate(fills=["reflect"]),), as_png),
    "rotated, last pixel repeated": ((rotate(fills=["edge"]),), as_png),
    "rotated, nearest pixel": ((rotate(resamplings=NEAREST),), as_png),
    "rotated, bilinear": ((rotate(resamplings=BILINEAR),), as_png),
    "rotated, bicubic": ((rotate(resamplings=BICUBIC),), as_png),
    "rotated, canvas grows": ((rotate(grows=True),), as_png),
    "flipped": ((flip,), as_png),
    "shifted by up to 5 %": ((shift_and_scale(MAX_SHIFT, 0),), as_png),
    "scaled by up to 10 %": ((shift_and_scale(0, MAX_SCALE_CHANGE),), as_png),
    "brightness ±20 %": ((brighten,), as_png),
    "JPEG quality 60-95": ((), as_jpeg),
    "resized to 50-150 %": ((resize,), as_png),
    "other format": ((), as_other_format),
    COMBINED: ((sometimes(flip, 0.5), rotate(), shift_and_scale(MAX_SHIFT, MAX_SCALE_CHANGE), brighten), as_jpeg),
    RESIZED: (
        (
            sometimes(flip, 0.5),
            one_of(*(rotate(fills=[fill]) for fill in FILLS), rotate(grows=True)),
            shift_and_scale(MAX_SHIFT, MAX_SCALE_CHANGE),
            brighten,
            resize,
        ),
        as_any_format,
    ),
}  # fmt: skip
"""Steps and encoding of each kind of copy."""
