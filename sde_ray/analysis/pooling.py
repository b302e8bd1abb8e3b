"""Effects of several models (or tasks) together: what they share, and how far each is its own.

    pool({"llama": ([0.12, -0.03], covariance), "qwen": ([0.09, 0.01], covariance)})
    -> Pooled(shared=(Estimate(0.11, 0.07, 0.15), ...), own={"llama": (Estimate(0.117, ...), ...), ...}, spread=0.02)

In: for each group the estimated differences in one order, and the covariance of their errors (from the draws of a fit).
Out: for each difference the shared value, and each group's own, drawn towards the shared one by as much as its errors
are larger than the groups' true differences (partial pooling).

    estimate of a group = shared + deviation of the group + error,     deviation ~ N(0, spread²)

The deviations of all options have one spread. That is what makes two models enough: ten options, ten deviations. It is
not plugged in but averaged over a grid, weighted by the restricted likelihood and a half-Cauchy prior on the scale of
the standard errors. The shared value is that of models like these, not of these alone: with few models, and models that
differ, its interval is wide. Errors of different groups count as independent; models that are measured on the same
items share some of them, which this leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.estimate import Estimate

Array = npt.NDArray[np.float64]
DRAWS = 4000
GROUP_SD_GRID = np.geomspace(0.05, 30.0, 24)  # spread of the groups / a typical standard error


@dataclass(frozen=True)
class PooledEffects:
    """Shared and own values, in the order of the differences given; `spread` is the groups' standard deviation."""

    shared: tuple[Estimate, ...]
    own: Mapping[str, tuple[Estimate, ...]]
    spread: float


def partial_pooling(groups: Mapping[str, tuple[Sequence[float], Array]], seed: int = 0) -> PooledEffects:
    """Pool at least two groups."""
    assert len(groups) > 1, "nothing to pool"
    values = np.array([given for given, _ in groups.values()], dtype=float)
    errors = np.stack([_proper(covariance) for _, covariance in groups.values()])
    usual = float(np.sqrt(np.median(np.diagonal(errors, axis1=1, axis2=2))))
    solved = [_solve(values, errors, usual * ratio) for ratio in GROUP_SD_GRID]
    logs = np.array([one.evidence for one in solved]) + np.log(GROUP_SD_GRID / (1 + GROUP_SD_GRID**2))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    random = np.random.default_rng(seed)
    counts = random.multinomial(DRAWS, weights)
    drawn = [_draws(one, values, errors, int(n), random) for one, n in zip(solved, counts, strict=True) if n]
    shared = np.concatenate([one for one, _ in drawn])
    own = np.concatenate([each for _, each in drawn])
    spread = float(weights @ np.array([one.spread for one in solved]))
    names = list(groups)
    return PooledEffects(_estimates(shared), {name: _estimates(own[:, n]) for n, name in enumerate(names)}, spread)


def _proper(covariance: Array) -> Array:
    """The covariance, with a trace on its diagonal that keeps it invertible."""
    size = len(covariance)
    floor = max(1e-6 * float(np.trace(covariance)) / size, 1e-12)
    return np.asarray(covariance + floor * np.eye(size))


@dataclass(frozen=True)
class _Solved:
    """The shared values and their covariance at one spread of the groups, and how well that spread fits."""

    spread: float
    shared: Array
    covariance: Array
    weights: Array
    evidence: float


def _solve(values: Array, errors: Array, spread: float) -> _Solved:
    """Generalised least squares of the groups' estimates [groups, differences]."""
    whole = errors + spread**2 * np.eye(values.shape[1])
    weights = np.asarray(np.linalg.inv(whole), dtype=np.float64)
    covariance = np.asarray(np.linalg.inv(weights.sum(axis=0)), dtype=np.float64)
    shared = covariance @ np.einsum("gij,gj->i", weights, values)
    rest = values - shared
    lack = float(np.einsum("gi,gij,gj->", rest, weights, rest))
    evidence = -0.5 * (np.linalg.slogdet(whole)[1].sum() - np.linalg.slogdet(covariance)[1] + lack)
    return _Solved(spread, shared, covariance, weights, float(evidence))


def _draws(one: _Solved, values: Array, errors: Array, count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Draws of the shared values [count, differences], and of each group's own [count, groups, differences]."""
    shared = random.multivariate_normal(one.shared, one.covariance, count, method="cholesky")
    own = []
    for value, error, weight in zip(values, errors, one.weights, strict=True):
        towards = one.spread**2 * weight  # 0: all groups alike, the identity: each group for itself
        mean = shared + (value - shared) @ towards.T
        left = towards @ error
        noise = random.multivariate_normal(np.zeros(len(value)), (left + left.T) / 2, count, method="eigh")
        own.append(mean + noise)
    return shared, np.stack(own, axis=1)


def _estimates(drawn: Array) -> tuple[Estimate, ...]:
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0)
    return tuple(
        Estimate(float(mean), float(low), float(high))
        for mean, low, high in zip(drawn.mean(axis=0), lows, highs, strict=True)
    )
