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
from mals.stages.crop import Crop, crop_box, stage
from mals.stages.generated_images import jpeg
from mals.stages.heads import blur, head_box
from mals.stages.pose import Person
from tests.fakes import block_image, png
from tests.small.pose import build_body_pose, build_rt_detr
from tests.small.untrained import pose as untrained


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
    3: (
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
    "min_arms": 3,
    "min_legs": 2,
    "edge": 0.1,
    "max_cut": 1,
    "max_heads": 2,
    "min_person_score": 0.5,
    "around": "detector",
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
