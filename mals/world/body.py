"""A body in space: joints from a stance, and where they fall in the picture.

Lengths are shares of the stature. A body has its own axes: `left` (to the person's left), `up`, `forward`. The viewer sees it turned by
`yaw`: 0 degrees faces the viewer, 90 walks to the right of the picture, 180 shows the back.
"""

from dataclasses import dataclass

import numpy as np

from mals.world.person import Person

SIDES = ("left", "right")


@dataclass(frozen=True)
class Stance:
    """How somebody stands or walks, and how large and where in the picture."""

    yaw: float  # degrees, see the module
    walking: bool
    phase: float  # of the stride, radians
    swing: float  # of the stride, 0 to 1
    spread: float  # of the arms away from the body, 0 to 1
    tall: float  # pixels of a stature of 1
    foot: tuple[float, float]  # pixels: x of the body's axis and y of the ground


@dataclass(frozen=True)
class Build:
    """Half widths and heights of one body, in shares of its own stature."""

    head: float  # height of the head
    neck: float  # height above ground of what follows
    shoulder: float
    hip: float
    chest_wide: float
    waist_wide: float
    hip_wide: float
    deep: float


class Body:
    """Joints of a person in a stance, on the picture and with their nearness to the viewer."""

    def __init__(self, person: Person, stance: Stance):
        self.person, self.stance = person, stance
        self.size = stance.tall * person.stature  # pixels of this person's own stature
        self.build = build(person)
        turn = np.radians(stance.yaw)
        self.cos, self.sin = float(np.cos(turn)), float(np.sin(turn))
        self.joints = self._joints()  # left, up, forward

    @property
    def back(self) -> bool:
        """Whether more of the back is seen than of the front."""
        return self.cos < -0.15

    @property
    def front(self) -> bool:
        return self.cos > 0.15

    @property
    def near(self) -> str:
        """The side that is nearer to the viewer; of a body seen from front or back the right one."""
        return "left" if self.sin < -0.1 else "right"

    def at(self, left: float, up: float, forward: float) -> tuple[float, float]:
        """Pixels of a place given on the body's axes."""
        x, y = self.stance.foot
        return x + (left * self.cos + forward * self.sin) * self.size, y - up * self.size

    def depth(self, name: str) -> float:
        """How near a joint is to the viewer, in statures; the body's axis has 0."""
        left, _, forward = self.joints[name]
        return forward * self.cos - left * self.sin

    def point(self, name: str) -> tuple[float, float]:
        return self.at(*self.joints[name])

    def wide(self, across: float, deep: float) -> float:
        """Pixels from the axis to the rim of an elliptic slice of the trunk, as the viewer sees it."""
        return float(np.hypot(across * self.cos, deep * self.sin)) * self.size

    def _joints(self) -> dict[str, tuple[float, float, float]]:
        b, s = self.build, self.stance
        middle = 1 - b.head * 0.52
        found = {"head": (0.0, middle, 0.012), "neck": (0.0, b.neck, 0.0)}
        face = b.head * 0.42
        found["nose"] = (0.0, middle - 0.04 * b.head, face)
        for side, sign in zip(SIDES, (1, -1), strict=True):
            found[f"{side}_eye"] = (sign * 0.17 * b.head, middle + 0.08 * b.head, face * 0.82)
            found[f"{side}_ear"] = (sign * 0.36 * b.head, middle + 0.02 * b.head, 0.0)
            found[f"{side}_shoulder"] = (sign * b.chest_wide * 0.9, b.shoulder, 0.0)
            found[f"{side}_hip"] = (sign * b.hip_wide * 0.58, b.hip, 0.0)
            stride = np.sin(s.phase) * sign * s.swing if s.walking else 0.06 * sign * s.swing
            self._leg(found, side, sign, float(stride))
            self._arm(found, side, sign, float(-stride if s.walking else 0.05 * s.swing))
        return found

    def _leg(self, found: dict[str, tuple[float, float, float]], side: str, sign: int, stride: float) -> None:
        """Thigh and shin swing from the hip; the leg behind bends at the knee."""
        left, hip, _ = found[f"{side}_hip"]
        thigh, shin = hip * 0.48, hip * 0.44
        angle = stride * 0.55
        lean = sign * 0.012
        bend = 0.12 + 0.75 * max(0.0, -stride) if self.stance.walking else 0.02
        knee = (left + lean * 0.3, hip - thigh * np.cos(angle), thigh * np.sin(angle))
        below = angle - bend * (1 if self.stance.walking else 0)
        ankle = (left + lean, knee[1] - shin * np.cos(below), knee[2] + shin * np.sin(below))
        found[f"{side}_knee"], found[f"{side}_ankle"] = knee, ankle
        toe = 0.085 * np.cos(below)
        found[f"{side}_toe"] = (left + lean * 2.2, ankle[1] - 0.03 + 0.085 * np.sin(below) * 0.6, ankle[2] + toe)

    def _arm(self, found: dict[str, tuple[float, float, float]], side: str, sign: int, stride: float) -> None:
        left, up, _ = found[f"{side}_shoulder"]
        upper, lower = 0.165, 0.15
        angle, out = stride * 0.6, sign * (0.1 + 0.28 * self.stance.spread)
        elbow = (left + out * upper, up - upper * np.cos(angle), upper * np.sin(angle))
        bend = angle + 0.2 + 0.45 * max(0.0, stride)
        wrist = (elbow[0] + out * 0.35 * lower, elbow[1] - lower * np.cos(bend), elbow[2] + lower * np.sin(bend))
        found[f"{side}_elbow"], found[f"{side}_wrist"] = elbow, wrist


def build(person: Person) -> Build:
    """Proportions by age and gender: children have large heads and short legs, men broad shoulders, women hips and a waist."""
    g = person.girth
    if person.age == "child":
        head = 0.185
        wide = {"woman": (0.098, 0.078, 0.088), "man": (0.102, 0.088, 0.086)}[person.gender]
    else:
        head = 0.14
        wide = {"woman": (0.096, 0.07, 0.098), "man": (0.126, 0.096, 0.09)}[person.gender]
    neck = 1 - head
    return Build(
        head=head,
        neck=neck,
        shoulder=neck - 0.028,
        hip=0.515 if person.age == "adult" else 0.455,
        chest_wide=wide[0] * (0.6 + 0.4 * g),
        waist_wide=wide[1] * g,
        hip_wide=wide[2] * (0.4 + 0.6 * g),
        deep=0.062 * g,
    )
