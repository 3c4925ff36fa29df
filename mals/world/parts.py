"""Which part of a person each pixel of a picture shows: the people of a scene drawn again in flat colours that tell skin from cloth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mals.world.body import Body
from mals.world.brush import Brush
from mals.world.figure import layers
from mals.world.person import DRESSES, RGB, SKIRTS, Garment, Person
from mals.world.scene import CANVAS, staged

PARTS = (
    "background",
    "face",
    "arm",
    "leg",
    "hair",
    "hat",
    "upper garment",
    "sleeve",
    "dress",
    "skirt",
    "trousers",
    "shoes",
    "backpack",
    "handbag",
    "bag",
)
SKIN, FIRST, SECOND, THIRD = (0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 0, 255)  # whose lighter and darker tones stay apart


def parts(seed: int, number: int, view: int, fault: str | None = None) -> np.ndarray:
    """[128, 64] uint8, numbers of PARTS: what `picture` of that height shows at each pixel, of everybody in it."""
    found = np.zeros((CANVAS, CANVAS // 2), np.uint8)
    for body in staged(seed, number, view, fault).bodies:
        _draw(found, body)
    return found[1::2, 1::2]


def _draw(found: np.ndarray, body: Body) -> None:
    """Write the parts of one person over what is there."""
    canvas = np.zeros((*found.shape, 3), np.uint8)
    for layer, paint in layers(Brush(canvas, smooth=False), Body(_coded(body.person), body.stance)):
        canvas[:] = 0
        paint()
        red, green, blue = (canvas[..., channel] for channel in range(3))
        most = canvas.max(2)
        tones = {
            SKIN: (blue == most) & (red < most),
            FIRST: (red == most) & (blue < most),
            SECOND: (green == most) & (red < most) & (blue < most),
            THIRD: (red == most) & (blue == most),
        }
        for tone, part in _meaning(layer, body.person).items():
            found[tones[tone] & (most > 0)] = PARTS.index(part)


def _meaning(layer: str, person: Person) -> Mapping[RGB, str]:
    """What the tones stand for in one layer."""
    upper = "dress" if person.upper.kind in DRESSES else "upper garment"
    lower = "skirt" if person.lower and person.lower.kind in SKIRTS else "trousers"
    return {
        "leg": {SKIN: "leg", SECOND: lower, THIRD: "shoes"},
        "trunk": {SKIN: "face", FIRST: upper, SECOND: lower},
        "below": {FIRST: upper, SECOND: lower},
        "arm": {SKIN: "arm", FIRST: "sleeve"},
        "head": dict.fromkeys((SKIN, FIRST, SECOND, THIRD), "face"),
        "hair": {FIRST: "hair", SECOND: "hat"},
    }.get(layer) or dict.fromkeys((SKIN, FIRST, SECOND, THIRD), layer)


def _coded(person: Person) -> Person:
    """The same person in the tones of the parts, with nothing printed on their clothes."""

    def plain(garment: Garment | None, tone: RGB) -> Garment | None:
        return garment and replace(garment, rgb=tone, pattern="plain", second=None, second_rgb=None)

    upper, shoes = plain(person.upper, FIRST), plain(person.shoes, THIRD)
    assert upper is not None and shoes is not None
    carried: dict[str, Any] = {name: plain(getattr(person, name), SECOND) for name in ("hat", "backpack", "handbag", "bag")}
    return replace(person, skin=SKIN, hair_rgb=FIRST, upper=upper, lower=plain(person.lower, SECOND), shoes=shoes, **carried)
