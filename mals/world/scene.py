"""Images of the world: `draw_image(seed, number, view)` is a pure function that returns an image with its whole ground truth."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mals.stages.pose import KEYPOINTS
from mals.world.backdrop import PLACES, draw_backdrop
from mals.world.body import Body, Stance
from mals.world.brush import Brush
from mals.world.camera import CAMERAS, Camera, Exposure, expose
from mals.world.figure import draw_figure, draw_shadow
from mals.world.occlusion import cut_window, draw_object_before
from mals.world.person import Person, create_person

CANVAS = 256  # rows of the canvas that everything is drawn on; it has half as many columns
Hiding = Literal["occluded", "partial"]  # an object stands before the person; the image shows a part of the person
FAULTS = ("blurred", "grey", "no_person", "two_persons", "cut", "tiny", "solid")


@dataclass(frozen=True)
class DrawnImage:
    """An image and its ground truth. Coordinates are in pixels of the image; an integer is the centre of a pixel."""

    pixels: np.ndarray  # [H, H / 2, 3] uint8, RGB; smaller if the view is partial
    keypoints: np.ndarray  # [17, 3] float32, COCO order: x, y, and 0 outside the image or no person, 1 hidden, 2 visible
    box: tuple[float, float, float, float] | None  # x0, y0, x1, y1 of the person, within the image; None if there is no person
    mask: np.ndarray  # [H, H / 2] bool: the pixels that show the person
    attributes: list[int] | None  # see Person.attributes; None if there is no person
    person: Person | None
    others: tuple[tuple[float, float, float, float], ...]  # boxes of other people
    camera: int
    place: str
    walking: bool
    fault: str | None  # of FAULTS


@dataclass(frozen=True)
class Scene:
    """What an image shows, before it is drawn."""

    camera: Camera
    exposure: Exposure
    subject: Person  # whom the image is about
    stance: Stance
    bodies: list[Body]  # the subject is the last and drawn in front of other people; empty if there is no person
    rng: np.random.Generator  # for the noise of the camera


def arrange_scene(seed: int, number: int, view: int, fault: str | None = None, person: Person | None = None) -> Scene:
    """What `draw_image` shows for the same arguments."""
    rng = np.random.default_rng((seed, 0x51E3, number, view))
    subject = person or create_person(seed, number)
    camera = Camera.numbered(seed, view % CAMERAS, PLACES)
    if rng.random() < 0.5 or fault == "two_persons":  # half of the images show another place, as if the camera had moved
        camera = replace(camera, place=PLACES[int(rng.integers(len(PLACES)))], place_seed=int(rng.integers(1 << 30)))
    stance = _stance(subject, camera, rng, fault)
    exposure = _exposure(rng, fault)
    bodies = [] if fault in ("no_person", "solid") else [Body(subject, stance)]
    if fault == "two_persons":
        bodies = _pair(bodies[0], create_person(seed + 1, number), rng)
    return Scene(camera=camera, exposure=exposure, subject=subject, stance=stance, bodies=bodies, rng=rng)


def draw_image(
    seed: int,
    number: int,
    view: int,
    height: int = 128,
    fault: str | None = None,
    person: Person | None = None,
    hiding: Hiding | None = None,
) -> DrawnImage:
    """View `view` of person `number` in the world `seed`, or of `person` in their place. Camera v % 6 takes view v.

    `fault`, one of FAULTS, spoils the image in a known way. `hiding` hides a part of the person, who is otherwise drawn as without it.
    """
    scene = arrange_scene(seed, number, view, fault, person)
    camera, bodies, rng = scene.camera, scene.bodies, scene.rng
    canvas = np.empty((CANVAS, CANVAS // 2, 3), np.uint8)
    ground = draw_backdrop(canvas, camera.place, camera.horizon * CANVAS, np.random.default_rng(camera.place_seed))
    extents: list[tuple[float, float, float, float] | None] = []
    without_person = canvas.copy()
    for body in bodies:
        brush = Brush(canvas)
        draw_shadow(brush, body, ground)
        if body is bodies[-1]:
            without_person = canvas.copy()
        brush.extent = None
        draw_figure(brush, body)
        extents.append(brush.extent)
    mask = (canvas != without_person).max(2)
    hidden, hiding_rng = np.zeros_like(mask), np.random.default_rng((seed, 0x0CC1, number, view))
    if hiding == "occluded" and extents[-1] is not None:
        hidden = draw_object_before(canvas, extents[-1], hiding_rng)
        mask = mask & ~hidden
    pixels = expose(_flatten_contrast(canvas, fault, rng), camera, scene.exposure, height, rng)
    if fault == "solid":
        pixels[:] = np.array(pixels.reshape(-1, 3).mean(0), np.uint8)
    scale = height / CANVAS
    image_mask = mask[:: round(1 / scale), :: round(1 / scale)] if scale < 1 else mask
    boxes = [_box(extent, height, scale) for extent in extents if extent]
    drawn = DrawnImage(
        pixels=pixels,
        keypoints=_keypoints(bodies[-1], height, scale, hidden) if bodies else np.zeros((17, 3), np.float32),
        box=boxes[-1] if boxes else None,
        mask=image_mask,
        attributes=scene.subject.attributes() if bodies else None,
        person=scene.subject if bodies else None,
        others=tuple(boxes[:-1]),
        camera=camera.number,
        place=camera.place,
        walking=scene.stance.walking,
        fault=fault,
    )
    return _cut(drawn, hiding_rng) if hiding == "partial" and drawn.box is not None else drawn


def _cut(drawn: DrawnImage, rng: np.random.Generator) -> DrawnImage:
    """A part of the image, with its ground truth in the coordinates of the part."""
    assert drawn.box is not None
    whole_height, whole_width = drawn.pixels.shape[:2]
    rows, columns = cut_window(whole_height, whole_width, drawn.box, rng)
    down, across = drawn.mask.shape[0] / whole_height, drawn.mask.shape[1] / whole_width
    height, width = rows.stop - rows.start, columns.stop - columns.start
    keypoints = drawn.keypoints - np.array([columns.start, rows.start, 0], np.float32)
    inside = (keypoints[:, 0] >= -0.5) & (keypoints[:, 0] < width - 0.5) & (keypoints[:, 1] >= -0.5) & (keypoints[:, 1] < height - 0.5)
    x0, y0, x1, y1 = drawn.box
    return replace(
        drawn,
        pixels=np.ascontiguousarray(drawn.pixels[rows, columns]),
        keypoints=keypoints * ((drawn.keypoints[:, 2:] > 0) & inside[:, None]),
        box=(
            max(0.0, x0 - columns.start),
            max(0.0, y0 - rows.start),
            min(float(width), x1 - columns.start),
            min(float(height), y1 - rows.start),
        ),
        mask=drawn.mask[round(rows.start * down) : round(rows.stop * down), round(columns.start * across) : round(columns.stop * across)],
    )


def _stance(subject: Person, camera: Camera, rng: np.random.Generator, fault: str | None) -> Stance:
    quarter = float(rng.choice([0, 0, 0, 180, 180, 90, -90]))
    pixels_per_stature = CANVAS * float(rng.uniform(0.74, 0.9)) * camera.foreshortening
    if subject.age == "child":
        pixels_per_stature *= float(rng.uniform(1.0, 1.25))
    x, y = CANVAS / 4 + float(rng.uniform(-8, 8)), CANVAS * float(rng.uniform(0.915, 0.965))
    if fault == "tiny":
        pixels_per_stature, y = CANVAS * float(rng.uniform(0.1, 0.15)) / subject.stature, CANVAS * float(rng.uniform(0.6, 0.9))
    if fault == "cut":  # the lower border cuts the waist, or the image begins at the hips
        pixels_per_stature = CANVAS * float(rng.uniform(1.15, 1.5)) / subject.stature
        y = CANVAS + pixels_per_stature * subject.stature * float(rng.uniform(0.5, 0.58))
        if rng.random() < 0.5:
            y = pixels_per_stature * subject.stature * float(rng.uniform(0.44, 0.5))
    return Stance(
        yaw=quarter + float(rng.uniform(-28, 28)),
        walking=bool(rng.random() < 0.6),
        phase=float(rng.uniform(0, 2 * np.pi)),
        swing=float(rng.uniform(0.5, 1.0)),
        spread=float(rng.uniform(0, 1)),
        pixels_per_stature=pixels_per_stature,
        foot=(x, y),
    )


def _pair(body: Body, other: Person, rng: np.random.Generator) -> list[Body]:
    """Two people side by side: `other` behind, then the person of `body`, both smaller than `body`."""
    shift = float(rng.uniform(24, 34)) * (1 if rng.random() < 0.5 else -1)
    factor = float(rng.uniform(0.72, 0.9))
    x, y = CANVAS / 4, body.stance.foot[1]
    subject = Body(body.person, replace(body.stance, pixels_per_stature=body.stance.pixels_per_stature * factor, foot=(x + shift, y)))
    other_stance = replace(
        subject.stance, yaw=float(rng.uniform(-180, 180)), phase=float(rng.uniform(0, 6)), foot=(x - shift, y - float(rng.uniform(0, 12)))
    )
    return [Body(other, other_stance), subject]


def _exposure(rng: np.random.Generator, fault: str | None) -> Exposure:
    blur = float(rng.uniform(0, 0.9))
    return Exposure(
        light=float(rng.uniform(0.84, 1.14)),
        light_slope=float(rng.uniform(-1, 1)),
        blur=float(rng.uniform(7, 12)) if fault == "blurred" else blur,
        noise=0.0 if fault == "blurred" else float(rng.uniform(0, 4)),
        quality=int(rng.integers(78, 97)),
    )


def _flatten_contrast(canvas: np.ndarray, fault: str | None, rng: np.random.Generator) -> np.ndarray:
    """For the fault "grey": almost no contrast and no colour, as after a failed exposure."""
    if fault != "grey":
        return canvas
    level, keep = float(rng.uniform(90, 170)), float(rng.uniform(0.03, 0.08))
    light = canvas.astype(np.float32).mean(2, keepdims=True)
    return np.broadcast_to(np.clip(level + (light - 128) * keep, 0, 255), canvas.shape).astype(np.uint8)


def _keypoints(body: Body, height: int, scale: float, hidden: np.ndarray) -> np.ndarray:
    """[17, 3]: x, y and visibility of each joint, see `DrawnImage.keypoints`; `hidden` are pixels of the canvas behind an object."""
    keypoints = np.zeros((17, 3), np.float32)
    for row, name in enumerate(KEYPOINTS):
        x, y = body.point(name)
        column, line = (int(np.clip(round(value), 0, size - 1)) for value, size in zip((x, y), hidden.shape[::-1], strict=True))
        is_visible = _is_visible(body, name) and not hidden[line, column]
        x, y = (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5
        if -0.5 <= x <= height / 2 - 0.5 and -0.5 <= y <= height - 0.5:
            keypoints[row] = (x, y, 2 if is_visible else 1)
    return keypoints


def _is_visible(body: Body, name: str) -> bool:
    """Whether a joint lies on the viewer's side of the body; a face from behind and the far side of a profile do not."""
    if name == "nose":
        return body.cos > -0.3
    if name.endswith(("eye", "ear")):
        return body.depth(name) > (0.01 if name.endswith("eye") else -0.02)
    in_profile = abs(body.cos) < 0.6 and name.split("_")[1] in ("shoulder", "elbow", "wrist", "hip")
    return name.startswith(body.near_side) or not in_profile


def _box(extent: tuple[float, float, float, float], height: int, scale: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * scale for value in extent)
    return max(0.0, x0), max(0.0, y0), min(height / 2, x1), min(float(height), y1)
