"""Draws a person onto a canvas: limbs from far to near, clothes over them, then head, hair and what is carried."""

from collections.abc import Callable

from mals.world.bags import draw_backpack_behind, draw_backpack_in_front, draw_bag, draw_handbag
from mals.world.body import SIDES, Body
from mals.world.brush import Brush, darker
from mals.world.clothes import draw_arm, draw_dress_or_skirt, draw_leg, draw_trunk
from mals.world.head import draw_hair_behind, draw_hair_in_front, draw_head


def draw_figure(brush: Brush, body: Body) -> None:
    """Draw the whole person; `brush.extent` grows to their box."""
    for _, paint in layers(brush, body):
        paint()


def layers(brush: Brush, body: Body) -> list[tuple[str, Callable[[], None]]]:
    """The layers of a person, far ones first: a name and the function that paints it."""
    near = body.near_side
    far = "left" if near == "right" else "right"
    painters: list[tuple[float, str, Callable[[], None]]] = []  # nearness, name, painter
    for side in SIDES:
        depth = body.depth(f"{side}_ankle") + body.depth(f"{side}_knee")
        painters.append((-3 + min(0.9, max(-0.9, depth)), "leg", lambda side=side: draw_leg(brush, body, side)))  # type: ignore[misc]
    painters.append((-1.0, "trunk", lambda: draw_trunk(brush, body)))
    painters.append((-1.5, "dress or skirt", lambda: draw_dress_or_skirt(brush, body)))
    from_the_side = abs(body.cos) < 0.6  # then one arm is before the trunk and one behind it
    painters.append((-8.0 if from_the_side else -0.5, "arm", lambda: draw_arm(brush, body, far)))
    painters.append((2.0 if not body.shows_back else 1.0, "arm", lambda: draw_arm(brush, body, near)))
    painters.append((-9.0, "backpack", lambda: draw_backpack_behind(brush, body)))
    painters.append((1.2 if from_the_side or body.shows_back else 0.5, "backpack", lambda: draw_backpack_in_front(brush, body)))
    painters.append((-8.5, "hair", lambda: draw_hair_behind(brush, body)))
    painters.append((0.6, "head", lambda: draw_head(brush, body)))
    painters.append((0.8 if not body.shows_back else 1.4, "hair", lambda: draw_hair_in_front(brush, body)))
    painters.append((1.6, "bag", lambda: draw_bag(brush, body)))
    painters.append((1.9, "handbag", lambda: draw_handbag(brush, body, near)))
    return [(name, paint) for _, name, paint in sorted(painters, key=lambda layer: layer[0])]


def draw_shadow(brush: Brush, body: Body, ground: tuple[int, int, int]) -> None:
    """The dark ellipse on the ground under a person."""
    x, y = body.stance.foot
    brush.oval((x, y), body.size * 0.17, body.size * 0.022, darker(ground, 0.35))
