"""Stage `crop`: who is in a picture, and the one person cut out of it, no pixel resized.

People: of the candidates that the estimator gives, those count who show at least half of `min_keypoints` (a hand at the border is nobody),
and of them the one with the highest sum of keypoint scores is cut out. The cut is the box around the visible keypoints, widened by what of
a body lies outside its joints and by the margin, clipped to the picture.

    no_person        nobody counts; then nothing else is judged
    several_persons  more count than `persons` allows
    few_keypoints    the person shows fewer points than `min_keypoints`, or too few of the head or the hips
    small_crop       the cut's shorter side is under `min_side`
    bad_aspect       its height / width is under `min_aspect` or over `max_aspect`

A refused row keeps its numbers (those of the best candidate where nobody counts), and has no cut.
"""

from dataclasses import dataclass
from io import BytesIO
from math import ceil, floor
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals import config as settings
from mals import models
from mals.config import Config
from mals.errors import UserError
from mals.grid.stage import Resources, answer
from mals.stages.generate import QUALITY, jpeg
from mals.stages.pose import ANKLES, HEAD, HIPS, Estimator, Person, visible

# Of a standing body, eyes to ankles are 0.897 of the stature, 0.064 lie above the eyes and 0.039 under the ankles (Drillis & Contini 1966).
# As shares of the keypoints' height: what the joints leave out, so that the margin is a margin for both ends.
CROWN = 0.064 / 0.897
SOLE = 0.039 / 0.897

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Judged:
    """What there is to say of one picture; None for what is not known."""

    persons: int
    person: Person | None
    person_box: list[float] | None  # x0, y0, x1, y1
    crop_box: Box | None
    reject: list[str]


class Crop:
    """See the module's docstring."""

    name = "crop"
    version = 1
    needs = ("image",)
    adds = pa.schema(
        [
            ("persons", pa.int32()),  # who count
            ("person_score", pa.float32()),  # see mals.stages.pose.Person
            ("keypoints", pa.list_(pa.list_(pa.float32(), 3), 17)),  # COCO's; x, y in pixels of the generated picture, and score
            ("person_box", pa.list_(pa.float32(), 4)),  # x0, y0, x1, y1: the detector's, or around the visible keypoints
            ("crop_box", pa.list_(pa.int32(), 4)),  # x0, y0, x1, y1, the ends exclusive
            ("crop", pa.binary()),
            ("crop_width", pa.int32()),
            ("crop_height", pa.int32()),
        ]
    )
    resources = Resources(gpus=1)

    def __init__(self, config: settings.Crop):
        self.config = config
        self.batch = config.batch
        self._estimator: Estimator | None = None

    def params(self) -> dict[str, Any]:
        kept = self.config.model_dump(mode="json", exclude={"batch", "model", "revision", "detector", "detector_revision"})
        pose, detector = self._pose(), self._detector()
        kept |= {"model": pose.name, "revision": pose.revision, "jpeg_quality": QUALITY}
        return kept | {"detector": detector.name if detector else "none", "detector_revision": detector.revision if detector else None}

    def setup(self) -> None:
        from mals.stages.openpose import OpenPose
        from mals.stages.vitpose import VitPose

        if self.config.backend == "openpose":
            self._estimator = OpenPose(self.config, self._pose())
        else:
            self._estimator = VitPose(self.config, self._pose(), self._detector())

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert self._estimator is not None, "setup comes first"
        pictures: list[np.ndarray | None] = []
        errors: list[str | None] = []
        for image in batch["image"].to_pylist():
            try:
                pictures.append(decode(image))
                errors.append(None)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, for what it cannot read
                pictures.append(None)
                errors.append(f"{type(error).__name__}: cannot read the picture")  # its text may hold an address, new each time
        blank = np.zeros((64, 32, 3), np.uint8)  # in place of what cannot be read: a batch keeps its size
        found = self._estimator.people([blank if picture is None else picture for picture in pictures])
        rows = [{} if picture is None else self._row(picture, people) for picture, people in zip(pictures, found, strict=True)]
        return answer(self.adds, {field.name: [row.get(field.name) for row in rows] for field in self.adds}, _reasons(rows), errors)

    def _row(self, picture: np.ndarray, people: list[Person]) -> dict[str, Any]:
        height, width = picture.shape[:2]
        judged = judge(people, width, height, self.config)
        row: dict[str, Any] = {"persons": judged.persons, "reject": judged.reject, "person_box": judged.person_box}
        if judged.person:
            row |= {"person_score": judged.person.score, "keypoints": judged.person.keypoints.tolist()}
        if judged.crop_box:
            x0, y0, x1, y1 = judged.crop_box
            row |= {"crop_box": judged.crop_box, "crop_width": x1 - x0, "crop_height": y1 - y0}
            if not judged.reject:
                row["crop"] = jpeg(np.ascontiguousarray(picture[y0:y1, x0:x1]))
        return row

    def _pose(self) -> models.ResolvedModel:
        return models.find(self.config.model, self.config.revision, "pose")

    def _detector(self) -> models.ResolvedModel | None:
        if self.config.backend == "openpose" or self.config.detector == "none":
            return None
        return models.find(self.config.detector, self.config.detector_revision, "detector")


def stage(config: Config) -> Crop:
    """The stage as the config wants it; loads nothing."""
    chosen = config.crop
    if chosen.backend == "openpose" and chosen.detector != "none":
        raise UserError(f"crop.detector = {chosen.detector} is of no use to crop.backend = openpose, which finds people by itself")
    if chosen.min_aspect > chosen.max_aspect:
        raise UserError(f"crop.min_aspect = {chosen.min_aspect:g} is over crop.max_aspect = {chosen.max_aspect:g}: no crop could pass")
    return Crop(chosen)


def decode(image: bytes) -> np.ndarray:
    """[H, W, 3] uint8, red first; raises what Pillow does."""
    with Image.open(BytesIO(image)) as opened:
        return np.array(opened.convert("RGB"))  # a copy: torch wants to be able to write


def judge(people: list[Person], width: int, height: int, config: settings.Crop) -> Judged:
    """Who is in a picture of width x height, where to cut, and every rule that refuses it."""
    if not people:
        return Judged(0, None, None, None, ["no_person"])
    counted = [person for person in people if 2 * visible(person.keypoints, config.score).sum() >= config.min_keypoints]
    person = max(counted or people, key=lambda one: float(one.keypoints[:, 2].sum()))
    seen = visible(person.keypoints, config.score)
    box = crop_box(person.keypoints, seen, config.margin, width, height) if seen.any() else None
    reject = refusals(seen, box, len(counted), config) if counted and box else ["no_person"]
    return Judged(len(counted), person, person_box(person, seen, width, height), box, reject)


def refusals(seen: np.ndarray, box: Box, persons: int, config: settings.Crop) -> list[str]:
    """Every rule that refuses a picture of which `seen` [17] keypoints are visible and `box` is cut out, in the docstring's order."""
    width, height = box[2] - box[0], box[3] - box[1]
    rules = {
        "several_persons": persons > config.persons,
        "few_keypoints": seen.sum() < config.min_keypoints or seen[HEAD].sum() < config.min_head or seen[HIPS].sum() < config.min_hip,
        "small_crop": min(width, height) < config.min_side,
        "bad_aspect": not config.min_aspect <= height / width <= config.max_aspect,
    }
    return [reason for reason, fires in rules.items() if fires]


def person_box(person: Person, seen: np.ndarray, width: int, height: int) -> list[float] | None:
    """x0, y0, x1, y1: the detector's box, else around the visible keypoints, within the picture; None where there is neither."""
    if person.box is not None:
        return [float(value) for value in person.box]
    if not seen.any():
        return None
    points = np.clip(person.keypoints[seen, :2], 0, (width - 1, height - 1))
    return [float(value) for value in (*points.min(0), *points.max(0))]


def crop_box(keypoints: np.ndarray, seen: np.ndarray, margin: float, width: int, height: int) -> Box:
    """The cut (ends exclusive) of a picture of width x height around those of the points [17, 3] that are `seen` [17], at least one.

    Points outside the picture count at its border. Room for crown and soles is added where a head or an ankle is seen, and then `margin`
    times the height of the visible points on every side. Shifting points inside the picture shifts the uncut box with them, to the pixel.
    """
    points = np.clip(keypoints[:, :2].astype(np.float64), 0, (width - 1, height - 1))
    (left, top), (right, bottom) = points[seen].min(0).tolist(), points[seen].max(0).tolist()
    extent = bottom - top
    x0, y0, x1, y1 = floor(left), floor(top), ceil(right) + 1, ceil(bottom) + 1
    if seen[HEAD].any():
        y0 = min(y0, floor(points[HEAD][seen[HEAD], 1].min()) - ceil(CROWN * extent))
    if seen[ANKLES].any():
        y1 = max(y1, ceil(points[ANKLES][seen[ANKLES], 1].max()) + 1 + ceil(SOLE * extent))
    room = ceil(margin * extent)
    return max(0, x0 - room), max(0, y0 - room), min(width, x1 + room), min(height, y1 + room)


def _reasons(rows: list[dict[str, Any]]) -> list[list[str] | None]:
    return [row.get("reject") or None for row in rows]
