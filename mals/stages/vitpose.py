"""ViTPose by transformers: keypoints of one person per box. A detector finds the boxes; without one the box is the whole image.

The boxes of a call go through the model in batches of as many boxes as the call has images, and the last batch is padded: the model's input
has the same shape for any number of people.
"""

from typing import Any

import numpy as np

from mals.config import Crop as Settings
from mals.device import device, dtype, hush
from mals.errors import UserError
from mals.finite import require_finite
from mals.models import ResolvedModel
from mals.stages.pose import KEYPOINTS, Person

OVERLAP = 0.65  # two boxes with a larger intersection over union are one person: detectors without suppression repeat some boxes
COCO = 0  # of ViTPose++'s mixture of experts, the one trained on COCO's keypoints


class VitPose:
    """ViTPose, with an object detector before it if `detector` is given."""

    def __init__(self, settings: Settings, model: ResolvedModel, detector: ResolvedModel | None):
        from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

        hush("transformers")
        self.settings = settings
        self.device = device()
        self.dtype = dtype(settings.dtype)
        _check_kind(model)
        self.processor: Any = _load(VitPoseImageProcessor, model, "crop.model")
        self.model: Any = _load(VitPoseForPoseEstimation, model, "crop.model", dtype=self.dtype).eval().to(self.device)
        self.experts = getattr(self.model.config.backbone_config, "num_experts", 1)
        if self.model.config.num_labels != len(KEYPOINTS):
            raise UserError(f"crop.model = {model.name} has {self.model.config.num_labels} keypoints; COCO's {len(KEYPOINTS)} are needed")
        self.detector = Detector(settings, detector, self.device, self.dtype) if detector else None

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """See mals.stages.pose.Estimator."""
        boxes = self.detector.boxes(images) if self.detector else [_whole(image) for image in images]
        requests = [(index, box) for index, image_boxes in enumerate(boxes) for box in image_boxes]
        people: list[list[Person]] = [[] for _ in images]
        for start in range(0, len(requests), len(images)):
            chunk = requests[start : start + len(images)]
            padded = chunk + [chunk[0]] * (len(images) - len(chunk))
            points = self._keypoints([images[index] for index, _ in padded], np.stack([box[:4] for _, box in padded]))
            for (index, box), keypoints in zip(chunk, points, strict=False):
                if self.detector:
                    people[index].append(Person(keypoints, box[:4], float(box[4])))
                else:
                    people[index].append(Person(keypoints, None, float(keypoints[:, 2].mean())))
        return people

    def _keypoints(self, images: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """[B, 17, 3] float32 from B images and boxes [B, 4] (x0, y0, x1, y1), one per image."""
        import torch

        coco_boxes = [[[x0, y0, x1 - x0, y1 - y0]] for x0, y0, x1, y1 in boxes.tolist()]  # corner and size
        pixels = self.processor(images=images, boxes=coco_boxes, return_tensors="pt")["pixel_values"]
        inputs = {"pixel_values": pixels.to(self.device, self.dtype)}
        if self.experts > 1:
            inputs["dataset_index"] = torch.full((len(images),), COCO, device=self.device)
        with torch.inference_mode():
            output = self.model(**inputs)
        output.heatmaps = output.heatmaps.float()
        poses = self.processor.post_process_pose_estimation(output, boxes=coco_boxes)
        points = np.stack([torch.cat([pose["keypoints"], pose["scores"][:, None]], 1).numpy() for (pose,) in poses]).astype(np.float32)
        return np.stack([self._valid(keypoints, box[0]) for keypoints, box in zip(points, coco_boxes, strict=True)])

    def _valid(self, keypoints: np.ndarray, box: list[float]) -> np.ndarray:
        """[17, 3] clipped to the model's input region; zero if not finite: on a flat heat map the refinement has no maximum."""
        from transformers.models.vitpose.image_processing_vitpose import box_to_center_and_scale

        size = self.processor.size
        centre, scale = box_to_center_and_scale(box, size["width"], size["height"])
        half = scale * self.processor.normalize_factor / 2
        points = np.clip(np.nan_to_num(keypoints[:, :2], posinf=np.inf, neginf=-np.inf), centre - half, centre + half)
        finite = np.isfinite(keypoints).all(1) & (keypoints[:, 2] > 0)
        return np.where(finite[:, None], np.column_stack([points, keypoints[:, 2]]), 0).astype(np.float32)


class Detector:
    """Person boxes, by any object detector of transformers that has the label "person"."""

    def __init__(self, settings: Settings, model: ResolvedModel, device: str, dtype: Any):
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self.settings, self.device, self.dtype = settings, device, dtype
        self.processor: Any = _load(AutoImageProcessor, model, "crop.detector")
        self.model: Any = _load(AutoModelForObjectDetection, model, "crop.detector", dtype=dtype).eval().to(device)
        labels = {int(label) for label, name in self.model.config.id2label.items() if name.lower() == "person"}
        if not labels:
            raise UserError(f"crop.detector = {model.name} finds no people: none of its labels is person")
        (self.label,) = sorted(labels)[:1]

    def boxes(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """[N, 5] for each image: x0, y0, x1, y1 within it and the score, best first, each person once."""
        import torch

        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        with torch.inference_mode():
            output = self.model(**inputs)
        output.logits, output.pred_boxes = output.logits.float(), output.pred_boxes.float()
        sizes = [image.shape[:2] for image in images]
        detections = self.processor.post_process_object_detection(output, threshold=self.settings.detector_score, target_sizes=sizes)
        return [self._people(detection, size) for detection, size in zip(detections, sizes, strict=True)]

    def _people(self, detection: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        import torch
        from torchvision.ops import nms

        persons = detection["labels"] == self.label
        scores = detection["scores"][persons].cpu()
        boxes = detection["boxes"][persons].cpu().clamp(min=0)
        boxes = torch.minimum(boxes, torch.tensor([size[1], size[0], size[1], size[0]], dtype=boxes.dtype))
        kept = nms(boxes, scores, OVERLAP)
        kept = kept[((boxes[kept, 2:] - boxes[kept, :2]) >= 1).all(1)]  # no box without pixels
        return torch.cat([boxes[kept], scores[kept, None]], 1).numpy().astype(np.float32)


def _whole(image: np.ndarray) -> np.ndarray:
    """[1, 5]: the whole image as its only box."""
    height, width = image.shape[:2]
    return np.array([[0, 0, width, height, 1]], np.float32)


def _load(kind: Any, model: ResolvedModel, setting: str, **options: Any) -> Any:
    try:
        loaded = kind.from_pretrained(model.path, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {setting} = {model.name}: {str(error).strip().splitlines()[0]}") from error
    if hasattr(loaded, "state_dict"):  # a model, not its processor
        require_finite(loaded.state_dict(), model.path)
    return loaded


def _check_kind(model: ResolvedModel) -> None:
    """Raise UserError if the folder holds another model: transformers would fill ViTPose with random weights."""
    from transformers import AutoConfig

    try:
        kind = AutoConfig.from_pretrained(model.path, local_files_only=True).model_type
    except (OSError, ValueError):
        kind = "no model of transformers"
    if kind != "vitpose":
        raise UserError(f"crop.model = {model.name} is {kind}, not vitpose, which crop.backend = vitpose needs")
