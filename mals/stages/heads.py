"""Where the heads of people are, by their keypoints, and how they are blurred so that no one can undo it.

A box is conservative: it holds the whole head with hair and chin from any side, and grows where less of the head is known.

    points of the head         around their middle, as high as a head that has these points; wider where there is only one of them
    shoulders alone            above their middle, away from the hips where these are visible
    too little for a height    the upper part of the person, as wide as the person: down to the highest visible point, at least a third

The height of a head is the largest that follows from the points, because a distance looks shorter from the side and never longer. A blurred
box holds a few mean colours, each over a large part of it; nothing else of its pixels is left.
"""

from itertools import combinations
from math import ceil, floor, hypot

import numpy as np

from mals.stages.pose import HEAD, HIPS, Person, visible

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR, LEFT_SHOULDER, RIGHT_SHOULDER = range(7)
SHOULDERS = slice(LEFT_SHOULDER, RIGHT_SHOULDER + 1)

# Lengths in heights of a head, from crown to chin, which is 0.130 of a body's stature (Drillis & Contini 1966, as in mals/stages/crop.py).
# The same source: shoulders are 0.259 of the stature wide, and 0.288 above the hips; eyes are 0.118 above the shoulders.
SHOULDER_WIDTH = 0.259 / 0.130
TORSO = 0.288 / 0.130
NECK = 0.118 / 0.130
# Distances in a face, for a head of 228 mm: eyes are 63 mm apart, ears 155 mm, an ear is 80 mm behind an eye; the longest at any turn.
FACE = {
    frozenset((LEFT_EYE, RIGHT_EYE)): 0.28,
    frozenset((LEFT_EAR, RIGHT_EAR)): 0.69,
    **{frozenset((NOSE, eye)): 0.23 for eye in (LEFT_EYE, RIGHT_EYE)},
    **{frozenset((NOSE, ear)): 0.55 for ear in (LEFT_EAR, RIGHT_EAR)},
    **{frozenset(pair): 0.42 for pair in ((LEFT_EYE, LEFT_EAR), (RIGHT_EYE, RIGHT_EAR))},
    **{frozenset(pair): 0.55 for pair in ((LEFT_EYE, RIGHT_EAR), (RIGHT_EYE, LEFT_EAR))},
}
ONE_POINT = 0.35  # of a head's height: how far a point of the head can be from its middle

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, the ends exclusive


def head_box(person: Person, width: int, height: int, score: float, margin: float) -> Box | None:
    """The box of a person's head in an image of width x height, `margin` heights of a head wider on every side; None outside the image.

    `score`: the least of a visible keypoint.
    """
    seen = visible(person.keypoints, score)
    points = person.keypoints[:, :2].astype(np.float64)
    size = _head_height(points, seen)
    if size is None or not (seen[HEAD].any() or seen[SHOULDERS].any()):
        return _upper_part(person, seen, width, height)
    half = (0.5 + margin) * size
    if seen[HEAD].any():
        x, y = points[HEAD][seen[HEAD]].mean(0)
        half += ONE_POINT * size if seen[HEAD].sum() == 1 else 0
    else:
        x, y = _above_shoulders(points, seen, size)
        half += (ONE_POINT if seen[SHOULDERS].all() else SHOULDER_WIDTH / 2) * size
    return _clipped(x - half, y - half, x + half, y + half, width, height)


def count_heads(people: list[Person], width: int, height: int, score: float) -> int:
    """Heads of which a point is visible; candidates whose heads have the same middle, within a head's box, are the same person."""
    boxes: list[Box] = []
    for person in sorted(people, key=lambda candidate: -float(candidate.keypoints[HEAD, 2].sum())):
        seen = visible(person.keypoints, score)
        box = head_box(person, width, height, score, margin=0.0) if seen[HEAD].any() else None
        if box is None:
            continue
        x, y = person.keypoints[HEAD, :2][seen[HEAD]].mean(0)
        if not any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes):
            boxes.append(box)
    return len(boxes)


def blur(image: np.ndarray, boxes: list[Box], levels: int) -> np.ndarray:
    """A copy of the image [H, W, 3] uint8 in which each box has `levels` mean colours across its shorter side, joined smoothly."""
    import cv2

    blurred = image.copy()
    for x0, y0, x1, y1 in boxes:
        region = np.ascontiguousarray(blurred[y0:y1, x0:x1])
        shorter = min(x1 - x0, y1 - y0)
        # of a head of a few pixels, too, each mean is over two pixels at least, on each side that has two
        size = [max(1, min(round(levels * side / shorter), side // 2)) for side in (x1 - x0, y1 - y0)]
        means = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
        blurred[y0:y1, x0:x1] = cv2.resize(means, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return blurred


def overlaps(first: Box, second: Box) -> bool:
    """Whether two boxes share a pixel."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _head_height(points: np.ndarray, seen: np.ndarray) -> float | None:
    """Pixels from crown to chin: the largest that two visible points of [17, 2] give; None if no two do."""
    lengths = [
        _distance(points[a], points[b]) / FACE[frozenset((a, b))] for a, b in combinations(range(HEAD.stop), 2) if seen[a] and seen[b]
    ]
    if seen[SHOULDERS].all():
        lengths.append(_distance(points[LEFT_SHOULDER], points[RIGHT_SHOULDER]) / SHOULDER_WIDTH)
    if seen[SHOULDERS].any() and seen[HIPS].any():
        lengths.append(_distance(points[SHOULDERS][seen[SHOULDERS]].mean(0), points[HIPS][seen[HIPS]].mean(0)) / TORSO)
    if seen[HEAD].any() and seen[SHOULDERS].any():
        lengths.append(_distance(points[HEAD][seen[HEAD]].mean(0), points[SHOULDERS][seen[SHOULDERS]].mean(0)) / (NECK + ONE_POINT))
    return max(lengths, default=0) or None


def _above_shoulders(points: np.ndarray, seen: np.ndarray, size: float) -> np.ndarray:
    """[2] the middle of a head of `size` pixels, from the visible shoulders, and hips if there are some."""
    shoulders = points[SHOULDERS][seen[SHOULDERS]].mean(0)
    up = np.array([0.0, -1.0])
    if seen[HIPS].any():
        torso = shoulders - points[HIPS][seen[HIPS]].mean(0)
        length = hypot(*torso)
        up = torso / length if length else up
    return shoulders + NECK * size * up


def _upper_part(person: Person, seen: np.ndarray, width: int, height: int) -> Box | None:
    """The part of the person's box, or of the image where there is none, above the highest visible point; at least a third of it.

    If that point is of the head, a third more: the chin is below it.
    """
    x0, y0, x1, y1 = [0, 0, width, height] if person.box is None else person.box.tolist()
    third = (y1 - y0) / 3
    bottom = float(person.keypoints[seen, 1].min()) + (third if seen[HEAD].any() else 0) if seen.any() else y0
    return _clipped(x0, y0, x1, min(y1, max(y0 + third, bottom)), width, height)


def _clipped(x0: float, y0: float, x1: float, y1: float, width: int, height: int) -> Box | None:
    box = max(0, floor(x0)), max(0, floor(y0)), min(width, ceil(x1) + 1), min(height, ceil(y1) + 1)
    return box if box[0] < box[2] and box[1] < box[3] else None


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(hypot(*(first - second)))
