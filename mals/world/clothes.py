"""Draws the clothed body: legs, skirts and dresses, the trunk and the arms. The kind of a garment decides its shape."""

import itertools

import numpy as np

from mals.world.body import Body
from mals.world.brush import Brush, darker
from mals.world.person import DRESSES, RGB, SKIRTS, Garment

HEMS = {"coat": 0.12, "jacket": 0.045, "hoodie": 0.03, "sweater": 0.025, "tank top": 0.01}  # below the hip joint, in statures; shirts 0.02
OUTLINE = 0.3  # how much darker the line around a garment is than the garment


def draw_leg(brush: Brush, body: Body, side: str) -> None:
    """One leg with its shoe: skin, and trousers or shorts over it."""
    person = body.person
    hip, knee, ankle, toe = (body.point(f"{side}_{joint}") for joint in ("hip", "knee", "ankle", "toe"))
    size = body.size * (0.6 + 0.4 * person.girth)
    dim = 0.0 if side == body.near_side else 0.1
    skin = darker(person.skin, dim)
    foot = darker(person.shoes.rgb, dim)
    heel = (ankle[0], ankle[1] + 0.012 * size)
    brush.limb(heel, toe, 0.026 * size, 0.019 * size, darker(foot, OUTLINE))
    brush.limb(hip, knee, 0.05 * size, 0.036 * size, skin)
    brush.limb(knee, ankle, 0.036 * size, 0.022 * size, skin)
    brush.limb(heel, toe, 0.022 * size, 0.016 * size, foot)
    garment = person.lower
    if garment is None or garment.kind in SKIRTS:
        return
    edge, color = darker(garment.rgb, OUTLINE + dim), darker(garment.rgb, dim)
    if garment.kind == "shorts":
        end = _between(hip, knee, 0.72)
        _tube(brush, [(hip, 0.06 * size), (end, 0.057 * size)], color, edge, 0.007 * size)
    else:
        loose = {"leggings": 0.0, "jeans": 0.005, "pants": 0.013}[garment.kind]
        low = _between(knee, ankle, 0.97)
        _tube(brush, [(hip, 0.056 * size), (knee, (0.038 + loose) * size), (low, (0.025 + loose * 1.2) * size)], color, edge, 0.007 * size)
        end = low
        if garment.kind == "jeans":
            brush.line([_between(hip, knee, 0.3), knee, low], 0.006 * size, darker(color, 0.25))
            brush.line([(low[0] - 0.026 * size, low[1]), (low[0] + 0.026 * size, low[1])], 0.014 * size, darker(color, -0.35))
    _stripes_across(brush, garment, [hip, knee, end] if garment.kind != "shorts" else [hip, end], 0.045 * size, dim)


def draw_dress_or_skirt(brush: Brush, body: Body) -> None:
    """From the waist to the hem, wide enough for the legs."""
    person = body.person
    garment = person.lower or person.upper
    if garment.kind not in (*SKIRTS, *DRESSES):
        return
    is_long = garment.kind.startswith("long")
    build = body.build
    waist_up, hem_up = build.hip + 0.075, 0.1 if is_long else build.hip * 0.66
    waist = body.half_width(build.waist_width * 1.02, build.depth)
    hips = body.half_width(build.hip_width * 1.12, build.depth * 1.15)
    center = body.at(0, waist_up, 0)[0]
    reach = [
        body.point(f"{side}_{joint}")[0] - center for side in ("left", "right") for joint in (("knee", "ankle") if is_long else ("knee",))
    ]
    flare = hips * (1.35 if is_long else 1.3)
    left = min(-flare, min(reach) * (0.95 if is_long else 0.9) - 0.03 * body.size)
    right = max(flare, max(reach) * (0.95 if is_long else 0.9) + 0.03 * body.size)
    rows = [(waist_up, -waist, waist), (build.hip, -hips, hips), (hem_up, left, right)]
    outline = [(center + left_x, body.at(0, up, 0)[1]) for up, left_x, _ in rows] + [
        (center + right_x, body.at(0, up, 0)[1]) for up, _, right_x in rows[::-1]
    ]
    hem_middle_y = body.at(0, hem_up - 0.012, 0)[1]  # the hem sags
    outline.insert(3, (center + (left + right) / 2, hem_middle_y))
    _filled(brush, outline, garment.rgb, darker(garment.rgb, OUTLINE), 0.007 * body.size)
    for share in (0.2, 0.4, 0.6, 0.8):
        top, low = -hips + 2 * hips * share, left + (right - left) * share
        brush.line(
            [(center + top, body.at(0, build.hip - 0.01, 0)[1]), (center + low, body.at(0, hem_up + 0.008, 0)[1])],
            0.006 * body.size,
            darker(garment.rgb, 0.18),
        )
    steps = 7 if is_long else 4
    if garment.pattern == "striped" and garment.second_rgb:
        for step in range(steps):
            share = (step + 0.5) / steps
            y = body.at(0, build.hip - (build.hip - hem_up) * share, 0)[1]
            stripe_left, stripe_right = -hips + (left + hips) * share, hips + (right - hips) * share
            brush.line([(center + stripe_left * 0.95, y), (center + stripe_right * 0.95, y)], 0.026 * body.size, garment.second_rgb)
    _spots(
        brush,
        garment,
        [(center + (left + right) / 2 * share, body.at(0, build.hip - (build.hip - hem_up) * share, 0)[1]) for share in (0.3, 0.7)],
        0.05 * body.size,
    )


def draw_trunk(brush: Brush, body: Body) -> None:
    """Neck and trunk in skin, and the garment of the upper body over it."""
    person, build, size = body.person, body.build, body.size
    neck, up = body.point("neck"), body.at(0, build.neck + 0.035, 0)
    brush.limb(neck, up, 0.032 * size, 0.03 * size, darker(person.skin, 0.08))
    garment = person.upper
    hem = -0.0 if garment.kind in DRESSES else HEMS.get(garment.kind, 0.02)
    bare_shoulders = garment.kind == "tank top"
    rows = _slices(body, hem)
    if bare_shoulders:
        brush.shape(_outline(body, _slices(body, 0.0)), person.skin)
        rows = [(up, across * (0.62 if up > build.shoulder - 0.03 else 0.97)) for up, across in rows]
    if person.lower is not None and person.lower.kind not in SKIRTS:  # the seat of trousers, below a short hem
        seat = [
            (build.hip + 0.07, body.half_width(build.waist_width, build.depth)),
            (build.hip - 0.045, body.half_width(build.hip_width * 1.02, build.depth * 1.1)),
        ]
        brush.shape(_outline(body, seat), person.lower.rgb)
    shape = _outline(body, rows)
    _filled(brush, shape, garment.rgb, darker(garment.rgb, OUTLINE), 0.007 * size)
    _trunk_pattern(brush, body, garment, rows)
    _details(brush, body, garment, rows[-1][0])


def draw_arm(brush: Brush, body: Body, side: str) -> None:
    """One arm: skin, hand and the sleeve."""
    person = body.person
    shoulder, elbow, wrist = (body.point(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
    size = body.size * (0.6 + 0.4 * person.girth)
    dim = 0.0 if side == body.near_side else 0.08
    skin = darker(person.skin, dim)
    hand = _beyond(elbow, wrist, 0.02 * body.size)
    for radius, tone in ((0.007 * size, darker(skin, OUTLINE)), (0.0, skin)):
        brush.limb(shoulder, elbow, 0.032 * size + radius, 0.026 * size + radius, tone)
        brush.limb(elbow, wrist, 0.026 * size + radius, 0.019 * size + radius, tone)
        brush.disc(hand, 0.025 * size + radius, tone)
    garment = person.upper
    color, edge = darker(garment.rgb, dim), darker(garment.rgb, OUTLINE + dim)
    if garment.kind == "tank top":
        return
    if person.sleeves == "short":
        end = _between(shoulder, elbow, 0.66)
        _tube(brush, [(shoulder, 0.042 * size), (end, 0.042 * size)], color, edge, 0.007 * size)
        _stripes_across(brush, garment, [shoulder, end], 0.034 * size, dim)
        return
    thick = {"coat": 0.008, "jacket": 0.008, "hoodie": 0.007, "sweater": 0.004}.get(garment.kind, 0.0)
    low = _between(elbow, wrist, 0.97)
    _tube(
        brush,
        [(shoulder, (0.042 + thick) * size), (elbow, (0.032 + thick) * size), (low, (0.025 + thick) * size)],
        color,
        edge,
        0.007 * size,
    )
    _stripes_across(brush, garment, [shoulder, elbow, low], 0.03 * size, dim)
    if garment.kind in ("sweater", "hoodie"):
        brush.line([low, _between(elbow, wrist, 0.88)], 0.05 * size, darker(color, 0.15))


def _slices(body: Body, hem: float) -> list[tuple[float, float]]:
    """Slices of the trunk from the neck down to `hem` below the hip joint: height in statures and half width in pixels."""
    build = body.build
    low = build.hip - hem
    return [
        (build.neck + 0.004, body.half_width(0.036, 0.036)),
        (build.shoulder + 0.012, body.half_width(build.chest_width * 0.86, build.depth * 0.8)),
        (build.shoulder - 0.03, body.half_width(build.chest_width, build.depth)),
        (build.shoulder - 0.11, body.half_width(build.chest_width * 0.92, build.depth * (1.12 if body.person.gender == "woman" else 1.02))),
        (build.hip + 0.095, body.half_width(build.waist_width, build.depth * 0.92)),
        (max(low, build.hip), body.half_width(build.hip_width * 1.06, build.depth * 1.12)),
        (low - 0.004, body.half_width(build.hip_width * (1.1 if hem > 0.1 else 1.06), build.depth * 1.15)),
    ]


def _outline(body: Body, rows: list[tuple[float, float]]) -> np.ndarray:
    x = body.at(0, 0, 0)[0]
    left = [(x - across, body.at(0, up, 0)[1]) for up, across in rows]
    return np.array(left + [(x + across, body.at(0, up, 0)[1]) for up, across in rows[::-1]])


def _trunk_pattern(brush: Brush, body: Body, garment: Garment, rows: list[tuple[float, float]]) -> None:
    x, size = body.at(0, 0, 0)[0], body.size
    top, low = rows[2][0], rows[-1][0]
    ups = np.array([row[0] for row in rows[::-1]])
    halves = np.array([row[1] for row in rows[::-1]])
    if garment.pattern in ("striped", "ribbed"):
        tone = garment.second_rgb or darker(garment.rgb, 0.2)
        width = 0.026 if garment.pattern == "striped" else 0.008
        for up in np.arange(top + 0.01, low + 0.01, -0.055 if garment.pattern == "striped" else -0.035):
            half = float(np.interp(up, ups, halves)) * 0.95 - width * size / 2
            y = body.at(0, up, 0)[1]
            brush.line([(x - half, y), (x + half, y)], width * size, tone)
    if garment.pattern == "dotted":
        tone = darker(garment.rgb, 0.35) if sum(garment.rgb) > 240 else darker(garment.rgb, -0.3)
        for row, up in enumerate(np.arange(top, low + 0.02, -0.05)):
            half = float(np.interp(up, ups, halves)) * 0.8
            for share in (-0.75, -0.25, 0.25, 0.75) if row % 2 else (-0.5, 0.0, 0.5):
                brush.disc((x + half * share, body.at(0, up, 0)[1]), 0.008 * size, tone)
    if garment.pattern == "printed" and body.shows_front:
        tone = darker(garment.rgb, 0.4) if sum(garment.rgb) > 300 else darker(garment.rgb, -0.55)
        brush.oval(body.at(0, (top + low) / 2 + 0.05, body.build.depth), 0.04 * size * body.cos, 0.03 * size, tone)


def _details(brush: Brush, body: Body, garment: Garment, low: float) -> None:
    """Collar, zip, hood, belt, pocket and buttons, as far as they are visible."""
    build, size, kind = body.build, body.size, garment.kind
    edge = darker(garment.rgb, 0.4) if sum(garment.rgb) > 200 else darker(garment.rgb, -0.25)
    if kind == "hoodie":
        back = body.at(0, build.neck - 0.005, -0.03)
        brush.oval(back, body.half_width(0.075, 0.05), 0.032 * size, darker(garment.rgb, 0.15))
    if kind in DRESSES:
        belt = body.at(0, build.hip + 0.085, 0)
        half = body.half_width(build.waist_width * 0.98, build.depth * 0.9)
        brush.line([(belt[0] - half, belt[1]), (belt[0] + half, belt[1])], 0.014 * size, darker(garment.rgb, 0.3))
    if body.shows_back:
        return
    neck = body.at(0, build.neck - 0.002, build.depth * 0.6)
    if kind in ("t-shirt", "tank top", "long-sleeved shirt", *DRESSES) and body.shows_front:
        drop = 0.05 if kind in ("tank top", *DRESSES) else 0.022
        brush.oval(neck, 0.034 * size * body.cos, drop * size, body.person.skin)
    front = build.depth * 1.05
    if kind in ("jacket", "coat"):
        brush.line([body.at(0, build.neck - 0.02, front), body.at(0, low + 0.01, front)], 0.009 * size, edge)
    if kind == "coat":
        for up in np.linspace(build.shoulder - 0.06, build.hip - 0.06, 4):
            brush.disc(body.at(-0.022, float(up), front), 0.008 * size, edge)
    if kind in ("jacket", "coat", "polo shirt"):
        for sign in (1, -1):
            brush.shape(
                [
                    body.at(0, build.neck - 0.03, front),
                    body.at(sign * 0.05, build.neck + 0.01, 0),
                    body.at(sign * 0.04, build.neck - 0.05, front * 0.9),
                ],
                edge,
            )
    if kind == "polo shirt":
        brush.line([body.at(0, build.neck - 0.03, front), body.at(0, build.neck - 0.1, front)], 0.008 * size, edge)
    if kind == "hoodie" and body.shows_front:
        pocket = [
            body.at(side, up, front)
            for side, up in ((-0.035, build.hip + 0.09), (0.035, build.hip + 0.09), (0.06, build.hip + 0.02), (-0.06, build.hip + 0.02))
        ]
        brush.line([*pocket, pocket[0]], 0.006 * size, edge)


def _tube(brush: Brush, rings: list[tuple[tuple[float, float], float]], color: RGB, edge: RGB, line: float) -> None:
    """A sleeve or trouser leg through rings of a centre and a radius, with a dark edge `line` pixels wide."""
    for more, tone in ((line, edge), (0.0, color)):
        for (start, first), (end, last) in itertools.pairwise(rings):
            brush.limb(start, end, first + more, last + more, tone)


def _filled(brush: Brush, outline: np.ndarray | list[tuple[float, float]], color: RGB, edge: RGB, line: float) -> None:
    points = np.asarray(outline, float)
    brush.shape(points, color)
    brush.line(np.vstack([points, points[:1]]), min(line, 1.5), edge)


def _stripes_across(brush: Brush, garment: Garment, joints: list[tuple[float, float]], radius: float, dim: float) -> None:
    """Stripes across a sleeve or a leg of a striped garment."""
    if garment.pattern != "striped" or garment.second_rgb is None:
        return
    for start, end in itertools.pairwise(joints):
        first, last = np.array(start), np.array(end)
        length = float(np.hypot(*(last - first)))
        if length < 1:
            continue
        across = np.array([-(last - first)[1], (last - first)[0]]) / length * radius * 0.7
        for share in (0.3, 0.75):
            middle = first + (last - first) * share
            brush.line([middle - across, middle + across], radius * 0.65, darker(garment.second_rgb, dim))


def _spots(brush: Brush, garment: Garment, places: list[tuple[float, float]], apart: float) -> None:
    if garment.pattern == "dotted":
        tone = darker(garment.rgb, 0.35) if sum(garment.rgb) > 240 else darker(garment.rgb, -0.3)
        for x, y in places:
            for shift in (-1, 0, 1):
                brush.disc((x + shift * apart, y), apart * 0.17, tone)


def _between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _beyond(start: tuple[float, float], end: tuple[float, float], more: float) -> tuple[float, float]:
    length = max(1e-6, float(np.hypot(end[0] - start[0], end[1] - start[1])))
    return _between(start, end, 1 + more / length)
