"""What the pixels of a picture show, told by part: the same people at the same places, with the things they have."""

import numpy as np
import pytest

from mals.world.parts import PARTS, part_map
from mals.world.person import SKIRTS, create_person
from mals.world.scene import draw_image

SEED = 11


@pytest.mark.parametrize("number", range(12))
def test_parts_are_where_the_person_is(number: int) -> None:
    drawn, found = draw_image(SEED, number, number % 6), part_map(SEED, number, number % 6)
    assert found.shape == drawn.mask.shape
    both, either = (drawn.mask & (found > 0)).sum(), (drawn.mask | (found > 0)).sum()
    assert both / either > 0.85  # the mask has the smooth edges too


def test_parts_tell_what_a_person_wears() -> None:
    for number in range(60):
        who, found = create_person(SEED, number), part_map(SEED, number, number % 6)
        shown = {PARTS[one] for one in np.unique(found)}
        assert {"background", "shoes"} < shown
        assert ("hat" in shown) == (who.hat is not None) and ("handbag" in shown) == (who.handbag is not None)
        assert ("bag" in shown) == (who.bag is not None) and ("backpack" in shown) <= (who.backpack is not None)
        assert ("upper garment" in shown) == (who.lower is not None)
        below = "dress" if who.lower is None else "skirt" if who.lower.kind in SKIRTS else "trousers"
        assert shown & {"dress", "skirt", "trousers"} == {below} and ("hair" in shown or who.haircut == "bald" or who.hat)
        assert ("sleeve" in shown) == (who.upper.kind != "tank top")
        if who.sleeves == "short":
            assert "arm" in shown and (found == PARTS.index("arm")).sum() > 20


def test_parts_have_the_colours_of_their_things() -> None:
    for number in range(20):
        who, drawn, found = create_person(SEED, number), draw_image(SEED, number, 0), part_map(SEED, number, 0)
        if who.lower is None or who.lower.pattern != "plain" or who.lower.kind == "jeans":
            continue
        pixels = drawn.pixels[found == PARTS.index("skirt" if who.lower.kind.endswith("skirt") else "trousers")]
        assert np.abs(np.median(pixels, 0) - who.lower.rgb).max() < 60  # light and cast of a camera


def test_parts_show_everybody_and_nobody() -> None:
    assert not part_map(SEED, 3, 1, fault="no_person").any()
    drawn, found = draw_image(SEED, 3, 1, fault="two_persons"), part_map(SEED, 3, 1, fault="two_persons")
    assert drawn.box is not None
    for x0, y0, x1, y1 in (drawn.box, *drawn.others):
        assert (found[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] > 0).mean() > 0.2
