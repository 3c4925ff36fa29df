"""Part maps show the same people at the same places as the images, with the clothes and bags that they have."""

import numpy as np
import pytest

from mals.world.parts import PARTS, part_map
from mals.world.person import SKIRTS, create_person
from mals.world.scene import draw_image

SEED = 11


@pytest.mark.parametrize("number", range(12))
def test_parts_are_where_the_person_is(number: int) -> None:
    drawn, labels = draw_image(SEED, number, number % 6), part_map(SEED, number, number % 6)
    assert labels.shape == drawn.mask.shape
    intersection, union = (drawn.mask & (labels > 0)).sum(), (drawn.mask | (labels > 0)).sum()
    assert intersection / union > 0.85  # the mask has the smooth edges too


def test_part_maps_show_what_a_person_wears() -> None:
    for number in range(60):
        person, labels = create_person(SEED, number), part_map(SEED, number, number % 6)
        shown = {PARTS[part] for part in np.unique(labels)}
        assert {"background", "shoes"} < shown
        assert ("hat" in shown) == (person.hat is not None) and ("handbag" in shown) == (person.handbag is not None)
        assert ("bag" in shown) == (person.bag is not None) and ("backpack" in shown) <= (person.backpack is not None)
        assert ("upper garment" in shown) == (person.lower is not None)
        expected = "dress" if person.lower is None else "skirt" if person.lower.kind in SKIRTS else "trousers"
        assert shown & {"dress", "skirt", "trousers"} == {expected} and ("hair" in shown or person.haircut == "bald" or person.hat)
        assert ("sleeve" in shown) == (person.upper.kind != "tank top")
        if person.sleeves == "short":
            assert "arm" in shown and (labels == PARTS.index("arm")).sum() > 20


def test_parts_have_the_colours_of_their_garments() -> None:
    for number in range(20):
        person, drawn, labels = create_person(SEED, number), draw_image(SEED, number, 0), part_map(SEED, number, 0)
        if person.lower is None or person.lower.pattern != "plain" or person.lower.kind == "jeans":
            continue
        pixels = drawn.pixels[labels == PARTS.index("skirt" if person.lower.kind.endswith("skirt") else "trousers")]
        assert np.abs(np.median(pixels, 0) - person.lower.rgb).max() < 60  # the light and the colour cast of a camera


def test_part_maps_show_all_people_and_none() -> None:
    assert not part_map(SEED, 3, 1, fault="no_person").any()
    drawn, labels = draw_image(SEED, 3, 1, fault="two_persons"), part_map(SEED, 3, 1, fault="two_persons")
    assert drawn.box is not None
    for x0, y0, x1, y1 in (drawn.box, *drawn.others):
        assert (labels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] > 0).mean() > 0.2
