"""What training sees of a photograph: flipped, turned, brighter or darker, and always the same for the same seed."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from inspection.config import AugmentParams, CnnParams
from inspection.networks import recipes
from inspection.networks.recipes import BaselineRecipe, change_at_random

SIZE = 32
NONE = {"flips": False, "rotations": False, "brightness": 0.0, "contrast": 0.0}
IMAGE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
"""None of its eight orientations equals another."""


def recipe(augment: dict) -> BaselineRecipe:
    schedule = {"dropout": 0.1, "learning_rate": 0.01, "weight_decay": 0.01, "batch_size": 8, "epochs": 1}
    return BaselineRecipe(
        CnnParams(image_size=SIZE, channels=[8], parts=2, augment=AugmentParams(**augment), **schedule)
    )


def copies(image: np.ndarray, n_copies: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([image] * n_copies)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("augment", "n_different"),
    [
        (NONE, 1),
        (NONE | {"flips": True}, 4),
        (NONE | {"rotations": True}, 4),
        (NONE | {"flips": True, "rotations": True}, 8),
    ],
)
def test_training_sees_every_orientation_asked_for(augment, n_different):
    turned = [np.rot90(IMAGE, turns) for turns in range(4)]
    possible = {image.tobytes() for view in turned for image in (view, view[::-1])}
    torch.manual_seed(0)
    # That 200 draws miss one of eight has probability 8 * (7/8)**200, which is 2e-11.
    batch = recipe(augment).augmented(IMAGE[None], np.zeros(200, int))
    assert (batch.dtype, batch.shape) == (torch.float32, (200, 3, SIZE, SIZE))
    seen = {image.permute(1, 2, 0).numpy().astype(np.uint8).tobytes() for image in batch}
    assert seen <= possible
    assert len(seen) == n_different
    assert IMAGE.tobytes() in seen


@pytest.mark.parametrize("change", ["brightness", "contrast"])
def test_training_changes_brightness_and_contrast(change):
    torch.manual_seed(0)
    # Grey levels from 60 to 187: a fifth more or less of either reaches neither black nor white.
    image = IMAGE // 2 + 60
    changed = recipe(NONE | {change: 0.2}).augmented(image[None], np.zeros(20, int))
    measured = [float(values.mean() if change == "brightness" else values.std()) for values in changed]
    before = image.mean() if change == "brightness" else image.std()
    assert 0.75 < min(measured) / before < 1 < max(measured) / before < 1.25


@pytest.mark.parametrize(("change", "adjust"), [("brightness", "adjust_brightness"), ("contrast", "adjust_contrast")])
def test_a_change_is_that_of_the_color_jitter(change, adjust, monkeypatch):
    factors = torch.tensor([0.8, 1.0, 1.3]).view(-1, 1, 1, 1)
    monkeypatch.setattr(recipes, "_factors", lambda n_images, strength: factors)
    changed = change_at_random(copies(IMAGE, 3), AugmentParams(**NONE | {change: 0.3}))
    for values, factor in zip(changed, factors.flatten().tolist(), strict=True):
        expected = getattr(reference, adjust)(copies(IMAGE, 1)[0].float() / 255, factor) * 255
        # torchvision rounds neither the pixels nor, for numbers, the mean brightness.
        torch.testing.assert_close(values, expected, atol=0.02, rtol=0)
    assert changed.min() >= 0
    assert changed.max() <= 255, "cut off at white"


def test_each_image_of_a_batch_gets_a_change_of_its_own():
    torch.manual_seed(0)
    changed = change_at_random(copies(IMAGE // 2 + 60, 8), AugmentParams(**NONE | {"brightness": 0.2}))
    assert len({round(float(values.mean()), 3) for values in changed}) == 8


def test_photographs_stay_as_they_are():
    prepared = np.stack([IMAGE, IMAGE[::-1]])
    before = prepared.copy()
    everything = {"flips": True, "rotations": True, "brightness": 0.2, "contrast": 0.2}
    recipe(everything).augmented(prepared, np.array([1, 0]))
    np.testing.assert_array_equal(prepared, before)


def test_rows_are_those_asked_for():
    prepared = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    batch = recipe(NONE).augmented(prepared, np.array([3, 1]))
    assert batch[:, 0, 0, 0].tolist() == [3, 1]
    assert [view[:, 0, 0, 0].tolist() for view in recipe(NONE).views(prepared, np.array([2, 2, 0]))] == [[2, 2, 0]]


def test_with_flips_four_views_are_scored():
    views = list(recipe(NONE | {"flips": True}).views(IMAGE[None], np.array([0])))
    by_hand = (IMAGE, IMAGE[::-1], IMAGE[:, ::-1], IMAGE[::-1, ::-1])
    assert len(views) == 4
    for view, expected in zip(views, by_hand, strict=True):
        np.testing.assert_array_equal(view[0].permute(1, 2, 0).numpy(), expected)
