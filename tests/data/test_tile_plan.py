"""Whether photographs are cut into tiles is decided by the sizes of the training images."""

import pandas as pd
import pytest

from inspection.data.tile_plan import TilePlan, plan_tiles, read_tile_side, write_tile_side
from inspection.errors import ConfigError, DataError


def manifest(*sizes: tuple[int, int], test: tuple[tuple[int, int], ...] = ()) -> pd.DataFrame:
    """Photographs of so many pixels in height and width, of the training part and of the test part."""
    rows = [(f"{number}.png", "train", *size) for number, size in enumerate(sizes)]
    rows += [(f"test {number}.png", "test", *size) for number, size in enumerate(test)]
    return pd.DataFrame(rows, columns=["path", "split", "height", "width"])


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(300, 300)] * 3, None),
        # Twice the input of the network at the shorter side.
        ([(448, 448)] * 3, 224),
        ([(447, 4000)] * 3, None),
        # The one in the middle decides.
        ([(300, 300), (1024, 1024), (1024, 1024)], 224),
        ([(300, 300), (300, 300), (1024, 1024)], None),
        # 3000 x 4000 make 18 x 24 tiles of 224, and 7 x 9 of 574: 4000 <= 574 + 8 * 430.
        ([(3000, 4000)] * 2, 574),
    ],
)
def test_auto(sizes, side):
    assert plan_tiles(manifest(*sizes), "auto", 224).side == side


def test_test_images_do_not_decide():
    large = ((1024, 1024),) * 9
    assert plan_tiles(manifest((300, 300), test=large), "auto", 224).side is None


def test_no_photograph_has_more_tiles_than_are_judged():
    decided = plan_tiles(manifest((500, 500), test=((8000, 8000),)), "auto", 224)
    # 32 x 32 tiles overlap by a quarter: 8000 <= side + 31 * 0.75 * side.
    assert 8000 / (1 + 31 * 0.75) <= decided.side < 8000 / (1 + 31 * 0.75) + 16


def test_the_notice_says_what_it_costs():
    decided = plan_tiles(manifest((1024, 1024)), "auto", 224)
    assert decided.notice.startswith("photographs are seen in tiles, 36 of 224 x 224 pixels of the usual one")
    assert "about 36 times the work" in decided.notice
    assert "features.tiles=none" in decided.notice


def test_none_and_a_side_are_what_they_say():
    large = manifest((1024, 1024))
    assert plan_tiles(large, "none", 224) == TilePlan(None, "")
    assert plan_tiles(large, 448, 224).side == 448
    # One larger than every photograph cuts squares of their shorter side.
    assert plan_tiles(large, 5000, 224).side == 5000


def test_too_many_tiles_are_refused_with_a_side_that_would_do():
    large = manifest((300, 300), (8000, 8000))
    with pytest.raises(
        ConfigError, match=r"^features\.tiles = 32 cuts 1\.png \(8000 x 8000 pixels\) into .* tiles"
    ) as e:
        plan_tiles(large, 32, 224)
    enough = int(str(e.value).split("set it to ")[1].split()[0])
    assert plan_tiles(large, enough, 224).side == enough
    with pytest.raises(ConfigError):
        plan_tiles(large, enough - enough // 16, 224)


@pytest.mark.parametrize("side", [None, 32, 448])
def test_what_is_written_is_read(tmp_path, side):
    write_tile_side(tmp_path / "tiles.json", side)
    assert read_tile_side(tmp_path / "tiles.json") == side


@pytest.mark.parametrize("content", ["", "{", "{}", '{"side": 0}', '{"side": "auto"}', "[]"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "tiles.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"tiles\.json .*delete it and run `dvc repro`"):
        read_tile_side(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"tiles\.json is missing; run `dvc repro plan-tiles`"):
        read_tile_side(tmp_path / "tiles.json")
