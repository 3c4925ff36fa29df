"""People in pictures: what an estimator answers, in COCO's seventeen keypoints whatever the model behind it counts.

The estimators are in openpose.py (finds all people by itself) and vitpose.py (one person a box).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
HEAD = slice(0, 5)
HIPS = slice(11, 13)
ANKLES = slice(15, 17)


@dataclass(frozen=True)
class Person:
    """One person as an estimator sees them; all coordinates are pixels of the picture, a whole number being the middle of a pixel."""

    keypoints: np.ndarray  # [17, 3] float32: x, y, score; a point that was not found has score 0 and means nothing
    box: np.ndarray | None  # [4] x0, y0, x1, y1 of a detector; None where the estimator works without one
    score: float  # the estimator's own: the detector's in [0, 1], OpenPose's total a part, else the mean of the keypoints' scores


class Estimator(Protocol):
    """Loaded once, and then a function of the pictures alone."""

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """Everyone in each picture [H, W, 3] uint8, red first."""
        ...


def visible(keypoints: np.ndarray, score: float) -> np.ndarray:
    """[17, 3] -> [17] bool: which points were found, and with at least `score`."""
    return (keypoints[:, 2] > 0) & (keypoints[:, 2] >= score)
