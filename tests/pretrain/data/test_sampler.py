"""Which rows a step has: a function of seed and step alone, every row once an epoch, persons in groups where a method needs them."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mals.errors import UserError
from pretrain.data.sampler import Sampler, order

PERSONS = st.lists(st.integers(0, 8), min_size=24, max_size=60).map(lambda ids: np.unique(ids, return_inverse=True)[1].astype(np.int64))
GROUPS = st.sampled_from([(1, 2), (2, 2), (4, 4), (1, 4), (2, 3)])


def runs(persons):
    """The lengths of stretches of one person."""
    return np.diff(np.flatnonzero(np.concatenate([[True], persons[1:] != persons[:-1], [True]])))


def test_without_groups_the_order_is_that_of_all_rows():
    sampler = Sampler(np.zeros(103, np.int64), 10, seed=3)
    assert sampler.steps_per_epoch == 10
    assert all((sampler.rows(step) == order(3, 103, step, 10)).all() for step in (0, 9, 10, 25))


@given(PERSONS, GROUPS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_step_has_the_same_rows_whatever_was_read_before(persons, group, seed, random):
    sampler, steps = Sampler(persons, 12, seed, group), list(range(6))
    once = [sampler.rows(step).tolist() for step in steps]
    random.shuffle(steps)
    again = Sampler(persons, 12, seed, group)
    assert all(again.rows(step).tolist() == once[step] for step in steps)
    assert all(len(rows) == 12 for rows in once) and [sampler.epoch(step) for step in range(3)] == [
        step // sampler.steps_per_epoch for step in range(3)
    ]


@given(PERSONS, GROUPS, st.integers(0, 5))
def test_an_epoch_has_whole_groups_and_every_person(persons, group, seed):
    sampler = Sampler(persons, 12, seed, group)
    whole = sampler._grouped(0)
    fewest, most = group
    assert set(whole.tolist()) == set(range(len(persons)))  # every row, some again where a group is filled
    assert len(whole) >= sampler.steps_per_epoch * 12
    ids = persons[whole]
    assert (runs(ids) >= fewest).all()
    if fewest == most:
        assert (ids.reshape(-1, fewest) == ids.reshape(-1, fewest)[:, :1]).all()


@given(PERSONS, st.sampled_from([(2, 2), (4, 4), (2, 3), (2, 4), (3, 4), (3, 5), (4, 6)]), st.integers(0, 5))
def test_no_batch_has_less_of_a_person_than_a_group(persons, group, seed):
    sampler = Sampler(persons, 12, seed, group)
    for step in range(sampler.steps_per_epoch):
        ids = persons[sampler.rows(step)]
        assert len(ids) == 12 and (runs(ids) >= group[0]).all()


def test_one_or_two_rows_a_person_follow_each_other_in_turn():
    persons = np.repeat(np.arange(64), 4)
    sampler = Sampler(persons, 32, seed=1, group=(1, 2))
    whole = sampler._grouped(0)
    assert sorted(whole.tolist()) == list(range(256))
    first = persons[whole][: 64 * 2]
    lengths = runs(first[: len(first) - 2])
    assert set(lengths.tolist()) <= {1, 2, 3, 4} and 1.2 < lengths.mean() < 1.9
    assert len(set(persons[sampler.rows(0)].tolist())) >= 16


def test_p_persons_have_k_rows_each():
    persons = np.repeat(np.arange(10), 7)
    sampler = Sampler(persons, 16, seed=1, group=(4, 4))
    assert sampler.steps_per_epoch == 80 // 16  # 7 rows are filled to 8
    for step in range(sampler.steps_per_epoch):
        _, counts = np.unique(persons[sampler.rows(step)], return_counts=True)
        assert counts.sum() == 16 and (counts % 4 == 0).all()
    assert Sampler(persons, 16, 2, (4, 4)).rows(0).tolist() != sampler.rows(0).tolist()
    assert sampler.rows(0).tolist() != sampler.rows(sampler.steps_per_epoch).tolist()


def test_batches_that_cannot_be_made_are_refused():
    with pytest.raises(UserError, match="cannot be divided into groups of 4 rows of one person"):
        Sampler(np.zeros(30, np.int64), 10, 1, (4, 4))
    with pytest.raises(UserError, match="a batch of 7 rows cannot be divided into groups of 4 to 5 rows of one person"):
        Sampler(np.zeros(30, np.int64), 7, 1, (4, 5))
    with pytest.raises(UserError, match="a batch of 40 rows is more than the 30 rows"):
        Sampler(np.arange(30), 40, 1)


@given(st.integers(7, 60), st.integers(0, 5))
def test_a_complete_epoch_has_every_row_and_its_first_ones_again(rows, seed):
    sampler, plain = (Sampler(np.zeros(rows, np.int64), 7, seed, complete=complete) for complete in (True, False))
    assert sampler.steps_per_epoch == -(-rows // 7)
    epoch = np.concatenate([sampler.rows(sampler.steps_per_epoch + step) for step in range(sampler.steps_per_epoch)])
    assert sorted(epoch[:rows]) == list(range(rows)) and epoch[rows:].tolist() == epoch[: len(epoch) - rows].tolist()
    assert sampler.epoch(sampler.steps_per_epoch) == 1 and epoch[:7].tolist() == plain.rows(plain.steps_per_epoch).tolist()


def test_an_epoch_of_groups_is_not_complete():
    with pytest.raises(ValueError, match="an epoch of groups cannot be complete"):
        Sampler(np.zeros(9, np.int64), 4, 0, (1, 2), complete=True)
