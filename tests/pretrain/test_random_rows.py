"""Random numbers of rows follow from what they are for and from the row's place in the global batch."""

import pytest
import torch

from pretrain import random_rows, ranks

HERE = torch.device("cpu")


def numbers(rows: int, *key: int) -> torch.Tensor:
    return random_rows.own_rows(rows, 3, random_rows.generator(HERE, *key))


def test_a_row_has_the_same_numbers_for_any_number_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = numbers(8, 42, 7)
    for world in (2, 4):
        monkeypatch.setattr(ranks, "world_size", lambda world=world: world)
        parts = []
        for rank in range(world):
            monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
            parts.append(numbers(8 // world, 42, 7))
        assert torch.cat(parts).equal(alone)


def test_they_depend_on_every_number_of_the_key() -> None:
    drawn = [numbers(4, *key) for key in ((1, 2), (2, 1), (1, 3), (1, 2, 0x5))]
    assert all(not one.equal(two) for at, one in enumerate(drawn) for two in drawn[:at])
    assert numbers(4, 1, 2).equal(drawn[0]) and all(((one >= 0) & (one < 1)).all() for one in drawn)
