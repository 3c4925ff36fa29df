"""Draws head, face, hair and hat."""

from mals.world.body import Body
from mals.world.brush import Brush, darker

HALF_WIDTH, HALF_HEIGHT = 0.37, 0.5  # of the skull, in heights of the head


def draw_head(brush: Brush, body: Body) -> None:
    """Skull, ears and face, as far as they are visible."""
    p, h = body.person, body.build.head * body.size
    centre = body.point("head")
    for side in ("left", "right"):
        if body.depth(f"{side}_ear") > -0.02:
            brush.disc(body.point(f"{side}_ear"), 0.09 * h, darker(p.skin, 0.12))
    brush.oval(centre, HALF_WIDTH * h * 1.05, HALF_HEIGHT * h * 1.03, darker(p.skin, 0.3))
    brush.oval(centre, HALF_WIDTH * h, HALF_HEIGHT * h, p.skin)
    if body.cos < -0.3:
        return
    _face(brush, body, h)


def _face(brush: Brush, body: Body, h: float) -> None:
    p = body.person
    nose = body.point("nose")
    b = body.build
    head_up = body.joints["head"][1]
    if p.beard:
        place = body.at(0, head_up - 0.27 * b.head, b.head * 0.22)
        brush.oval(place, h * (0.14 + 0.13 * max(0.0, body.cos)), 0.17 * h, p.hair_rgb)
    brush.disc(nose, 0.06 * h, darker(p.skin, 0.22))
    for side in ("left", "right"):
        if body.depth(f"{side}_eye") > 0.01:
            x, y = body.point(f"{side}_eye")
            brush.disc((x, y), 0.065 * h, (250, 250, 250))
            brush.disc((x, y), 0.045 * h, (30, 24, 22))
            brush.line([(x - 0.08 * h, y - 0.11 * h), (x + 0.08 * h, y - 0.11 * h)], 0.03 * h, darker(p.hair_rgb, 0.25))
    mouth = body.at(0, head_up - 0.24 * b.head, b.head * 0.36)
    lips = (196, 40, 60) if p.gender == "woman" else darker(p.skin, 0.4)
    across = h * (0.05 + 0.07 * max(0.0, body.cos))
    brush.line([(mouth[0] - across, mouth[1]), (mouth[0] + across, mouth[1])], (0.065 if p.gender == "woman" else 0.035) * h, lips)


def draw_hair_behind(brush: Brush, body: Body) -> None:
    """Long hair behind head and shoulders, for a view from the front or the side."""
    p, b, h = body.person, body.build, body.build.head * body.size
    if p.hair != "long" or body.shows_back:
        return
    head_up = body.joints["head"][1]
    if p.haircut == "loose":
        low = b.neck - 0.14
        places = [body.at(0, head_up + 0.1 * b.head, -0.1 * b.head), body.at(0, low, -0.045)]
        brush.limb(places[0], places[1], 0.5 * h, 0.34 * h, p.hair_rgb)
    else:
        brush.limb(body.at(0, head_up + 0.2 * b.head, -0.45 * b.head), body.at(0, b.neck - 0.1, -0.09), 0.15 * h, 0.09 * h, p.hair_rgb)


def draw_hair_in_front(brush: Brush, body: Body) -> None:
    """The hair on the head, long strands in front of the shoulders, and the hat."""
    p, b, h = body.person, body.build, body.build.head * body.size
    if body.shows_back:
        _hair_from_behind(brush, body, h)
    elif p.haircut != "bald":
        _hair_on_top(brush, body, h)
    head_up = body.joints["head"][1]
    if p.hair == "long" and not body.shows_back:
        if p.haircut == "loose":
            for sign in (1, -1):
                if body.shows_front or (sign > 0) == (body.near_side == "left"):
                    place = sign * 0.4 * b.head
                    top = body.at(place, head_up + 0.2 * b.head, -0.02)
                    brush.line([top, body.at(place * 1.12, b.neck, 0.0), body.at(place * 1.25, b.neck - 0.12, 0.02)], 0.2 * h, p.hair_rgb)
        elif body.shows_front:  # the tail lies over one shoulder
            brush.line(
                [body.at(0.33 * b.head, head_up - 0.2 * b.head, 0), body.at(0.5 * b.head, b.neck - 0.12, 0.05)], 0.18 * h, p.hair_rgb
            )
    if p.hat:
        _hat(brush, body, h)


def _hair_on_top(brush: Brush, body: Body, h: float) -> None:
    """Hair from the front or the side, fuller at the back of the head, and the sides of a bob."""
    p, b = body.person, body.build
    head_up = body.joints["head"][1]
    crown = body.at(0, head_up + 0.2 * b.head, -0.06 * b.head)
    x, y = body.point("head")
    lean = body.sin * 0.1 * h  # leaves the face free
    top = [
        (x + dx * h * 0.42 - lean * 0.6, y - dy * h)
        for dx, dy in ((-1, 0.05), (-0.98, 0.3), (-0.7, 0.5), (-0.2, 0.58), (0.2, 0.58), (0.7, 0.5), (0.98, 0.3), (1, 0.05))
    ]
    fringe = [(x + dx * h * 0.36 + lean, y - dy * h) for dx, dy in ((0.9, 0.16), (0.5, 0.26), (0, 0.24), (-0.5, 0.28), (-0.9, 0.16))]
    brush.shape([*top, *fringe], p.hair_rgb)
    if abs(body.cos) < 0.8:  # the back of the head in a side view
        back = body.at(0, head_up + 0.1 * b.head, -0.2 * b.head)
        brush.oval(back, 0.24 * h, 0.36 * h, p.hair_rgb)
        brush.oval(crown, 0.34 * h, 0.26 * h, p.hair_rgb)
    if p.haircut == "bob":
        for sign in (1, -1):
            if body.shows_front or (sign > 0) == (body.near_side == "left"):
                brush.line(
                    [
                        body.at(sign * 0.36 * b.head, head_up + 0.2 * b.head, -0.02),
                        body.at(sign * 0.38 * b.head, head_up - 0.3 * b.head, -0.02),
                    ],
                    0.15 * h,
                    p.hair_rgb,
                )


def _hair_from_behind(brush: Brush, body: Body, h: float) -> None:
    p, b = body.person, body.build
    x, y = body.point("head")
    head_up = body.joints["head"][1]
    if p.haircut != "bald":
        brush.oval((x, y - 0.05 * h), 0.41 * h, (0.47 if p.haircut == "short" else 0.52) * h, p.hair_rgb)
    if p.haircut == "bob":
        brush.oval((x, y + 0.2 * h), 0.43 * h, 0.3 * h, p.hair_rgb)
    if p.haircut == "loose":
        low = body.at(0, b.neck - 0.13, -0.04)
        brush.limb((x, y), low, 0.42 * h, 0.34 * h, p.hair_rgb)
        for shift in (-0.15, 0.12):
            brush.line([(x + shift * h, y), (low[0] + shift * h, low[1] + 0.1 * h)], 0.025 * h, darker(p.hair_rgb, 0.25))
    if p.haircut == "ponytail":
        tie = body.at(0, head_up + 0.12 * b.head, -0.4 * b.head)
        brush.limb(tie, body.at(0, b.neck - 0.12, -0.07), 0.14 * h, 0.1 * h, darker(p.hair_rgb, 0.2))
        brush.disc(tie, 0.09 * h, (200, 40, 90))


def _hat(brush: Brush, body: Body, h: float) -> None:
    """A cap with a visor, a beanie with a bobble, or a hat with a brim."""
    hat = body.person.hat
    assert hat is not None
    b = body.build
    head_up = body.joints["head"][1]
    x, y = body.point("head")
    edge = darker(hat.rgb, 0.35) if sum(hat.rgb) > 150 else darker(hat.rgb, -0.2)
    brow = y - 0.2 * h
    dome = [
        (x + dx * 0.46 * h, brow - dy * 0.4 * h)
        for dx, dy in ((-1, -0.05), (-0.97, 0.4), (-0.75, 0.8), (-0.3, 1.0), (0.3, 1.0), (0.75, 0.8), (0.97, 0.4), (1, -0.05))
    ]
    brush.shape(dome, hat.rgb)
    brush.line([dome[0], dome[-1]], 0.05 * h, edge)
    if hat.kind == "cap" and not body.shows_back:
        brim = body.at(0, head_up + 0.2 * b.head, b.head * 0.55)
        brush.oval(((x + brim[0]) / 2 + body.sin * 0.2 * h, brow), h * (0.3 + 0.16 * abs(body.sin)), 0.075 * h, edge)
    if hat.kind == "hat":
        brush.oval((x, brow), 0.78 * h, 0.1 * h, edge)
        brush.oval((x, brow - 0.02 * h), 0.74 * h, 0.075 * h, hat.rgb)
        brush.line([(x - 0.42 * h, brow - 0.1 * h), (x + 0.42 * h, brow - 0.1 * h)], 0.07 * h, edge)
    if hat.kind == "beanie":
        brush.line([(x - 0.43 * h, brow - 0.02 * h), (x + 0.43 * h, brow - 0.02 * h)], 0.14 * h, edge)
        brush.disc((x, brow - 0.44 * h), 0.1 * h, edge)
