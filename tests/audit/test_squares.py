"""The middle of photographs, in which they are compared."""

import cv2
import numpy as np
import pytest

from inspection.audit.squares import SIDE, central_square, texture
from tests.photographs import SIZE, draw_scene, shoot


def test_part_on_black_ground_stays_as_large():
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    part = np.where(np.hypot(rows, columns) < 0.2, draw_scene(1), 0)
    pixels = shoot(part, 1, noise=0)
    expected = cv2.resize(pixels[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(central_square(pixels), expected)


@pytest.mark.parametrize(("height", "width"), [(200, 320), (320, 200), (40, 48), (SIDE, SIDE)])
def test_central_square_is_the_middle(height, width):
    pixels = np.full((height, width, 3), 250, np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 100
    square = central_square(pixels)
    assert square.dtype == np.uint8
    np.testing.assert_array_equal(square, np.full((SIDE, SIDE), 100))


def test_texture_ignores_light_and_black_corners():
    square = central_square(shoot(draw_scene(1), 1)).astype(np.float32)
    inside = np.s_[40:-40, 40:-40]
    np.testing.assert_allclose(texture(square + 30)[inside], texture(square)[inside], atol=1e-3)
    cornered = square.copy()
    cornered[:20, :20] = 0
    assert (texture(cornered)[:20, :20] == 0).all()
