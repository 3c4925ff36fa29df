"""How many heads of drawn persons `privacy.blur_faces` covers with the embedded detector and pose model: python -m benchmarks.heads."""

import numpy as np

from mals import settings
from mals.stages.crop import stage
from mals.stages.heads import head_box
from mals.world.scene import draw_image

PERSONS, BATCH, SEED, HEIGHT = 160, 16, 5, 128


def main() -> None:
    config = settings.check({"preset": "tiny", "crop": "none", "privacy": {"blur_faces": True}})
    crop = stage(config)
    crop.setup()
    missed, areas = [], []
    for first in range(0, PERSONS, BATCH):
        drawn = [draw_image(SEED, number, 0, HEIGHT) for number in range(first, first + BATCH)]
        people = crop._people([np.ascontiguousarray(image.pixels) for image in drawn])
        for number, (image, persons) in enumerate(zip(drawn, people, strict=True), first):
            height, width = image.pixels.shape[:2]
            boxes = [head_box(person, width, height, config.crop.score, config.privacy.blur_margin) for person in persons]
            x0, y0, x1, y1 = np.array([box for box in boxes if box] or [(0, 0, 0, 0)]).T[:, :, None]
            x, y = image.keypoints[:5, 0], image.keypoints[:5, 1]  # nose, eyes and ears, hidden ones too
            if not ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).any(0).all():
                missed.append(number)
            areas.append(float(((x1 - x0) * (y1 - y0)).sum()) / (width * height))
    print(f"{PERSONS - len(missed)} of {PERSONS} heads are covered, by {np.median(areas):.1%} of the image (median); not: {missed}")


if __name__ == "__main__":
    main()
