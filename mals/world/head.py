"""Draws head, face, hair and hat."""

from mals.world.body import Body
from mals.world.brush import Brush, darker

HALF_WIDTH, HALF_HEIGHT = 0.37, 0.5  # of the skull, in heights of the head


def draw_head(brush: Brush, body: Body) -> None:
    """Skull, ears and face, as far as they are visible."""
    person, head_size = body.person, body.build.head * body.size
    centre = body.point("head")
    for side in ("left", "right"):
        if body.depth(f"{side}_ear") > -0.02:
            brush.disc(body.point(f"{side}_ear"), 0.09 * head_size, darker(person.skin, 0.12))
    brush.oval(centre, HALF_WIDTH * head_size * 1.05, HALF_HEIGHT * head_size * 1.03, darker(person.skin, 0.3))
    brush.oval(centre, HALF_WIDTH * head_size, HALF_HEIGHT * head_size, person.skin)
    if body.cos < -0.3:
        return
    _face(brush, body, head_size)


def _face(brush: Brush, body: Body, head_size: float) -> None:
    person = body.person
    nose = body.point("nose")
    build = body.build
    head_up = body.joints["head"][1]
    if person.beard:
        place = body.at(0, head_up - 0.27 * build.head, build.head * 0.22)
        brush.oval(place, head_size * (0.14 + 0.13 * max(0.0, body.cos)), 0.17 * head_size, person.hair_rgb)
    brush.disc(nose, 0.06 * head_size, darker(person.skin, 0.22))
    for side in ("left", "right"):
        if body.depth(f"{side}_eye") > 0.01:
            x, y = body.point(f"{side}_eye")
            brush.disc((x, y), 0.065 * head_size, (250, 250, 250))
            brush.disc((x, y), 0.045 * head_size, (30, 24, 22))
            brush.line(
                [(x - 0.08 * head_size, y - 0.11 * head_size), (x + 0.08 * head_size, y - 0.11 * head_size)],
                0.03 * head_size,
                darker(person.hair_rgb, 0.25),
            )
    mouth = body.at(0, head_up - 0.24 * build.head, build.head * 0.36)
    lips = (196, 40, 60) if person.gender == "woman" else darker(person.skin, 0.4)
    across = head_size * (0.05 + 0.07 * max(0.0, body.cos))
    brush.line(
        [(mouth[0] - across, mouth[1]), (mouth[0] + across, mouth[1])], (0.065 if person.gender == "woman" else 0.035) * head_size, lips
    )


def draw_hair_behind(brush: Brush, body: Body) -> None:
    """Long hair behind head and shoulders, for a view from the front or the side."""
    person, build, head_size = body.person, body.build, body.build.head * body.size
    if person.hair != "long" or body.shows_back:
        return
    head_up = body.joints["head"][1]
    if person.haircut == "loose":
        low = build.neck - 0.14
        places = [body.at(0, head_up + 0.1 * build.head, -0.1 * build.head), body.at(0, low, -0.045)]
        brush.limb(places[0], places[1], 0.5 * head_size, 0.34 * head_size, person.hair_rgb)
    else:
        brush.limb(
            body.at(0, head_up + 0.2 * build.head, -0.45 * build.head),
            body.at(0, build.neck - 0.1, -0.09),
            0.15 * head_size,
            0.09 * head_size,
            person.hair_rgb,
        )


def draw_hair_in_front(brush: Brush, body: Body) -> None:
    """The hair on the head, long strands in front of the shoulders, and the hat."""
    person, build, head_size = body.person, body.build, body.build.head * body.size
    if body.shows_back:
        _hair_from_behind(brush, body, head_size)
    elif person.haircut != "bald":
        _hair_on_top(brush, body, head_size)
    head_up = body.joints["head"][1]
    if person.hair == "long" and not body.shows_back:
        if person.haircut == "loose":
            for sign in (1, -1):
                if body.shows_front or (sign > 0) == (body.near_side == "left"):
                    place = sign * 0.4 * build.head
                    top = body.at(place, head_up + 0.2 * build.head, -0.02)
                    brush.line(
                        [top, body.at(place * 1.12, build.neck, 0.0), body.at(place * 1.25, build.neck - 0.12, 0.02)],
                        0.2 * head_size,
                        person.hair_rgb,
                    )
        elif body.shows_front:  # the tail lies over one shoulder
            brush.line(
                [body.at(0.33 * build.head, head_up - 0.2 * build.head, 0), body.at(0.5 * build.head, build.neck - 0.12, 0.05)],
                0.18 * head_size,
                person.hair_rgb,
            )
    if person.hat:
        _hat(brush, body, head_size)


def _hair_on_top(brush: Brush, body: Body, head_size: float) -> None:
    """Hair from the front or the side, fuller at the back of the head, and the sides of a bob."""
    person, build = body.person, body.build
    head_up = body.joints["head"][1]
    crown = body.at(0, head_up + 0.2 * build.head, -0.06 * build.head)
    x, y = body.point("head")
    lean = body.sin * 0.1 * head_size  # leaves the face free
    top = [
        (x + dx * head_size * 0.42 - lean * 0.6, y - dy * head_size)
        for dx, dy in ((-1, 0.05), (-0.98, 0.3), (-0.7, 0.5), (-0.2, 0.58), (0.2, 0.58), (0.7, 0.5), (0.98, 0.3), (1, 0.05))
    ]
    fringe = [
        (x + dx * head_size * 0.36 + lean, y - dy * head_size)
        for dx, dy in ((0.9, 0.16), (0.5, 0.26), (0, 0.24), (-0.5, 0.28), (-0.9, 0.16))
    ]
    brush.shape([*top, *fringe], person.hair_rgb)
    if abs(body.cos) < 0.8:  # the back of the head in a side view
        back = body.at(0, head_up + 0.1 * build.head, -0.2 * build.head)
        brush.oval(back, 0.24 * head_size, 0.36 * head_size, person.hair_rgb)
        brush.oval(crown, 0.34 * head_size, 0.26 * head_size, person.hair_rgb)
    if person.haircut == "bob":
        for sign in (1, -1):
            if body.shows_front or (sign > 0) == (body.near_side == "left"):
                brush.line(
                    [
                        body.at(sign * 0.36 * build.head, head_up + 0.2 * build.head, -0.02),
                        body.at(sign * 0.38 * build.head, head_up - 0.3 * build.head, -0.02),
                    ],
                    0.15 * head_size,
                    person.hair_rgb,
                )


def _hair_from_behind(brush: Brush, body: Body, head_size: float) -> None:
    person, build = body.person, body.build
    x, y = body.point("head")
    head_up = body.joints["head"][1]
    if person.haircut != "bald":
        brush.oval((x, y - 0.05 * head_size), 0.41 * head_size, (0.47 if person.haircut == "short" else 0.52) * head_size, person.hair_rgb)
    if person.haircut == "bob":
        brush.oval((x, y + 0.2 * head_size), 0.43 * head_size, 0.3 * head_size, person.hair_rgb)
    if person.haircut == "loose":
        low = body.at(0, build.neck - 0.13, -0.04)
        brush.limb((x, y), low, 0.42 * head_size, 0.34 * head_size, person.hair_rgb)
        for shift in (-0.15, 0.12):
            brush.line(
                [(x + shift * head_size, y), (low[0] + shift * head_size, low[1] + 0.1 * head_size)],
                0.025 * head_size,
                darker(person.hair_rgb, 0.25),
            )
    if person.haircut == "ponytail":
        tie = body.at(0, head_up + 0.12 * build.head, -0.4 * build.head)
        brush.limb(tie, body.at(0, build.neck - 0.12, -0.07), 0.14 * head_size, 0.1 * head_size, darker(person.hair_rgb, 0.2))
        brush.disc(tie, 0.09 * head_size, (200, 40, 90))


def _hat(brush: Brush, body: Body, head_size: float) -> None:
    """A cap with a visor, a beanie with a bobble, or a hat with a brim."""
    hat = body.person.hat
    assert hat is not None
    build = body.build
    head_up = body.joints["head"][1]
    x, y = body.point("head")
    edge = darker(hat.rgb, 0.35) if sum(hat.rgb) > 150 else darker(hat.rgb, -0.2)
    brow = y - 0.2 * head_size
    dome = [
        (x + dx * 0.46 * head_size, brow - dy * 0.4 * head_size)
        for dx, dy in ((-1, -0.05), (-0.97, 0.4), (-0.75, 0.8), (-0.3, 1.0), (0.3, 1.0), (0.75, 0.8), (0.97, 0.4), (1, -0.05))
    ]
    brush.shape(dome, hat.rgb)
    brush.line([dome[0], dome[-1]], 0.05 * head_size, edge)
    if hat.kind == "cap" and not body.shows_back:
        brim = body.at(0, head_up + 0.2 * build.head, build.head * 0.55)
        brush.oval(
            ((x + brim[0]) / 2 + body.sin * 0.2 * head_size, brow), head_size * (0.3 + 0.16 * abs(body.sin)), 0.075 * head_size, edge
        )
    if hat.kind == "hat":
        brush.oval((x, brow), 0.78 * head_size, 0.1 * head_size, edge)
        brush.oval((x, brow - 0.02 * head_size), 0.74 * head_size, 0.075 * head_size, hat.rgb)
        brush.line([(x - 0.42 * head_size, brow - 0.1 * head_size), (x + 0.42 * head_size, brow - 0.1 * head_size)], 0.07 * head_size, edge)
    if hat.kind == "beanie":
        brush.line(
            [(x - 0.43 * head_size, brow - 0.02 * head_size), (x + 0.43 * head_size, brow - 0.02 * head_size)], 0.14 * head_size, edge
        )
        brush.disc((x, brow - 0.44 * head_size), 0.1 * head_size, edge)
