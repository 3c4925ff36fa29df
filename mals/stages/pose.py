"""What a pose estimator returns: persons, each with COCO's seventeen keypoints, for every backend.

The backends are in openpose.py (finds all people in an image) and vitpose.py (one person per box).
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
ARMS = slice(5, 11)  # shoulders, elbows, wrists
HIPS = slice(11, 13)
LEGS = slice(13, 17)  # knees and ankles
ANKLES = slice(15, 17)


@dataclass(frozen=True)
class Person:
    """One person, by an estimator; all coordinates are pixels of the image, and an integer is the centre of a pixel."""

    keypoints: (
        np.ndarray
    )  # [17, 3] float32: x, y, score; a keypoint that the estimator did not detect has score 0, and its x, y are meaningless
    box: np.ndarray | None  # [4] x0, y0, x1, y1 of a detector; None if the estimator works without one
    score: float  # the detector's in [0, 1]; OpenPose's total per body part; without either the mean of the keypoints' scores


class Estimator(Protocol):
    """A loaded pose estimator; its results are a function of the images alone."""

    def people(self, images: list[np.ndarray]) -> list[list[Person]]:
        """The persons in each image [H, W, 3] uint8, RGB."""
        ...


def visible(keypoints: np.ndarray, score: float) -> np.ndarray:
    """[17, 3] -> [17] bool: which keypoints were detected with at least `score`."""
    return (keypoints[:, 2] > 0) & (keypoints[:, 2] >= score)
