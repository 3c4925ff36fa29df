"""A person drawn onto a canvas: limbs from far to near, clothes over them, then head, hair and what is carried."""

from collections.abc import Callable

from mals.world.body import SIDES, Body
from mals.world.brush import Brush, darker
from mals.world.carried import backpack_behind, backpack_on_top, bag, handbag
from mals.world.clothes import arm, dress_or_skirt, leg, trunk
from mals.world.head import hair_behind, hair_in_front, head


def figure(brush: Brush, body: Body) -> None:
    """Draw the person whole; `brush.extent` grows to their box."""
    for _, paint in layers(brush, body):
        paint()


def layers(brush: Brush, body: Body) -> list[tuple[str, Callable[[], None]]]:
    """What a person is drawn from, far things first: the name of each layer and what draws it."""
    near = body.near
    far = "left" if near == "right" else "right"
    found: list[tuple[float, str, Callable[[], None]]] = []
    for side in SIDES:
        knee = body.depth(f"{side}_ankle") + body.depth(f"{side}_knee")
        found.append((-3 + min(0.9, max(-0.9, knee)), "leg", lambda side=side: leg(brush, body, side)))  # type: ignore[misc]
    found.append((-1.0, "trunk", lambda: trunk(brush, body)))
    found.append((-1.5, "below", lambda: dress_or_skirt(brush, body)))
    behind = abs(body.cos) < 0.6 or body.back  # seen from the side, an arm is before the trunk or behind it
    found.append((-8.0 if abs(body.cos) < 0.6 else -0.5, "arm", lambda: arm(brush, body, far)))
    found.append((2.0 if not body.back else 1.0, "arm", lambda: arm(brush, body, near)))
    found.append((-9.0, "backpack", lambda: backpack_behind(brush, body)))
    found.append((1.2 if behind else 0.5, "backpack", lambda: backpack_on_top(brush, body)))
    found.append((-8.5, "hair", lambda: hair_behind(brush, body)))
    found.append((0.6, "head", lambda: head(brush, body)))
    found.append((0.8 if not body.back else 1.4, "hair", lambda: hair_in_front(brush, body)))
    found.append((1.6, "bag", lambda: bag(brush, body)))
    found.append((1.9, "handbag", lambda: handbag(brush, body, near)))
    return [(name, paint) for _, name, paint in sorted(found, key=lambda layer: layer[0])]


def shadow(brush: Brush, body: Body, ground: tuple[int, int, int]) -> None:
    """The dark spot on the ground under somebody."""
    x, y = body.stance.foot
    brush.oval((x, y), body.size * 0.17, body.size * 0.022, darker(ground, 0.35))
