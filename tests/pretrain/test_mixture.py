"""The mixture of two normal distributions: the numbers of scikit-learn 1.9's GaussianMixture, computed with it once."""

import numpy as np
import pytest

from pretrain.mixture import fit

NUMBERS = np.arange(60)
VALUES = np.where(NUMBERS % 4 == 0, 0.55 + 0.25 * np.sin(1.7 * NUMBERS), 0.12 + 0.1 * np.sin(2.3 * NUMBERS))
AT = np.array([0.0, 0.3, 0.35, 0.7])
REFERENCE = {
    (10, 1e-2, 5e-4): (
        [0.7955301057726507, 0.20446989422734935],
        [0.13194460318285642, 0.6238089405124989],
        [0.007676390069900289, 0.01922901646953707],
        [0.9999796471054667, 0.9372947862736167, 0.6615293672016731, 5.332348208174169e-09],
    ),
    (100, 1e-4, 1e-6): (
        [0.7862515138034157, 0.2137484861965843],
        [0.12955595901057104, 0.611244016934829],
        [0.006731413335639034, 0.021548675033778827],
        [0.9999091933110242, 0.8780538817434497, 0.4646136305360468, 2.514678279285752e-10],
    ),
}


@pytest.mark.parametrize("settings", REFERENCE)
def test_it_is_the_mixture_of_the_reference(settings):
    shares, means, variances, lower = REFERENCE[settings]
    mixture = fit(VALUES, *settings)
    for ours, theirs in ((mixture.shares, shares), (mixture.means, means), (mixture.variances, variances)):
        assert ours.tolist() == pytest.approx(theirs, rel=1e-9)
    assert mixture.of_lower(AT).tolist() == pytest.approx(lower, rel=1e-9)


def test_the_order_of_the_numbers_does_not_matter_and_the_lower_component_is_first():
    mixture, other = fit(VALUES, 10, 1e-2, 5e-4), fit(1 - VALUES[::-1], 10, 1e-2, 5e-4)
    assert mixture.means[0] < mixture.means[1] and other.means[0] < other.means[1]
    assert (1 - other.means[::-1]).tolist() == pytest.approx(mixture.means.tolist())
    assert other.of_lower(1 - AT).tolist() == pytest.approx((1 - mixture.of_lower(AT)).tolist())


def test_numbers_that_are_all_equal_have_a_mixture():
    assert np.isfinite(fit(np.zeros(5), 10, 1e-2, 5e-4).of_lower(np.zeros(5))).all()
