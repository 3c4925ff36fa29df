import subprocess
import sys
from io import BytesIO

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

from mals import settings
from mals.config import Config, Privacy
from mals.config import Crop as Settings
from mals.errors import ModelMissing, UserError
from mals.grid.stage import ERROR, REJECT
from mals.stages.crop import Crop, crop_box, judge, stage
from mals.stages.generate import jpeg
from mals.stages.heads import blur, head_box
from mals.stages.openpose import TO_COCO
from mals.stages.pose import Person, visible
from tests.fakes import block_image
from tests.small.pose import build_body_pose, build_rt_detr, standing_person
from tests.small.untrained import pose as untrained

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


def points(*rows):
    """[17, 3] with the named keypoints at full score: (index, x, y)."""
    keypoints = np.zeros((17, 3), np.float32)
    for at, x, y in rows:
        keypoints[at] = (x, y, 1)
    return keypoints


def cut(keypoints, margin, width, height):
    return crop_box(keypoints, keypoints[:, 2] > 0, margin, width, height)


@pytest.mark.parametrize(
    ("rows", "margin", "box"),
    [
        ([(5, 100, 100), (12, 150, 200)], 0, (100, 100, 151, 201)),  # shoulder and hip: nothing but the joints
        ([(5, 100, 100), (12, 150, 200)], 0.1, (90, 90, 161, 211)),  # 10 of 100 pixels on every side
        ([(5, 100.5, 100.25), (12, 150.5, 200.25)], 0, (100, 100, 152, 202)),  # whole pixels
        ([(1, 120, 100), (15, 130, 200)], 0, (120, 92, 131, 206)),  # eye and ankle: 8 (7.1) for the crown, 5 (4.3) for the sole
        ([(0, 120, 100), (9, 130, 95), (13, 130, 195)], 0, (120, 92, 131, 196)),  # a hand above the head does not move the crown
        ([(0, 120, 100), (9, 130, 60), (13, 130, 160)], 0, (120, 60, 131, 161)),  # but a hand above the crown is in the image
        ([(0, 120, 5), (15, 130, 295)], 0.1, (91, 0, 160, 300)),  # clipped
        ([(0, -40, 100), (15, 450, 200)], 0, (0, 92, 400, 206)),  # points outside count at the border
        ([(7, 30, 40)], 0.1, (30, 40, 31, 41)),  # one point: one pixel
    ],
)
def test_the_crop_follows_from_joints_and_margins(rows, margin, box):
    assert cut(points(*rows), margin, 400, 300) == box


@st.composite
def bodies(draw, low=-50, high=650):
    """[17, 3] at quarter pixels and [17] bool: seventeen points anywhere, at least one of them visible."""
    quarter = st.integers(4 * low, 4 * high).map(lambda value: value / 4)
    keypoints = np.array(draw(st.lists(st.tuples(quarter, quarter), min_size=17, max_size=17)))
    seen = np.array(draw(st.lists(st.booleans(), min_size=17, max_size=17)))
    hypothesis.assume(seen.any())
    return np.column_stack([keypoints, seen]), seen


sides = st.integers(1, 600)
margins = st.floats(0, 1)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(bodies(), margins, sides, sides)
def test_the_crop_lies_in_the_image_and_holds_every_visible_point_of_it(body, margin, width, height):
    keypoints, seen = body
    x0, y0, x1, y1 = crop_box(keypoints, seen, margin, width, height)
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    inside = np.clip(keypoints[seen, :2], 0, (width - 1, height - 1))
    assert ((x0, y0) <= inside).all() and (inside <= (x1 - 1, y1 - 1)).all()


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(bodies(300, 500), margins, st.integers(0, 900), st.integers(0, 900))
def test_the_crop_moves_with_the_points(body, margin, right, down):
    keypoints, seen = body
    x0, y0, x1, y1 = crop_box(keypoints, seen, margin, 2000, 2000)
    moved = crop_box(keypoints + np.array([right, down, 0]), seen, margin, 2000, 2000)
    assert moved == (x0 + right, y0 + down, x1 + right, y1 + down)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(bodies(), margins, sides, sides)
def test_the_mirrored_image_has_the_mirrored_crop(body, margin, width, height):
    keypoints, seen = body
    x0, y0, x1, y1 = crop_box(keypoints, seen, margin, width, height)
    mirrored = np.column_stack([width - 1 - keypoints[:, 0], keypoints[:, 1:]])
    assert crop_box(mirrored, seen, margin, width, height) == (width - x1, y0, width - x0, y1)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(bodies(), margins, margins)
def test_more_margin_never_makes_the_crop_smaller_and_hidden_points_have_no_influence(body, first, second):
    keypoints, seen = body
    small = crop_box(keypoints, seen, min(first, second), 500, 600)
    large = crop_box(keypoints, seen, max(first, second), 500, 600)
    assert all(a >= b for a, b in zip(small[:2], large[:2], strict=True)) and all(a <= b for a, b in zip(small[2:], large[2:], strict=True))
    elsewhere = np.where(seen[:, None], keypoints, 7)
    assert crop_box(elsewhere, seen, first, 500, 600) == crop_box(keypoints, seen, first, 500, 600)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The untrained ViTPose, from its seed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("crop") / "untrained"
    untrained.build(folder)
    return folder


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    return build_rt_detr(tmp_path_factory.mktemp("crop") / "detector")


def crop_stage(model, **chosen):
    """The stage on a small model, with rules that refuse nothing unless `chosen` says so."""
    config = Config(**settings.preset("tiny"))
    loose = {"model": str(model), "min_side": 1, "min_aspect": 0.01, "max_aspect": 100.0, **chosen}
    ready = stage(config.model_copy(update={"crop": Settings(**loose)}))
    ready.setup()
    return ready


def png(pixels):
    sink = BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def images(*content):
    return pa.record_batch({"image": pa.array(content, pa.binary())})


def test_the_crop_is_the_images_own_pixels(model):
    pixels = block_image(1, 128, 64)
    (row,) = crop_stage(model, score=0.615, min_keypoints=1, min_head=0, min_hip=0, margin=0)(images(png(pixels))).to_pylist()
    x0, y0, x1, y1 = row["crop_box"]
    assert (x1 - x0, y1 - y0) != (64, 128)
    assert (row["crop_width"], row["crop_height"]) == (x1 - x0, y1 - y0)
    assert row["crop"] == jpeg(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    with Image.open(BytesIO(row["crop"])) as crop:
        assert crop.size == (x1 - x0, y1 - y0)
        assert max(table[0] for table in crop.quantization.values()) <= 2  # quality 95
        assert [layer[1:3] for layer in crop.layer] == [(1, 1)] * 3  # 4:4:4


def test_the_columns_are_those_declared_and_refused_rows_keep_their_numbers_without_a_crop(model, tmp_path):
    batch = crop_stage(model, min_side=1000)(images(png(block_image(1, 128, 64)), b"no image"))
    assert batch.schema == pa.schema([*Crop.adds, REJECT, ERROR])
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "cell.parquet")
    refused, failed = pq.read_table(tmp_path / "cell.parquet").to_pylist()
    assert (refused["reject"], refused["error"], refused["crop"]) == (["small_crop"], None, None)
    assert sum(refused[f"visible_{group}"] for group in ("head", "arms", "hips", "legs")) == sum(p[2] >= 0.3 for p in refused["keypoints"])
    assert refused["cut_keypoints"] <= 17 and refused["heads"] == 1
    assert refused["persons"] == 1 and len(refused["keypoints"]) == 17 and len(refused["crop_box"]) == len(refused["person_box"]) == 4
    assert refused["crop_width"] == refused["crop_box"][2] - refused["crop_box"][0]
    assert failed["error"] == "BadImage: cannot read the image: the file is no image of a kind that is read"
    assert all(value is None for name, value in failed.items() if name != "error")


def test_a_truncated_image_is_refused_and_no_other(model):
    whole = jpeg(block_image(1, 128, 64))
    ready = crop_stage(model)
    good, bad = ready(images(whole, whole[: len(whole) // 2])).to_pylist()
    assert (bad["reject"], bad["error"], bad["persons"]) == (["damaged_image"], None, None)
    assert good["keypoints"] == pytest.approx(np.array(ready(images(whole)).to_pylist()[0]["keypoints"]), abs=1e-3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_images_of_every_mode_are_worked_on_in_colour(model, mode):
    sink = BytesIO()
    Image.fromarray(block_image(1, 128, 64)).convert(mode).save(sink, "TIFF")
    (row,) = crop_stage(model)(images(sink.getvalue())).to_pylist()
    with Image.open(BytesIO(row["crop"])) as crop:
        assert crop.mode == "RGB"


def test_a_detectors_boxes_are_counted_and_stored(model, detector):
    ready = crop_stage(model, detector=str(detector), detector_score=0, min_keypoints=1, min_head=0, min_hip=0)
    (row,) = ready(images(png(block_image(1, 128, 64)))).to_pylist()
    assert (row["persons"], row["reject"]) == (6, ["several_persons"])
    assert 0 <= row["person_box"][0] < row["person_box"][2] <= 64


def test_openpose_without_people_is_no_person(tmp_path):
    ready = crop_stage(build_body_pose(tmp_path / "openpose"), backend="openpose")
    (row,) = ready(images(png(block_image(1, 128, 64)))).to_pylist()
    assert (row["persons"], row["reject"], row["keypoints"], row["crop_box"]) == (0, ["no_person"], None, None)


def whole_stage(model=None, blur_faces=False, **chosen):
    """The stage that cuts nothing out."""
    crop = {"backend": "none", "model": None if model is None else str(model), **chosen}
    ready = stage(settings.check({"preset": "tiny", "crop": crop, "privacy": {"blur_faces": blur_faces}}))
    ready.setup()
    return ready


def test_an_image_that_is_its_own_crop_stays_byte_for_byte_and_no_model_is_needed():
    file = jpeg(block_image(1, 128, 64))
    whole = whole_stage(model="/no/such/model")
    (row,) = whole(images(file)).to_pylist()
    assert (row["crop"], row["crop_box"], row["crop_width"], row["crop_height"]) == (file, [0, 0, 64, 128], 64, 128)
    assert all(row[name] is None for name in ("persons", "person_score", "keypoints", "person_box", "heads_blurred", "reject", "error"))
    assert whole.resources.gpus == 0 and whole.params() == {"backend": "none", "jpeg_quality": 95}


def test_a_file_that_readers_show_differently_is_encoded_again_as_all_show_it():
    pixels = block_image(1, 128, 64)
    sink = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(pixels).save(sink, "JPEG", quality=95, subsampling=0, exif=exif)
    turned, drawn = whole_stage()(images(sink.getvalue(), png(pixels))).to_pylist()
    assert turned["crop_box"] == [0, 0, 128, 64] and Image.open(BytesIO(turned["crop"])).size == (128, 64)
    assert drawn["crop"] == jpeg(pixels)


def test_a_damaged_image_is_not_its_own_crop():
    whole = jpeg(block_image(1, 128, 64))
    for row in whole_stage()(images(b"no image", b"", whole[:40])).to_pylist():
        assert row["crop"] is None and (row["reject"] or row["error"])


@pytest.mark.parametrize("cuts", [True, False])
def test_heads_are_blurred_in_the_crop_and_counted(model, cuts):
    pixels = block_image(1, 128, 64)
    loose = {"model": str(model), "min_side": 1, "min_aspect": 0.01, "max_aspect": 100.0, "min_keypoints": 1, "min_head": 0, "min_hip": 0}
    crop = {**loose, "score": 0.0, "backend": "vitpose" if cuts else "none", "detector": "none"}
    rows = []
    for blur_faces in (False, True):
        ready = stage(settings.check({"preset": "tiny", "crop": crop, "privacy": {"blur_faces": blur_faces}}))
        ready.setup()
        rows += ready(images(png(pixels))).to_pylist()
    plain, blurred = rows
    assert plain["heads_blurred"] is None and blurred["heads_blurred"] == 1 and blurred["persons"] == 1 and blurred["keypoints"]
    assert plain["crop_box"] == blurred["crop_box"]
    x0, y0, x1, y1 = blurred["crop_box"]
    person = Person(np.array(blurred["keypoints"], np.float32), None, 0.5)
    head = head_box(person, 64, 128, 0.0, Privacy().blur_margin)
    expected = blur(pixels, [head], Privacy().blur_levels)[y0:y1, x0:x1]
    assert blurred["crop"] == jpeg(np.ascontiguousarray(expected)) != plain["crop"]


def test_every_person_is_blurred_not_only_the_one_that_is_cut_out(model, detector):
    loose = {"model": str(model), "min_side": 1, "min_aspect": 0.01, "max_aspect": 100.0, "min_keypoints": 1, "min_head": 0, "min_hip": 0}
    crop = {**loose, "persons": 9, "detector": str(detector), "detector_score": 0, "score": 0.0, "margin": 1.0}
    ready = stage(settings.check({"preset": "tiny", "crop": crop, "privacy": {"blur_faces": True}}))
    ready.setup()
    (row,) = ready(images(png(block_image(1, 128, 64)))).to_pylist()
    assert row["persons"] == 6 and row["heads_blurred"] > 1


def test_an_image_without_people_keeps_its_bytes_and_says_that_no_head_was_blurred(tmp_path):
    file = jpeg(block_image(1, 128, 64))
    ready = whole_stage(build_body_pose(tmp_path / "openpose"), blur_faces=True, detector="none")
    (row,) = ready(images(file)).to_pylist()
    assert (row["crop"], row["heads_blurred"], row["persons"], row["keypoints"]) == (file, 0, 0, None)


def test_everything_that_a_blur_depends_on_is_in_the_params(model):
    def params(privacy, **crop):
        return stage(settings.check({"preset": "tiny", "crop": {"model": str(model), **crop}, "privacy": privacy})).params()

    on = {"blur_faces": True}
    for backend in ("vitpose", "none"):
        base = params(on, backend=backend)
        assert params({}, backend=backend) != base
        assert params(on | {"blur_levels": 2}, backend=backend) != base and params(on | {"blur_margin": 1.0}, backend=backend) != base
        assert params(on, backend=backend, score=0.1) != base
        assert base["revision"].startswith("sha256:")
    assert params({}, backend="none") == params({}, backend="none", model="/no/such/model", min_side=7)


def test_the_same_rows_give_the_same_bytes(model):
    batch = images(*(jpeg(block_image(seed, 128, 64)) for seed in range(3)))
    assert crop_stage(model)(batch).equals(crop_stage(model)(batch))


GOLDEN = {  # version of the stage -> for the untrained model and one painting: x, y of the visible points, and the crop box
    2: (
        {2: (63.9, 67.9), 3: (45.8, 76.5), 7: (62.7, 23.3), 10: (3.5, 28.5), 15: (4.6, 97.5)},
        (0, 15, 64, 111),
    ),
}


def test_a_change_of_results_needs_a_new_version(model):
    ready = crop_stage(model, score=0.615, min_keypoints=4, min_head=0, min_hip=0)
    (row,) = ready(images(png(block_image(0, 128, 64)))).to_pylist()
    keypoints, box = GOLDEN[Crop.version]
    visible_points = {at: (x, y) for at, (x, y, score) in enumerate(row["keypoints"]) if score >= 0.615}
    assert visible_points.keys() == keypoints.keys()
    assert np.array([visible_points[at] for at in keypoints]) == pytest.approx(np.array([*keypoints.values()]), abs=1)
    assert row["crop_box"] == pytest.approx(box, abs=1)


def test_the_untrained_model_is_the_same_bytes_each_time_and_small(model, tmp_path):
    before = torch.random.get_rng_state()
    untrained.build(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert files == {file.name: file.read_bytes() for file in model.iterdir()}
    assert sum(map(len, files.values())) < 1_000_000


OTHERS = {
    "backend": "openpose",
    "detector_score": 0.6,
    "dtype": "bf16",
    "persons": 2,
    "score": 0.1,
    "min_keypoints": 9,
    "min_head": 2,
    "min_hip": 2,
    "margin": 0.2,
    "min_side": 17,
    "min_aspect": 0.3,
    "max_aspect": 9.0,
}


def test_everything_that_changes_results_is_in_the_params(model, detector, tmp_path):
    def params(**changed):
        return Crop(Settings(**{"model": str(model), **changed})).params()

    base = params()
    for name, value in OTHERS.items():
        assert {key for key, was in base.items() if params(**{name: value})[key] != was} == {name}
    assert params(batch=3) == base
    assert {*OTHERS, "model", "revision", "detector", "detector_revision"} == {*Settings.model_fields} - {"batch"}
    assert base["revision"].startswith("sha256:") and base["detector_revision"] is None
    assert params(detector=str(detector))["detector_revision"].startswith("sha256:")
    other = build_rt_detr(tmp_path / "detector", seed=1)
    assert params(detector=str(detector))["detector_revision"] != params(detector=str(other))["detector_revision"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"backend": "openpose", "detector": "some/detector"}, "crop.detector = some/detector has no effect"),
        ({"min_aspect": 3.0, "max_aspect": 2.0}, "crop.min_aspect = 3 is over crop.max_aspect = 2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_runs(chosen, message):
    config = Config(**settings.preset("tiny"))
    with pytest.raises(UserError, match=message):
        stage(config.model_copy(update={"crop": Settings(model="any", **chosen)}))


def test_a_model_that_is_not_here_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("mals.models.hub_cache", lambda: str(tmp_path))
    with pytest.raises(ModelMissing, match="some/detector"):
        Crop(Settings(model="embedded", detector="some/detector")).params()


def test_the_stage_is_built_without_loading_anything_heavy():
    code = (
        "import sys; from mals import settings; from mals.config import Config; from mals.stages.crop import stage;"
        "stage(Config(**settings.preset('tiny')));"
        "print([name for name in ('torch', 'transformers', 'diffusers', 'cv2', 'controlnet_aux') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
