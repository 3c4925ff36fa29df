"""Random numbers of a row: a function of what they are for."""

import numpy as np
import pytest

from pretrain.data.random_numbers import uniform


def test_a_rows_numbers_do_not_depend_on_the_rows_beside_it():
    whole = uniform((1, 2), range(50), 7)
    assert whole.shape == (50, 7) and len(np.unique(whole)) == 350
    for rows in ([3], [49, 0, 3], [7, 7]):
        assert (uniform((1, 2), rows, 7) == whole[rows]).all()


def test_another_key_has_other_numbers():
    one = uniform((1, 2, 0), range(20), 5)
    for key in ((1, 2, 1), (1, 3, 0), (2, 2, 0), (1, 2), (1, 2, 0, 0)):
        assert not np.isin(uniform(key, range(20), 5), one).any()


def test_what_happens_to_rows_has_nothing_to_do_with_their_order() -> None:
    """The order of an epoch is drawn of the key (seed, epoch)."""
    order = np.random.Philox(np.random.SeedSequence((42, 7))).random_raw(2000)
    for use in range(4):
        assert not np.isin(uniform((42, 7, use), range(100), 20), (order >> np.uint64(11)) * 2.0**-53).any()


def test_rows_far_away_have_numbers_too():
    assert (uniform((4,), [10**12, 5], 3) == [uniform((4,), [10**12], 3)[0], uniform((4,), [5], 3)[0]]).all()


def test_numbers_are_spread_evenly_from_0_to_1():
    numbers = uniform((9,), range(3000), 20)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert numbers.mean() == pytest.approx(0.5, abs=0.01) and numbers.std() == pytest.approx(12**-0.5, abs=0.01)
    counts = np.histogram(numbers, 20, (0, 1))[0]
    assert counts.min() > 2700 and counts.max() < 3300
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02


def test_numbers_stay_what_they_are():
    """What old checkpoints go on with."""
    assert uniform((42, 0, 1), [0, 20], 2).round(6).tolist() == [[0.571848, 0.114263], [0.453082, 0.649076]]


def test_no_rows_have_no_numbers():
    assert uniform((1,), [], 3).shape == (0, 3)
