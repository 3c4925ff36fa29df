"""OpenPose by controlnet_aux: its body estimator finds the keypoints of all people in an image at once.

The estimator's candidates and people are used, not the drawing that ControlNet takes as input.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mals.config import Crop as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.finite import require_finite
from mals.models import OPENPOSE, ResolvedModel
from mals.stages.pose import KEYPOINTS, Person

# each COCO keypoint's number among OpenPose's eighteen: nose, neck right arm, left arm, right leg, left leg, eyes, ears
TO_COCO = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)


class OpenPose:
    """The body estimator with its weights."""

    def __init__(self, settings: Settings, model: ResolvedModel):
        self.body = load(Path(model.path), model.name)
        precision = dtype(settings.dtype)
        self.body.model.to(device(), precision)
        # the estimator's inputs and outputs are float32
        self.body.model.register_forward_pre_hook(lambda _module, inputs: (inputs[0].to(precision),))
        self.body.model.register_forward_hook(lambda _module, _inputs, maps: tuple(heatmap.float() for heatmap in maps))

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """See mals.stages.pose.Estimator; images of any size, one at a time, because the estimator takes one image."""
        return [self._people(image) for image in images]

    def _people(self, image: np.ndarray) -> list[Person]:
        candidates, people = self.body(np.ascontiguousarray(image[:, :, ::-1]))  # BGR
        return [Person(coco(candidates, person), None, float(person[18] / person[19])) for person in people]


def coco(candidates: np.ndarray, person: np.ndarray) -> np.ndarray:
    """[17, 3] float32 from candidates [N, 4] (x, y, score, number) and one person [20]: candidate numbers in OpenPose's order, or -1."""
    keypoints = np.zeros((len(KEYPOINTS), 3), np.float32)
    for index, openpose_index in enumerate(TO_COCO):
        if (number := int(person[openpose_index])) >= 0:
            keypoints[index] = candidates[number, :3]
    return keypoints


def load(folder: Path, name: str) -> Any:
    """controlnet_aux's Body with the weights of a folder; unlike its own loader, this never runs code from the weight file."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package imports all its annotators, which warn about missing dependencies
        from controlnet_aux.open_pose import util
        from controlnet_aux.open_pose.body import Body
        from controlnet_aux.open_pose.model import bodypose_model

    if not (folder / OPENPOSE).is_file():
        raise UserError(f"crop.model = {name} has no {OPENPOSE}, which crop.backend = openpose needs")
    body = Body.__new__(Body)
    body.model = bodypose_model()
    try:
        weights = torch.load(folder / OPENPOSE, map_location="cpu", weights_only=True)
        body.model.load_state_dict(util.transfer(body.model, weights))
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"crop.model = {name}: {OPENPOSE} does not hold the weights of OpenPose's body estimator") from error
    require_finite(weights, folder / OPENPOSE)
    body.model.eval()
    return body
