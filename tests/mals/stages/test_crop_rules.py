"""The rules by which the crop stage counts persons, chooses one, and refuses."""

import numpy as np
import pytest

from mals import settings
from mals.config import Crop as Settings
from mals.errors import UserError
from mals.stages.crop import judge, stage
from mals.stages.openpose import TO_COCO
from mals.stages.pose import Person, visible
from tests.small.pose import standing_person

RULES = Settings(model="any", score=0.3, min_side=50)
SIZE = (600, 400)  # height, width


def person(score=0.9, at=(0, 0), shape=SIZE, box=None):
    """A whole standing body."""
    points = standing_person(shape)[list(TO_COCO)] + at
    return Person(np.column_stack([points, np.full(17, score)]).astype(np.float32), box, score)


def without(whole, *hidden):
    """The same person with some keypoints under the threshold."""
    keypoints = whole.keypoints.copy()
    keypoints[list(hidden), 2] = 0.29
    return Person(keypoints, whole.box, whole.score)


def judged(people, **rules):
    return judge(people, SIZE[1], SIZE[0], RULES.model_copy(update=rules))


def test_one_whole_person_passes_every_rule():
    judgement = judged([person()])
    assert (judgement.persons, judgement.reject) == (1, [])


@pytest.mark.parametrize(
    ("people", "rules", "reject"),
    [
        ([], {}, ["no_person"]),
        ([without(person(), *range(3, 17))], {}, ["no_person"]),
        ([person(), person()], {}, ["several_persons"]),
        ([person(), person()], {"persons": 2}, []),
        ([without(person(), *range(5, 15))], {"min_hip": 0}, ["few_keypoints"]),
        ([without(person(), 0, 1, 2, 3, 4)], {}, ["few_keypoints"]),
        ([without(person(), 0, 1, 2, 3, 4)], {"min_head": 0}, []),
        ([without(person(), 11, 12)], {}, ["few_keypoints"]),
        ([without(person(), 11)], {"min_hip": 2}, ["few_keypoints"]),
        ([without(person(), 11, 12)], {"min_hip": 0}, []),
        ([without(person(), *range(5, 11))], {"min_arms": 1}, ["occluded"]),
        ([without(person(), *range(6, 11))], {"min_arms": 1}, []),
        ([without(person(), *range(13, 17))], {"min_legs": 1}, ["occluded"]),
        ([without(person(), *range(14, 17))], {"min_legs": 1}, []),
        ([without(person(), *range(5, 11), *range(13, 17))], {"min_keypoints": 1}, []),
        ([person(at=(0, 90))], {"max_cut": 1}, ["cut"]),
        ([person(at=(0, 90))], {"max_cut": 2}, []),
        ([person(at=(0, 90))], {}, []),
        ([person(), without(person(at=(150, 0)), *range(3, 17))], {"max_heads": 1}, ["several_heads"]),
        ([person(), without(person(at=(150, 0)), *range(3, 17))], {"max_heads": 2}, []),
        ([person()], {"min_person_score": 0.91}, ["low_confidence"]),
        ([person()], {"min_person_score": 0.9}, []),
        ([person()], {"min_side": 300}, ["small_crop"]),
        ([person()], {"max_aspect": 1.5}, ["bad_aspect"]),
        ([person()], {"min_aspect": 3}, ["bad_aspect"]),
        (
            [without(person(at=(0, 90)), 11, 12, 13, 14, 15)] * 2,
            {"min_side": 300, "max_aspect": 1.5, "min_legs": 2, "max_cut": 0, "min_person_score": 1.0},
            ["several_persons", "low_confidence", "few_keypoints", "occluded", "cut", "small_crop", "bad_aspect"],
        ),
    ],
)
def test_each_rule_refuses_alone_and_all_reasons_are_listed_in_order(people, rules, reject):
    assert judged(people, **rules).reject == reject


def test_a_keypoint_is_cut_at_the_border_or_beyond_it_and_hidden_ones_are_not():
    down = SIZE[0] - 1 - person().keypoints[:, 1].max() - 0.02 * np.ptp(person().keypoints[:, 1])  # pixels to the border's edge
    assert judged([person(at=(0, down - 1))]).cut == 0
    near = person(at=(0, down + 1))
    assert judged([near]).cut in (1, 2) and judged([without(near, 15, 16)]).cut == 0  # the ankles
    assert judged([near], edge=0).cut == 0
    assert judged([person(at=(0, 450))]).cut > 10
    assert judged([person(at=(-200, 0))]).cut > judged([person()]).cut == 0


def test_rules_that_papers_state_are_settings():
    syntbpr = {"min_keypoints": 3, "min_hip": 0, "min_arms": 1, "min_legs": 1}  # a point of each of its three groups
    assert judged([without(person(), 1, 2, 3, 4, *range(6, 15), 16)], **syntbpr).reject == []
    assert judged([without(person(), *range(13, 17))], **syntbpr).reject == ["occluded"]
    webperson = {"around": "detector", "margin": 0.0, "min_head": 2, "min_side": 90, "min_aspect": 2.0, "max_aspect": 4.0}
    webperson |= {"min_person_score": 0.85}

    def box(*corners):
        return [person(0.85, box=np.array(corners, np.float32))]

    assert judged(box(10, 20, 110, 220), **webperson).reject == []
    assert judged(box(10, 20, 99, 220), **webperson).reject == ["small_crop"]
    assert judged(box(10, 20, 111, 220), **webperson).reject == ["bad_aspect"]
    assert judged(box(10, 20, 110, 421), **webperson).reject == ["bad_aspect"]
    assert judged([Person(without(person(), 0, 1, 2, 3).keypoints, box(10, 20, 110, 220)[0].box, 0.84)], **webperson).reject == [
        "low_confidence",
        "few_keypoints",
    ]


def test_the_detectors_box_can_be_cut_out_with_a_margin_within_the_image():
    boxed = person(box=np.array([10.5, 20.2, 110.1, 220.2], np.float32))
    assert judged([boxed], around="detector", margin=0.0).crop_box == (10, 20, 111, 221)
    assert judged([boxed], around="detector", margin=0.1).crop_box == (0, 0, 131, 241)
    assert judged([boxed]).crop_box == judged([person()]).crop_box


def test_the_detectors_box_needs_a_detector():
    with pytest.raises(UserError, match=r"crop.around = detector cuts out the box of a detector; set crop.detector"):
        stage(settings.check({"crop": {"around": "detector", "detector": "none"}}))


def test_a_candidate_with_half_the_least_keypoints_counts_as_a_person_and_with_fewer_does_not():
    four, three = without(person(), *range(4, 17)), without(person(), *range(3, 17))
    assert judged([person(), four]).persons == 2
    assert judged([person(), three]).reject == []
    assert judged([person(), four], min_keypoints=9).reject == []


def test_the_person_with_the_highest_sum_of_keypoint_scores_is_cut_out():
    best = person(0.95)
    assert judged([person(0.9), best, person(0.94)], persons=3).person is best


def test_a_candidate_that_does_not_count_is_never_cut_out():
    keypoints = np.column_stack([standing_person(SIZE)[list(TO_COCO)], np.full(17, 0.29)]).astype(np.float32)
    faint = Person(keypoints, None, 0.29)  # all points just under the threshold: a higher sum than four clear ones
    four = without(person(), *range(4, 17))
    four.keypoints[4:, 2] = 0
    assert keypoints[:, 2].sum() > four.keypoints[:, 2].sum()
    assert judged([faint, four]).person is four


def test_a_point_that_was_not_detected_is_not_visible_even_at_threshold_0():
    keypoints = person().keypoints.copy()
    keypoints[3] = 0
    assert visible(keypoints, 0).tolist() == [True] * 3 + [False] + [True] * 13


def test_if_no_candidate_counts_the_best_one_is_still_returned():
    few = without(person(), *range(3, 17))
    judgement = judged([few])
    assert (judgement.persons, judgement.person, judgement.reject) == (0, few, ["no_person"])
    assert judgement.crop_box is not None and judgement.person_box is not None


def test_the_persons_box_is_the_detectors_or_lies_around_the_visible_points_within_the_image():
    assert judged([person(box=np.array([1, 2, 300, 400]))]).person_box == [1, 2, 300, 400]
    outside = person()
    outside.keypoints[15] = (500, 700, 0.9)
    outside.keypoints[9] = (-90, -90, 0.1)  # not visible
    points = outside.keypoints[np.arange(17) != 9, :2]
    assert judged([outside]).person_box == [points[:, 0].min(), points[:, 1].min(), 399, 599]
