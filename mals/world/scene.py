"""Pictures of the world: `picture(seed, person, view)` is a pure function of what it is given, and knows everything about what it shows."""

from dataclasses import dataclass, replace

import numpy as np

from mals.stages.pose import KEYPOINTS
from mals.world.backdrop import PLACES, backdrop
from mals.world.body import Body, Stance
from mals.world.brush import Brush
from mals.world.camera import CAMERAS, Camera, Shot, expose
from mals.world.figure import figure, shadow
from mals.world.person import Person, person

CANVAS = 256  # rows that everything is drawn on, twice as many as columns
FAULTS = ("blurred", "grey", "nobody", "two_persons", "cut", "tiny", "solid")
FACE = slice(0, 3)  # nose and eyes


@dataclass(frozen=True)
class Picture:
    """A picture and its truth; coordinates are pixels of the picture, a whole number being the middle of a pixel."""

    pixels: np.ndarray  # [H, H / 2, 3] uint8, red first
    keypoints: np.ndarray  # [17, 3] float32: x, y, and 0 outside the picture or nobody there, 1 hidden, 2 visible
    box: tuple[float, float, float, float] | None  # x0, y0, x1, y1 of what is drawn of the person, within the picture; None for nobody
    mask: np.ndarray  # [H, H / 2] bool: where the person is
    attributes: list[int] | None  # see Person.attributes; None for nobody
    person: Person | None
    others: tuple[tuple[float, float, float, float], ...]  # boxes of anybody else
    camera: int
    place: str
    walking: bool
    fault: str | None


@dataclass(frozen=True)
class Scene:
    """What a picture is taken of, and how."""

    camera: Camera
    shot: Shot
    shown: Person
    stance: Stance
    bodies: list[Body]  # the one whom the picture is about is the last, drawn in front of anybody else; none for nobody
    rng: np.random.Generator  # for what the camera adds


def staged(seed: int, number: int, view: int, fault: str | None = None, who: Person | None = None) -> Scene:
    """What `picture` shows for the same arguments."""
    rng = np.random.default_rng((seed, 0x51E3, number, view))
    shown = who or person(seed, number)
    camera = Camera.numbered(seed, view % CAMERAS, PLACES)
    if rng.random() < 0.5 or fault == "two_persons":  # the place varies: a camera that turns, and pictures that are of no camera network
        camera = replace(camera, place=PLACES[int(rng.integers(len(PLACES)))], scene=int(rng.integers(1 << 30)))
    stance = _stance(shown, camera, rng, fault)
    shot = _shot(rng, fault)
    bodies = [] if fault in ("nobody", "solid") else [Body(shown, stance)]
    if fault == "two_persons":
        bodies = _pair(bodies[0], person(seed + 1, number), rng)
    return Scene(camera, shot, shown, stance, bodies, rng)


def picture(seed: int, number: int, view: int, height: int = 128, fault: str | None = None, who: Person | None = None) -> Picture:
    """View `view` of person `number` in the world `seed`; `who` is drawn in their place where given. View v is taken by camera v % 6.

    `fault` spoils the picture in a known way: one of FAULTS.
    """
    scene = staged(seed, number, view, fault, who)
    camera, bodies, rng = scene.camera, scene.bodies, scene.rng
    canvas = np.empty((CANVAS, CANVAS // 2, 3), np.uint8)
    ground = backdrop(canvas, camera.place, camera.horizon * CANVAS, np.random.default_rng(camera.scene))
    nobody = not bodies
    extents: list[tuple[float, float, float, float] | None] = []
    empty = canvas.copy()
    for body in bodies:
        brush = Brush(canvas)
        shadow(brush, body, ground)
        if body is bodies[-1]:
            empty = canvas.copy()
        brush.extent = None
        figure(brush, body)
        extents.append(brush.extent)
    mask = (canvas != empty).max(2)
    pixels = expose(_spoil(canvas, fault, rng), camera, scene.shot, height, rng)
    if fault == "solid":
        pixels[:] = np.array(pixels.reshape(-1, 3).mean(0), np.uint8)
    scale = height / CANVAS
    small = mask[:: round(1 / scale), :: round(1 / scale)] if scale < 1 else mask
    boxes = [_box(extent, height, scale) for extent in extents if extent]
    return Picture(
        pixels=pixels,
        keypoints=np.zeros((17, 3), np.float32) if nobody else _keypoints(bodies[-1], height, scale),
        box=boxes[-1] if boxes else None,
        mask=small,
        attributes=None if nobody else scene.shown.attributes(),
        person=None if nobody else scene.shown,
        others=tuple(boxes[:-1]),
        camera=camera.number,
        place=camera.place,
        walking=scene.stance.walking,
        fault=fault,
    )


def _stance(shown: Person, camera: Camera, rng: np.random.Generator, fault: str | None) -> Stance:
    quarter = float(rng.choice([0, 0, 0, 180, 180, 90, -90]))
    tall = CANVAS * float(rng.uniform(0.74, 0.9)) * camera.squat
    if shown.age == "child":
        tall *= float(rng.uniform(1.0, 1.25))
    x, y = CANVAS / 4 + float(rng.uniform(-8, 8)), CANVAS * float(rng.uniform(0.915, 0.965))
    if fault == "tiny":
        tall, y = CANVAS * float(rng.uniform(0.1, 0.15)) / shown.stature, CANVAS * float(rng.uniform(0.6, 0.9))
    if fault == "cut":  # the waist is at the lower border, or the picture begins at the hips
        tall = CANVAS * float(rng.uniform(1.15, 1.5)) / shown.stature
        y = CANVAS + tall * shown.stature * float(rng.uniform(0.5, 0.58))
        if rng.random() < 0.5:
            y = tall * shown.stature * float(rng.uniform(0.44, 0.5))
    return Stance(
        yaw=quarter + float(rng.uniform(-28, 28)),
        walking=bool(rng.random() < 0.6),
        phase=float(rng.uniform(0, 2 * np.pi)),
        swing=float(rng.uniform(0.5, 1.0)),
        spread=float(rng.uniform(0, 1)),
        tall=tall,
        foot=(x, y),
    )


def _pair(body: Body, other: Person, rng: np.random.Generator) -> list[Body]:
    """Two people side by side, the one behind first."""
    shift = float(rng.uniform(24, 34)) * (1 if rng.random() < 0.5 else -1)
    small = float(rng.uniform(0.72, 0.9))
    x, y = CANVAS / 4, body.stance.foot[1]
    first = Body(body.person, replace(body.stance, tall=body.stance.tall * small, foot=(x + shift, y)))
    turned = replace(
        first.stance, yaw=float(rng.uniform(-180, 180)), phase=float(rng.uniform(0, 6)), foot=(x - shift, y - float(rng.uniform(0, 12)))
    )
    return [Body(other, turned), first]


def _shot(rng: np.random.Generator, fault: str | None) -> Shot:
    blur = float(rng.uniform(0, 0.9))
    return Shot(
        light=float(rng.uniform(0.84, 1.14)),
        side=float(rng.uniform(-1, 1)),
        blur=float(rng.uniform(7, 12)) if fault == "blurred" else blur,
        noise=0.0 if fault == "blurred" else float(rng.uniform(0, 4)),
        quality=int(rng.integers(78, 97)),
    )


def _spoil(canvas: np.ndarray, fault: str | None, rng: np.random.Generator) -> np.ndarray:
    """Near-grey: the contrast all but gone, as under a failed exposure."""
    if fault != "grey":
        return canvas
    level, keep = float(rng.uniform(90, 170)), float(rng.uniform(0.03, 0.08))
    light = canvas.astype(np.float32).mean(2, keepdims=True)
    return np.broadcast_to(np.clip(level + (light - 128) * keep, 0, 255), canvas.shape).astype(np.uint8)


def _keypoints(body: Body, height: int, scale: float) -> np.ndarray:
    """[17, 3]: joints in pixels of the picture, and how they are seen."""
    found = np.zeros((17, 3), np.float32)
    for at, name in enumerate(KEYPOINTS):
        x, y = body.point(name)
        x, y = (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5
        if -0.5 <= x <= height / 2 - 0.5 and -0.5 <= y <= height - 0.5:
            found[at] = (x, y, 2 if _seen(body, name) else 1)
    return found


def _seen(body: Body, name: str) -> bool:
    """Whether a joint lies on the viewer's side of the body: the face from behind and the far side of a profile do not."""
    if name == "nose":
        return body.cos > -0.3
    if name.endswith(("eye", "ear")):
        return body.depth(name) > (0.01 if name.endswith("eye") else -0.02)
    return not (abs(body.cos) < 0.6 and not name.startswith(body.near) and name.split("_")[1] in ("shoulder", "elbow", "wrist", "hip"))


def _box(extent: tuple[float, float, float, float], height: int, scale: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * scale for value in extent)
    return max(0.0, x0), max(0.0, y0), min(height / 2, x1), min(float(height), y1)
