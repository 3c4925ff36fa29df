"""Draws smooth shapes on a small canvas with OpenCV's anti-aliased fills, and keeps the extent of all that was drawn."""

import itertools
from collections.abc import Sequence
from math import hypot

import cv2
import numpy as np

from mals.world.person import RGB

SHIFT = 4  # fractional bits of a coordinate; OpenCV allows 16, and sixteenths of a pixel are fine enough to see


class Brush:
    """Draws on `canvas` [H, W, 3] uint8; `extent` is the box x0, y0, x1, y1 of everything drawn so far, None before the first stroke.

    Without `smooth` edges every pixel that is drawn has exactly the colour of its shape.
    """

    def __init__(self, canvas: np.ndarray, smooth: bool = True):
        self.canvas, self.edge = canvas, cv2.LINE_AA if smooth else cv2.LINE_8
        self.extent: tuple[float, float, float, float] | None = None

    def shape(self, points: Sequence[Sequence[float]] | np.ndarray, color: RGB) -> None:
        """A filled polygon [N, 2]."""
        vertices = np.asarray(points, np.float64)
        self._grow(vertices, 0.0)
        cv2.fillPoly(self.canvas, [_fixed(vertices)], color, self.edge, SHIFT)

    def limb(self, start: Sequence[float], end: Sequence[float], first: float, last: float, color: RGB) -> None:
        """A tapered bone with round ends: radius `first` at `start`, `last` at `end`."""
        (x0, y0), (x1, y1) = start, end
        self.disc(start, first, color)
        self.disc(end, last, color)
        if (length := hypot(x1 - x0, y1 - y0)) > 1e-6:
            dx, dy = -(y1 - y0) / length, (x1 - x0) / length
            self.shape(
                [
                    (x0 + dx * first, y0 + dy * first),
                    (x1 + dx * last, y1 + dy * last),
                    (x1 - dx * last, y1 - dy * last),
                    (x0 - dx * first, y0 - dy * first),
                ],
                color,
            )

    def disc(self, centre: Sequence[float] | np.ndarray, radius: float, color: RGB) -> None:
        """A filled circle."""
        if radius > 0:
            x, y = float(centre[0]), float(centre[1])
            self._reach(x - radius, y - radius, x + radius, y + radius)
            cv2.circle(self.canvas, _point((x, y)), round(radius * (1 << SHIFT)), color, -1, self.edge, SHIFT)

    def oval(self, centre: Sequence[float], across: float, down: float, color: RGB, tilt: float = 0.0) -> None:
        """A filled ellipse of two half axes, tilted by degrees."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        x, y = np.cos(turn) * across, np.sin(turn) * down
        cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        self.shape(np.column_stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos]), color)

    def line(self, points: Sequence[Sequence[float]] | np.ndarray, width: float, color: RGB) -> None:
        """A line through points [N, 2], `width` pixels wide."""
        vertices = np.asarray(points, np.float64)
        if width > 1.5:
            for start, end in itertools.pairwise(vertices):
                self.limb(start, end, width / 2, width / 2, color)
            return
        self._grow(vertices, width / 2)
        cv2.polylines(self.canvas, [_fixed(vertices)], False, color, 1, self.edge, SHIFT)

    def _grow(self, points: np.ndarray, radius: float) -> None:
        rows = points.tolist()
        xs, ys = [row[0] for row in rows], [row[1] for row in rows]
        self._reach(min(xs) - radius, min(ys) - radius, max(xs) + radius, max(ys) + radius)

    def _reach(self, x0: float, y0: float, x1: float, y1: float) -> None:
        if self.extent is not None:
            a, b, c, d = self.extent
            x0, y0, x1, y1 = min(a, x0), min(b, y0), max(c, x1), max(d, y1)
        self.extent = (x0, y0, x1, y1)


def darker(color: RGB, by: float) -> RGB:
    """A colour times 1 - by; a negative `by` brightens."""
    if by < 0:
        red, green, blue = (round(value + (255 - value) * -by) for value in color)
    else:
        red, green, blue = (round(value * (1 - by)) for value in color)
    return red, green, blue


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def _point(point: Sequence[float]) -> tuple[int, int]:
    return round(point[0] * (1 << SHIFT)), round(point[1] * (1 << SHIFT))
