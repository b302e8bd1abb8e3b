"""What a further score is worth: by how much it is expected to raise the value of the design chosen in the end.

The knowledge gradient (Frazier, Powell and Dayanik 2009): E[max over designs of the mean after the score] less the
highest mean now. It weighs a contender's chance to overtake against what that would bring, and through the covariance
it counts what a score says of designs that were not tried.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from sde_ray.search.geometry import Array

CONTENDERS = 60
POINTS, _WEIGHTS = hermegauss(11)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def worth(mean: Array, spread: Array, shared: Array, variance: Array) -> Array:
    """Of each candidate score: expected gain of the best mean.

    `mean[value]` and `spread[value]` (standard deviations) are the belief now, `shared[value, candidate]` and
    `variance[candidate]` say how a candidate's score moves it.
    """
    top = np.argsort(-(mean + spread), kind="stable")[:CONTENDERS]
    lead = int(mean.argmax())
    top = np.append(top[top != lead], lead)
    moves = shared[top] / np.sqrt(variance)
    gains = sum(
        weight * (mean[top][:, None] + moves * point).max(0) for point, weight in zip(POINTS, WEIGHTS, strict=True)
    )
    return np.asarray(gains - mean[lead])
