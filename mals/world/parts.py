"""Segmentation of drawn images into parts of people: the people of a scene drawn again in flat code colours, layer by layer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mals.world.body import Body
from mals.world.brush import Brush
from mals.world.figure import layers
from mals.world.person import DRESSES, RGB, SKIRTS, Garment, Person
from mals.world.scene import CANVAS, arrange_scene

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
# Code colours; they stay apart even where a shape is painted in a darker or lighter tone of its colour.
SKIN, FIRST, SECOND, THIRD = (0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 0, 255)


def part_map(seed: int, number: int, view: int, fault: str | None = None) -> np.ndarray:
    """[128, 64] uint8, indices of PARTS: the part of a person at each pixel of `draw_image` for the same arguments and that height."""
    labels = np.zeros((CANVAS, CANVAS // 2), np.uint8)
    for body in arrange_scene(seed, number, view, fault).bodies:
        _label_person(labels, body)
    return labels[1::2, 1::2]


def _label_person(labels: np.ndarray, body: Body) -> None:
    """Write the parts of one person over `labels` [H, W]."""
    canvas = np.zeros((*labels.shape, 3), np.uint8)
    for layer, paint in layers(Brush(canvas, smooth=False), Body(_code_colored(body.person), body.stance)):
        canvas[:] = 0
        paint()
        red, green, blue = (canvas[..., channel] for channel in range(3))
        brightest = canvas.max(2)
        masks = {
            SKIN: (blue == brightest) & (red < brightest),
            FIRST: (red == brightest) & (blue < brightest),
            SECOND: (green == brightest) & (red < brightest) & (blue < brightest),
            THIRD: (red == brightest) & (blue == brightest),
        }
        for code, part in _code_meanings(layer, body.person).items():
            labels[masks[code] & (brightest > 0)] = PARTS.index(part)


def _code_meanings(layer: str, person: Person) -> Mapping[RGB, str]:
    """Code colour -> part, in one layer."""
    upper = "dress" if person.upper.kind in DRESSES else "upper garment"
    lower = "skirt" if person.lower and person.lower.kind in SKIRTS else "trousers"
    return {
        "leg": {SKIN: "leg", SECOND: lower, THIRD: "shoes"},
        "trunk": {SKIN: "face", FIRST: upper, SECOND: lower},
        "dress or skirt": {FIRST: upper, SECOND: lower},
        "arm": {SKIN: "arm", FIRST: "sleeve"},
        "head": dict.fromkeys((SKIN, FIRST, SECOND, THIRD), "face"),
        "hair": {FIRST: "hair", SECOND: "hat"},
    }.get(layer) or dict.fromkeys((SKIN, FIRST, SECOND, THIRD), layer)


def _code_colored(person: Person) -> Person:
    """The same person in code colours, without patterns on the clothes."""

    def plain(garment: Garment | None, code: RGB) -> Garment | None:
        return garment and replace(garment, rgb=code, pattern="plain", second=None, second_rgb=None)

    upper, shoes = plain(person.upper, FIRST), plain(person.shoes, THIRD)
    assert upper is not None and shoes is not None
    items: dict[str, Any] = {name: plain(getattr(person, name), SECOND) for name in ("hat", "backpack", "handbag", "bag")}
    return replace(person, skin=SKIN, hair_rgb=FIRST, upper=upper, lower=plain(person.lower, SECOND), shoes=shoes, **items)
