"""Hidden people: objects that stand before a person, and views that are cut, for the queries of a re-identification.

What hides how much follows from random numbers alone, so that the same person in the same pose is drawn whole, occluded and cut.
"""

from collections.abc import Callable

import numpy as np

from mals.world.backdrop import muted_color
from mals.world.brush import Brush, darker

Box = tuple[float, float, float, float]  # x0, y0, x1, y1

HIDDEN = (0.35, 0.6)  # share of the person's height or width that an object covers
KEPT = (0.45, 0.7)  # share of the person's height or width that a cut view shows
SIDES, SIDE_SHARES = ("upper", "lower", "left", "right"), (0.4, 0.3, 0.15, 0.15)  # what a cut view shows


def draw_object_before(canvas: np.ndarray, person: Box, rng: np.random.Generator) -> np.ndarray:
    """Draw an object before a person whose box is `person`; returns [H, W] bool, the pixels that it covers."""
    before = canvas.copy()
    share = float(rng.uniform(*HIDDEN))
    OBJECTS[int(rng.integers(len(OBJECTS)))](Brush(canvas), person, share, rng)
    return np.asarray((canvas != before).any(2))


def cut_window(height: int, width: int, person: Box, rng: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns that a cut view of an image keeps: a share of the person, and the image to the borders on that side."""
    side = SIDES[int(rng.choice(len(SIDES), p=SIDE_SHARES))]
    x0, y0, x1, y1 = person
    share = float(rng.uniform(*KEPT))
    rows, columns = slice(0, height), slice(0, width)
    if side == "upper":
        rows = slice(0, round(y0 + share * (y1 - y0)))
    elif side == "lower":
        rows = slice(round(y1 - share * (y1 - y0)), height)
    elif side == "left":
        columns = slice(0, round(x0 + share * (x1 - x0)))
    else:
        columns = slice(round(x1 - share * (x1 - x0)), width)
    return rows, columns


def _draw_counter(brush: Brush, person: Box, share: float, rng: np.random.Generator) -> None:
    """A low wall or a counter across the image, before the legs."""
    height, width = brush.canvas.shape[:2]
    top, color = person[3] - share * (person[3] - person[1]), muted_color(rng)
    brush.shape([(-2, top), (width + 2, top), (width + 2, height + 2), (-2, height + 2)], color)
    brush.shape([(-2, top), (width + 2, top), (width + 2, top + 6), (-2, top + 6)], darker(color, -0.3))
    for x in np.arange(float(rng.uniform(-30, 0)), width, float(rng.uniform(16, 40))).tolist():
        brush.line([(x, top + 6), (x, height)], 1, darker(color, 0.25))


def _draw_pillar(brush: Brush, person: Box, share: float, rng: np.random.Generator) -> None:
    """A pillar or a trunk from top to bottom, before one side."""
    height = brush.canvas.shape[0]
    breadth, color = share * (person[2] - person[0]), muted_color(rng)
    left = person[0] - 4 if rng.random() < 0.5 else person[2] + 4 - breadth
    brush.shape([(left, -2), (left + breadth, -2), (left + breadth, height + 2), (left, height + 2)], color)
    shade = left + 0.7 * breadth
    brush.shape([(shade, -2), (left + breadth, -2), (left + breadth, height + 2), (shade, height + 2)], darker(color, 0.2))


def _draw_car(brush: Brush, person: Box, share: float, rng: np.random.Generator) -> None:
    """A car, wider than the image, before the legs."""
    width = brush.canvas.shape[1]
    bottom, size, color = person[3] + 8, share * (person[3] - person[1]), muted_color(rng)
    top, middle = bottom - 1.1 * size, bottom - 0.55 * size
    x = float(rng.uniform(0.3, 0.7)) * width
    brush.shape([(x - 0.8 * width, middle), (x - 0.5 * width, top), (x + 0.5 * width, top), (x + 0.8 * width, middle)], darker(color, 0.3))
    brush.shape([(-2, middle), (width + 2, middle), (width + 2, bottom), (-2, bottom)], color)
    brush.shape([(-2, middle), (width + 2, middle), (width + 2, middle + 4), (-2, middle + 4)], darker(color, -0.25))
    brush.disc((x - 0.42 * width, bottom), 0.22 * size, (36, 36, 38))


def _draw_bush(brush: Brush, person: Box, share: float, rng: np.random.Generator) -> None:
    """A bush before the legs, higher on one side."""
    width = brush.canvas.shape[1]
    leaf = ((44, 98, 42), (66, 116, 50), (52, 84, 46))[int(rng.integers(3))]
    size = share * (person[3] - person[1])
    for x in np.linspace(-10, width + 10, 16).tolist():
        height = size * float(rng.uniform(0.75, 1.1))
        for y in np.arange(person[3] + 6, person[3] - height, -9).tolist():
            brush.disc((x + float(rng.uniform(-4, 4)), y), float(rng.uniform(9, 14)), darker(leaf, float(rng.uniform(-0.15, 0.2))))


def _draw_board(brush: Brush, person: Box, share: float, rng: np.random.Generator) -> None:
    """A board on a post, before the trunk."""
    width = brush.canvas.shape[1]
    top = person[1] + float(rng.uniform(0.15, 0.3)) * (person[3] - person[1])
    bottom, color = top + 0.8 * share * (person[3] - person[1]), muted_color(rng)
    shift = float(rng.uniform(-0.15, 0.15)) * width
    left, right = person[0] - 6 + shift, person[2] + 6 + shift
    brush.line([((left + right) / 2, bottom), ((left + right) / 2, brush.canvas.shape[0])], 6, (88, 90, 96))
    brush.shape([(left, top), (right, top), (right, bottom), (left, bottom)], darker(color, 0.35))
    brush.shape([(left + 4, top + 4), (right - 4, top + 4), (right - 4, bottom - 4), (left + 4, bottom - 4)], color)


OBJECTS: tuple[Callable[[Brush, Box, float, np.random.Generator], None], ...] = (
    _draw_counter,
    _draw_pillar,
    _draw_car,
    _draw_bush,
    _draw_board,
)
