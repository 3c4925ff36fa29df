"""Identities that are held out of the training."""

from pathlib import Path

import pytest

from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain.data.holdout import split_identities
from pretrain.data.rows import ImageTextPairs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of 12 persons, two images each."""
    folder = tmp_path_factory.mktemp("world") / "made"
    make(str(folder), WorldSettings.checked(persons=12, views=2, split="train=1", seed=5, height=64), workers=1)
    return folder


def test_persons_that_are_held_out_are_whole_and_the_same_for_the_same_seed(world: Path) -> None:
    pairs = ImageTextPairs.open([world], every=True)
    rest, held = split_identities(pairs, 0.25, 3)
    assert (len(rest), len(held)) == (36, 12) and not {*rest.captions()} & {*held.captions()}
    held_captions = [held.caption(row) for row in range(len(held))]
    assert {*rest.captions(), *held_captions} == {*pairs.captions()} and len(held.images.unique()) == int(held.images.max()) + 1 == 6
    row = next(row for row in range(len(pairs)) if pairs.caption(row) == held_captions[5])
    assert held.image_bytes(5) == pairs.image_bytes(row) and held.image_id(5) == pairs.image_id(row)
    few, many = split_identities(ImageTextPairs.open([world], captions=False), 0.25, 3)[1], split_identities(pairs, 0.25, 4)[1]
    assert {few.image_id(row) for row in range(len(few))} == {held.image_id(row) for row in range(len(held))}
    assert {*many.captions()} != {*held_captions}
