"""Photographs of made-up parts: grey discs with texture, the defective ones with a dark scratch."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from inspection.labels import CLASS_NAMES, DEFECTIVE


def draw_part(seed: int, is_defective: bool, size: int = 64) -> Image.Image:
    """Draw one part; the same arguments give the same picture."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 6, (size, size))
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    disc = np.where(np.hypot(rows, columns) < 0.42, 170 + 40 * columns, 60)
    image = Image.fromarray(np.clip(disc + noise, 0, 255).astype(np.uint8))
    if is_defective:
        ends = random.uniform(0.25, 0.75, 4) * size
        ImageDraw.Draw(image).line(ends.tolist(), fill=10, width=max(2, size // 16))
    return image


def stack_parts(n_images: int, first_seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw parts good and defective in turn; return them as a network takes them, and their labels."""
    labels = np.arange(n_images) % 2
    drawn = [draw_part(first_seed + index, label == DEFECTIVE, size) for index, label in enumerate(labels)]
    return np.stack([np.asarray(image.convert("RGB")) for image in drawn]), labels


def encode(image: Image.Image, format: str = "PNG") -> bytes:
    """Return the image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


def disguised(image: Image.Image, angle: float = 30) -> bytes:
    """Return a copy as an export might make it: turned, mirrored, brighter and saved as JPEG.

    A part without a scratch has nothing but its noise, which survives quarter turns only.
    """
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=60)
    return encode(ImageEnhance.Brightness(ImageOps.mirror(turned)).enhance(1.15), "JPEG")


def save_twelve_bits(image: Image.Image, path: Path) -> None:
    """Write a picture as a camera of twelve bits would: grey in 16 bits, values from 0 to 4095."""
    grey = np.asarray(image.convert("L"), np.uint32)
    # Rounded up, so that the decoder's value * 255 // 4095 gives the grey level back.
    values = (grey * 4095 + 254) // 255
    Image.fromarray(values.astype(np.uint16)).save(path)


def write_good_parts(folder: Path, n_train: int, n_test: int) -> None:
    """Write MVTec's layout: good parts to train on; good and scratched ones, with masks, to test on."""
    for name, number, first_seed in (("train/good", n_train, 0), ("test/good", n_test, 500)):
        (folder / name).mkdir(parents=True)
        for index in range(number):
            draw_part(first_seed + index, is_defective=False).save(folder / name / f"{index:03d}.png")
    for name in ("test/scratch", "ground_truth/scratch"):
        (folder / name).mkdir(parents=True)
    for index in range(n_test):
        part, scratched = (draw_part(900 + index, is_defective=value) for value in (False, True))
        scratched.save(folder / "test" / "scratch" / f"{index:03d}.png")
        is_defect = np.asarray(part) != np.asarray(scratched)
        Image.fromarray(is_defect).save(folder / "ground_truth" / "scratch" / f"{index:03d}_mask.png")


def write_class_folders(
    folder: Path,
    n_per_class: int,
    first_seed: int = 0,
    size: int = 64,
    write: Callable[[Image.Image, Path], None] = Image.Image.save,
) -> None:
    """Write ``n_per_class`` images into ``defective/`` and as many into ``non_defective/``."""
    for label, name in enumerate(CLASS_NAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(n_per_class):
            seed = first_seed + 2 * index + label
            write(draw_part(seed, label == DEFECTIVE, size), folder / name / f"part_{index:03d}.png")
