"""A body in space: its joints in a stance, and their pixels in the image.

Lengths are in units of the person's stature. A body has its own axes: `left` (to the person's left), `up` and `forward`. The viewer sees it
turned by `yaw`: a person at 0 degrees faces the viewer, at 90 walks to the right of the image, at 180 shows the back.
"""

from dataclasses import dataclass

import numpy as np

from mals.world.person import Person

SIDES = ("left", "right")


@dataclass(frozen=True)
class Stance:
    """How a person stands or walks, and where and how large in the image."""

    yaw: float  # degrees, see the module
    walking: bool
    phase: float  # of the stride, radians
    swing: float  # of the stride, 0 to 1
    spread: float  # of the arms away from the body, 0 to 1
    pixels_per_stature: float  # pixels of a stature of 1
    foot: tuple[float, float]  # pixels: x of the body's axis and y of the ground


@dataclass(frozen=True)
class Build:
    """Heights and half widths of one body, in units of its stature."""

    head: float  # height of the head
    neck: float  # height above the ground
    shoulder: float  # height above the ground
    hip: float  # height above the ground
    chest_width: float  # half, as the two below
    waist_width: float
    hip_width: float
    depth: float  # half, of the trunk


class Body:
    """The joints of a person in a stance: their pixels, and how near they are to the viewer."""

    def __init__(self, person: Person, stance: Stance):
        self.person, self.stance = person, stance
        self.size = stance.pixels_per_stature * person.stature  # pixels of this person's stature
        self.build = build(person)
        turn = np.radians(stance.yaw)
        self.cos, self.sin = float(np.cos(turn)), float(np.sin(turn))
        self.joints = self._joints()  # name -> (left, up, forward)

    @property
    def shows_back(self) -> bool:
        """Whether the viewer sees more of the back than of the front."""
        return self.cos < -0.15

    @property
    def shows_front(self) -> bool:
        """Whether the viewer sees more of the front than of the back; neither holds for a profile."""
        return self.cos > 0.15

    @property
    def near_side(self) -> str:
        """The side that is nearer to the viewer, "right" for a body seen from the front or the back."""
        return "left" if self.sin < -0.1 else "right"

    def at(self, left: float, up: float, forward: float) -> tuple[float, float]:
        """Pixels (x, y) of a point on the body's axes."""
        x, y = self.stance.foot
        return x + (left * self.cos + forward * self.sin) * self.size, y - up * self.size

    def depth(self, name: str) -> float:
        """How near a joint is to the viewer, in statures; 0 on the body's axis."""
        left, _, forward = self.joints[name]
        return forward * self.cos - left * self.sin

    def point(self, name: str) -> tuple[float, float]:
        """Pixels (x, y) of a joint."""
        return self.at(*self.joints[name])

    def half_width(self, across: float, depth: float) -> float:
        """Pixels from the axis to the rim of an elliptic slice of the trunk with these half axes, as the viewer sees it."""
        return float(np.hypot(across * self.cos, depth * self.sin)) * self.size

    def _joints(self) -> dict[str, tuple[float, float, float]]:
        b, s = self.build, self.stance
        head_center = 1 - b.head * 0.52
        joints = {"head": (0.0, head_center, 0.012), "neck": (0.0, b.neck, 0.0)}
        face = b.head * 0.42
        joints["nose"] = (0.0, head_center - 0.04 * b.head, face)
        for side, sign in zip(SIDES, (1, -1), strict=True):
            joints[f"{side}_eye"] = (sign * 0.17 * b.head, head_center + 0.08 * b.head, face * 0.82)
            joints[f"{side}_ear"] = (sign * 0.36 * b.head, head_center + 0.02 * b.head, 0.0)
            joints[f"{side}_shoulder"] = (sign * b.chest_width * 0.9, b.shoulder, 0.0)
            joints[f"{side}_hip"] = (sign * b.hip_width * 0.58, b.hip, 0.0)
            stride = np.sin(s.phase) * sign * s.swing if s.walking else 0.06 * sign * s.swing
            self._leg(joints, side, sign, float(stride))
            self._arm(joints, side, sign, float(-stride if s.walking else 0.05 * s.swing))
        return joints

    def _leg(self, joints: dict[str, tuple[float, float, float]], side: str, sign: int, stride: float) -> None:
        """Thigh and shin swing from the hip; the leg behind bends at the knee."""
        left, hip, _ = joints[f"{side}_hip"]
        thigh, shin = hip * 0.48, hip * 0.44
        angle = stride * 0.55
        lean = sign * 0.012
        bend = 0.12 + 0.75 * max(0.0, -stride) if self.stance.walking else 0.02
        knee = (left + lean * 0.3, hip - thigh * np.cos(angle), thigh * np.sin(angle))
        below = angle - bend * (1 if self.stance.walking else 0)
        ankle = (left + lean, knee[1] - shin * np.cos(below), knee[2] + shin * np.sin(below))
        joints[f"{side}_knee"], joints[f"{side}_ankle"] = knee, ankle
        toe = 0.085 * np.cos(below)
        joints[f"{side}_toe"] = (left + lean * 2.2, ankle[1] - 0.03 + 0.085 * np.sin(below) * 0.6, ankle[2] + toe)

    def _arm(self, joints: dict[str, tuple[float, float, float]], side: str, sign: int, stride: float) -> None:
        """The arm swings against the leg of its side and bends when it is in front."""
        left, up, _ = joints[f"{side}_shoulder"]
        upper, lower = 0.165, 0.15
        angle, out = stride * 0.6, sign * (0.1 + 0.28 * self.stance.spread)
        elbow = (left + out * upper, up - upper * np.cos(angle), upper * np.sin(angle))
        bend = angle + 0.2 + 0.45 * max(0.0, stride)
        wrist = (elbow[0] + out * 0.35 * lower, elbow[1] - lower * np.cos(bend), elbow[2] + lower * np.sin(bend))
        joints[f"{side}_elbow"], joints[f"{side}_wrist"] = elbow, wrist


def build(person: Person) -> Build:
    """Proportions by age and gender: children have large heads and short legs, men broad shoulders, women wide hips and a waist."""
    girth = person.girth
    if person.age == "child":
        head = 0.185
        widths = {"woman": (0.098, 0.078, 0.088), "man": (0.102, 0.088, 0.086)}[person.gender]
    else:
        head = 0.14
        widths = {"woman": (0.096, 0.07, 0.098), "man": (0.126, 0.096, 0.09)}[person.gender]
    neck = 1 - head
    return Build(
        head=head,
        neck=neck,
        shoulder=neck - 0.028,
        hip=0.515 if person.age == "adult" else 0.455,
        chest_width=widths[0] * (0.6 + 0.4 * girth),
        waist_width=widths[1] * girth,
        hip_width=widths[2] * (0.4 + 0.6 * girth),
        depth=0.062 * girth,
    )
