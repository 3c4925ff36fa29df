"""ViTPose by transformers: keypoints of one person a box, and a detector that finds the boxes, or the whole picture as the only one.

All boxes of a call go through the model in batches as large as the call has pictures, the last one padded, so that its input has one shape
however many people there are.
"""

from typing import Any

import numpy as np

from mals.config import Crop as Settings
from mals.device import device, dtype, hush
from mals.errors import UserError
from mals.models import ResolvedModel
from mals.stages.pose import KEYPOINTS, Person

OVERLAP = 0.65  # two boxes whose intersection is a larger share of their union hold one person: detectors without suppression repeat some
COCO = 0  # the expert of a mixture (ViTPose++) that was trained on COCO's keypoints


class VitPose:
    """ViTPose, and with `detector` an object detector in front of it."""

    def __init__(self, settings: Settings, found: ResolvedModel, detector: ResolvedModel | None):
        from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

        hush("transformers")
        self.settings = settings
        self.device = device()
        self.dtype = dtype(settings.dtype)
        _check_kind(found)
        self.processor: Any = _load(VitPoseImageProcessor, found, "crop.model")
        self.model: Any = _load(VitPoseForPoseEstimation, found, "crop.model", dtype=self.dtype).eval().to(self.device)
        self.experts = getattr(self.model.config.backbone_config, "num_experts", 1)
        if self.model.config.num_labels != len(KEYPOINTS):
            raise UserError(f"crop.model = {found.name} has {self.model.config.num_labels} keypoints; COCO's {len(KEYPOINTS)} are needed")
        self.detector = Detector(settings, detector, self.device, self.dtype) if detector else None

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """See mals.stages.pose.Estimator."""
        boxes = self.detector.boxes(images) if self.detector else [_whole(image) for image in images]
        asked = [(at, box) for at, found in enumerate(boxes) for box in found]
        people: list[list[Person]] = [[] for _ in images]
        for start in range(0, len(asked), len(images)):
            piece = asked[start : start + len(images)]
            padded = piece + [piece[0]] * (len(images) - len(piece))
            points = self._keypoints([images[at] for at, _ in padded], np.stack([box[:4] for _, box in padded]))
            for (at, box), keypoints in zip(piece, points, strict=False):
                if self.detector:
                    people[at].append(Person(keypoints, box[:4], float(box[4])))
                else:
                    people[at].append(Person(keypoints, None, float(keypoints[:, 2].mean())))
        return people

    def _keypoints(self, images: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """[B, 17, 3] float32 of B pictures and one box [4] xyxy in each."""
        import torch

        cornered = [[[x0, y0, x1 - x0, y1 - y0]] for x0, y0, x1, y1 in boxes.tolist()]  # COCO's: corner and size
        pixels = self.processor(images=images, boxes=cornered, return_tensors="pt")["pixel_values"]
        given = {"pixel_values": pixels.to(self.device, self.dtype)}
        if self.experts > 1:
            given["dataset_index"] = torch.full((len(images),), COCO, device=self.device)
        with torch.inference_mode():
            output = self.model(**given)
        output.heatmaps = output.heatmaps.float()
        found = self.processor.post_process_pose_estimation(output, boxes=cornered)
        points = np.stack([torch.cat([one["keypoints"], one["scores"][:, None]], 1).numpy() for (one,) in found]).astype(np.float32)
        return np.stack([self._sound(one, box[0]) for one, box in zip(points, cornered, strict=True)])

    def _sound(self, keypoints: np.ndarray, box: list[float]) -> np.ndarray:
        """[17, 3] within what the model saw, zero where it saw nothing: on a flat heat map the refinement's parabola has no top."""
        from transformers.models.vitpose.image_processing_vitpose import box_to_center_and_scale

        size = self.processor.size
        centre, scale = box_to_center_and_scale(box, size["width"], size["height"])
        half = scale * self.processor.normalize_factor / 2
        points = np.clip(np.nan_to_num(keypoints[:, :2], posinf=np.inf, neginf=-np.inf), centre - half, centre + half)
        good = np.isfinite(keypoints).all(1) & (keypoints[:, 2] > 0)
        return np.where(good[:, None], np.column_stack([points, keypoints[:, 2]]), 0).astype(np.float32)


class Detector:
    """The people in pictures, by any object detector of transformers that knows the label "person"."""

    def __init__(self, settings: Settings, found: ResolvedModel, device: str, dtype: Any):
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self.settings, self.device, self.dtype = settings, device, dtype
        self.processor: Any = _load(AutoImageProcessor, found, "crop.detector")
        self.model: Any = _load(AutoModelForObjectDetection, found, "crop.detector", dtype=dtype).eval().to(device)
        labels = {int(label) for label, name in self.model.config.id2label.items() if name.lower() == "person"}
        if not labels:
            raise UserError(f"crop.detector = {found.name} finds no people: none of its labels is person")
        (self.label,) = sorted(labels)[:1]

    def boxes(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """[N, 5] a picture: x0, y0, x1, y1 within it and the score, best first, each person once."""
        import torch

        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        with torch.inference_mode():
            output = self.model(**inputs)
        output.logits, output.pred_boxes = output.logits.float(), output.pred_boxes.float()
        sizes = [image.shape[:2] for image in images]
        found = self.processor.post_process_object_detection(output, threshold=self.settings.detector_score, target_sizes=sizes)
        return [self._people(one, size) for one, size in zip(found, sizes, strict=True)]

    def _people(self, found: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        import torch
        from torchvision.ops import nms

        mine = found["labels"] == self.label
        scores = found["scores"][mine].cpu()
        boxes = found["boxes"][mine].cpu().clamp(min=0)
        boxes = torch.minimum(boxes, torch.tensor([size[1], size[0], size[1], size[0]], dtype=boxes.dtype))
        kept = nms(boxes, scores, OVERLAP)
        kept = kept[((boxes[kept, 2:] - boxes[kept, :2]) >= 1).all(1)]  # a box of no pixels holds nobody
        return torch.cat([boxes[kept], scores[kept, None]], 1).numpy().astype(np.float32)


def _whole(image: np.ndarray) -> np.ndarray:
    """[1, 5]: the picture as its only box."""
    height, width = image.shape[:2]
    return np.array([[0, 0, width, height, 1]], np.float32)


def _load(kind: Any, found: ResolvedModel, setting: str, **more: Any) -> Any:
    try:
        return kind.from_pretrained(found.path, local_files_only=True, **more)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {setting} = {found.name}: {str(error).strip().splitlines()[0]}") from error


def _check_kind(found: ResolvedModel) -> None:
    """UserError where the folder holds another model: transformers would fill ViTPose with random weights."""
    from transformers import AutoConfig

    try:
        kind = AutoConfig.from_pretrained(found.path, local_files_only=True).model_type
    except (OSError, ValueError):
        kind = "no model of transformers"
    if kind != "vitpose":
        raise UserError(f"crop.model = {found.name} is {kind}, not vitpose, which crop.backend = vitpose needs")
