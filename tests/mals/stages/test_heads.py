"""Where heads are, and that nothing of a blurred one can come back."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mals.stages.heads import blur, count_heads, head_box, overlaps
from mals.stages.pose import KEYPOINTS, Person

# A standing person of 200 pixels in an image of 200 x 240, by the proportions of Drillis & Contini: crown at 20, chin at 46, head 26 high.
BODY = {
    "nose": (100, 37), "left_eye": (104, 33), "right_eye": (96, 33), "left_ear": (109, 35), "right_ear": (91, 35),
    "left_shoulder": (125, 56), "right_shoulder": (75, 56), "left_hip": (115, 114), "right_hip": (85, 114),
    "left_knee": (112, 163), "right_knee": (88, 163), "left_ankle": (112, 212), "right_ankle": (88, 212),
}  # fmt: skip
HEAD = (87, 20, 113, 46)  # x0, y0, x1, y1 of the head itself
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
SHOULDERS, HIPS, LEGS = (
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    ("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def person(*names: str, box: tuple[float, ...] | None = None, turned: int = 0) -> Person:
    """The person with these keypoints visible, turned by so many degrees around the middle of the body."""
    keypoints = np.zeros((17, 3), np.float32)
    angle = np.deg2rad(turned)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for name in names:
        keypoints[KEYPOINTS.index(name)] = [*(turn @ (np.array(BODY[name]) - 120) + 120), 0.9]
    return Person(keypoints, None if box is None else np.array(box), 0.9)


def holds(box: tuple[int, ...] | None, inner: tuple[float, ...]) -> bool:
    return box is not None and box[0] <= inner[0] and box[1] <= inner[1] and inner[2] <= box[2] and inner[3] <= box[3]


@pytest.mark.parametrize(
    "names",
    [
        (*FACE, *SHOULDERS, *HIPS, *LEGS),
        FACE,
        ("nose", "left_eye", "right_eye"),
        ("nose", "left_ear", *SHOULDERS),
        ("left_ear", *SHOULDERS, *HIPS),
        ("nose", *SHOULDERS),
        (*SHOULDERS, *HIPS),
        SHOULDERS,
        ("left_shoulder", *HIPS),
        ("right_shoulder", "right_hip"),
    ],
)
def test_the_box_holds_the_whole_head_however_few_of_its_points_are_visible(names: tuple[str, ...]) -> None:
    box = head_box(person(*names), 200, 240, score=0.3, margin=0.25)
    assert holds(box, HEAD)
    assert box is not None and box[3] < 114, "the hips are not blurred"


def test_a_whole_face_is_blurred_and_little_more() -> None:
    x0, y0, x1, y1 = head_box(person(*FACE, *SHOULDERS, *HIPS), 200, 240, score=0.3, margin=0.25) or (0, 0, 0, 0)
    assert x1 - x0 < 2.2 * 26 and y1 - y0 < 2.2 * 26 and y1 < 66


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_head_is_above_the_shoulders_also_of_a_person_who_lies(turned: int) -> None:
    middle = person(*FACE, turned=turned).keypoints[:5, :2].mean(0)
    x0, y0, x1, y1 = head_box(person(*SHOULDERS, *HIPS, turned=turned), 240, 240, score=0.3, margin=0.25) or (0, 0, 0, 0)
    assert x0 < middle[0] < x1 and y0 < middle[1] < y1


def test_without_head_and_shoulders_it_is_the_upper_part_of_the_person() -> None:
    assert head_box(person(*LEGS, box=(60, 18, 140, 216)), 200, 240, 0.3, 0.25) == (60, 18, 141, 164)  # down to the knees
    assert head_box(person(box=(60, 18, 140, 216)), 200, 240, 0.3, 0.25) == (60, 18, 141, 85)  # a third
    assert head_box(person(), 200, 240, 0.3, 0.25) == (0, 0, 200, 81)  # of the image, where there is no detector


def test_a_point_that_is_hardly_seen_does_not_count_as_the_head() -> None:
    seen = person(*FACE, *SHOULDERS, *HIPS)
    seen.keypoints[:5, 2] = 0.1
    assert holds(head_box(seen, 200, 240, 0.3, 0.25), HEAD)
    assert head_box(seen, 200, 240, 0.3, 0.25) == head_box(person(*SHOULDERS, *HIPS), 200, 240, 0.3, 0.25)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900), st.floats(0, 1)), min_size=17, max_size=17), st.floats(0, 2)
)
def test_a_box_lies_in_the_image_whatever_the_model_says(keypoints: list[tuple[float, float, float]], margin: float) -> None:
    box = head_box(Person(np.array(keypoints, np.float32), None, 0.5), 64, 128, 0.3, margin)
    assert box is None or (0 <= box[0] < box[2] <= 64 and 0 <= box[1] < box[3] <= 128)


def test_heads_are_counted_once_a_person_and_also_where_little_else_is_visible() -> None:
    whole, beside = person(*FACE, *SHOULDERS, *HIPS), person(*FACE)
    beside.keypoints[:, 0] += 60
    repeated = person("nose", *SHOULDERS)  # the same person, detected a second time
    headless = person(*SHOULDERS, *HIPS, *LEGS)
    assert count_heads([whole], 200, 240, 0.3) == count_heads([repeated, whole, headless], 200, 240, 0.3) == 1
    assert count_heads([whole, beside], 200, 240, 0.3) == count_heads([beside, whole, repeated], 200, 240, 0.3) == 2
    assert count_heads([headless], 200, 240, 0.3) == count_heads([], 200, 240, 0.3) == 0


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 64, 3), np.uint8)


@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_of_a_blurred_head_only_a_few_mean_colours_are_left(levels: int) -> None:
    first = np.full((96, 64, 3), 60, np.uint8)
    second = first.copy()
    side = 32 // levels  # a pattern inside each of the levels x levels cells, with the mean of the plain colour
    second[8:40, 16:48] = np.where(np.indices((32, 32)).sum(0) % 2, 40, 80)[..., None] if side > 1 else 60
    assert not np.array_equal(first, second)
    assert np.array_equal(blur(first, [(16, 8, 48, 40)], levels), blur(second, [(16, 8, 48, 40)], levels))


def test_pixels_outside_the_boxes_stay_and_the_image_that_came_in_too() -> None:
    image = noise(1)
    before = image.copy()
    blurred = blur(image, [(10, 5, 30, 30)], 4)
    assert np.array_equal(image, before)
    mask = np.zeros((96, 64), bool)
    mask[5:30, 10:30] = True
    assert np.array_equal(blurred[~mask], image[~mask])
    assert blurred[mask].std() < 0.35 * image[mask].std()


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (3, 3, 5, 4), (0, 0, 64, 96), (62, 94, 64, 96)])
def test_heads_of_a_few_pixels_and_of_the_whole_image_are_blurred(box: tuple[int, int, int, int]) -> None:
    blurred = blur(noise(2), [box], 8)
    region = blurred[box[1] : box[3], box[0] : box[2]].reshape(-1, 3)
    assert blurred.shape == (96, 64, 3) and (len(region) > 4 or len(np.unique(region, axis=0)) == 1)


def test_boxes_overlap_where_they_share_a_pixel() -> None:
    assert overlaps((0, 0, 2, 2), (1, 1, 3, 3)) and not overlaps((0, 0, 2, 2), (2, 0, 3, 2))
