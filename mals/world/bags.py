"""Draws bags: a backpack on both shoulders, a handbag in the hand, a bag at the hip on a strap across the trunk."""

import numpy as np

from mals.world.body import Body
from mals.world.brush import Brush, darker
from mals.world.person import RGB

TOP, BOTTOM = 0.035, 0.25  # of a backpack: below the shoulders, in statures


def draw_backpack_behind(brush: Brush, body: Body) -> None:
    """For a view from the front or the side: what sticks out behind the trunk."""
    pack = body.person.backpack
    if pack is None or body.shows_back:
        return
    build, size = body.build, body.size
    top, low = build.shoulder - TOP + 0.05, build.shoulder - BOTTOM
    behind = -build.depth * 0.75
    across = build.chest_width * 1.14
    corners = [body.at(side, up, back) for side in (across, -across) for up in (top, low) for back in (behind, behind - 0.14)]
    xs = [x for x, _ in corners]
    y0, y1 = corners[0][1], corners[2][1]
    _box(brush, min(xs), y0, max(xs), y1, 0.03 * size, pack.rgb)
    if abs(body.cos) < 0.75:
        pocket = body.at(0, 0, behind - 0.12)[0]
        brush.line([(pocket, y0 + 0.08 * size), (pocket, y1 - 0.02 * size)], 0.04 * size, _edge_color(pack.rgb))


def draw_backpack_in_front(brush: Brush, body: Body) -> None:
    """For a view from behind, the backpack itself; from the front or the side, its straps."""
    pack = body.person.backpack
    if pack is None:
        return
    build, size = body.build, body.size
    if body.shows_back:
        across = build.chest_width * 0.8
        corners = [body.at(side, build.shoulder, -build.depth * 1.4) for side in (across, -across)]
        x0, x1 = sorted(x for x, _ in corners)
        x0, x1 = min(x0, (x0 + x1) / 2 - 0.06 * size), max(x1, (x0 + x1) / 2 + 0.06 * size)
        y0, y1 = body.at(0, build.shoulder - TOP + 0.03, 0)[1], body.at(0, build.shoulder - BOTTOM, 0)[1]
        _box(brush, x0, y0, x1, y1, 0.035 * size, pack.rgb)
        _box(brush, x0 + 0.025 * size, y0 + 0.12 * size, x1 - 0.025 * size, y1 - 0.02 * size, 0.02 * size, darker(pack.rgb, 0.12))
        brush.line([(x0 + 0.03 * size, y0 + 0.06 * size), (x1 - 0.03 * size, y0 + 0.06 * size)], 0.008 * size, _edge_color(pack.rgb))
        return
    for sign in (1, -1):
        if body.shows_front or (sign > 0) == (body.near_side == "left"):
            side = sign * build.chest_width * 0.58
            strap = [
                body.at(side, build.shoulder + 0.015, -0.01),
                body.at(side, build.shoulder - 0.08, build.depth),
                body.at(side * 1.35, build.shoulder - 0.17, 0.01),
            ]
            brush.line(strap, 0.036 * size, _edge_color(pack.rgb))
            brush.line(strap, 0.026 * size, pack.rgb)


def draw_handbag(brush: Brush, body: Body, side: str) -> None:
    """A small bag that hangs by its handle from the hand `side`."""
    bag = body.person.handbag
    if bag is None:
        return
    size = body.size
    x, y = body.point(f"{side}_wrist")
    y += 0.03 * size
    grip, half_width, height = 0.05 * size, 0.062 * size, 0.095 * size
    edge = _edge_color(bag.rgb)
    turn = np.linspace(np.pi, 2 * np.pi, 9)
    brush.line(np.column_stack([x + np.cos(turn) * half_width * 0.6, y + grip + np.sin(turn) * grip]), 0.012 * size, edge)
    for more, tone in ((0.008 * size, edge), (0.0, bag.rgb)):
        outline = [
            (x - half_width * 0.8 - more, y + grip - more),
            (x + half_width * 0.8 + more, y + grip - more),
            (x + half_width + more, y + grip + height + more),
            (x - half_width - more, y + grip + height + more),
        ]
        brush.shape(outline, tone)
    brush.disc((x, y + grip + height * 0.28), 0.012 * size, (232, 200, 90))


def draw_bag(brush: Brush, body: Body) -> None:
    """A flat bag at the near hip; its strap runs over the other shoulder."""
    bag = body.person.bag
    if bag is None:
        return
    build, size = body.build, body.size
    sign = 1 if body.near_side == "left" else -1
    edge = _edge_color(bag.rgb)
    front = -build.depth if body.shows_back else build.depth
    hip = body.at(sign * build.hip_width * 0.95, build.hip + 0.015, front * 0.5)
    start = body.at(-sign * build.chest_width * 0.55, build.shoulder + 0.015, 0)
    middle = body.at(0, (build.shoulder + build.hip) / 2 + 0.02, front)
    brush.line([start, middle, hip], 0.024 * size, edge)
    brush.line([start, middle, hip], 0.014 * size, darker(bag.rgb, 0.15))
    half_width, height = 0.072 * size, 0.1 * size
    x, y = hip
    _box(brush, x - half_width, y, x + half_width, y + height, 0.012 * size, bag.rgb)
    brush.shape(
        [(x - half_width, y), (x + half_width, y), (x + half_width * 0.9, y + height * 0.5), (x - half_width * 0.9, y + height * 0.5)],
        darker(bag.rgb, 0.15),
    )
    brush.line([(x - half_width * 0.9, y + height * 0.5), (x + half_width * 0.9, y + height * 0.5)], 0.008 * size, edge)


def _edge_color(color: RGB) -> RGB:
    return darker(color, 0.4) if sum(color) > 150 else darker(color, -0.25)


def _box(brush: Brush, x0: float, y0: float, x1: float, y1: float, cut: float, color: RGB) -> None:
    """A rectangle with its corners cut off by `cut` pixels, with a dark edge."""
    for more, tone in ((0.006 * (y1 - y0) + 0.8, _edge_color(color)), (0.0, color)):
        a, b, c, d = x0 - more, y0 - more, x1 + more, y1 + more
        brush.shape([(a + cut, b), (c - cut, b), (c, b + cut), (c, d - cut), (c - cut, d), (a + cut, d), (a, d - cut), (a, b + cut)], tone)
