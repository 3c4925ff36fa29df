"""A mixture of two normal distributions of numbers, fitted by expectation maximisation (Dempster et al., 1977).

Nothing is random: the first responsibilities are those of the best division of the sorted numbers into two groups, where k-means, which
others begin with, ends at best. Shapes: N numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Two components, [2] each, the one with the lower mean first."""

    shares: Numbers  # their sum is 1
    means: Numbers
    variances: Numbers

    def of_lower(self, values: Numbers) -> Numbers:
        """The probabilities [N] that numbers [N] are of the component with the lower mean."""
        joint = self._joint(values)
        return np.asarray(np.exp(joint[0] - np.logaddexp(*joint)))

    def _joint(self, values: Numbers) -> Numbers:
        """Logarithms [2, N] of the densities, each times its component's share."""
        shares, means, variances = (column[:, None] for column in (self.shares, self.means, self.variances))
        return np.asarray(np.log(shares) - (np.log(2 * np.pi * variances) + (values - means) ** 2 / variances) / 2)


def fit(values: Numbers, iterations: int, tolerance: float, floor: float) -> Mixture:
    """The mixture of numbers [N], N at least 2.

    It ends after so many `iterations`, or once the mean log likelihood changes by less than `tolerance`; `floor` is added to each variance.
    """
    values = np.asarray(values, np.float64)
    lower = (values <= np.sort(values)[_best_cut(values) - 1]).astype(np.float64)
    mixture, before = _maximised(values, np.stack([lower, 1 - lower]), floor), -np.inf
    for _ in range(iterations):
        joint = mixture._joint(values)
        densities = np.logaddexp(*joint)
        mixture = _maximised(values, np.exp(joint - densities), floor)
        likelihood = float(densities.mean())
        if abs(likelihood - before) < tolerance:
            break
        before = likelihood
    order = mixture.means.argsort()
    return Mixture(mixture.shares[order], mixture.means[order], mixture.variances[order])


def _best_cut(values: Numbers) -> int:
    """How many of the sorted numbers are in the first of two groups whose numbers are closest to their group's mean, in squares."""
    ordered = np.sort(values) - values.mean()
    first, second = np.arange(1, len(ordered)), np.arange(len(ordered) - 1, 0, -1)
    sums = ordered.cumsum()[:-1]
    return int(np.argmax(sums**2 / first + (ordered.sum() - sums) ** 2 / second)) + 1


def _maximised(values: Numbers, responsibilities: Numbers, floor: float) -> Mixture:
    """The most probable mixture by the responsibilities [2, N] of the components for the numbers [N]."""
    weights = responsibilities.sum(1) + 10 * np.finfo(np.float64).eps
    means = responsibilities @ values / weights
    variances = (responsibilities * (values - means[:, None]) ** 2).sum(1) / weights + floor
    return Mixture(weights / weights.sum(), means, variances)
