"""Stage `crop`: counts the persons in an image and cuts one out; no pixel is resized.

A candidate of the estimator counts as a person if at least half of `min_keypoints` are visible (a hand at the border does not). The person
with the highest sum of keypoint scores is cut out. The crop is the box around the visible keypoints, extended by the parts of a body that
lie outside its joints and by the margin, and clipped to the image; or the detector's box and the margin. Reasons to refuse:

    no_person        no candidate counts; then no other rule is applied
    several_persons  more persons than `persons` allows
    several_heads    more heads than `max_heads` allows
    low_confidence   the person's score is under `min_person_score`
    few_keypoints    fewer visible keypoints than `min_keypoints`, or too few of the head or the hips
    occluded         too few visible keypoints of the arms or the legs
    cut              more keypoints at the image's border than `max_cut` allows
    small_crop       the crop's shorter side is under `min_side`
    bad_aspect       the crop's height / width is under `min_aspect` or over `max_aspect`

A refused row keeps its numbers (those of the best candidate if none counts), and has no crop.

With `crop.backend: none` each image is its own crop, byte for byte where it is an upright JPEG; no rule is applied and no model is loaded.
With `privacy.blur_faces` the heads of all candidates, not only of the person that is cut out, are blurred (mals/stages/heads.py) before the
crop is written, for which the estimator runs with `crop.backend: none` too.
"""

from dataclasses import dataclass, replace
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mals import config as settings
from mals import models
from mals.config import Config
from mals.errors import UserError
from mals.grid.stage import Resources, output_batch
from mals.images import is_plain_jpeg
from mals.stages.generated_images import QUALITY, jpeg
from mals.stages.heads import Box, blur, count_heads, head_box, overlaps
from mals.stages.pose import ANKLES, ARMS, HEAD, HIPS, LEGS, Estimator, Person, visible
from mals.stages.row_images import read_images

# Of a standing body's stature, eyes to ankles are 0.897, 0.064 lie above the eyes and 0.039 under the ankles (Drillis & Contini 1966).
# As shares of the keypoints' height: the parts beyond the joints, so that the margin is added beyond the body and not beyond the joints.
CROWN = 0.064 / 0.897
SOLE = 0.039 / 0.897
GROUPS = {"head": HEAD, "arms": ARMS, "hips": HIPS, "legs": LEGS}  # of the keypoints


@dataclass(frozen=True)
class Judgement:
    """The persons in one image, the crop, and every reason to refuse it."""

    persons: int  # candidates that count
    heads: int  # see mals.stages.heads.count_heads
    cut: int  # keypoints of the person at the border of the image
    person: Person | None  # the best of them, or the best candidate if none counts; None if there is no candidate
    person_box: list[float] | None  # x0, y0, x1, y1 in pixels; None without a detector's box and visible keypoints
    crop_box: Box | None  # None without visible keypoints
    reject: list[str]


class Crop:
    """Keypoints, person count and crop of each image."""

    name = "crop"
    version = 3
    needs = ("image",)
    adds = pa.schema(
        [
            ("persons", pa.int32()),  # candidates that count
            ("heads", pa.int32()),  # in the image, see mals.stages.heads.count_heads
            ("person_score", pa.float32()),  # see mals.stages.pose.Person
            ("keypoints", pa.list_(pa.list_(pa.float32(), 3), 17)),  # COCO's; x, y in pixels of the generated image, and score
            *((f"visible_{name}", pa.int32()) for name in GROUPS),  # keypoints of the person
            ("cut_keypoints", pa.int32()),  # visible ones at the border of the image, or beyond it
            ("person_box", pa.list_(pa.float32(), 4)),  # x0, y0, x1, y1: the detector's, or around the visible keypoints
            ("crop_box", pa.list_(pa.int32(), 4)),  # x0, y0, x1, y1, the ends exclusive
            ("crop", pa.binary()),
            ("crop_width", pa.int32()),
            ("crop_height", pa.int32()),
            ("heads_blurred", pa.int32()),  # in the crop; null where privacy.blur_faces is off
        ]
    )

    def __init__(self, config: settings.Crop, privacy: settings.Privacy | None = None):
        self.config, self.privacy = config, privacy or settings.Privacy()
        self.batch = config.batch
        self.cuts = config.backend != "none"
        self.finds_people = self.cuts or self.privacy.blur_faces
        self.resources = Resources(gpus=1 if self.finds_people else 0)
        self._estimator: Estimator | None = None

    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = {"backend": self.config.backend, "jpeg_quality": QUALITY}
        if self.cuts:
            params |= self.config.model_dump(mode="json", exclude={"batch", "model", "revision", "detector", "detector_revision"})
        if self.privacy.blur_faces:
            params |= self.privacy.model_dump(mode="json") | {"score": self.config.score, "dtype": self.config.dtype}
        if not self.finds_people:
            return params
        pose, detector = self._pose(), self._detector()
        params |= {"model": pose.name, "revision": pose.revision, "detector_score": self.config.detector_score}
        return params | {"detector": detector.name if detector else "none", "detector_revision": detector.revision if detector else None}

    def setup(self) -> None:
        from mals.stages.openpose import OpenPose
        from mals.stages.vitpose import VitPose

        if not self.finds_people:
            return
        if self._backend() == "openpose":
            self._estimator = OpenPose(self.config, self._pose())
        else:
            self._estimator = VitPose(self.config, self._pose(), self._detector())

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        files = batch["image"].to_pylist()
        images = read_images(files)
        triples = zip(files, images.pixels, self._people(images.pixels), strict=True)
        rows = [{} if image is None else self._row(file, image, persons) for file, image, persons in triples]
        reject = [row.get("reject") or damage for row, damage in zip(rows, images.reject, strict=True)]
        return output_batch(self.adds, {field.name: [row.get(field.name) for row in rows] for field in self.adds}, reject, images.errors)

    def _people(self, images: list[np.ndarray | None]) -> list[list[Person]]:
        """The candidates in each image; none where no estimator runs."""
        if not self.finds_people:
            return [[] for _ in images]
        assert self._estimator is not None, "setup comes first"
        blank = np.zeros((64, 32, 3), np.uint8)  # takes the place of an unreadable image, so that the batch keeps its size
        return self._estimator.people([blank if image is None else image for image in images])

    def _row(self, file: bytes, image: np.ndarray, people: list[Person]) -> dict[str, Any]:
        height, width = image.shape[:2]
        judgement = judge(people, width, height, self.config)
        box = judgement.crop_box if self.cuts else (0, 0, width, height)
        row: dict[str, Any] = {"reject": judgement.reject if self.cuts else []}
        if self.finds_people:
            row |= {"persons": judgement.persons, "heads": judgement.heads, "person_box": judgement.person_box}
        if judgement.person:
            seen = visible(judgement.person.keypoints, self.config.score)
            row |= {"person_score": judgement.person.score, "keypoints": judgement.person.keypoints.tolist()}
            row |= {f"visible_{name}": int(seen[group].sum()) for name, group in GROUPS.items()} | {"cut_keypoints": judgement.cut}
        if box:
            row |= {"crop_box": box, "crop_width": box[2] - box[0], "crop_height": box[3] - box[1]}
            if not row["reject"]:
                row |= self._cut(file, image, people, box)
        return row

    def _cut(self, file: bytes, image: np.ndarray, people: list[Person], box: Box) -> dict[str, Any]:
        """The crop of an accepted image, with all heads in it blurred if the settings say so."""
        heads: list[Box] = []
        if self.privacy.blur_faces:
            height, width = image.shape[:2]
            boxes = [head_box(person, width, height, self.config.score, self.privacy.blur_margin) for person in people]
            heads = [head for head in boxes if head is not None and overlaps(head, box)]
            image = blur(image, heads, self.privacy.blur_levels)
        x0, y0, x1, y1 = box
        untouched = not self.cuts and not heads and is_plain_jpeg(file)
        crop = file if untouched else jpeg(np.ascontiguousarray(image[y0:y1, x0:x1]))
        return {"crop": crop, "heads_blurred": len(heads) if self.privacy.blur_faces else None}

    def _backend(self) -> str:
        """The estimator; where nothing is cut out the one whose weights the folder of the model holds."""
        if self.cuts:
            return self.config.backend
        return "openpose" if (Path(self._pose().path) / models.OPENPOSE).is_file() else "vitpose"

    def _pose(self) -> models.ResolvedModel:
        assert self.config.model is not None  # mals/config.py sees to it
        return models.resolve(self.config.model, self.config.revision, "pose")

    def _detector(self) -> models.ResolvedModel | None:
        if self.config.detector == "none" or self._backend() == "openpose":
            return None
        return models.resolve(self.config.detector, self.config.detector_revision, "detector")


def stage(config: Config) -> Crop:
    """The stage with the settings of `config`; loads nothing."""
    section = config.crop
    if section.backend == "openpose" and section.detector != "none":
        raise UserError(
            f"crop.detector = {section.detector} has no effect: crop.backend = openpose finds people by itself; set crop.detector = none"
        )
    if section.backend != "none" and section.around == "detector" and section.detector == "none":
        raise UserError("crop.around = detector cuts out the box of a detector; set crop.detector, with crop.backend = vitpose")
    if section.min_aspect > section.max_aspect:
        raise UserError(f"crop.min_aspect = {section.min_aspect:g} is over crop.max_aspect = {section.max_aspect:g}: no crop could pass")
    return Crop(section, config.privacy)


def judge(people: list[Person], width: int, height: int, config: settings.Crop) -> Judgement:
    """The persons in an image of width x height, its crop, and every rule that refuses it."""
    if not people:
        return Judgement(0, 0, 0, None, None, None, ["no_person"])
    counted = [person for person in people if 2 * visible(person.keypoints, config.score).sum() >= config.min_keypoints]
    person = max(counted or people, key=lambda candidate: float(candidate.keypoints[:, 2].sum()))
    seen = visible(person.keypoints, config.score)
    if not seen.any():
        box = None
    elif config.around == "detector" and person.box is not None:
        box = widened(person.box, config.margin, width, height)
    else:
        box = crop_box(person.keypoints, seen, config.margin, width, height)
    heads = count_heads(people, width, height, config.score)
    cut = int((seen & at_border(person.keypoints, seen, config.edge, width, height)).sum())
    judgement = Judgement(len(counted), heads, cut, person, person_box(person, seen, width, height), box, ["no_person"])
    return replace(judgement, reject=refusals(judgement, seen, config)) if counted and box else judgement


def refusals(judgement: Judgement, seen: np.ndarray, config: settings.Crop) -> list[str]:
    """Every rule that refuses the crop of a person with the visible keypoints `seen` [17], in the order of the module's docstring."""
    assert judgement.person is not None and judgement.crop_box is not None
    x0, y0, x1, y1 = judgement.crop_box
    width, height = x1 - x0, y1 - y0
    rules = {
        "several_persons": judgement.persons > config.persons,
        "several_heads": config.max_heads is not None and judgement.heads > config.max_heads,
        "low_confidence": config.min_person_score is not None and np.float32(judgement.person.score) < config.min_person_score,
        "few_keypoints": seen.sum() < config.min_keypoints or seen[HEAD].sum() < config.min_head or seen[HIPS].sum() < config.min_hip,
        "occluded": seen[ARMS].sum() < config.min_arms or seen[LEGS].sum() < config.min_legs,
        "cut": config.max_cut is not None and judgement.cut > config.max_cut,
        "small_crop": min(width, height) < config.min_side,
        "bad_aspect": not config.min_aspect <= height / width <= config.max_aspect,
    }
    return [reason for reason, fires in rules.items() if fires]


def person_box(person: Person, seen: np.ndarray, width: int, height: int) -> list[float] | None:
    """x0, y0, x1, y1: the detector's box, or the box around the visible keypoints within the image; None if there is neither."""
    if person.box is not None:
        return [float(value) for value in person.box]
    if not seen.any():
        return None
    points = np.clip(person.keypoints[seen, :2], 0, (width - 1, height - 1))
    return [float(value) for value in (*points.min(0), *points.max(0))]


def at_border(keypoints: np.ndarray, seen: np.ndarray, edge: float, width: int, height: int) -> np.ndarray:
    """[17] bool: which points [17, 3] lie beyond the image or within `edge` times the height of the visible ones of its border."""
    points = keypoints[:, :2].astype(np.float64)
    far = np.array([width - 1, height - 1])
    near = edge * np.ptp(points[seen, 1]) if seen.any() else 0.0
    return np.any((points <= near) | (points >= far - near), axis=1)


def widened(box: np.ndarray, margin: float, width: int, height: int) -> Box:
    """The whole pixels of a detector's box [4] and `margin` times its height on every side, clipped to the image (ends exclusive)."""
    x0, y0, x1, y1 = box.tolist()
    pad = margin * (y1 - y0)
    return max(0, floor(x0 - pad)), max(0, floor(y0 - pad)), min(width, ceil(x1 + pad)), min(height, ceil(y1 + pad))


def crop_box(keypoints: np.ndarray, seen: np.ndarray, margin: float, width: int, height: int) -> Box:
    """The crop (ends exclusive) of an image of width x height around those of the points [17, 3] that are `seen` [17], at least one.

    Points outside the image are moved to its border. If the head or an ankle is visible, the box is extended to the crown or the sole; then
    by `margin` times the height of the visible points on every side. Shifting the points inside the image shifts the unclipped box by the
    same number of pixels.
    """
    points = np.clip(keypoints[:, :2].astype(np.float64), 0, (width - 1, height - 1))
    (left, top), (right, bottom) = points[seen].min(0).tolist(), points[seen].max(0).tolist()
    extent = bottom - top
    x0, y0, x1, y1 = floor(left), floor(top), ceil(right) + 1, ceil(bottom) + 1
    if seen[HEAD].any():
        y0 = min(y0, floor(points[HEAD][seen[HEAD], 1].min()) - ceil(CROWN * extent))
    if seen[ANKLES].any():
        y1 = max(y1, ceil(points[ANKLES][seen[ANKLES], 1].max()) + 1 + ceil(SOLE * extent))
    pad = ceil(margin * extent)
    return max(0, x0 - pad), max(0, y0 - pad), min(width, x1 + pad), min(height, y1 + pad)
