"""OpenPose by controlnet_aux: its body estimator finds the keypoints of everyone in a picture at once.

What is used are the estimator's candidates and people, not the drawing that ControlNet is fed with.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mals.config import Crop as Settings
from mals.device import device, dtype
from mals.errors import UserError
from mals.models import OPENPOSE, ResolvedModel
from mals.stages.pose import KEYPOINTS, Person

# COCO's keypoints among OpenPose's eighteen: nose, neck (which COCO has not), right arm, left arm, right leg, left leg, eyes, ears
TO_COCO = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)


class OpenPose:
    """The body estimator with its weights."""

    def __init__(self, settings: Settings, found: ResolvedModel):
        self.body = load(Path(found.path), found.name)
        kind = dtype(settings.dtype)
        self.body.model.to(device(), kind)
        # the estimator gives and takes float32
        self.body.model.register_forward_pre_hook(lambda _model, given: (given[0].to(kind),))
        self.body.model.register_forward_hook(lambda _model, _given, maps: tuple(one.float() for one in maps))

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """See mals.stages.pose.Estimator; pictures of any sizes go one by one, as the estimator takes them."""
        return [self._people(image) for image in images]

    def _people(self, image: np.ndarray) -> list[Person]:
        candidates, people = self.body(np.ascontiguousarray(image[:, :, ::-1]))  # blue first
        return [Person(coco(candidates, person), None, float(person[18] / person[19])) for person in people]


def coco(candidates: np.ndarray, person: np.ndarray) -> np.ndarray:
    """[17, 3] float32 from the candidates [N, 4] (x, y, score, number) and one person [20]: their numbers in OpenPose's order, or -1."""
    keypoints = np.zeros((len(KEYPOINTS), 3), np.float32)
    for at, theirs in enumerate(TO_COCO):
        if (number := int(person[theirs])) >= 0:
            keypoints[at] = candidates[number, :3]
    return keypoints


def load(folder: Path, name: str) -> Any:
    """controlnet_aux's Body with the weights of a folder; unlike with its own loader, no torch of any version runs code from the file."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package imports every annotator it has, each with its own complaints
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
    body.model.eval()
    return body
