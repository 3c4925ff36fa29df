"""The images of the world are pure functions of their arguments, and their ground truth is true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.attributes import load_space
from mals.config import Filter
from mals.images import decode_image
from mals.stages.measures import measure
from mals.stages.pose import KEYPOINTS
from mals.world.camera import CAMERAS
from mals.world.person import COLORS, LOWER_COLORS, UPPER_COLORS, create_person
from mals.world.scene import FAULTS, DrawnImage, draw_image

SPACE = load_space("market1501")
LEVEL = 12  # of 255: noise and JPEG change a pixel by less
PLAIN = {
    "pattern": "plain",
    "upper": "t-shirt",
    "lower": "pants",
    "form": "pants",
    "hat": None,
    "backpack": None,
    "handbag": None,
    "bag": None,
}
HEAD, UPPER, LOWER = slice(0, 5), slice(5, 11), slice(11, 17)


def places(drawn: DrawnImage, points: slice, margin: float = 0.05) -> tuple[slice, slice]:
    """Rows and columns of the box around these keypoints, widened by a share of the body's height."""
    assert drawn.box is not None
    extra = margin * (drawn.box[3] - drawn.box[1])
    xy = drawn.keypoints[points, :2]
    (x0, y0), (x1, y1) = xy.min(0) - extra, xy.max(0) + extra
    return slice(max(0, int(y0)), int(y1) + 2), slice(max(0, int(x0)), int(x1) + 2)


def changed(first: DrawnImage, second: DrawnImage) -> np.ndarray:
    """[H, W]: where two images differ by more than noise."""
    return np.abs(first.pixels.astype(int) - second.pixels.astype(int)).max(2) > LEVEL


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(0, 40), st.sampled_from([None, *FAULTS]))
def test_an_image_is_a_function_of_seed_person_and_view(seed: int, number: int, view: int, fault: str | None) -> None:
    first, again = (draw_image(seed, number, view, 64, fault) for _ in range(2))
    assert (first.pixels == again.pixels).all() and (first.keypoints == again.keypoints).all()
    assert (first.box, first.attributes, first.person, first.camera) == (again.box, again.attributes, again.person, again.camera)


@pytest.mark.parametrize("height", [64, 128, 256])
def test_keypoints_lie_in_the_box_and_on_the_drawn_body(height: int) -> None:
    for number in range(40):
        drawn = draw_image(2, number, number % 9, height)
        assert drawn.box is not None and drawn.pixels.shape == (height, height // 2, 3)
        x0, y0, x1, y1 = drawn.box
        for name, (x, y, visibility) in zip(KEYPOINTS, drawn.keypoints, strict=True):
            if visibility:
                assert x0 - 1 <= x <= x1 and y0 - 1 <= y <= y1, name
                near = drawn.mask[max(0, int(y) - 1) : int(y) + 3, max(0, int(x) - 1) : int(x) + 3]
                assert near.any(), (number, name)
        rows, columns = np.nonzero(drawn.mask)
        rim = 1 + height / 128  # what smooth edges add to a shape
        assert rows.min() >= y0 - rim and rows.max() <= y1 + rim and columns.min() >= x0 - rim and columns.max() <= x1 + rim


def test_the_face_is_hidden_from_behind_and_visible_from_the_front() -> None:
    noses = [int(draw_image(3, number, 0).keypoints[0, 2]) for number in range(80)]
    assert noses.count(1) >= 15 and noses.count(2) >= 40


@pytest.mark.parametrize("color", UPPER_COLORS)
def test_the_color_of_the_upper_body_is_in_its_pixels_and_nowhere_below(color: str) -> None:
    other = "green" if color != "green" else "blue"
    for number in range(4):
        first, second = (
            draw_image(4, number, 1, person=create_person(4, number, **PLAIN | {"upper_color": c, "lower_color": "gray"}))
            for c in (color, other)
        )
        shows = changed(first, second)
        rows, columns = places(first, UPPER)
        assert shows[rows, columns].mean() > 0.2
        ankles = first.keypoints[13:17, 1]
        assert shows[int(ankles.min()) + 2 :].mean() < 0.01


@pytest.mark.parametrize("color", LOWER_COLORS)
def test_the_color_of_the_lower_body_is_in_its_pixels_and_nowhere_above(color: str) -> None:
    other = "green" if color != "green" else "blue"
    for number in range(4):
        first, second = (
            draw_image(5, number, 1, person=create_person(5, number, **PLAIN | {"upper_color": "white", "lower_color": c}))
            for c in (color, other)
        )
        shows = changed(first, second)
        rows, columns = places(first, LOWER)
        assert shows[rows, columns].mean() > 0.15
        assert shows[: int(first.keypoints[5:7, 1].max())].mean() < 0.01


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_colors_are_those_that_people_would_name(half: str) -> None:
    right = total = 0
    for number in range(150):
        drawn = draw_image(4, number, number % 5, person=create_person(4, number, **PLAIN))
        person = drawn.person
        assert person is not None and person.lower is not None
        if abs(drawn.keypoints[5, 0] - drawn.keypoints[6, 0]) > 8:  # in a profile an arm is in front of the chest
            point = drawn.keypoints[[5, 6, 11, 12] if half == "upper" else [11, 13], :2].mean(0)
            right += nearest(drawn, point) == (person.upper if half == "upper" else person.lower).color
            total += 1
    assert total > 50 and right / total >= 0.85


def nearest(drawn: DrawnImage, point: np.ndarray) -> str:
    """The name of the colour that is nearest to the pixels around a point [2], light and colour cast of the camera included."""
    x, y = (round(float(value)) for value in point)
    mean = np.median(drawn.pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3), 0)
    return min(COLORS, key=lambda name: float(np.abs(np.array(COLORS[name]) - mean).sum()))


@pytest.mark.parametrize(
    ("which", "first", "second", "points"),
    [
        ("gender", "woman", "man", UPPER),
        ("hat", "red", None, HEAD),
        ("backpack", "red", None, UPPER),
        ("handbag", "red", None, slice(9, 13)),
        ("bag", "red", None, slice(5, 13)),
        ("upper", "long-sleeved shirt", "t-shirt", slice(7, 11)),
        ("lower", "pants", "shorts", slice(13, 17)),
    ],
)
def test_an_attribute_changes_the_pixels_where_it_should(which: str, first: str, second: str | None, points: slice) -> None:
    fixed = PLAIN | {"upper_color": "white", "lower_color": "black"}
    for number in range(12):
        for view in range(3):
            pair = [draw_image(6, number, view, person=create_person(6, number, **fixed | {which: value})) for value in (first, second)]
            rows, columns = places(pair[0], points, 0.12)
            shows = changed(*pair)
            assert shows[rows, columns].sum() >= 8, (number, view)
            if which != "gender":
                values = [drawn.attributes for drawn in pair]
                assert sum(a != b for a, b in zip(*values, strict=True)) == 1  # type: ignore[arg-type]


def test_age_hair_and_skirts_change_the_drawn_body() -> None:
    for number in range(12):
        tall = [draw_image(7, number, 0, person=create_person(7, number, age=age)).box for age in ("adult", "child")]
        heights = [box[3] - box[1] for box in tall if box]
        assert heights[0] > heights[1] * 1.05
        for fixed in (
            {"hair": ("long", "short"), "haircut": ("loose", "short")},
            {"form": ("skirt", "pants"), "lower": ("long skirt", "shorts")},
        ):
            pair = [
                draw_image(7, number, 0, person=create_person(7, number, **{name: values[at] for name, values in fixed.items()}))
                for at in (0, 1)
            ]
            assert changed(*pair).sum() > 40


def test_a_person_is_the_same_in_every_view_and_is_seen_by_several_cameras() -> None:
    views = [draw_image(11, 3, view) for view in range(8)]
    assert {view.person for view in views} == {create_person(11, 3)} and len({view.camera for view in views}) == CAMERAS
    assert len({view.pixels.tobytes() for view in views}) == 8


def numbers(drawn: DrawnImage) -> dict[str, float]:
    from mals.stages.generated_images import jpeg

    return dict(measure(decode_image(jpeg(drawn.pixels)), Filter()))


def test_faults_do_what_their_names_say() -> None:
    for number in range(20):
        sound = numbers(draw_image(12, number, number % 6))
        blurred, grey, solid = (numbers(draw_image(12, number, number % 6, 128, fault)) for fault in ("blurred", "grey", "solid"))
        assert blurred["sharpness"] < 0.3 * sound["sharpness"]
        assert grey["channel_variance"] < 10 < sound["channel_variance"]
        assert solid["sharpness"] < 1 and solid["channel_variance"] < 1


def test_the_ground_truth_of_no_person_two_persons_cut_and_tiny() -> None:
    for number in range(20):
        empty = draw_image(13, number, 0, fault="no_person")
        assert empty.box is None and empty.attributes is None and not empty.mask.any() and not empty.keypoints.any()
        two = draw_image(13, number, 0, fault="two_persons")
        assert two.box is not None and len(two.others) == 1 and abs(two.box[0] - two.others[0][0]) > 8
        cut = draw_image(13, number, 0, fault="cut")
        missing = [cut.keypoints[points, 2].any() for points in (HEAD, slice(15, 17))]
        assert cut.box is not None and missing.count(False) == 1
        tiny = draw_image(13, number, 0, fault="tiny")
        assert tiny.box is not None and tiny.box[3] - tiny.box[1] < 25
