"""A person drawn onto a canvas: limbs from far to near, clothes over them, then head, hair and what is carried."""

from collections.abc import Callable

from mals.world.body import SIDES, Body
from mals.world.brush import Brush, darker
from mals.world.carried import backpack_behind, backpack_on_top, bag, handbag
from mals.world.clothes import arm, dress_or_skirt, leg, trunk
from mals.world.head import hair_behind, hair_in_front, head


def figure(brush: Brush, body: Body) -> None:
    """Draw the person whole; `brush.extent` grows to their box."""
    near = body.near
    far = "left" if near == "right" else "right"
    layers: list[tuple[float, Callable[[], None]]] = []
    for side in SIDES:
        knee = body.depth(f"{side}_ankle") + body.depth(f"{side}_knee")
        layers.append((-3 + min(0.9, max(-0.9, knee)), lambda side=side: leg(brush, body, side)))  # type: ignore[misc]
    layers.append((-1.0, lambda: trunk(brush, body)))
    layers.append((-1.5, lambda: dress_or_skirt(brush, body)))
    behind = abs(body.cos) < 0.6 or body.back  # seen from the side, an arm is before the trunk or behind it
    layers.append((-8.0 if abs(body.cos) < 0.6 else -0.5, lambda: arm(brush, body, far)))
    layers.append((2.0 if not body.back else 1.0, lambda: arm(brush, body, near)))
    layers.append((-9.0, lambda: backpack_behind(brush, body)))
    layers.append((1.2 if behind else 0.5, lambda: backpack_on_top(brush, body)))
    layers.append((-8.5, lambda: hair_behind(brush, body)))
    layers.append((0.6, lambda: head(brush, body)))
    layers.append((0.8 if not body.back else 1.4, lambda: hair_in_front(brush, body)))
    layers.append((1.6, lambda: bag(brush, body)))
    layers.append((1.9, lambda: handbag(brush, body, near)))
    for _, paint in sorted(layers, key=lambda layer: layer[0]):
        paint()


def shadow(brush: Brush, body: Body, ground: tuple[int, int, int]) -> None:
    """The dark spot on the ground under somebody."""
    x, y = body.stance.foot
    brush.oval((x, y), body.size * 0.17, body.size * 0.022, darker(ground, 0.35))
