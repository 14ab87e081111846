"""Photographs unlike the others: each reason fires for the right image, and none for images that are alike."""

import warnings

import pandas as pd
import pytest
from PIL import Image, ImageFilter

from inspection.audit.health import MAX_DEVIATION, MIN_CONTRAST, find_unhealthy
from inspection.audit.indexing import Facts, index_images
from inspection.data.sources import list_any
from tests.parts import draw_part

USUAL = {
    "width": 64, "height": 48, "mode": "L", "brightness": 100.0, "contrast": 30.0, "sharpness": 1023.0,
    "dark_share": 0.0, "bright_share": 0.0,
}  # fmt: skip
LAST = "19.png"


def images_with(n_images: int = 20, **last) -> pd.DataFrame:
    """Images that are all alike but for the facts of the last one."""
    images = pd.DataFrame({"path": [f"{index:02d}.png" for index in range(n_images)]} | USUAL)
    for name, value in last.items():
        images.loc[n_images - 1, name] = value
    return images


def test_images_that_are_alike_are_healthy():
    assert find_unhealthy(images_with()) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"width": 65}, "pixels 65x48; 19 of 20 images have 64x48"),
        ({"height": 64, "width": 48}, "pixels 48x64; 19 of 20 images have 64x48"),
        ({"mode": "RGB"}, "mode RGB; 19 of 20 images have L"),
        ({"contrast": 1.96}, "near-constant: grey levels vary by 2.0 only"),
        ({"brightness": 70.0}, "under-exposed: mean grey level 70, usual is 100"),
        ({"brightness": 130.4}, "over-exposed: mean grey level 130, usual is 100"),
        ({"dark_share": 0.6}, "60% of the picture is black, usual is 0%"),
        ({"bright_share": 1.0}, "100% of the picture is burnt out, usual is 0%"),
        ({"sharpness": 20.0}, "blurred: sharpness 20.0, usual is 1023.0"),
    ],
)
def test_reason(facts, reason):
    assert find_unhealthy(images_with(**facts)) == [(LAST, reason)]


def test_several_reasons_for_one_image_and_order_by_path():
    images = images_with(width=65, brightness=70.0)
    images.loc[3, "mode"] = "RGB"
    assert find_unhealthy(images) == [
        ("03.png", "mode RGB; 19 of 20 images have L"),
        (LAST, "pixels 65x48; 19 of 20 images have 64x48"),
        (LAST, "under-exposed: mean grey level 70, usual is 100"),
    ]


def test_order_of_the_rows_does_not_matter():
    images = images_with(width=65, brightness=70.0, mode="RGB", sharpness=1.0, dark_share=0.7)
    assert find_unhealthy(images.sample(frac=1, random_state=0)) == find_unhealthy(images)


@pytest.mark.parametrize(
    ("n_images", "n_other", "is_found"), [(10, 1, True), (9, 1, False), (20, 2, True), (20, 3, False)]
)
@pytest.mark.parametrize("fact", [{"width": 65}, {"mode": "RGB"}])
def test_a_size_is_usual_from_nine_tenths_on(fact, n_images, n_other, is_found):
    images = images_with(n_images)
    [(name, value)] = fact.items()
    images.loc[: n_other - 1, name] = value
    expected = [f"{index:02d}.png" for index in range(n_other)] if is_found else []
    assert [path for path, _ in find_unhealthy(images)] == expected


# Where all others are equal, a deviation is counted in 4 grey levels and in 0.3 powers of 2 of the sharpness.
@pytest.mark.parametrize(
    ("facts", "is_found"),
    [
        ({"contrast": MIN_CONTRAST}, False),
        ({"contrast": MIN_CONTRAST - 0.01}, True),
        ({"brightness": 100 - 4 * MAX_DEVIATION}, False),
        ({"brightness": 100 - 4 * MAX_DEVIATION - 0.1}, True),
        ({"brightness": 100 + 4 * MAX_DEVIATION}, False),
        ({"brightness": 100 + 4 * MAX_DEVIATION + 0.1}, True),
        ({"dark_share": 0.5}, False),
        ({"dark_share": 0.51}, True),
        ({"bright_share": 0.5}, False),
        ({"bright_share": 0.51}, True),
        # The others have 2**10 - 1.
        ({"sharpness": 2 ** (10 - 0.3 * MAX_DEVIATION) - 0.9}, False),
        ({"sharpness": 2 ** (10 - 0.3 * MAX_DEVIATION) - 1.1}, True),
        ({"sharpness": 100_000.0}, False),  # sharper than usual is no fault
    ],
)
def test_edges(facts, is_found):
    assert [path for path, _ in find_unhealthy(images_with(**facts))] == [LAST] * is_found


def test_deviation_is_counted_in_the_spread_of_the_others():
    # Medians of brightness and of the distance from it are 100 and 20: 6 * 1.4826 * 20 is 177.9.
    brightness = [60, 80, 100, 120, 140, 100 - 177]
    images = images_with(6).assign(brightness=[float(level) for level in brightness])
    # With the sixth image the median is 90, the distances 30, 10, 10, 30, 50 and 167: their median is 30.
    assert find_unhealthy(images) == []
    images.loc[5, "brightness"] = 90 - 6 * 1.4826 * 30 - 1
    assert [path for path, _ in find_unhealthy(images)] == ["05.png"]


@pytest.mark.parametrize("column", ["dark_share", "bright_share"])
def test_black_background_is_usual_where_all_have_it(column):
    images = images_with().assign(**{column: 0.45})
    assert find_unhealthy(images) == []
    images.loc[19, column] = 0.96
    assert [path for path, _ in find_unhealthy(images)] == [LAST]


def test_an_empty_picture_is_not_called_blurred():
    assert find_unhealthy(images_with(contrast=0.0, sharpness=0.0)) == [
        (LAST, "near-constant: grey levels vary by 0.0 only")
    ]


def test_empty_pictures_do_not_set_the_usual_sharpness():
    images = images_with()
    images.loc[:9, ["contrast", "sharpness"]] = 0.0
    images.loc[19, "sharpness"] = 20.0
    reasons = dict(find_unhealthy(images))
    assert reasons[LAST] == "blurred: sharpness 20.0, usual is 1023.0"


@pytest.mark.parametrize("n_images", [0, 1])
def test_hardly_any_image(n_images):
    images = pd.DataFrame({"path": ["a.png"]} | USUAL).head(n_images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_unhealthy(images) == []
        assert find_unhealthy(pd.DataFrame(columns=["path", *Facts._fields])) == []


def test_photographs_of_a_folder(tmp_path):
    for seed in range(20):
        draw_part(seed, seed % 4 == 0).save(tmp_path / f"{seed:02d}.png")
    assert find_unhealthy(index_images(list_any(tmp_path).records).readable) == []
    part = draw_part(50, False)
    spoilt = {
        "blurred": part.filter(ImageFilter.GaussianBlur(4)),
        "dark": part.point(lambda level: level // 8),
        "empty": Image.new("L", part.size, 125),
        "burnt": part.point(lambda level: 255 if level > 30 else level),
        "colour": part.convert("RGB"),
        "large": draw_part(50, False, 80),
    }
    for name, image in spoilt.items():
        image.save(tmp_path / f"{name}.png")
    reasons = {name: [] for name in spoilt}
    for path, reason in find_unhealthy(index_images(list_any(tmp_path).records).readable):
        reasons[path.rsplit("/", 1)[1].removesuffix(".png")].append(reason.split(" ")[0].rstrip(":"))
    assert "blurred" in reasons["blurred"]
    assert "under-exposed" in reasons["dark"]
    assert reasons["empty"] == ["near-constant"]
    assert {"over-exposed", "100%"} & set(reasons["burnt"])
    # 21 to 25 of 26 are of mode L and of one size.
    assert reasons["colour"] == ["mode"]
    assert reasons["large"] == ["pixels"]


def test_usual_sharpness_is_told_as_measured():
    images = images_with(sharpness=2.0)
    images.loc[:9, "sharpness"] = 511.0
    [(_, reason)] = find_unhealthy(images)
    # Ten images of 511, nine of 1023: the median is 511.
    assert reason == "blurred: sharpness 2.0, usual is 511.0"
