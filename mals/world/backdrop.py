"""Draws what is behind people: a place with its ground and its walls or trees, and objects that stand about."""

from functools import cache

import cv2
import numpy as np

from mals.world.brush import Brush, darker
from mals.world.person import COLORS, RGB, random_shade

PLACES = ("street", "park", "plaza", "shop", "station", "room")
WALLS: tuple[RGB, ...] = ((150, 140, 130), (128, 84, 70), (186, 178, 166), (104, 108, 116), (160, 124, 98), (200, 196, 188))


def draw_backdrop(canvas: np.ndarray, place: str, horizon: float, rng: np.random.Generator) -> RGB:
    """Fill `canvas` [H, W, 3] with a place of PLACES whose ground begins at the row `horizon`; returns the colour of the ground."""
    brush = Brush(canvas)
    height, width = canvas.shape[:2]
    ground = PLACE_PAINTERS[place](brush, height, width, horizon, rng)
    for _ in range(int(rng.integers(0, 4))):
        OBJECT_PAINTERS[int(rng.integers(len(OBJECT_PAINTERS)))](brush, width, horizon, height, rng)
    grain = float(rng.uniform(2, 9))
    x, y = int(rng.integers(0, 256)), int(rng.integers(0, 256))
    canvas[:] = cv2.add(
        canvas.astype(np.int16), (_noise_texture()[y : y + height, x : x + width] * grain).astype(np.int16)[..., None].repeat(3, 2)
    ).clip(0, 255)
    return ground


@cache
def _noise_texture() -> np.ndarray:
    """[512, 512] float32: white noise and, as strong, noise in soft spots."""
    rng = np.random.default_rng(7)
    fine = rng.standard_normal((512, 512)).astype(np.float32)
    soft = cv2.GaussianBlur(rng.standard_normal((512, 512)).astype(np.float32), (0, 0), 3)
    return np.asarray(0.7 * fine + 0.7 * soft / soft.std(), np.float32)


def _fill_above_and_below(brush: Brush, horizon: float, above: RGB, below: RGB) -> None:
    """A soft gradient above the horizon, another one below."""
    height = brush.canvas.shape[0]
    rows = np.arange(height)[:, None]
    split = int(np.clip(horizon, 0, height))
    up = np.array(above) * (0.88 + 0.16 * rows[:split] / max(1, split))
    down = np.array(below) * (0.9 + 0.2 * (rows[split:] - split) / max(1, height - split))
    brush.canvas[:split] = np.clip(up, 0, 255).astype(np.uint8)[:, None]
    brush.canvas[split:] = np.clip(down, 0, 255).astype(np.uint8)[:, None]


def _shade_of(rng: np.random.Generator, choices: tuple[RGB, ...], spread: float = 1.5) -> RGB:
    """A shade of one of the colours."""
    return random_shade(choices[int(rng.integers(len(choices)))], rng, spread)


def _draw_house(brush: Brush, x0: float, x1: float, top: float, horizon: float, rng: np.random.Generator) -> None:
    wall = _shade_of(rng, WALLS)
    brush.shape([(x0, top), (x1, top), (x1, horizon), (x0, horizon)], wall)
    pane = darker(wall, 0.4) if rng.random() < 0.6 else (206, 214, 190)
    step, size = float(rng.uniform(11, 18)), float(rng.uniform(5, 8))
    for y in np.arange(top + 6, horizon - size - 4, step * 1.1).tolist():
        for x in np.arange(x0 + 4, x1 - size, step).tolist():
            cv2.rectangle(brush.canvas, (int(x), int(y)), (int(x + size), int(y + size * 1.3)), pane, -1)
    brush.line([(x0, top), (x0, horizon)], 1, darker(wall, 0.35))


def _draw_tree(brush: Brush, x: float, horizon: float, rng: np.random.Generator) -> None:
    size = float(rng.uniform(12, 30))
    top = horizon - size * float(rng.uniform(1.4, 3.0))
    brush.line([(x, horizon + 4), (x, top)], size * 0.22, (92, 66, 44))
    leaf = _shade_of(rng, ((44, 98, 42), (66, 116, 50), (52, 84, 46), (96, 122, 58)))
    for _ in range(5):
        brush.disc(
            (x + float(rng.uniform(-0.7, 0.7)) * size, top + float(rng.uniform(-0.5, 0.5)) * size),
            size * float(rng.uniform(0.4, 0.75)),
            darker(leaf, float(rng.uniform(-0.12, 0.15))),
        )


def _draw_street(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((112, 112, 114), (134, 130, 126), (92, 94, 100)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((178, 200, 222), (196, 200, 206), (150, 180, 214))), ground)
    x = float(rng.uniform(-20, 0))
    while x < width:
        house_width = float(rng.uniform(24, 60))
        _draw_house(brush, x, x + house_width, float(rng.uniform(-10, horizon * 0.75)), horizon, rng)
        x += house_width + float(rng.choice([0, 0, 10]))
    brush.shape([(0, horizon), (width, horizon), (width, horizon + 9), (0, horizon + 9)], darker(ground, -0.3))
    if rng.random() < 0.5:
        y = float(rng.uniform(horizon + 18, height - 8))
        for x in np.arange(float(rng.uniform(-20, 0)), width, 34).tolist():
            brush.shape([(x, y), (x + 18, y), (x + 16, y + 4), (x - 2, y + 4)], (214, 214, 206))
    return ground


def _draw_park(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((104, 146, 78), (128, 150, 92), (90, 124, 74)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((166, 204, 234), (200, 212, 220), (142, 184, 222))), ground)
    for _ in range(int(rng.integers(2, 6))):
        _draw_tree(brush, float(rng.uniform(0, width)), horizon, rng)
    if rng.random() < 0.6:
        a, b = rng.uniform(0, width, 2)
        brush.shape([(a - 8, horizon), (a + 8, horizon), (b + 40, height), (b - 40, height)], (184, 170, 144))
    return ground


def _draw_plaza(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((188, 176, 156), (170, 168, 164), (156, 140, 124)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((190, 206, 220), (172, 176, 182))), ground)
    _draw_house(brush, -5, width + 5, float(rng.uniform(-10, horizon * 0.4)), horizon, rng)
    edge = darker(ground, 0.15)
    vanishing_x = float(rng.uniform(0, width))
    for x in np.arange(-width, 2 * width, 22).tolist():
        brush.line([(vanishing_x + (x - vanishing_x) * 0.3, horizon), (x, height)], 1, edge)
    for share in (0.12, 0.3, 0.55, 0.85):
        y = horizon + (height - horizon) * share
        brush.line([(0, y), (width, y)], 1, edge)
    return ground


def _draw_shop(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((206, 200, 190), (176, 160, 140), (150, 152, 156)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((214, 206, 188), (196, 204, 206), (180, 170, 160))), ground)
    for y in np.arange(float(rng.uniform(8, 24)), horizon - 14, 34).tolist():
        brush.line([(0, y + 20), (width, y + 20)], 3, (120, 110, 100))
        x = float(rng.uniform(-4, 6))
        while x < width:
            box_width, box_height = float(rng.uniform(6, 16)), float(rng.uniform(8, 18))
            if rng.random() < 0.6:
                brush.shape(
                    [(x, y + 19), (x + box_width, y + 19), (x + box_width, y + 19 - box_height), (x, y + 19 - box_height)],
                    muted_color(rng),
                )
            x += box_width + float(rng.uniform(1, 8))
    return ground


def _draw_station(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((150, 148, 144), (120, 122, 126), (176, 172, 166)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((150, 156, 164), (190, 188, 182), (112, 118, 128))), ground)
    brush.shape([(0, horizon - 70), (width, horizon - 70), (width, horizon - 8), (0, horizon - 8)], muted_color(rng))
    for x in np.arange(float(rng.uniform(-30, 0)), width, 36).tolist():
        brush.shape([(x, horizon - 58), (x + 24, horizon - 58), (x + 24, horizon - 32), (x, horizon - 32)], (196, 212, 222))
    y = horizon + (height - horizon) * float(rng.uniform(0.3, 0.7))
    brush.shape([(0, y), (width, y), (width, y + 5), (0, y + 5)], (222, 190, 70))
    return ground


def _draw_room(brush: Brush, height: int, width: int, horizon: float, rng: np.random.Generator) -> RGB:
    ground = _shade_of(rng, ((168, 122, 84), (142, 104, 76), (186, 158, 124)))
    _fill_above_and_below(brush, horizon, _shade_of(rng, ((226, 216, 196), (200, 208, 214), (214, 196, 186), (176, 188, 176))), ground)
    for x in np.arange(-width, 2 * width, 18).tolist():
        brush.line([(x * 0.5 + width * 0.25, horizon), (x, height)], 1, darker(ground, 0.2))
    brush.line([(0, horizon), (width, horizon)], 4, (236, 232, 224))
    for _ in range(int(rng.integers(0, 4))):
        x0, y0 = float(rng.uniform(0, width - 20)), float(rng.uniform(8, horizon * 0.6))
        x1, y1 = (float(value) + corner for value, corner in zip(rng.uniform(12, 30, 2), (x0, y0), strict=True))
        brush.shape([(x0 - 2, y0 - 2), (x1 + 2, y0 - 2), (x1 + 2, y1 + 2), (x0 - 2, y1 + 2)], (90, 70, 54))
        brush.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], muted_color(rng))
    return ground


def muted_color(rng: np.random.Generator) -> RGB:
    """A greyish colour for an object: strong colours are for clothes."""
    center = list(COLORS.values())[int(rng.integers(len(COLORS)))]
    red, green, blue = (round(0.55 * value + 0.45 * 128) for value in center)
    return random_shade((red, green, blue), rng)


def _draw_pole(brush: Brush, width: float, horizon: float, height: float, rng: np.random.Generator) -> None:
    x, foot = float(rng.uniform(0, width)), float(rng.uniform(horizon, horizon + 0.5 * (height - horizon)))
    brush.line(
        [(x, foot), (x, float(rng.uniform(-20, horizon * 0.7)))],
        float(rng.uniform(2, 5)),
        _shade_of(rng, ((70, 72, 78), (104, 98, 92), (60, 84, 100))),
    )


def _draw_car(brush: Brush, width: float, horizon: float, height: float, rng: np.random.Generator) -> None:
    x, y, size = float(rng.uniform(-20, width)), horizon + float(rng.uniform(4, 16)), float(rng.uniform(22, 36))
    color = muted_color(rng)
    brush.shape(
        [
            (x - size * 0.55, y - size * 0.3),
            (x - size * 0.3, y - size * 0.58),
            (x + size * 0.3, y - size * 0.58),
            (x + size * 0.6, y - size * 0.3),
        ],
        darker(color, 0.25),
    )
    brush.shape([(x - size, y - size * 0.3), (x + size, y - size * 0.3), (x + size, y), (x - size, y)], color)
    for sign in (-0.55, 0.55):
        brush.disc((x + sign * size, y), size * 0.17, (36, 36, 38))


def _draw_bin(brush: Brush, width: float, horizon: float, height: float, rng: np.random.Generator) -> None:
    x, y, size = float(rng.uniform(0, width)), float(rng.uniform(horizon + 4, height)), float(rng.uniform(6, 12))
    brush.shape([(x - size, y - 2.4 * size), (x + size, y - 2.4 * size), (x + size * 0.8, y), (x - size * 0.8, y)], muted_color(rng))


def _draw_sign(brush: Brush, width: float, horizon: float, height: float, rng: np.random.Generator) -> None:
    x, y = float(rng.uniform(0, width)), float(rng.uniform(10, max(20.0, horizon * 0.7)))
    brush.line([(x, y), (x, horizon + 6)], 2, (96, 98, 102))
    box_width, box_height = rng.uniform(6, 16, 2)
    brush.shape(
        [
            (x - box_width, y - box_height),
            (x + box_width, y - box_height),
            (x + box_width, y + box_height),
            (x - box_width, y + box_height),
        ],
        muted_color(rng),
    )


def _draw_ball(brush: Brush, width: float, horizon: float, height: float, rng: np.random.Generator) -> None:
    brush.disc((float(rng.uniform(0, width)), float(rng.uniform(horizon, height))), float(rng.uniform(2, 6)), muted_color(rng))


PLACE_PAINTERS = {
    "street": _draw_street,
    "park": _draw_park,
    "plaza": _draw_plaza,
    "shop": _draw_shop,
    "station": _draw_station,
    "room": _draw_room,
}
OBJECT_PAINTERS = (_draw_pole, _draw_car, _draw_bin, _draw_sign, _draw_ball)
