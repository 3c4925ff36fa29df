import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mals import models
from mals.config import Crop as Settings
from mals.errors import UserError
from mals.stages.openpose import TO_COCO, OpenPose
from mals.stages.pose import KEYPOINTS
from mals.stages.vitpose import VitPose
from tests.small.pose import build_body_pose, build_rt_detr, build_vitpose, standing_person
from tests.small.spoiled import spoiled

# OpenPose's limbs (pairs of its eighteen points) and the two channels of the part-affinity field that each has, in the order of its network
LIMBS = ((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 2), (2, 3), (3, 4), (2, 16), (1, 5), (5, 6), (6, 7), (5, 17))
LIMBS += ((1, 0), (0, 14), (0, 15), (14, 16), (15, 17))


def network(people, size):
    """The fields and heat maps that OpenPose's network would return for the people [N, 18, 2] in an image of `size` [H, W]."""

    def forward(pixels):
        rows, columns = pixels.shape[2] // 8, pixels.shape[3] // 8
        scale = np.array([int(size[1] * 184 / size[0]), 184]) / (size[1], size[0])  # the estimator works at a height of 184 pixels
        y, x = np.mgrid[:rows, :columns]
        heat, fields = np.zeros((19, rows, columns)), np.zeros((38, rows, columns))
        for person in people:
            cells = (person + 0.5) * scale / 8 - 0.5
            for part, (px, py) in enumerate(cells):
                heat[part] = np.maximum(heat[part], np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2))
            for limb, (a, b) in enumerate(LIMBS):
                along = (cells[b] - cells[a]) / max(1e-6, np.linalg.norm(cells[b] - cells[a]))
                at = np.stack([x - cells[a][0], y - cells[a][1]])
                far = np.abs(at[0] * along[1] - at[1] * along[0])
                on = np.tensordot(along, at, 1)
                near = (far <= 1) & (on >= -1) & (on <= np.linalg.norm(cells[b] - cells[a]) + 1)
                fields[2 * limb : 2 * limb + 2][:, near] = along[:, None]
        heat[18] = 1 - heat[:18].max(0)
        return torch.tensor(fields[None], dtype=torch.float32), torch.tensor(heat[None], dtype=torch.float32)

    return forward


SIZES = ((128, 64), (184, 184), (256, 128), (512, 512), (384, 640), (768, 384))


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """The small models by name, each built at first use."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("pose")
    builders = {
        "openpose": build_body_pose,
        "vitpose": build_vitpose,
        "mixture": lambda folder: build_vitpose(folder, experts=3),
        "five points": lambda folder: build_vitpose(folder, labels=5),
        "detector": build_rt_detr,
        "detector of other things": lambda folder: build_rt_detr(folder, ("bicycle", "person", "car")),
        "detector without people": lambda folder: build_rt_detr(folder, ("bicycle", "car", "dog")),
    }

    def folder(name):
        path = root / name.replace(" ", "_")
        return path if path.exists() else builders[name](path)

    return folder


def estimator(folders, model="vitpose", detector=None, **chosen):
    pose = folders(model)
    settings = Settings(model=str(pose), detector=str(folders(detector)) if detector else "none", **chosen)
    resolved = models.resolve(str(pose), None, "pose")
    if settings.backend == "openpose":
        return OpenPose(settings, resolved)
    return VitPose(settings, resolved, models.resolve(settings.detector, None, "detector") if detector else None)


def noise(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope="session")
def openpose(folders):
    return estimator(folders, "openpose", backend="openpose")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_known_people_come_out_of_the_real_decoder_where_they_are(openpose, monkeypatch, size, count):
    people = [standing_person(size, count, number) for number in range(count)]
    monkeypatch.setattr(openpose.body.model, "forward", network(people, size))
    (persons,) = openpose.people([noise(*size)])
    assert len(persons) == count
    for person, true in zip(sorted(persons, key=lambda person: person.keypoints[0, 0]), people, strict=True):
        assert np.abs(person.keypoints[:, :2] - true[list(TO_COCO)]).max() <= 2
        assert person.keypoints[:, 2].min() > 0.4
        assert person.box is None


def test_the_openpose_order_is_turned_into_cocos():
    openpose_names = ["nose", "neck"]
    openpose_names += [f"{side}_{part}" for side in ("right", "left") for part in ("shoulder", "elbow", "wrist")]
    openpose_names += [f"{side}_{part}" for side in ("right", "left") for part in ("hip", "knee", "ankle")]
    openpose_names += ["right_eye", "left_eye", "right_ear", "left_ear"]
    assert tuple(openpose_names[at] for at in TO_COCO) == KEYPOINTS


def test_a_limb_outside_the_image_leaves_its_points_at_score_0(openpose, monkeypatch):
    size = (256, 128)
    person = standing_person(size)
    legs = [9, 10, 12, 13]  # knees and ankles in OpenPose's order
    person[legs] = -1000
    monkeypatch.setattr(openpose.body.model, "forward", network([person], size))
    ((result,),) = openpose.people([noise(*size)])
    assert result.keypoints[13:].tolist() == [[0, 0, 0]] * 4
    assert (result.keypoints[:13, 2] > 0.4).all()


def test_the_network_gets_the_image_as_bgr_and_its_weights_decide(folders, monkeypatch):
    pose_estimator = estimator(folders, "openpose", backend="openpose")
    seen, whole = [], pose_estimator.body.model.forward
    monkeypatch.setattr(pose_estimator.body.model, "forward", lambda pixels: seen.append(pixels) or whole(pixels))
    red = np.zeros((184, 96, 3), np.uint8)
    red[..., 0] = 255
    assert pose_estimator.people([red]) == [[]]  # random weights detect no people
    assert seen[0][0, :, 90, 40].tolist() == pytest.approx([-0.5, -0.5, 255 / 256 - 0.5])
    weights = torch.load(folders("openpose") / "body_pose_model.pth", weights_only=True)
    assert torch.equal(pose_estimator.body.model.model0.conv1_1.weight, weights["conv1_1.weight"])


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_openpose_works_in_half_precision(folders, dtype):
    assert estimator(folders, "openpose", backend="openpose", dtype=dtype).people([noise(64, 64)]) == [[]]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("content", ["trap", "others", "noise"])
def test_a_weights_file_that_is_none_is_refused_and_runs_no_code(tmp_path, content):
    file = tmp_path / "model" / "body_pose_model.pth"
    file.parent.mkdir()
    if content == "trap":
        file.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    elif content == "others":
        torch.save({"some.weight": torch.zeros(2)}, file)
    else:
        file.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match="does not hold the weights of OpenPose"):
        estimator(lambda _: file.parent, "any", backend="openpose")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["openpose", "vitpose", "detector"])
def test_weights_that_are_not_finite_are_refused_with_the_tensor(folders, tmp_path, name):
    bad = tmp_path / "bad"
    if name == "openpose":
        weights = torch.load(folders(name) / "body_pose_model.pth", weights_only=True)
        weights["conv4_2.bias"] = torch.full_like(weights["conv4_2.bias"], torch.inf)
        bad.mkdir()
        torch.save(weights, bad / "body_pose_model.pth")
        tensor = "conv4_2.bias"
    else:
        tensor = spoiled(folders(name), bad)
    chosen = {"model": "vitpose", "detector": "bad"} if name == "detector" else {"model": "bad", "backend": name}
    with pytest.raises(UserError, match=rf"bad.* numbers of {tensor} are not finite"):
        estimator(lambda model: bad if model == "bad" else folders(model), **chosen)


def bumps(points, box, size, heat):
    """Heat maps [17, h, w] with their tops at the points [17, 2] of an image within `box`, as ViTPose would return them."""
    x0, y0, x1, y1 = box
    wide = max(x1 - x0, (y1 - y0) * size[1] / size[0]) * 1.25
    corner = np.array([(x0 + x1 - wide) / 2, (y0 + y1 - wide * size[0] / size[1]) / 2])
    cells = (points - corner) / (wide, wide * size[0] / size[1]) * (heat[1] - 1, heat[0] - 1)
    y, x = np.mgrid[: heat[0], : heat[1]]
    return np.stack([0.9 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) for px, py in cells])


def coco(size):
    return standing_person(size)[list(TO_COCO)]


@pytest.mark.parametrize("size", [(128, 64), (300, 400), (768, 384)])
def test_known_heat_maps_come_out_of_vitpose_where_they_are(folders, monkeypatch, size):
    pose_estimator = estimator(folders)
    maps = bumps(coco(size), (0, 0, size[1], size[0]), (64, 48), (64, 48))
    monkeypatch.setattr(pose_estimator.model, "forward", lambda pixel_values: SimpleNamespace(heatmaps=torch.tensor(maps[None])))
    ((person,),) = pose_estimator.people([noise(*size)])
    assert np.abs(person.keypoints[:, :2] - coco(size)).max() <= 2
    assert person.keypoints[:, 2] == pytest.approx(0.9, abs=0.1)
    assert person.score == pytest.approx(person.keypoints[:, 2].mean())


def detections(boxes, size, scores, label=2):
    """The output of a detector: [1, N] `boxes` in pixels of an image, each with a high score for one label."""
    height, width = size
    logits = torch.full((1, len(boxes), 3), -9.0)
    logits[0, :, label] = torch.logit(torch.tensor(scores))
    corners = torch.tensor(boxes, dtype=torch.float32) / torch.tensor([width, height, width, height])
    centred = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    return SimpleNamespace(logits=logits, pred_boxes=centred[None])


def test_people_are_found_through_the_label_each_once_and_within_the_image(folders, monkeypatch):
    size = (200, 300)
    boxes = [[10, 20, 90, 180], [12, 22, 92, 178], [150, -30, 330, 190], [100, 0, 140, 90], [0, 0, 300, 200]]
    pose_estimator = estimator(folders, detector="detector", detector_score=0.5)
    output = detections(boxes, size, [0.8, 0.7, 0.9, 0.4, 0.6])
    output.logits[0, 4] = output.logits[0, 4].flip(0)  # a bicycle
    monkeypatch.setattr(pose_estimator.detector.model, "forward", lambda **_: output)
    (people,) = pose_estimator.people([noise(*size)])
    assert [person.box.round().tolist() for person in people] == [[150, 0, 300, 190], [10, 20, 90, 180]]
    assert [person.score for person in people] == pytest.approx([0.9, 0.8])


def test_keypoints_are_looked_for_in_the_box_of_the_person(folders, monkeypatch):
    size, box = (200, 300), [150, 20, 250, 190]
    pose_estimator = estimator(folders, detector="detector")
    true = coco((170, 100)) + np.array([150, 20])
    maps = bumps(true, box, (64, 48), (64, 48))
    monkeypatch.setattr(pose_estimator.detector.model, "forward", lambda **_: detections([box], size, [0.9]))
    monkeypatch.setattr(pose_estimator.model, "forward", lambda pixel_values: SimpleNamespace(heatmaps=torch.tensor(maps[None])))
    ((person,),) = pose_estimator.people([noise(*size)])
    assert np.abs(person.keypoints[:, :2] - true).max() <= 1
    assert person.box.tolist() == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_detector_and_vitpose_run_for_real_on_images_of_several_sizes(folders, dtype):
    pose_estimator = estimator(folders, detector="detector", detector_score=0, dtype=dtype)
    images = [noise(100 + 20 * at, 80, seed=at) for at in range(3)]
    for image, people in zip(images, pose_estimator.people(images), strict=True):
        assert people
        for person in people:
            x0, y0, x1, y1 = person.box
            assert 0 <= x0 < x1 <= image.shape[1] and 0 <= y0 < y1 <= image.shape[0]
            assert person.keypoints.shape == (17, 3) and np.isfinite(person.keypoints).all()


def test_without_person_boxes_there_are_no_people(folders):
    assert estimator(folders, detector="detector of other things", detector_score=0).people([noise(64, 64)]) == [[]]


def test_an_image_gives_the_same_whatever_else_is_in_the_batch(folders):
    pose_estimator = estimator(folders, detector="detector", detector_score=0)
    images = [noise(100, 80, seed=at) for at in range(4)]
    turned = pose_estimator.people(images[::-1])[::-1]
    for people, again in zip(pose_estimator.people(images), turned, strict=True):
        for person, same in zip(people, again, strict=True):
            assert np.allclose(person.keypoints, same.keypoints, atol=1e-3)


def test_the_model_always_sees_batches_of_one_size(folders, monkeypatch):
    pose_estimator = estimator(folders, detector="detector", detector_score=0)
    sizes, whole = [], pose_estimator.model.forward
    monkeypatch.setattr(pose_estimator.model, "forward", lambda **inputs: sizes.append(len(inputs["pixel_values"])) or whole(**inputs))
    boxes = pose_estimator.detector.boxes
    monkeypatch.setattr(pose_estimator.detector, "boxes", lambda images: [image_boxes[:at] for at, image_boxes in enumerate(boxes(images))])
    assert [len(people) for people in pose_estimator.people([noise(100, 80, seed=at) for at in range(4)])] == [0, 1, 2, 3]
    assert sizes == [4, 4]


def test_a_mixture_of_experts_uses_the_expert_of_coco(folders, monkeypatch):
    pose_estimator = estimator(folders, "mixture")
    experts, whole = [], pose_estimator.model.forward
    monkeypatch.setattr(
        pose_estimator.model, "forward", lambda **inputs: experts.append(inputs["dataset_index"].tolist()) or whole(**inputs)
    )
    assert len(pose_estimator.people([noise(64, 48)] * 2)) == 2
    assert experts == [[0, 0]]


def test_flat_and_broken_heat_maps_give_no_points(folders, monkeypatch):
    pose_estimator = estimator(folders)
    for value in (0.0, -1.0, float("nan")):
        monkeypatch.setattr(
            pose_estimator.model, "forward", lambda value=value, **_: SimpleNamespace(heatmaps=torch.full((1, 17, 64, 48), value))
        )
        ((person,),) = pose_estimator.people([noise(64, 48)])
        assert person.keypoints.tolist() == [[0, 0, 0]] * 17


def test_no_point_lies_outside_the_models_input_region(folders, monkeypatch):
    pose_estimator = estimator(folders)
    for seed in range(20):
        maps = torch.rand((1, 17, 64, 48), generator=torch.Generator().manual_seed(seed)) ** 9
        monkeypatch.setattr(pose_estimator.model, "forward", lambda maps=maps, **_: SimpleNamespace(heatmaps=maps))
        ((person,),) = pose_estimator.people([noise(64, 48)])
        assert (np.abs(person.keypoints[:, :2] - (24, 32)) <= (30.001, 40.001)).all()


@pytest.mark.parametrize(
    ("model", "detector", "backend", "message"),
    [
        ("openpose", None, "vitpose", "not vitpose, which crop.backend = vitpose needs"),
        ("detector", None, "vitpose", "detector is rt_detr, not vitpose"),
        ("vitpose", None, "openpose", "has no body_pose_model.pth"),
        ("five points", None, "vitpose", "has 5 keypoints"),
        ("vitpose", "detector without people", "vitpose", "none of its labels is person"),
        ("vitpose", "vitpose", "vitpose", "cannot load crop.detector = vitpose"),
    ],
)
def test_a_model_of_the_wrong_kind_is_named_in_one_sentence(folders, model, detector, backend, message):
    with pytest.raises(UserError, match=message) as caught:
        estimator(folders, model, detector, backend=backend)
    assert "\n" not in str(caught.value)
